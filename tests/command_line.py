"""Result of a command that a test runs in its own process."""

from typing import NamedTuple


class Done(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str
