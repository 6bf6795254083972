"""Prepare the pages for the generator: copy them and the files they show to a folder laid out like the repository.

Links between pages stay as they are. Differences between Markdown on the host of the repository and in the generator
are removed here, so that the pages in the repository need none of its syntax.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from infra.website.navigation import DECISIONS, LISTED, Section, prose_parts, replace_links, resolve
from mlprune.errors import BadInputError

_AFTER_A_PARAGRAPH = re.compile(r"^((?!\s|[-*|>#]|\d+\.).+)\n(?=(?:[-*]|\d+\.) )", re.MULTILINE)
"""A line of a paragraph right before a list, which the generator would read as a part of the paragraph."""


def stage_pages(root: Path, folder: Path, sections: Sequence[Section], *, source_url: str | None = None) -> None:
    """Write the pages of the site, and the files that they link to or show, to an empty folder.

    Args:
        root: the repository.
        source_url: address under which the repository's files can be seen, for links to folders; None makes them text.
    Raises:
        BadInputError: a page links to something that does not exist.
    """
    for page in (page for section in sections for page in section.pages):
        target = folder / page.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_staged(root, folder, page.path, sections, source_url=source_url), encoding="utf-8")


def _staged(root: Path, folder: Path, page: str, sections: Sequence[Section], *, source_url: str | None) -> str:
    if page == LISTED:
        return _list_of_decisions(sections)

    def linked(match: re.Match[str]) -> str:
        path, _, _ = match["target"].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        target = resolve(page, path)
        source = root / target
        if target == DECISIONS:
            return f"[{match['text']}]({path.rstrip('/')}/README.md)"
        if source.is_dir():
            return f"[{match['text']}]({source_url}/{target})" if source_url else match["text"]
        if not source.is_file():
            raise BadInputError("a page links to a file that does not exist", page=page, got=match["target"])
        if source.suffix != ".md":
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / target)
        return match[0]

    text = replace_links((root / page).read_text("utf-8"), linked)
    return "".join(
        _AFTER_A_PARAGRAPH.sub(r"\1\n\n", part) if is_prose else part for part, is_prose in prose_parts(text)
    )


def _list_of_decisions(sections: Sequence[Section]) -> str:
    pages = (page for section in sections for page in section.pages if page.path.startswith(f"{DECISIONS}/"))
    lines = [f"- [{page.title}]({page.path.rpartition('/')[2]})" for page in pages if page.path != LISTED]
    return "\n".join(["# Decisions", "", "Reasons for lasting decisions, one page each.", "", *lines, ""])
