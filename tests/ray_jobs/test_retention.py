"""Retired files and the command line: results stay, commands name the way back, and a run makes equal bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mlprune.planning.pending import pending_work
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.command_line import Done
from tests.tiny_recipes import FinishedRun, copy_of, results

Here = Callable[..., Done]
RETIRE = ("store", "gc", "--keep-days", "0", "--min-age-hours", "0")


@pytest.fixture
def store(queried_store: Store, tmp_path: Path) -> Store:
    """A copy with a catalog."""
    return copy_of(queried_store, tmp_path / "store")


@pytest.fixture
def retired(store: Store, here: Here) -> Store:
    """A store whose masks were all retired."""
    assert here(*RETIRE, "--delete", "--store", store.uri).code == 0
    return store


def run(here: Here, finished: FinishedRun, store: Store, *options: str) -> Done:
    return here("run", finished.recipe_path, "--store", store.uri, "--address", "none", *options)


def two_sparsities(store: Store) -> Record:
    """The ordering with two variants, of dense propagation."""
    return next(one for one in store.records("masks") if len(one.rows["ordering_variants"]) == 2)


def test_a_dry_run_says_what_would_go_and_removes_nothing(store: Store, here: Here) -> None:
    before = results(store)
    done = here(*RETIRE, "--format", "csv", "--store", store.uri)
    rows = done.out.splitlines()
    assert rows[0].startswith("action,mb,age_days,rank,why")
    assert [row.split(",")[0] for row in rows[1:]] == ["retire", "retire"]
    assert "statistics" in rows[1]
    assert "running the model" in rows[2]
    assert "--delete" in done.err
    assert results(store) == before


@pytest.mark.thorough("starts runs or workers of its own")
def test_results_stay_and_commands_that_need_the_files_say_how_to_get_them_back(
    small_run: FinishedRun, retired: Store, here: Here, tmp_path: Path
) -> None:
    assert retired.list("masks") == []
    assert {path for path in results(small_run.store) if path.startswith("records/")} <= set(results(retired))
    checked = here("check", "store", "--deep", "--store", retired.uri)
    assert checked.code == 0, checked.out
    assert "retired" in checked.err
    planned = here("plan", small_run.recipe_path, "--store", retired.uri)
    assert " 0 to do" in planned.out
    assert "retired: " in planned.out
    assert "nothing to do" in run(here, small_run, retired, "--scrub").err
    dense_id = next(row["variant_id"] for row in two_sparsities(retired).rows["ordering_variants"])
    model = ("--base-model", small_run.recipe_path.with_name("model"), "--store", retired.uri)
    assert here("check", "variant", dense_id, *model).code == 0
    assert "--remake" in here("check", "variant", "sweep", *model).err  # its statistics were retired, too
    exported = here("export", "sweep", "--out", tmp_path / "out", *model)
    assert exported.code == 2
    assert "--remake" in exported.err
    assert not list(retired.list("quarantine"))


@pytest.mark.thorough("starts runs or workers of its own")
def test_only_the_files_of_a_named_variant_are_made_again(small_run: FinishedRun, retired: Store, here: Here) -> None:
    assert run(here, small_run, retired, "--remake-only", "sweep").code == 0
    (made,) = {path.split("/")[1] for path in retired.list("masks")}
    assert f"retired/masks/{made}.json" not in retired.list("retired")
    assert len(retired.list("retired/masks")) == 1
    assert run(here, small_run, retired, "--remake-only", "no-such").code == 2


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_run_that_needs_retired_files_is_refused_until_it_may_make_them_again(
    small_run: FinishedRun, retired: Store, here: Here
) -> None:
    recipe = yaml.safe_load(small_run.recipe_path.read_text())
    recipe["evaluations"][0]["languages"] = ["en", "fr", "sw"]
    more = small_run.recipe_path.with_name("more-languages.yaml")
    more.write_text(yaml.safe_dump(recipe))
    before = results(retired)
    arguments = ("run", more, "--store", retired.uri, "--address", "none")
    refused = here(*arguments)
    assert refused.code == 2
    assert "--remake" in refused.err
    assert results(retired) == before
    assert "need 3 groups" in here("plan", more, "--store", retired.uri).out
    assert here(*arguments, "--remake").code == 0
    assert retired.list("retired") == []
    assert len(retired.list("records/evaluations")) == len(small_run.store.list("records/evaluations")) + 4


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_killed_remake_leaves_a_sound_store_and_ends_with_equal_bytes(
    small_run: FinishedRun, retired: Store, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, original = [4], Store.write

    def write(self: Store, path: str, data: bytes) -> None:
        if path.startswith("masks/"):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        original(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", write)
        assert run(here, small_run, retired, "--remake").code == 130
    assert pending_work(small_run.plan.jobs, retired).jobs == []
    assert run(here, small_run, retired, "--remake").code == 0
    assert results(retired) == results(small_run.store)
    assert retired.list("quarantine") == []
