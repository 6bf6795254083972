"""Estimating the remaining time of a run."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlprune.errors import StoreError
from mlprune.processes.job_parts import JobParts
from mlprune.steps.job import RecordKey
from mlprune.store import claims as claims_module
from mlprune.store.claims import Claims, claim_path
from mlprune.store.run_status import SHORT_JOB_S, Progress, RunStatus, StatusReader, with_labels
from mlprune.store.store import Store
from ray_jobs.cli.application import main
from ray_jobs.driver.run_log import RunEnd, RunLog
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.mlprune.store.test_claims import until
from tests.stub_jobs import StubJob


def test_each_step_is_weighted_by_the_time_of_its_finished_jobs() -> None:
    total, done, spent = (
        {"observe": 2, "evaluate": 10},
        {"observe": 1, "evaluate": 5},
        {"observe": 10.0, "evaluate": 5.0},
    )
    assert Progress(total, done, spent, elapsed_s=7.5).remaining_s == pytest.approx(7.5)
    assert Progress({"observe": 2}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0).remaining_s == pytest.approx(2.0)


def test_there_is_no_estimate_until_each_step_has_finished_a_job_or_if_no_job_is_left() -> None:
    assert Progress({"observe": 2, "evaluate": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0).remaining_s is None
    assert Progress({"observe": 1}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0).remaining_s is None
    left_s = Progress({"observe": 2, "compare": 9}, {"observe": 1}, {"observe": 4.0}, elapsed_s=2.0).remaining_s
    assert left_s == pytest.approx(2 + 9 * SHORT_JOB_S / 2)


HALF = JobParts("sweep", "block", 9, 18, 0.5, part_share=1 / 18, spent_s=90.0, other_s=10.0)
"""Half of a sweep, in 90 s after 10 s in which the model was loaded."""


def test_finished_parts_of_running_jobs_count() -> None:
    assert Progress({"sweep": 1}, {}, {}, elapsed_s=100, running=[HALF]).remaining_s == pytest.approx(90)
    assert Progress({"sweep": 3}, {}, {}, elapsed_s=100, running=[HALF]).remaining_s == pytest.approx(90 + 2 * 180)
    found = Progress({"sweep": 1}, {}, {}, elapsed_s=104, running=[HALF.later(4)]).estimate
    assert found.remaining_s == pytest.approx(86)
    assert found.share == pytest.approx(104 / 190)


def test_two_jobs_at_a_time_take_as_long_as_the_slower_one() -> None:
    slow = replace(HALF, n_done=6, share=1 / 3)
    found = Progress({"sweep": 2}, {}, {}, elapsed_s=100, running=[HALF, slow]).remaining_s
    assert found == pytest.approx(180)


def test_a_step_of_which_nothing_is_finished_is_estimated_from_its_planned_operations() -> None:
    total = {"observe": 1, "items": 2, "sweep": 1, "evaluate": 4}
    done, spent = {"observe": 1}, {"observe": 10.0}
    assert Progress(total, done, spent, elapsed_s=10).remaining_s is None
    flops = {"observe": 1e12, "sweep": 20e12, "evaluate": 2e12}
    expected_s = 200 + 4 * 20 + 2 * SHORT_JOB_S
    assert Progress(total, done, spent, elapsed_s=10, flops=flops).remaining_s == pytest.approx(expected_s)
    begun = JobParts("sweep", "block", 0, 18, 0.0, part_share=1 / 18, current_s=30.0)
    left_s = Progress(total, done, spent, elapsed_s=40, running=[begun], flops=flops).remaining_s
    assert left_s == pytest.approx(expected_s - 30)


def test_a_resumed_run_begins_at_the_share_that_an_earlier_run_finished() -> None:
    resumed = JobParts("sweep", "block", 9, 18, 0.5, found=0.5, part_share=1 / 18, other_s=5.0)
    assert Progress({"sweep": 1}, {}, {}, elapsed_s=5, running=[resumed]).estimate.share == 0.5
    total, flops = {"sweep": 1, "evaluate": 2, "compare": 10}, {"sweep": 18e12, "evaluate": 1e12}
    assert Progress(total, {}, {}, elapsed_s=5, running=[resumed], flops=flops).estimate.share == pytest.approx(9 / 20)
    later = replace(resumed, n_done=10, share=10 / 18, spent_s=10.0)
    found = Progress({"sweep": 1}, {}, {}, elapsed_s=15, running=[later]).estimate
    assert found.remaining_s == pytest.approx(80)
    assert found.share == pytest.approx((15 + 90) / (15 + 90 + 80))


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
def run_log(store: Store) -> RunLog:
    return begin(store)


def begin(store: Store, run_id: str = RUN, *, started: datetime = NOW) -> RunLog:
    """Begin a run of four jobs."""
    run = {"run_id": run_id, "recipe": "tiny", "host": "node", "address": "auto", "started_at": started.isoformat()}
    store.write_run_file(run_id, "run", run)
    run_log = RunLog(store, run_id)
    run_log.start([NamedJob(name) for name in "abcd"])
    return run_log


def log(run_log: RunLog, name: str, status: str = "done", *, started: datetime = NOW, attempt: int = 1) -> None:
    """Log an attempt of two seconds."""
    failure = None if status == "done" else Failure("ValueError", "broken", is_transient=False, is_damage=False)
    outcome = Outcome(("masks", name), "prune", "node", "worker-0", started.isoformat(), 2.0, 0.1, failure)
    run_log.log_attempt(NamedJob(name), outcome, status=status, attempt=attempt)
    if failure and status == "failed":
        run_log.log_failure(outcome, failure, attempts=attempt)
    run_log.flush()


def set_process(store: Store, process: object, run_id: str = RUN) -> None:
    """Change the process of the run's driver."""
    path = f"runs/{run_id}/planned.json"
    store.write_bytes(path, json.dumps({**store.read_json(path), "process": process}).encode())


