"""Regular expressions of users in RE2's syntax, whose time is linear in the text, unlike that of Python's `re`.

RE2 is the engine of Arrow's string functions. It has no backreferences and no lookaround, and it limits the memory of
an expression, so that no pattern in a recipe can stop a run.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mlprune.errors import BadInputError

GROUP = "answer"
"""Name of the group that is found."""


def check_pattern(pattern: str) -> None:
    """Check that RE2 can compile a pattern and that it has the group.

    Raises:
        BadInputError: it cannot, or a group has no name or another one.
    """
    first_groups(pattern, [])


def first_groups(pattern: str, texts: Sequence[str]) -> list[str]:
    """Return the group `answer` of the first match in each text; empty without a match.

    Args:
        pattern: in RE2's syntax, with the group `(?P<answer>...)`; all other groups are `(?:...)`.
    Raises:
        BadInputError: see `check_pattern`.
    """
    expected = "RE2's syntax, with one named group (?P<answer>...) and (?:...) for others"
    try:
        found = pc.extract_regex(pa.array(texts, pa.string()), pattern)
    except (pa.ArrowException, ValueError) as err:
        raise BadInputError(
            "a regular expression cannot be used", expected=expected, got=pattern, reason=str(err)
        ) from err
    names = [field.name for field in found.type]
    if names != [GROUP]:
        raise BadInputError("a regular expression cannot be used", expected=expected, got=pattern, groups=names)
    return [value[GROUP] if value is not None else "" for value in found.to_pylist()]
