"""`mlprune status`: what the files and claims of runs say, however the runs are."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlprune.errors import StoreError
from mlprune.steps.job import RecordKey
from mlprune.store.claims import Claims, claim_path
from mlprune.store.store import Store
from ray_jobs.cli.application import main
from ray_jobs.cli.status_text import format_run
from ray_jobs.driver.run_log import RunLog
from ray_jobs.driver.run_status import RunStatus, store_status
from ray_jobs.workers.worker import Failure, Outcome
from tests.stub_jobs import StubJob

RUN = "20260101T000000-abc123"
NOW = datetime.now(UTC)


class NamedJob(StubJob):
    """A job that is only a name."""

    step: ClassVar[str] = "prune"

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("masks", self.name),)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def journal(store: Store) -> RunLog:
    return begun(store)


def begun(store: Store, run_id: str = RUN, *, started: datetime = NOW) -> RunLog:
    """A run of four jobs that has begun."""
    run = {"run_id": run_id, "recipe": "tiny", "host": "node", "address": "auto", "started_at": started.isoformat()}
    store.write_run_file(run_id, "run", run)
    journal = RunLog(store, run_id)
    journal.planned([NamedJob(name) for name in "abcd"])
    return journal


def told(journal: RunLog, name: str, status: str = "done", *, started: datetime = NOW, attempt: int = 1) -> None:
    """Tell how a job of two seconds went."""
    failure = None if status == "done" else Failure("ValueError", "broken", is_transient=False, is_damage=False)
    outcome = Outcome(("masks", name), "prune", "node", "worker-0", started.isoformat(), 2.0, 0.1, failure)
    journal.job(NamedJob(name), outcome, status=status, attempt=attempt)
    if failure and status == "failed":
        journal.failure(outcome, failure, attempts=attempt)


def planned_by(store: Store, process: object, run_id: str = RUN) -> None:
    """Pretend that another process runs it."""
    path = f"runs/{run_id}/planned.json"
    store.write_bytes(path, json.dumps({**store.read_json(path), "process": process}).encode())


def only(store: Store, **options: Any) -> RunStatus:
    (run,) = store_status(store, **options)
    return run


def test_jobs_done_left_failed_and_repeated_are_counted_a_step(store: Store, journal: RunLog) -> None:
    told(journal, "a")
    told(journal, "b", "lost")
    told(journal, "b", attempt=2)
    told(journal, "c", "failed")
    run = only(store)
    step = run.steps["prune"]
    assert (run.state, step.n_jobs, step.n_done, step.n_left, step.n_failed) == ("running", 4, 2, 1, 1)
    assert (run.lost, step.spent_s, dict(run.workers)) == (1, 4.0, {"node worker-0": 4})
    assert run.failures == ("prune c: broken",)


def test_time_left_follows_from_what_the_done_jobs_took(store: Store) -> None:
    journal = begun(store)
    path = f"runs/{RUN}/planned.json"
    store.write_bytes(path, json.dumps({**store.read_json(path), "planned_at": NOW.isoformat()}).encode())
    told(journal, "a")
    run = only(store, now=NOW + timedelta(seconds=3))
    assert run.elapsed_s == pytest.approx(3)
    assert run.remaining_s == pytest.approx(9)
    assert "about 9 s left" in format_run(run)


def test_what_another_run_did_counts_as_done(store: Store, journal: RunLog) -> None:
    journal.elsewhere(NamedJob("a"))
    assert only(store).steps["prune"].n_left == 3


@pytest.mark.parametrize(
    ("how", "state", "words"), [("done", "done", "done"), ("failed", "failed", "some jobs failed")]
)
def test_a_run_that_ended_says_how(how: str, state: str, words: str, store: Store, journal: RunLog) -> None:
    journal.ended(how, n_done=4)
    run = only(store)
    assert (run.state, run.remaining_s) == (state, None)
    assert words in format_run(run)


def test_a_run_that_was_stopped_says_so(store: Store, journal: RunLog) -> None:
    journal.ended("stopped")
    assert only(store).state == "stopped"


def test_a_run_whose_process_of_this_machine_is_gone_died(store: Store, journal: RunLog) -> None:
    space, number, start = store.read_json(f"runs/{RUN}/planned.json")["process"].split("/")
    planned_by(store, f"{space}/{number}/{int(start) + 1}")
    run = only(store)
    assert run.state == "died"
    assert "rerun the same command" in format_run(run)


@pytest.mark.parametrize(("silent_s", "state"), [(20, "running"), (300, "silent")])
def test_a_run_elsewhere_lives_as_long_as_it_says_something(
    silent_s: float, state: str, store: Store, journal: RunLog
) -> None:
    planned_by(store, "elsewhere/1/1")
    now = datetime.now(UTC) + timedelta(seconds=silent_s)  # from when the files were written
    assert only(store, now=now).state == state


def test_a_renewed_claim_is_a_sign_of_life_and_says_what_is_worked_on(store: Store, journal: RunLog) -> None:
    planned_by(store, "elsewhere/1/1")
    later = NOW + timedelta(hours=5)
    claim = {"owner": RUN, "process": "elsewhere/1/1", "stale_after_s": 60, "renewed_at": later.isoformat()}
    store.write_bytes(claim_path("masks", "d"), json.dumps(claim).encode())
    run = only(store, now=later + timedelta(seconds=30))
    assert (run.state, run.at_work_on) == ("running", ("masks/d",))
    assert "working on masks/d" in format_run(run)
    assert only(store, now=later + timedelta(seconds=90)).state == "silent"


def test_a_live_run_is_seen_at_work(store: Store, journal: RunLog) -> None:
    with Claims(store, RUN) as claims:
        claims.take(("masks", "a"))
        assert only(store).at_work_on == ("masks/a",)


def test_the_newest_runs_come_first_and_those_with_claims_are_never_left_out(store: Store) -> None:
    for day in (1, 2, 3, 4):
        begun(store, f"2026010{day}T000000-abc123").ended("done")
    with Claims(store, "20260101T000000-abc123") as claims:
        claims.take(("masks", "a"))
        assert [run.run_id[7] for run in store_status(store, last=2)] == ["4", "3", "1"]


def test_a_round_of_a_run_that_mended_damage_has_the_name_of_its_recipe(store: Store, journal: RunLog) -> None:
    journal.ended("failed")
    RunLog(store, f"{RUN}-1").planned([NamedJob("a")])
    assert [(run.run_id, run.recipe) for run in store_status(store)] == [(f"{RUN}-1", "tiny"), (RUN, "tiny")]


def test_files_that_cannot_be_read_are_passed_over(store: Store, journal: RunLog) -> None:
    told(journal, "a")
    store.write_bytes(f"runs/{RUN}/job-7.json", b'{"half')
    store.write_bytes(f"runs/{RUN}/failure-8.json", b"[]")
    store.write_bytes("runs/20270101T000000-fffff1/run.json", b"{}")
    assert only(store).steps["prune"].n_done == 1


def test_a_store_that_no_run_has_written_to_is_bad_input(store: Store) -> None:
    with pytest.raises(StoreError, match="no run has written"):
        store_status(store)
    assert store.local_root is not None
    assert not store.local_root.exists()


@pytest.fixture
def read_only(store: Store, journal: RunLog) -> Callable[[], dict[str, int]]:
    """Says when each file of the store was changed."""
    assert store.local_root is not None
    root = store.local_root
    (root / "catalog.duckdb").write_bytes(b"held by somebody")
    return lambda: {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_the_command_reads_only_and_needs_no_catalog(
    store: Store, read_only: Callable[[], dict[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    before = read_only()
    monkeypatch.setattr("sys.argv", ["mlprune", "status", "--store", store.uri])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert (end.value.code, err) == (0, "")
    assert out.startswith(f"run {RUN} of tiny on node (auto): running\n  0 of 4 jobs done")
    assert read_only() == before


def test_many_failures_are_cut_short(store: Store, journal: RunLog) -> None:
    for number in range(8):
        told(journal, f"job{number}", "failed")
    assert "failed: and 3 more: mlprune query failures" in format_run(only(store))
