"""The command line run in a test's own process."""

from typing import NamedTuple


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str
