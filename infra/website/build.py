"""Build the site with Zensical, strictly: wrong links and anchors and resources of other hosts are errors."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from infra.pages.page import without_links
from infra.website.navigation import Section, prose_parts, read_navigation
from infra.website.staging import stage_pages
from mlprune.errors import BadInputError

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "site"
SETTINGS = Path(__file__).with_name("zensical.toml")
DESCRIPTION = "Prune multilingual language models with translation demonstrations; every number traceable by SQL."
_ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)", re.IGNORECASE
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STYLE_ELSEWHERE = re.compile(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)")


def build_site(folder: Path = BUILT, *, root: Path = ROOT, source_url: str | None = None) -> Path:
    """Build the site and return the folder with its HTML.

    Args:
        folder: replaced; `pages/` has the pages as the generator reads them, `html/` the site.
        source_url: see `stage_pages`.
    Raises:
        BadInputError: the generator is missing or warns, or a page loads something from elsewhere.
    """
    if find_spec("zensical") is None:
        raise BadInputError("the generator of the site is not installed", expected="zensical", next="make site")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pages").mkdir(parents=True)
    sections = read_navigation(root)
    stage_pages(root, folder / "pages", sections, source_url=source_url)
    (folder / SETTINGS.name).write_text(settings(sections), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(folder / SETTINGS.name)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        warnings = _COLOURS.sub("", done.stdout + done.stderr).partition("Traceback")[0]
        raise BadInputError("the site has warnings", expected="none", output=warnings)
    html = folder / "html"
    (html / "llms.txt").write_text(llms_text(folder / "pages", sections), encoding="utf-8")
    for page in (page for section in sections for page in section.pages):
        (html / page.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "pages" / page.path, html / page.path)
    if loaded := sorted(resources_from_elsewhere(html)):
        raise BadInputError("the site loads files from elsewhere", expected="its own files alone", got=loaded)
    return html


def settings(sections: Sequence[Section]) -> str:
    """Return the settings of the generator with the navigation."""

    def entry(title: str, value: str) -> str:
        return f"{{{json.dumps(title, ensure_ascii=False)} = {value}}}"

    nav = ", ".join(
        entry(section.title, "[" + ", ".join(entry(page.title, json.dumps(page.path)) for page in section.pages) + "]")
        for section in sections
    )
    return SETTINGS.read_text("utf-8").replace("nav = []", f"nav = [{nav}]")


def llms_text(pages: Path, sections: Sequence[Section]) -> str:
    """Return `llms.txt`: the pages of the site as Markdown, one line each with its first sentence."""
    lines = ["# mlprune", "", f"> {DESCRIPTION}"]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        for page in section.pages:
            sentence = first_sentence((pages / page.path).read_text("utf-8"))
            lines.append(f"- [{page.title}]({page.path}): {sentence}" if sentence else f"- [{page.title}]({page.path})")
    return "\n".join([*lines, ""])


def first_sentence(text: str) -> str:
    """Return the first sentence of a page as plain text, without a bold label before it; empty if there is none."""
    prose = "".join(part for part, is_prose in prose_parts(text) if is_prose)
    paragraphs = [block.strip() for block in re.split(r"\n\s*\n", prose)]
    first = next((block for block in paragraphs if re.match(r"[\w`\[\"]|\*\*", block)), "")
    plain = re.sub(r"\*\*|`", "", re.sub(r"^\*\*[^*]+[.:]\*\*\s+", "", without_links(first)))
    return re.split(r"(?<=[.?!])\s+(?=[A-Z])", plain, maxsplit=1)[0].removesuffix(":")


def resources_from_elsewhere(html: Path) -> Iterator[str]:
    """Yield `FILE: ADDRESS` of every script, style, font and picture that a page would load from another host."""
    for path in sorted(html.rglob("*")):
        if path.suffix in {".html", ".css"}:
            pattern = _ELSEWHERE if path.suffix == ".html" else _STYLE_ELSEWHERE
            yield from (f"{path.relative_to(html)}: {address}" for address in pattern.findall(path.read_text("utf-8")))
