"""Navigation and staged pages of the site, from a small repository and from this one."""

from pathlib import Path

import pytest

from infra.website.build import ROOT, first_sentence, llms_text, settings
from infra.website.navigation import LISTED, Page, Section, local_links, read_navigation
from infra.website.staging import stage_pages
from mlprune.errors import BadInputError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "README.md": "# mlprune\n\nFirst. Second.\n\n![curve](docs/curve.svg)\n",
        "docs/README.md": (
            "# Pages\n\n**Begin**: [README](../README.md), [a\npage](a.md).\n\n| to | read |\n|---|---|\n"
            "| know more | [a](a.md), [`b` page](b.md#part), [decisions](../infra/decisions/) |\n"
            "\n## Not\n\n[c](c.md)\n"
        ),
        "docs/a.md": "# A\n\nText\n- one\n- two\n\n```\nText\n- code [x](y.md)\n```\n\n[recipe](../infra/r.yaml)\n",
        "docs/b.md": "# B\n\n## Part\n\n[folder](../infra/) [why](../infra/decisions/0001-x.md)\n",
        "docs/c.md": "# The C\n",
        "docs/curve.svg": "<svg/>",
        "infra/r.yaml": "name: r\n",
        "infra/decisions/0001-x.md": "# 1. X\n\n**Context.** Some `code`. More.\n",
    }
    for name, text in files.items():
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "repository"


def test_sections_are_those_of_the_entry_page_then_pages_that_are_only_linked(repository: Path) -> None:
    assert read_navigation(repository) == [
        Section(
            "Begin", (Page("mlprune", "README.md"), Page("A page", "docs/a.md"), Page("All pages", "docs/README.md"))
        ),
        Section("Know more", (Page("B page", "docs/b.md"),)),
        Section("Other pages", (Page("The C", "docs/c.md"),)),
        Section("Decisions", (Page("Decisions", LISTED), Page("1. X", "infra/decisions/0001-x.md"))),
    ]


def test_a_linked_page_that_does_not_exist_is_refused(repository: Path) -> None:
    (repository / "docs/c.md").unlink()
    with pytest.raises(BadInputError) as caught:
        read_navigation(repository)
    assert caught.value.context["path"] == "docs/c.md"


def test_staged_pages_bring_the_files_that_they_link_to(repository: Path, tmp_path: Path) -> None:
    stage_pages(repository, tmp_path / "pages", read_navigation(repository))
    staged = {path.relative_to(tmp_path / "pages").as_posix() for path in (tmp_path / "pages").rglob("*.*")}
    assert {"docs/curve.svg", "infra/r.yaml", LISTED} <= staged
    assert "(0001-x.md)" in (tmp_path / "pages" / LISTED).read_text()
    assert "[decisions](../infra/decisions/README.md)" in (tmp_path / "pages/docs/README.md").read_text()


def test_links_to_folders_are_text_or_addresses_of_the_repository(repository: Path, tmp_path: Path) -> None:
    sections = read_navigation(repository)
    stage_pages(repository, tmp_path / "plain", sections)
    stage_pages(repository, tmp_path / "released", sections, source_url="https://host.example/x/blob/v1")
    assert "\nfolder [why]" in (tmp_path / "plain/docs/b.md").read_text()
    assert "[folder](https://host.example/x/blob/v1/infra)" in (tmp_path / "released/docs/b.md").read_text()


def test_a_list_after_a_paragraph_becomes_a_list_in_prose_alone(repository: Path, tmp_path: Path) -> None:
    stage_pages(repository, tmp_path / "pages", read_navigation(repository))
    text = (tmp_path / "pages/docs/a.md").read_text()
    assert "Text\n\n- one\n- two\n" in text
    assert "Text\n- code" in text


def test_a_link_to_nothing_is_refused(repository: Path, tmp_path: Path) -> None:
    (repository / "infra/r.yaml").unlink()
    with pytest.raises(BadInputError) as caught:
        stage_pages(repository, tmp_path / "pages", read_navigation(repository))
    assert caught.value.context["page"] == "docs/a.md"


def test_links_in_code_and_to_other_hosts_are_not_local() -> None:
    assert local_links("[a](b.md#c) `[d](e.md)` [f](https://x.example) [`g`](h.md)") == [("a", "b.md"), ("`g`", "h.md")]


def test_the_first_sentence_has_no_marks_and_no_label() -> None:
    assert first_sentence("# T\n\n**Context.** Some `code` of [us](x.md). More.\n") == "Some code of us."
    assert first_sentence("# T\n\n| a |\n|---|\n") == ""


def test_llms_txt_has_one_line_per_page(repository: Path, tmp_path: Path) -> None:
    sections = read_navigation(repository)
    stage_pages(repository, tmp_path, sections)
    lines = [line for line in llms_text(tmp_path, sections).splitlines() if line.startswith("- ")]
    assert len(lines) == sum(len(section.pages) for section in sections)
    assert lines[0] == "- [mlprune](README.md): First."


def test_every_page_of_the_documentation_is_in_the_navigation_once_and_the_five_come_first() -> None:
    sections = read_navigation(ROOT)
    paths = [page.path for section in sections for page in section.pages]
    assert paths[:5] == ["README.md", *(f"docs/{name}.md" for name in ("quick-start", "study", "recipe", "report"))]
    assert len(paths) == len(set(paths))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} <= set(paths)
    assert all(page.path in settings(sections) for section in sections for page in section.pages)