def only(store: Store, **options: Any) -> RunStatus:
    (run,) = StatusReader(store).read(**options)
    return run


def test_done_left_failed_and_retried_jobs_are_counted_per_step(store: Store, run_log: RunLog) -> None:
    log(run_log, "a")
    log(run_log, "b", "lost")
    log(run_log, "b", attempt=2)
    log(run_log, "c", "failed")
    run = only(store)
    step = run.steps["prune"]
    assert (run.state, step.n_jobs, step.n_done, step.n_left, step.n_failed) == ("running", 4, 2, 1, 1)
    assert (run.n_retried, step.spent_s, dict(run.workers)) == (1, 4.0, {"node worker-0": 4})
    assert run.failures == ("prune c: broken",)


def test_the_remaining_time_is_estimated_from_the_done_jobs(store: Store) -> None:
    run_log = begin(store)
    path = f"runs/{RUN}/planned.json"
    store.write_bytes(path, json.dumps({**store.read_json(path), "planned_at": NOW.isoformat()}).encode())
    log(run_log, "a")
    run = only(store, now=NOW + timedelta(seconds=3))
    assert run.elapsed_s == pytest.approx(3)
    assert run.remaining_s == pytest.approx(9)


def test_jobs_of_another_run_count_as_done(store: Store, run_log: RunLog) -> None:
    run_log.log_done_elsewhere(NamedJob("a"))
    run_log.flush()
    assert only(store).steps["prune"].n_left == 3


@pytest.mark.parametrize("how", ["done", "failed"])
def test_an_ended_run_is_done_or_failed(how: RunEnd, store: Store, run_log: RunLog) -> None:
    run_log.end(how, n_done=4)
    run = only(store)
    assert (run.state, run.remaining_s) == (how, None)


def test_a_stopped_run_is_stopped(store: Store, run_log: RunLog) -> None:
    run_log.end("stopped")
    assert only(store).state == "stopped"


def test_a_run_whose_local_process_is_gone_has_died(store: Store, run_log: RunLog) -> None:
    space, number, start = store.read_json(f"runs/{RUN}/planned.json")["process"].split("/")
    set_process(store, f"{space}/{number}/{int(start) + 1}")
    run = only(store)
    assert run.state == "died"


@pytest.mark.parametrize(("silent_s", "state"), [(20, "running"), (300, "silent")])
def test_a_run_on_another_machine_is_running_until_it_is_silent_for_too_long(
    silent_s: float, state: str, store: Store, run_log: RunLog
) -> None:
    set_process(store, "elsewhere/1/1")
    now = datetime.now(UTC) + timedelta(seconds=silent_s)  # after the files were written
    assert only(store, now=now).state == state


