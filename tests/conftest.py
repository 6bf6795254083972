"""Fixtures that several test modules share: the tiny inputs and one finished run of each tiny recipe."""

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import duckdb

    from mlprune.planning import Plan
    from mlprune.store.store import Store
    from tests.composed_variants import Both
    from tests.tiny_recipes import FinishedRun


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cache the catalogs of object stores in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_flushing() -> Iterator[None]:
    """Do not wait for the disk: tests kill processes, which loses nothing that was written, but never the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def has_limits() -> Iterator[bool]:
    """Whether children with limits exist here, without which the model folders of tests are read in this process.

    To fork a process with all libraries takes longer than the reading. Tests of the limits ask for
    `children_with_limits`.
    """
    from mlprune.processes import limited  # noqa: PLC0415 - tests of few modules load few modules

    original = limited.HAS_LIMITS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "HAS_LIMITS", False)
        yield original


@pytest.fixture
def children_with_limits(has_limits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read model folders in a child process with limits, as outside of tests."""
    monkeypatch.setattr("mlprune.processes.limited.HAS_LIMITS", has_limits)


@pytest.fixture(autouse=True)
def _no_plugin_files() -> Iterator[None]:
    """Take back the files of plug-ins that a test gave to this process."""
    from mlprune.methods.plugins import withdraw_files  # noqa: PLC0415 - tests of few modules load few modules

    yield
    withdraw_files()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Take back the worker threads that a test or a command of it has started in this process."""
    from mlprune.processes.parallel import n_threads, set_worker_threads  # noqa: PLC0415 - see above

    yield
    if n_threads() > 1:
        set_worker_threads(1)


WriteComments = Callable[["duckdb.DuckDBPyConnection"], None]


@pytest.fixture(scope="session", autouse=True)
def write_comments() -> Iterator[WriteComments]:
    """The function that writes the comments of tables and columns into a new catalog, which no catalog calls meanwhile.

    They take two thirds of the time in which a catalog is created.
    """
    from catalog.ingest import fold  # noqa: PLC0415 - loads DuckDB

    original = fold._write_comments
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "_write_comments", lambda _: None)
        yield original


def pytest_collection_finish() -> None:
    """Exempt what the libraries and the tests created on import from garbage collection, which would visit it again."""
    gc.collect()
    gc.freeze()


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Fill a folder once per test session, even with several pytest workers, and give each worker a copy.

    The first worker that asks for a name fills the folder. The others wait for it.
    """

    def copy_of_made(name: str, make: Callable[[Path], object]) -> Path:
        target = tmp_path_factory.mktemp(name, numbered=False)
        if "PYTEST_XDIST_WORKER" not in os.environ:
            make(target)
            return target
        shared = tmp_path_factory.getbasetemp().parent / "made-once"
        shared.mkdir(exist_ok=True)
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / f"{name}.done").exists():
                shutil.rmtree(shared / name, ignore_errors=True)
                (shared / name).mkdir()
                make(shared / name)
                (shared / f"{name}.done").touch()
        return shutil.copytree(shared / name, target, dirs_exist_ok=True)

    return copy_of_made


@pytest.fixture(scope="session")
def tiny_inputs(make_once: MakeOnce) -> Path:
    """A folder with a tiny model, corpus, code and facts. Tests must not change it: copy it first."""
    from tests.tiny_recipes import write_inputs  # noqa: PLC0415 - tests that read no model need not wait for torch

    return make_once("tiny-inputs", write_inputs)


@pytest.fixture(scope="session")
def tiny_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the tiny recipe. Tests must not change it: copy its store first."""
    from tests.tiny_recipes import shared_run, tiny_recipe  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, tiny_recipe(), name="tiny")


@pytest.fixture(scope="session")
def tiny_plan(tiny_inputs: Path) -> "Plan":
    """The plan of the tiny recipe; nothing is run."""
    from tests.tiny_recipes import plan_of, tiny_recipe, write_recipe  # noqa: PLC0415

    return plan_of(write_recipe(tiny_inputs, tiny_recipe(), name="tiny-plan.yaml"))


@pytest.fixture(scope="session")
def method_plan(tiny_inputs: Path) -> "Plan":
    """The plan of the recipe of methods; nothing is run."""
    from tests.tiny_recipes import method_recipe, plan_of, write_recipe  # noqa: PLC0415

    return plan_of(write_recipe(tiny_inputs, method_recipe(), name="method-plan.yaml"))


@pytest.fixture(scope="session")
def small_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the small recipe. Tests must not change it: copy its store first."""
    from tests.tiny_recipes import shared_run, small_recipe  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, small_recipe(), name="small")


