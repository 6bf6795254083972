"""The built site: no warning, nothing from elsewhere, and pages that are also Markdown."""

from pathlib import Path

import pytest

from infra.website.build import build_site, resources_from_elsewhere
from infra.website.navigation import read_navigation
from mlprune.errors import BadInputError

MINIMAL = {"README.md": "# M\n\nText.\n", "docs/README.md": "# All\n\nBegin: [README](../README.md)\n"}


def write_pages(root: Path, pages: dict[str, str]) -> Path:
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_scripts_and_fonts_of_other_hosts_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="https://x.example"></a><script src="https://cdn.example/x.js"></script>')
    (tmp_path / "b.css").write_text("@font-face { src: url(//fonts.example/f) } i { background: url(data:image/x) }")
    assert list(resources_from_elsewhere(tmp_path)) == ["a.html: https://cdn.example/x.js", "b.css: //fonts.example/f"]


@pytest.mark.thorough("builds the site")
def test_the_site_of_this_repository_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="make site installs it")
    html = build_site(tmp_path / "site")
    pages = [page.path for section in read_navigation(Path(__file__).parents[3]) for page in section.pages]
    assert all((html / page).is_file() for page in pages)
    assert (html / "llms.txt").read_text().count("\n- [") == len(pages)
    assert (html / "docs/quick-start/index.html").is_file()
    assert (html / "search.json").is_file()


@pytest.mark.thorough("builds a site")
def test_a_wrong_anchor_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="make site installs it")
    root = write_pages(tmp_path / "root", {**MINIMAL, "docs/README.md": MINIMAL["docs/README.md"] + "[x](#no)\n"})
    with pytest.raises(BadInputError) as caught:
        build_site(tmp_path / "site", root=root)
    assert "#no" in str(caught.value.context["output"])
