"""Navigation of the site: which Markdown pages it has, in which sections and order.

`docs/README.md` lists the pages for readers of the repository. The site has the same list: a paragraph or a row of the
table is a section. Pages that are only linked from other pages follow in sections of their own.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import BadInputError

NAME = "mlprune"
HOME = "README.md"
ENTRY = "docs/README.md"
DECISIONS = "infra/decisions"
LISTED = f"{DECISIONS}/README.md"
"""Page of the site that lists the decisions; the repository shows the folder instead."""
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE_OR_LINK = re.compile(r"`[^`\n]*`(?!\])|(?P<image>!?)\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """A page of the site."""

    title: str
    path: str
    """Path of its Markdown file in the repository."""


@dataclass(frozen=True)
class Section:
    """Pages under one heading of the navigation."""

    title: str
    pages: tuple[Page, ...]


def prose_parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield (part of a Markdown text, whether it is prose); the other parts are fenced blocks."""
    end = 0
    for block in _FENCED.finditer(text):
        yield text[end : block.start()], True
        yield block[0], False
        end = block.end()
    yield text[end:], True


def replace_links(text: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """Replace the links and images of a Markdown text; the match has the groups `image`, `text` and `target`."""

    def unless_code(match: re.Match[str]) -> str:
        return match[0] if match["target"] is None else replacement(match)

    parts = ((_CODE_OR_LINK.sub(unless_code, part) if is_prose else part) for part, is_prose in prose_parts(text))
    return "".join(parts)


def local_links(text: str) -> list[tuple[str, str]]:
    """Return (text, target without anchor) of the links to files of the repository."""
    links: list[tuple[str, str]] = []

    def collect(match: re.Match[str]) -> str:
        path = match["target"].partition("#")[0]
        if path and not match["image"] and "://" not in path and not path.startswith("mailto:"):
            links.append((" ".join(match["text"].split()), path))
        return match[0]

    replace_links(text, collect)
    return links


def resolve(page: str, target: str) -> str:
    """Return the path in the repository to which a link of a page leads."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def title_of(path: Path) -> str:
    """Return the first heading of a page, without code marks.

    Raises:
        BadInputError: the page has none.
    """
    heading = re.search(r"^# (.+?) *$", path.read_text("utf-8"), re.MULTILINE)
    if heading is None:
        raise BadInputError("a page of the site has no heading", path=str(path), expected="# TITLE")
    return heading[1].replace("`", "")


def read_navigation(root: Path) -> list[Section]:
    """Return the sections of the site, each page once.

    Args:
        root: the repository.
    Raises:
        BadInputError: a page is linked and does not exist.
    """
    first, *others = _listed(root)
    sections = [Section(first.title, (*first.pages, Page("All pages", ENTRY))), *others]
    known = [page.path for section in sections for page in section.pages]
    more = [path for path in _linked(root, known) if not path.startswith(f"{DECISIONS}/")]
    decisions = sorted(path.relative_to(root).as_posix() for path in (root / DECISIONS).glob("[0-9]*.md"))
    if more:
        sections.append(Section("Other pages", tuple(Page(title_of(root / path), path) for path in more)))
    if decisions:
        pages = (Page(title_of(root / path), path) for path in decisions)
        sections.append(Section("Decisions", (Page("Decisions", LISTED), *pages)))
    return sections


def _listed(root: Path) -> Iterator[Section]:
    """Yield the sections that `docs/README.md` lists before its first subheading."""
    known = {ENTRY}
    text = (root / ENTRY).read_text("utf-8").partition("\n## ")[0]
    for block in re.split(r"\n\n+|\n(?=\|)", text):
        pages = []
        for title, target in local_links(block):
            path = resolve(ENTRY, target)
            if path.endswith(".md") and path not in known:
                known.add(path)
                pages.append(Page(NAME if path == HOME else _capitalised(title.replace("`", "")), path))
        if pages:
            title = block.strip("|").partition("|")[0] if block.startswith("|") else block.partition(":")[0]
            yield Section(_capitalised(" ".join(title.replace("*", "").split())), tuple(pages))


def _capitalised(title: str) -> str:
    return title[:1].upper() + title[1:]


def _linked(root: Path, known: Iterable[str]) -> Iterator[str]:
    """Yield the Markdown pages that can be reached from the known ones by links, without these."""
    found = list(known)
    n_known = len(found)
    for page in found:  # grows in the loop
        if not (root / page).is_file():
            raise BadInputError("a page of the site does not exist", path=page, next=f"correct the links of {ENTRY}")
        for _, target in local_links((root / page).read_text("utf-8")):
            path = resolve(page, target)
            if path.endswith(".md") and path not in found:
                found.append(path)
    yield from found[n_known:]