@pytest.fixture(scope="session")
def profile_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of both profiles. Tests must not change it: copy its store first."""
    from tests.tiny_recipes import profile_recipe, shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, profile_recipe(), name="profiles")


@pytest.fixture(scope="session")
def method_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of methods. Tests must not change it: copy its store first."""
    from tests.tiny_recipes import method_recipe, shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, method_recipe(), name="methods")


@pytest.fixture(scope="session")
def derived_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of derived variants. Tests must not change it: copy its store first."""
    from tests.derived_recipe import derived_recipe  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, derived_recipe(), name="derived")


@pytest.fixture(scope="session")
def neuron_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of variants without neurons. Tests must not change it: copy its store first."""
    from tests.neuron_recipe import neuron_recipe  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, neuron_recipe(), name="neurons")


@pytest.fixture(scope="session")
def routing_run(make_once: MakeOnce) -> "FinishedRun":
    """The finished run that observes and removes experts. Tests must not change it: copy its store first."""
    from tests.routing_recipe import routing_recipe, write_routing_inputs  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    inputs = make_once("routing-inputs", write_routing_inputs)
    return shared_run(make_once, inputs, routing_recipe(), name="routing")


@pytest.fixture(scope="session")
def reconstructed_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of reconstructed variants. Tests must not change it: copy its store first."""
    from tests.derived_recipe import reconstructed_recipe  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, reconstructed_recipe(), name="reconstructed")


@pytest.fixture(scope="session")
def coded_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of variants with codes. Tests must not change it: copy its store first."""
    from tests.derived_recipe import coded_recipe  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, coded_recipe(), name="coded")


@pytest.fixture(scope="session")
def recovered_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of recovered variants. Tests must not change it: copy its store first."""
    from tests.derived_recipe import recovered_recipe  # noqa: PLC0415
    from tests.tiny_recipes import shared_run  # noqa: PLC0415

    return shared_run(make_once, tiny_inputs, recovered_recipe(), name="recovered")


@pytest.fixture(scope="session")
def both_runs(method_run: "FinishedRun", make_once: MakeOnce) -> "Both":
    """The same variants, ordered and composed, in two stores. Tests must not change them: copy them first."""
    from tests.composed_variants import both_in, run_both  # noqa: PLC0415

    folder = make_once("composed", lambda folder: run_both(method_run.folder, method_run.store, folder))
    return both_in(method_run.folder, folder)


@pytest.fixture(scope="session")
def baseline_run(tiny_inputs: Path, make_once: MakeOnce) -> "FinishedRun":
    """The finished run of the recipe of baselines. Tests must not change it: copy its store first."""
    from tests.tiny_recipes import baseline_recipe, shared_run, write_baseline_inputs  # noqa: PLC0415

    inputs = make_once("baseline-inputs", lambda folder: write_baseline_inputs(tiny_inputs, folder))
    return shared_run(make_once, inputs, baseline_recipe(), name="baselines")


@pytest.fixture(scope="session")
def vocabulary_run(make_once: MakeOnce) -> "FinishedRun":
    """The finished run of two smaller vocabularies, `v0` and a random one. Tests must not change it."""
    from tests.tiny_recipes import shared_run  # noqa: PLC0415
    from tests.vocabulary_recipe import EMBEDDED, vocabulary_recipe  # noqa: PLC0415

    inputs = make_once("vocabulary-inputs", lambda folder: shutil.copytree(EMBEDDED, folder / "model"))
    keep = [{"languages": ["en", "sw"]}, {"languages": "en", "size": 700, "score": "random", "seed": 1}]
    return shared_run(make_once, inputs, vocabulary_recipe(*keep), name="vocabulary")


@pytest.fixture
def own_inputs(tiny_inputs: Path, tmp_path: Path) -> Path:
    """A copy of the tiny inputs that a test may change."""
    from tests.tiny_recipes import copied_inputs  # noqa: PLC0415

    return copied_inputs(tiny_inputs, tmp_path / "inputs")


@pytest.fixture
def copied_store(tmp_path: Path) -> "Callable[[Store], Store]":
    """A function that copies a store into the test's own folder."""
    from tests.tiny_recipes import copy_of  # noqa: PLC0415

    return lambda store: copy_of(store, tmp_path / "store")
