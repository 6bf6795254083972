"""Groups of tests: what `make test` runs, what only `make test-all` runs, and which tests share a process.

`pytest --thorough no` runs the first group and `pytest --thorough only` the rest; without the option both run. A test
belongs to `make test` unless it is marked `@pytest.mark.thorough(REASON)`; the reason says what makes it
expensive. A file whose tests are all left out is not even imported: with `pytestmark = pytest.mark.thorough(REASON)` on
one line, `make test` does not pay for its imports and parameters.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

MODULE_MARKS = re.compile(r"^pytestmark = .*$", re.MULTILINE)
MARK = re.compile(r"\bmark\.(\w+)")
OF_EACH_LAYOUT = frozenset(("bloom", "gemma3_text", "gpt2", "llama", "phi3"))
"""Model types whose weights are stored in different ways: queries, keys and values in one matrix by head or in a row,
transposed matrices, gated neurons in two matrices or in one, norms of heads."""
ON_A_CLUSTER = "tests/ray_jobs/cluster/"
"""The folder of tests that share a Ray cluster."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses a group."""
    parser.addoption("--thorough", choices=("no", "only"), help="leave the thorough tests out, or run only these")


def pytest_configure(config: pytest.Config) -> None:
    """Add the group to the expression for marks, in this process and in workers of pytest-xdist."""
    config.option.markexpr = with_group(config.option.markexpr, config.option.thorough)


def with_group(marks: str, thorough: str | None) -> str:
    """Return an expression for marks that chooses a group too, if it does not yet."""
    group = {"no": "not thorough", "only": "thorough"}.get(thorough or "")
    if group is None or marks == group or marks.startswith(f"{group} and "):
        return marks
    return f"{group} and ({marks})" if " or " in marks else f"{group} and {marks}" if marks else group


def is_left_out(source: str, expression: str) -> bool:
    """Whether no test of a file can match an expression for marks.

    Args:
        source: the text of the file.
        expression: names of marks joined by `and`, each perhaps after `not`, as the commands of this project use them.
            Every file may match any other expression.
    """
    of_all_tests = {mark for line in MODULE_MARKS.findall(source) for mark in MARK.findall(line)}
    of_any_test = set(MARK.findall(source))
    for term in expression.split(" and "):
        if re.fullmatch(r"not \w+", term) and term.removeprefix("not ") in of_all_tests:
            return True
        if re.fullmatch(r"\w+", term) and term not in of_any_test:
            return True
    return False


def of_each_layout(names: Iterable[str]) -> list[Any]:
    """Cases of a test of model types: one of each layout of weights for `make test`, the others for `make test-all`."""
    others = pytest.mark.thorough("covers all model types")
    return [pytest.param(name, marks=() if name in OF_EACH_LAYOUT else others) for name in names]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose tests are all left out."""
    if collection_path.suffix != ".py" or not config.option.markexpr:
        return None
    return is_left_out(collection_path.read_text("utf-8"), config.option.markexpr) or None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """Make no cases of a function that is left out as a whole."""
    if not name.startswith("test"):
        return None
    marks = {mark.name for mark in getattr(obj, "pytestmark", ()) if isinstance(mark, pytest.Mark)}
    left_out = {f"not {mark}" for mark in marks} & set(collector.config.option.markexpr.split(" and "))
    return [] if left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Require reasons, and begin with the tests on a Ray cluster, which takes long to start.

    Raises:
        pytest.UsageError: a test is marked as thorough without a reason.
    """
    for item in items:
        thorough = item.get_closest_marker("thorough")
        if thorough is not None and not (thorough.args and isinstance(thorough.args[0], str)):
            raise pytest.UsageError(f"{item.nodeid}: pytest.mark.thorough needs a reason")
    items.sort(key=lambda item: not item.nodeid.startswith(ON_A_CLUSTER))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one process run all tests of a file, which share fixtures, and one all tests that share the Ray cluster."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only the process that starts workers has it

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ON_A_CLUSTER if nodeid.startswith(ON_A_CLUSTER) else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.option.dist == "loadfile" else None
