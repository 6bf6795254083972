"""Escape characters that a terminal or a browser would interpret instead of showing them.

A name in a record of another store can contain anything: a control character that clears the terminal, or an override
of the writing direction that makes one name look like another. They are shown as escapes such as `\\x1b`.
"""

import re

_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters except the tab and the line break
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, overrides and isolates of the writing direction
    "\u2028\u2029\ud800-\udfff\ufeff\U000e0000-\U000e007f]"  # line separators, half characters, invisible tags
)


def visible(text: str) -> str:
    """Return a text whose control characters and overrides of the writing direction are escaped; lines stay."""
    return _UNSHOWN.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
