"""Deprecated names: they still work, and say since when they are deprecated and in which version they are removed.

A declaration stands beside the name: in the type of a recipe key (`Annotated[int, Deprecated("1.1", "1.3")]`), in
`OLD_NAMES` of a command or an option, in the opening comment of a query or a view (`-- deprecated in 1.1, removed in
1.3: use differences`, on one line), or above a Python function (`@deprecated_function(Deprecated("1.1", "1.3"))`).
docs/stability.md has the promise.
"""

import functools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

FEWEST_MINORS = 2
"""Least number of minor versions from the one that deprecates a name to the one that removes it."""
DECLARATION = re.compile(r"^deprecated in (\S+), removed in ([^\s:]+)(?:: use (.+))?$")
"""Declaration in the opening comment of an SQL file."""
_VERSION = re.compile(r"(\d+)\.(\d+)")
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


class DeprecatedNameWarning(UserWarning):
    """A name works, and is removed in a later version. Shown by default, so that users see it, not only developers."""


@dataclass(frozen=True)
class Deprecated:
    """The declaration of a deprecated name.

    Raises:
        ValueError: a version is not MAJOR.MINOR, or the name would be removed too early. After a new major version
            two of its minor versions count, because the number of the earlier ones is not known in advance.
    """

    since: str
    """Version that deprecates it."""
    until: str
    """Version that removes it."""
    use: str = ""
    """What to use instead."""

    def __post_init__(self) -> None:
        since, until = _parsed(self.since), _parsed(self.until)
        first_minor = since[1] if until[0] == since[0] else 0
        if until[0] < since[0] or until[1] < first_minor + FEWEST_MINORS:
            expected = f"at least {FEWEST_MINORS} minor versions between them"
            raise ValueError(f"deprecated in {self.since}, removed in {self.until}: expected {expected}")

    def __str__(self) -> str:
        instead = f"; use {self.use}" if self.use else ""
        return f"deprecated since {self.since}, removed in {self.until}{instead}"


def _parsed(version: str) -> tuple[int, int]:
    """Return major and minor version."""
    if (match := _VERSION.fullmatch(version)) is None:
        raise ValueError(f"expected MAJOR.MINOR, got {version!r}")
    return int(match[1]), int(match[2])


def warn_deprecated(what: str, declaration: Deprecated, *, stacklevel: int = 1) -> None:
    """Warn that a name is deprecated.

    Args:
        what: kind and name, such as `recipe key bits`.
        stacklevel: callers between this function and the line that used the name.
    """
    warnings.warn(f"{what} is {declaration}", DeprecatedNameWarning, stacklevel=stacklevel + 1)


def declared_in(line: str) -> Deprecated | None:
    """Return the declaration of a line of an SQL comment; None if it has none."""
    match = DECLARATION.match(line)
    return Deprecated(match[1], match[2], use=match[3] or "") if match else None


def deprecated_function(
    declaration: Deprecated,
) -> Callable[[Callable[Given, Returned]], Callable[Given, Returned]]:
    """Mark a public Python function or method; each call warns."""

    def mark(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        @functools.wraps(function)
        def warning(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            warn_deprecated(f"{function.__qualname__}()", declaration, stacklevel=2)
            return function(*args, **kwargs)

        warning.__doc__ = f"{function.__doc__ or ''}\n\n{str(declaration).capitalize()}.".strip()
        return warning

    return mark
