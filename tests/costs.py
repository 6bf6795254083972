"""CPU seconds of tests and of their processes: `pytest --costs` prints the most expensive tests, fixtures and files.

A test costs what this process, its descendants that still live, and those that have ended used from the start of its
first fixture to the end of its last one. Fixtures of a session or module are counted apart, because the test that asks
first does not decide what they cost. `--costs-file FILE` also writes every figure as tab-separated lines, most
expensive first. Processes that a daemon has adopted and that ended before a test did are not counted.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

Costs = dict[str, float]
"""CPU seconds by what was measured: `collection`, `fixture NAME`, or the id of a test."""

N_SHOWN = 40


def cpu_seconds() -> float:
    """User and system time of this process and of all its descendants, ended ones included, in seconds."""
    total = time.process_time() + sum(os.times()[2:4])
    for process in psutil.Process().children(recursive=True):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:  # it has ended meanwhile; the time of its parent includes it from then on
            continue
    return total


def by_file(costs: Costs) -> Costs:
    """The sums by file of tests and of fixtures of a module; what belongs to a folder has its name."""
    sums: defaultdict[str, float] = defaultdict(float)
    for name, seconds in costs.items():
        sums[name.removeprefix("fixture ").partition("::")[0] or name] += seconds
    return dict(sums)


def most_expensive_first(costs: Costs) -> list[tuple[str, float]]:
    """Names and CPU seconds in falling order, equal ones by name."""
    return sorted(costs.items(), key=lambda entry: (-entry[1], entry[0]))


class CostPlugin:
    """Measure each test of one pytest process."""

    def __init__(self) -> None:
        self.costs: Costs = {}
        self._at_start = 0.0
        self._in_fixtures = 0.0

    def add(self, name: str, seconds: float) -> None:
        """Add CPU seconds to a name."""
        self.costs[name] = self.costs.get(name, 0.0) + seconds

    def pytest_collection_finish(self) -> None:
        """Everything up to here, imports included, is the cost of the collection."""
        self.add("collection", cpu_seconds())

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
        """Count fixtures of a session or module apart, without those that they ask for."""
        if fixturedef.scope == "function":
            return (yield)
        before, nested_before = cpu_seconds(), self._in_fixtures
        try:
            return (yield)
        finally:
            own = cpu_seconds() - before - (self._in_fixtures - nested_before)
            self._in_fixtures += own
            self.add(f"fixture {fixturedef.baseid}::{fixturedef.argname}", own)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        """Measure one test."""
        before, in_fixtures_before = cpu_seconds(), self._in_fixtures
        try:
            return (yield)
        finally:
            self.add(item.nodeid, cpu_seconds() - before - (self._in_fixtures - in_fixtures_before))


class WorkerCosts(CostPlugin):
    """Measure the tests of one worker of pytest-xdist and hand the figures to the process that started it."""

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the figures."""
        session.config.workeroutput["costs"] = self.costs  # type: ignore[attr-defined] - pytest-xdist adds it


class CostReport(CostPlugin):
    """Print the figures of this process and of its workers."""

    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self._file = file

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add the figures of a worker that has finished; a worker that died has none."""
        for name, seconds in getattr(node, "workeroutput", {}).get("costs", {}).items():
            self.add(name, seconds)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the most expensive tests, fixtures and files, and write all of them."""
        write = terminalreporter.write_line
        for title, costs in (("tests and fixtures", self.costs), ("files", by_file(self.costs))):
            write(f"\nCPU seconds of {title}: {sum(costs.values()):,.1f} in {len(costs):,}; the most expensive:")
            for name, seconds in most_expensive_first(costs)[:N_SHOWN]:
                write(f"{seconds:8.2f}  {name}")
        if self._file is not None:
            self._file.write_text(
                "".join(f"{seconds:.3f}\t{name}\n" for name, seconds in most_expensive_first(self.costs))
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--costs` and `--costs-file`."""
    help_text = "print CPU seconds per test, fixture and file, processes of the tests included"
    parser.addoption("--costs", action="store_true", help=help_text)
    parser.addoption("--costs-file", type=Path, metavar="FILE", help="the same, and write all figures to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Measure if asked to."""
    file = config.getoption("costs_file")
    if file is None and not config.getoption("costs"):
        return
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(WorkerCosts())
    else:
        config.pluginmanager.register(CostReport(file))
