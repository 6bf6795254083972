"""Test the tests: change one operator of the source at a time and run the tests that execute its line.

    pip install -e ".[mutants]"
    printf '[run]\\ndynamic_context = test_function\\nsource = mlprune, catalog, ray_jobs\\n' > contexts
    coverage run --rcfile contexts -m pytest --costs-file costs.tsv
    python -m infra.mutants --coverage .coverage --costs costs.tsv --number 150 > mutants.tsv

A mutant is killed by the first test that fails with it. The tests of `make test` are tried first, then the thorough
ones; within a group those of the module's own test file first, then the cheapest. One line is printed per mutant:
outcome (`test`, `thorough` or `survived`), file, line, operator, number of the place in the file, and the test that
failed. A shared fixture's lines are only known of the test that asked for it first, so the module's own test file and
the golden runs are tried against every mutant. Compiled kernels are not measured by coverage.py, so their lines have no
mutants.

Run it in a clone of its own: it writes each mutant into the source file and writes the original back.
"""

import argparse
import contextlib
import gc
import importlib
import json
import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import parso
import pytest
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

FOLDERS = ("mlprune/numeric", "mlprune/pruning", "mlprune/steps/compare", "mlprune/steps/questions", "mlprune/store")
OPERATORS = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|BitAnd_BitOr|BitOr_BitAnd)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is)"
    r"|ReplaceUnaryOperator_(Delete_Not|Delete_USub)|AddNot|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    r"|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceBreakWithContinue|NumberReplacer)"
)
"""One change of each kind of operator; the others would be killed by the same tests."""
GROUPS = {"test": "no", "thorough": "only"}
"""Name of a group of tests -> the value of the option `--thorough` that runs it."""
MAX_SECONDS = 600
"""After this time a mutant counts as killed: it runs forever."""
OWN = frozenset(("mlprune", "catalog", "ray_jobs", "tests", "infra", "__main__", "__mp_main__"))
"""Packages that every forked process imports again."""
GOLDEN = "tests/test_golden.py"
MAX_CPU_SECONDS, MAX_FILES = 40.0, 10
"""CPU seconds of the tests of a group that are tried against one mutant, and their files."""


@dataclass(frozen=True)
class Mutant:
    """One changed operator: the n-th place in a file where an operator of the mutation tester applies."""

    path: str
    line: int
    operator: str
    occurrence: int


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file, apart from those in annotations, which do not run."""
    tree = parso.parse(path.read_text("utf-8"))
    for name in filter(OPERATORS.fullmatch, plugins.operator_names()):
        operator = operator_named(name)
        places = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, ((line, _), _) in enumerate(places):
            yield Mutant(str(path), line, name, occurrence)


def operator_named(name: str) -> Operator:
    """An operator of the mutation tester."""
    return plugins.get_operator(name)()


def test_function(context: str) -> str:
    """The id of a test function from a context of coverage.py: `a.test_b.test_c`, or an id with parameters."""
    if "::" in context:
        return context.partition("[")[0]
    module, _, function = context.rpartition(".")
    return f"{module.replace('.', '/')}.py::{function}"


def tests_by_line(data_files: Sequence[Path], path: str) -> dict[int, set[str]]:
    """Line -> test functions that execute it."""
    found: dict[int, set[str]] = {}
    for data_file in data_files:
        data = coverage.CoverageData(str(data_file))
        data.read()
        for measured in data.measured_files():
            if measured.endswith(f"/{path}"):
                for line, contexts in data.contexts_by_lineno(measured).items():
                    functions = {test_function(context) for context in contexts if "test_" in context}
                    found.setdefault(line, set()).update(functions)
    return found


def costs_of_functions(file: Path) -> dict[str, float]:
    """Test function -> CPU seconds of all its cases."""
    costs: dict[str, float] = {}
    for line in file.read_text("utf-8").splitlines():
        seconds, _, test = line.partition("\t")
        costs[test.partition("[")[0]] = costs.get(test.partition("[")[0], 0.0) + float(seconds)
    return costs


def chosen(tests: set[str], group: frozenset[str], costs: dict[str, float], path: str) -> list[str]:
    """The tests of a group to run, in order: those of the module's own test file, then the cheapest, within limits.

    Args:
        tests: test functions that execute the line.
        group: all test functions of the group.
        costs: test function -> CPU seconds.
        path: the mutated file.
    """
    own = f"/test_{Path(path).name}::"
    tests = tests & group | {test for test in group if own in test or test.startswith(GOLDEN)}
    known = {test: costs.get(test, MAX_CPU_SECONDS / 2) for test in tests}
    picked: list[str] = []
    files: set[str] = set()
    seconds = 0.0
    for test, cost in sorted(known.items(), key=lambda entry: (own not in entry[0], entry[1], entry[0])):
        file = test.partition("::")[0]
        if (len(files) < MAX_FILES or file in files) and seconds + cost <= MAX_CPU_SECONDS:
            picked.append(test)
            files.add(file)
            seconds += cost
    return picked


class FirstFailure:
    """Remember the first test that failed."""

    test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure."""
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported fails, too."""
        if report.failed and not self.test:
            self.test = report.nodeid


class Collected:
    """Remember the collected test functions, and the modules of libraries that they import."""

    functions: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember them."""
        self.functions = tuple({item.nodeid.partition("[")[0] for item in session.items})
        self.libraries = tuple(name for name in sys.modules if name.partition(".")[0] not in OWN)


