"""Commands without a recipe leave a run in the store that lists each record they wrote."""

from pathlib import Path

import pytest

from mlprune.store.store import Store
from ray_jobs.driver.provenance import recorded_run
from ray_jobs.driver.status.run_status import store_status
from ray_jobs.process.environment import this_environment
from tests.records import made_up_record
from tests.run_entries import entries

RECORDS = [made_up_record("evaluations", {"name": name}) for name in "ab"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run_files(store: Store, kind: str) -> list[dict[str, object]]:
    return [store.read_json(path) for path in store.list("runs") if path.rpartition("/")[2].startswith(kind)]


def test_each_record_is_a_job_of_a_run_of_the_command(store: Store) -> None:
    with recorded_run(store, "rescore") as opened:
        for record in RECORDS:
            opened.write_record(record)
    assert store.record_names() == sorted((record.kind, record.id) for record in RECORDS)
    (run,) = run_files(store, "run")
    jobs = entries(store, "job")
    assert (run["command"], run["environment_id"]) == ("rescore", this_environment().id)
    assert [(job["record_id"], job["status"], job["environment_id"]) for job in jobs] == [
        (record.id, "done", this_environment().id) for record in RECORDS
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
            opened.write_record(RECORDS[0])
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        interrupted()
    assert [row["how"] for row in run_files(store, "ended")] == ["stopped"]
