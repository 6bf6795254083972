import re
import shutil
import subprocess
from pathlib import Path

import pytest

from catalog.report.contents import FIGURES
from catalog.report.page import render_page
from catalog.store import Catalog
from tests.catalog.report.reading import Reader

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--dump-dom"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]


def rendered(page: str, folder: Path) -> tuple[str, list[str]]:
    """The page's elements after Chromium has rendered it, and the messages of its console."""
    path = folder / "report.html"
    path.write_text(page, "utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_shows_every_figure_and_complains_about_nothing(page: str, tmp_path: Path) -> None:
    dom, complaints = rendered(page, tmp_path)
    assert complaints == []
    for exhibit in FIGURES:
        n_sections = 0 if exhibit.is_optional else 1
        assert len(re.findall(rf'<section id="{exhibit.anchor}">', dom)) == n_sections
    n_panels = sum(len(Reader(page).panels(exhibit.anchor)) for exhibit in FIGURES)
    assert dom.count('role="img"') == n_panels == 26


def test_a_browser_shows_the_figures_of_further_variants_too(methods_catalog: Catalog, tmp_path: Path) -> None:
    page = render_page(methods_catalog)
    dom, complaints = rendered(page, tmp_path)
    assert complaints == []
    for exhibit in FIGURES:
        assert len(re.findall(rf'<section id="{exhibit.anchor}">', dom)) == 1
    assert dom.count('role="img"') == sum(len(Reader(page).panels(exhibit.anchor)) for exhibit in FIGURES)


def test_an_attack_runs_nothing_in_a_browser(attacked_page: str, tmp_path: Path) -> None:
    dom, complaints = rendered(attacked_page, tmp_path)
    assert complaints == []
    assert not {"script", "img"} & {element.tag for element in Reader(dom).elements}


def test_the_console_of_the_browser_is_really_read(tmp_path: Path) -> None:
    _, complaints = rendered("<!DOCTYPE html><title>x</title><script>console.error('seen')</script>", tmp_path)
    assert any("seen" in line for line in complaints)
