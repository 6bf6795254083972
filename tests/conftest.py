"""What several tests share: one run of the tiny recipe, made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Catalogs of object stores are cached in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, corpus, code and facts. Not to be changed: take a copy."""
    from tests.tiny_recipes import write_inputs  # noqa: PLC0415 - tests that read no model need not wait for torch

    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def tiny_run(tiny_inputs: Path):
    """The finished run of the tiny recipe. Not to be changed: take a copy of its store."""
    from tests.tiny_recipes import finished_run, tiny_recipe  # noqa: PLC0415

    return finished_run(tiny_inputs, tiny_recipe(), name="tiny")


@pytest.fixture(scope="session")
def small_run(tiny_inputs: Path):
    """The finished run of the small recipe. Not to be changed: take a copy of its store."""
    from tests.tiny_recipes import finished_run, small_recipe  # noqa: PLC0415

    return finished_run(tiny_inputs, small_recipe(), name="small")


@pytest.fixture(scope="session")
def method_run(tiny_inputs: Path):
    """The finished run of the methods recipe. Not to be changed: take a copy of its store."""
    from tests.tiny_recipes import finished_run, method_recipe  # noqa: PLC0415

    return finished_run(tiny_inputs, method_recipe(), name="methods")


@pytest.fixture(scope="session")
def baseline_run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory):
    """The finished run of the recipe of baselines. Not to be changed: take a copy of its store."""
    from tests.tiny_recipes import baseline_recipe, finished_run, write_baseline_inputs  # noqa: PLC0415

    folder = write_baseline_inputs(tiny_inputs, tmp_path_factory.mktemp("baselines") / "inputs")
    return finished_run(folder, baseline_recipe(), name="baselines")


@pytest.fixture
def own_inputs(tiny_inputs: Path, tmp_path: Path) -> Path:
    """A copy of the tiny inputs that a test may change."""
    from tests.tiny_recipes import copied_inputs  # noqa: PLC0415

    return copied_inputs(tiny_inputs, tmp_path / "inputs")


@pytest.fixture
def copied_store(tmp_path: Path) -> Callable:
    """Copies a store into the test's own folder."""
    from tests.tiny_recipes import copy_of  # noqa: PLC0415

    return lambda store: copy_of(store, tmp_path / "store")