def test_a_renewed_claim_is_a_sign_of_life_and_shows_the_current_work(store: Store, run_log: RunLog) -> None:
    set_process(store, "elsewhere/1/1")
    later = NOW + timedelta(hours=5)
    claim = {"owner": RUN, "process": "elsewhere/1/1", "stale_after_s": 60, "renewed_at": later.isoformat()}
    store.write_bytes(claim_path("masks", "d"), json.dumps(claim).encode())
    run = only(store, now=later + timedelta(seconds=30))
    assert (run.state, run.working_on) == ("running", ("masks/d",))
    assert only(store, now=later + timedelta(seconds=90)).state == "silent"


def test_ids_of_variants_are_shown_as_labels_and_others_are_shortened() -> None:
    known, unknown = "a" * 20, "b" * 20
    text = with_labels(f"evaluate facts of variant {known}, {unknown}", {known: "wanda fr-en 0.3"}.get)
    assert text == "evaluate facts of variant wanda fr-en 0.3, bbbbbb"


def test_the_claims_of_a_live_run_are_its_current_work(store: Store, run_log: RunLog) -> None:
    with Claims(store, RUN) as claims:
        claims.take(("runs", RUN))  # keeps files from being retired; it does not count as work
        claims.take(("masks", "a"))
        assert only(store).working_on == ("masks/a",)
        claims.take(("evaluations", "e"), work="evaluate facts sw test of variant v")
        assert only(store).working_on == ("evaluate facts sw test of variant v", "masks/a")


def test_claims_say_how_far_the_running_jobs_are(
    store: Store, run_log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "PARTS_S", 0.01)
    parts = replace(HALF, step="prune")
    with Claims(store, RUN, parts=lambda: {("masks", "a"): parts}) as claims:
        claims.take(("masks", "a"), work="sweep wanda of fr-en")
        until(lambda: bool(only(store).running))
        run = only(store)
        assert run.working_on == ("sweep wanda of fr-en (block 10 of 18)",)
        assert run.running[0].spent_s == 90
        assert only(store, now=datetime.now(UTC) + timedelta(hours=1)).running[0].current_s > 3000
        assert run.estimate is not None
        assert run.estimate.remaining_s == run.remaining_s
        assert 0 < run.estimate.share < 1
    run_log.end("done")
    assert (only(store).running, only(store).estimate) == ((), None)


def test_planned_operations_are_read_from_the_log(store: Store) -> None:
    begin(store)
    RunLog(store, RUN, flops={"sweep": 2e12}).start([NamedJob("a")])
    assert only(store).flops == {"sweep": 2e12}


def test_the_newest_runs_come_first_and_runs_with_claims_are_always_included(store: Store) -> None:
    for day in (1, 2, 3, 4):
        begin(store, f"2026010{day}T000000-abc123").end("done")
    with Claims(store, "20260101T000000-abc123") as claims:
        claims.take(("masks", "a"))
        assert [run.run_id[7] for run in StatusReader(store).read(last=2)] == ["4", "3", "1"]


def test_a_later_round_of_a_run_has_the_name_of_its_recipe(store: Store, run_log: RunLog) -> None:
    run_log.end("failed")
    RunLog(store, f"{RUN}-1").start([NamedJob("a")])
    assert [(run.run_id, run.recipe) for run in StatusReader(store).read()] == [(f"{RUN}-1", "tiny"), (RUN, "tiny")]


def test_unreadable_files_are_skipped(store: Store, run_log: RunLog) -> None:
    log(run_log, "a")
    store.write_bytes(f"runs/{RUN}/job-7.json", b'{"half')
    store.write_bytes(f"runs/{RUN}/failure-8.json", b"[]")
    store.write_bytes("runs/20270101T000000-fffff1/run.json", b"{}")
    assert only(store).steps["prune"].n_done == 1


def test_a_store_without_runs_is_bad_input(store: Store) -> None:
    with pytest.raises(StoreError):
        StatusReader(store).read()
    assert store.local_root is not None
    assert not store.local_root.exists()


@pytest.fixture
def read_only(store: Store, run_log: RunLog) -> Callable[[], dict[str, int]]:
    """A function that returns the modification time of each file of the store."""
    assert store.local_root is not None
    root = store.local_root
    (root / "catalog.duckdb").write_bytes(b"locked")
    return lambda: {str(path): path.stat().st_mtime_ns for path in root.rglob("*")}


def test_the_command_only_reads_and_needs_no_catalog(
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