def in_child(work: Callable[[], str]) -> str | None:
    """What a function returns in a silent forked process, or nothing if that is killed after `MAX_SECONDS`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        with os.fdopen(writer, "w") as stream:
            stream.write(work())
        os._exit(0)
    os.close(writer)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(MAX_SECONDS)
    with os.fdopen(reader) as stream:
        result = stream.read()
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return None if os.WIFSIGNALED(status) else result


def functions_of(thorough: str) -> frozenset[str]:
    """The ids of all test functions of a group; the libraries that they import are loaded for all later children."""

    def collect() -> str:
        collected = Collected()
        pytest.main(["--collect-only", "--thorough", thorough, "-p", "no:cacheprovider"], plugins=[collected])
        return json.dumps((collected.functions, collected.libraries))

    functions, libraries = json.loads(in_child(collect) or "[[], []]")
    for name in libraries:
        with contextlib.suppress(Exception):  # some modules can only be imported by their own library
            importlib.import_module(name)
    gc.freeze()
    return frozenset(functions)


def first_failure(tests: Sequence[str], thorough: str) -> str:
    """The first of the tests that fails in a forked process, `timeout` or `died`, or an empty text."""

    def run() -> str:
        failure = FirstFailure()
        options = ["-x", "--thorough", thorough, "-p", "no:cacheprovider", "-p", "no:randomly"]
        status = pytest.main([*options, *tests], plugins=[failure])
        return failure.test or ("died" if status not in (0, 5) else "")

    if not tests:
        return ""
    failed = in_child(run)
    return "timeout" if failed is None else failed


def outcome(
    mutant: Mutant, tests: set[str], costs: dict[str, float], groups: Mapping[str, frozenset[str]]
) -> tuple[str, str]:
    """The group that kills a mutant and the test that does."""
    path = Path(mutant.path)
    original = path.read_text("utf-8")
    changed = mutate_code(original, operator_named(mutant.operator), mutant.occurrence)
    try:
        path.write_text(changed, "utf-8")
        for group, functions in groups.items():
            failed = first_failure(chosen(tests, functions, costs, mutant.path), GROUPS[group])
            if failed:
                return group, failed
    finally:
        path.write_text(original, "utf-8")
    return "survived", ""


def survivors_in(file: Path) -> set[tuple[str, ...]]:
    """File, line, operator and place of the mutants that survived in an earlier run."""
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
    return {tuple(row[1:5]) for row in rows if row[0] == "survived"}


def main() -> None:
    """Sample mutants of executed lines and print the outcome of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", type=Path, nargs="+", required=True, help="data files of coverage.py")
    parser.add_argument("--costs", type=Path, required=True, help="what `pytest --costs-file FILE` has written")
    parser.add_argument("--number", type=int, default=150, help="sampled mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=Path, help="try only the survivors in what an earlier run has printed")
    parser.add_argument("--skip", type=int, default=0, help="mutants at the beginning that were already tried")
    parser.add_argument("--part", default="0/1", help="K/N: only every N-th mutant, from the K-th")
    options = parser.parse_args()
    costs = costs_of_functions(options.costs)
    pools = []
    for folder in FOLDERS:
        pool = [mutant for path in sorted(Path(folder).rglob("*.py")) for mutant in mutants_of(path)]
        random.Random(options.seed).shuffle(pool)  # noqa: S311 - a sample, no secret
        pools.append(pool)
    groups = {group: functions_of(thorough) for group, thorough in GROUPS.items()}
    number, parts = map(int, options.part.split("/"))
    covered: dict[str, dict[int, set[str]]] = {}
    taken = 0
    again = survivors_in(options.again) if options.again else None
    for mutant in (mutant for together in zip(*pools, strict=False) for mutant in together):
        if taken >= options.number:
            break
        if mutant.path not in covered:
            covered[mutant.path] = tests_by_line(options.coverage, mutant.path)
        tests = covered[mutant.path].get(mutant.line, set())
        if not tests:  # a line that no test executes, or an annotation
            continue
        taken += 1
        key = (mutant.path, str(mutant.line), mutant.operator, str(mutant.occurrence))
        if taken <= options.skip or taken % parts != number or (again is not None and key not in again):
            continue
        group, failed = outcome(mutant, tests, costs, groups)
        fields = (group, mutant.path, mutant.line, mutant.operator, mutant.occurrence, failed)
        print(*fields, sep="\t", flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
