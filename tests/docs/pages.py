"""What tests of the documentation read of its pages: text, links, headings, fenced blocks."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "infra", "mlprune", "catalog", "ray_jobs", "tests")
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words behind its opening fence, and its text."""

    words: str
    text: str


def pages() -> list[Path]:
    """All Markdown pages of the repository."""
    return sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    return [Block(words.strip(), text) for _, words, text in FENCE.findall(page.read_text("utf-8"))]


def links(page: Path) -> list[str]:
    """Where the links of a page go; what stands in code is no link."""
    return _LINK.findall(_without_code(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in _HEADING.findall(FENCE.sub("", page.read_text("utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        plain = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        n_before = found.count(plain)
        found += [plain] if not n_before else [plain, f"{plain}-{n_before}"]
    return set(found)


def _without_code(page: Path) -> str:
    return re.sub(r"`[^`\n]*`(?!\])", "", FENCE.sub("", page.read_text("utf-8")))
