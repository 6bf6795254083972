"""Title and source line of a generated page."""

from collections.abc import Iterable

COMMAND = "make docs"


def page(title: str, parts: Iterable[str], *, source: str) -> str:
    """Return a Markdown page that names its source."""
    mark = f"*This page is generated from {source} by `{COMMAND}`. Change the source, not this page.*"
    return "\n\n".join([f"# {title}", mark, *parts]) + "\n"
