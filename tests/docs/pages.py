"""Parse documentation pages: text, links, headings, fenced blocks."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "infra", "mlprune", "catalog", "ray_jobs", "tests")
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words after its opening fence, and its text."""

    words: str
    text: str


def pages() -> list[Path]:
    """Return all Markdown pages of the repository."""
    return sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    return [Block(words.strip(), text) for _, words, text in FENCE.findall(page.read_text("utf-8"))]


def links(page: Path) -> list[str]:
    """Return the targets of the links of a page; text in code is ignored."""
    return _LINK.findall(_without_code(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    names: list[str] = []
    for heading in _HEADING.findall(FENCE.sub("", page.read_text("utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        plain = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        n_before = names.count(plain)
        names += [plain] if not n_before else [plain, f"{plain}-{n_before}"]
    return set(names)


def _without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]*`(?!\])", "", FENCE.sub("", page.read_text("utf-8")))
