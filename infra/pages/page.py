"""The frame of a generated page."""

from collections.abc import Iterable

COMMAND = "make docs"


def page(title: str, parts: Iterable[str], *, source: str) -> str:
    """A Markdown page that says where it comes from."""
    mark = f"*This page is generated from {source} by `{COMMAND}`: change them, not it.*"
    return "\n\n".join([f"# {title}", mark, *parts]) + "\n"
