"""Title and source line of a generated page."""

import re
from collections.abc import Iterable

from mlprune import capabilities
from mlprune.deprecation import Deprecated

COMMAND = "make docs"
UNSTABLE = "**[unstable](../stability.md#unstable)**"
"""Mark of what a version may change, on a page of the reference."""


def page(title: str, parts: Iterable[str], *, source: str) -> str:
    """Return a Markdown page that names its source."""
    mark = f"*This page is generated from {source} by `{COMMAND}`. Change the source, not this page.*"
    return "\n\n".join([f"# {title}", mark, *parts]) + "\n"


def without_links(text: str) -> str:
    """Return Markdown on one line with the words of links and images in the place of both."""
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split()))


def capability_note(name: str, values: str = "") -> str:
    """Return the sentence that names the capability of something, and says if it is unstable; empty for the core.

    Args:
        values: what of a key belongs to it, in parentheses; empty for all.
    """
    mark = f", {UNSTABLE}" if name in capabilities.UNSTABLE else ""
    return f" Capability: `{name}`{values}{mark}." if name else ""


def deprecation_note(declaration: Deprecated | None) -> str:
    """Return the sentence that says until when a name works; empty for a name that is not deprecated."""
    text = str(declaration or "")
    return f" {text[:1].upper()}{text[1:]}." if text else ""
