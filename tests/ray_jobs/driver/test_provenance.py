"""Commands without a recipe leave a run in the store that lists each record they wrote."""

from pathlib import Path

import pytest

from mlprune.store.records import Record
from mlprune.store.store import Store
from ray_jobs.driver.provenance import recorded_run
from ray_jobs.driver.run_status import store_status
from ray_jobs.process.environment import this_environment


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run_files(store: Store, kind: str) -> list[dict[str, object]]:
    return [store.read_json(path) for path in store.list("runs") if path.rpartition("/")[2].startswith(kind)]


def test_each_record_is_a_job_of_a_run_of_the_command(store: Store) -> None:
    with recorded_run(store, "rescore") as opened:
        for name in "ab":
            opened.write_record(Record("evaluations", name * 20, 1, {}))
    assert store.record_names() == [("evaluations", "a" * 20), ("evaluations", "b" * 20)]
    (run,) = run_files(store, "run")
    jobs = run_files(store, "job")
    assert (run["command"], run["environment_id"]) == ("rescore", this_environment().id)
    assert [(job["record_id"], job["status"], job["environment_id"]) for job in jobs] == [
        (name * 20, "done", this_environment().id) for name in "ab"
    ]
    (status,) = store_status(store)
    assert (status.recipe, status.state, status.steps["rescore"].n_done) == ("rescore", "done", 2)


def test_a_command_that_writes_nothing_leaves_no_run(store: Store) -> None:
    with recorded_run(store, "rescore"):
        pass
    assert store.list("runs") == []


def test_a_command_that_raises_is_logged_as_stopped(store: Store) -> None:
    def interrupted() -> None:
        with recorded_run(store, "harness") as opened:
            opened.write_record(Record("evaluations", "a" * 20, 1, {}))
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        interrupted()
    assert [row["how"] for row in run_files(store, "ended")] == ["stopped"]
