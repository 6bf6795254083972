"""Text of `mlprune status`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_status import RunStatus, State, StepStatus
from ray_jobs.cli.commands.status import MAX_CLAIMS, MAX_FAILURES, format_run

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = RunStatus(
    run_id="20260101T000000-abc123",
    recipe="tiny",
    host="node",
    address="auto",
    state="running",
    started_at=START,
    last_seen_at=START + timedelta(seconds=60),
    steps={"prune": StepStatus(n_jobs=4, n_done=1, n_failed=1, spent_s=2.0)},
    failures=(),
    workers={"node worker-0": 3},
)


def test_a_running_run_shows_counts_rate_remaining_time_and_workers() -> None:
    assert format_run(replace(RUN, n_retried=1, working_on=("masks/d",))).splitlines() == [
        "run 20260101T000000-abc123 of tiny on node (auto): running",
        "  1 of 4 jobs done in 60 s, 1.0 per minute, about 3 min left",
        "  prune             1 done      2 left, 1 failed, 2.00 s each",
        "  1 attempts were repeated",
        "  working on masks/d",
        "  node worker-0: 3 jobs",
    ]


@pytest.mark.parametrize("state", ["silent", "died", "failed", "stopped"])
def test_an_unfinished_run_shows_how_to_resume_it(state: State) -> None:
    first_line = format_run(replace(RUN, state=state)).splitlines()[0]
    assert "rerun the same command" in first_line


def test_a_finished_run_does_not_ask_to_resume_it() -> None:
    assert "rerun" not in format_run(replace(RUN, state="done"))


def test_only_some_of_many_claims_and_failures_are_listed() -> None:
    failures = tuple(f"prune job-{number}: broken" for number in range(MAX_FAILURES + 3))
    claims = tuple(f"masks/{number}" for number in range(MAX_CLAIMS + 2))
    text = format_run(replace(RUN, failures=failures, working_on=claims))
    assert text.count("broken") == MAX_FAILURES
    assert "and 3 more: mlprune query failures" in text
    assert f"masks/{MAX_CLAIMS - 1} and 2 more" in text


SEARCH = SearchState("blocks", 24, 60, 3456, 9600, 2, 4, 256, 17, 0.41234, is_feasible=True, is_finished=False)


@pytest.mark.parametrize(
    ("search", "line"),
    [
        (
            SEARCH,
            "24 of at most 60 trials, 3,456 of at most 9,600 items, rung 2 of 4 (256 items), best 0.4123 (trial 17)",
        ),
        (
            replace(SEARCH, is_finished=True, rung=4, item_limit=None, is_feasible=False),
            "finished, 24 trials, 3,456 items, rung 4 of 4 (all items), best 0.4123 (trial 17, misses a constraint), "
            "no winner",
        ),
        (
            replace(SEARCH, n_trials=0, n_items=0, rung=0, best=None, objective=None),
            "0 of at most 60 trials, 0 of at most 9,600 items",
        ),
    ],
)
def test_a_search_is_one_line_with_its_trials_items_rung_and_best_trial(search: SearchState, line: str) -> None:
    assert f"  search blocks: {line}" in format_run(replace(RUN, searches=(search,))).splitlines()
