"""Commands on a store: output, exit codes and effect on the files."""

import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from catalog.store import Catalog
from mlprune.errors import BadInputError, EarlierVersionError, StoreError
from mlprune.processes.process_identity import this_process
from mlprune.processes.remaining_time import Estimate
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_status import RunStatus, State, StepStatus
from mlprune.store.scratch import OWNER, PREFIX
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from ray_jobs.cli.commands.status import MAX_CLAIMS, MAX_FAILURES, format_run
from ray_jobs.cli.commands.store import parse_size
from tests.earlier_versions import text_of_version_0_1
from tests.mlprune.store.test_merge import add
from tests.records import made_up_record


def mlprune(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of temporary files: `gc` also lists what killed tests left in the shared one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_compact_merges_the_record_files_into_a_segment(store: Store) -> None:
    result = mlprune("store", "compact", "--store", store.uri)
    assert (result.exit_code, result.stdout) == (0, "3 record files merged into 1 segments\n")
    assert len(store.record_names()) == 3


def test_gc_lists_files_and_deletes_them_only_on_request(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "store" / "masks" / "lost.parquet"
    path.write_bytes(b"lost")
    recent = mlprune("store", "gc", "--store", store.uri).stdout
    assert recent.startswith("0 files, 0 bytes; 1 more")
    two_days_ago = time.time() - 48 * 3600
    os.utime(path, (two_days_ago, two_days_ago))
    listed = mlprune("store", "gc", "--store", store.uri)
    assert (listed.exit_code, path.exists()) == (0, True)
    file_line, summary = listed.stdout.splitlines()
    assert file_line == "           4 masks/lost.parquet"
    assert summary.startswith("1 files, 4 bytes; 0 more")
    deleted = mlprune("store", "gc", "--store", store.uri, "--delete")
    assert (deleted.exit_code, path.exists()) == (0, False)
    assert deleted.stdout.splitlines()[-1].startswith("1 of 1 files deleted")


def test_gc_includes_scratch_folders_of_processes_that_have_ended(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}abandoned"
    folder.mkdir()
    (folder / OWNER).write_text(str(this_process()).rpartition("/")[0] + "/1")  # our process number, another start
    assert str(folder) in mlprune("store", "gc", "--store", store.uri).stdout
    assert folder.exists()
    assert str(folder) in mlprune("store", "gc", "--store", store.uri, "--delete").stdout
    assert not folder.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("store", "compact"),
        (
            "store",
            "gc",
        ),
    ],
)
def test_a_missing_store_is_bad_input(command: tuple[str, ...], tmp_path: Path) -> None:
    result = mlprune(*command, "--store", str(tmp_path / "nothing"))
    assert isinstance(result.exception, StoreError)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--keep-best", "2"],
        ["--by", "accuracy"],
        ["--task", "facts", "--task", "xnli", "--keep-days", "3"],
        ["--language", "fr"],
        ["--quota", "many"],
        ["--quota", "5 parsec"],
    ],
)
def test_retention_options_that_do_not_fit_together_are_refused(store: Store, options: list[str]) -> None:
    result = mlprune("store", "gc", "--store", store.uri, *options)
    assert isinstance(result.exception, BadInputError)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("200GB", 200 * 10**9), ("1.5 TiB", 3 * 2**39), ("12MB", 12 * 10**6), ("7B", 7), ("2kB", 2000), ("1 KiB", 1024)],
)
def test_sizes_have_decimal_and_binary_units(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


def test_a_quota_that_cannot_be_met_is_a_warning(store: Store) -> None:
    result = mlprune("store", "gc", "--store", store.uri, "--quota", "1B")
    assert result.exit_code == 0
    assert "above the quota" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("run", "recipe.yaml"),
        ("plan", "recipe.yaml"),
        ("status",),
        ("status", "--web"),
        ("query", "SELECT 1"),
        ("report", "--out", "report.html"),
        ("rescore",),
        ("check", "store"),
        ("check", "store", "--repair"),
        ("import", "results.json", "--results"),
        ("export", "--as", "parquet", "--out", "exported"),
        ("store", "gc"),
        ("store", "compact"),
        ("store", "rebuild"),
        ("store", "merge", "other"),
    ],
    ids="-".join,
)
def test_a_store_of_version_0_1_is_refused_by_every_command_and_nothing_is_written(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add(Store(tmp_path / "other"), 2)
    old, path = Store(tmp_path / "old"), tmp_path / "recipe.yaml"
    path.write_text("base_model: nowhere\n")
    old.write_bytes(made_up_record().path, text_of_version_0_1(made_up_record()))
    before = sorted(tmp_path.rglob("*"))
    result = mlprune(*command, "--store", "old")
    assert isinstance(result.exception, EarlierVersionError), result.output
    assert result.output == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_merge_copies_all_records_and_folds_them(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    add(other, 7, kind="mask_blocks")
    result = mlprune("store", "merge", other.uri, "--store", store.uri)
    assert (result.exit_code, result.stdout.split()[0]) == (0, "1")
    with Catalog.open(store) as catalog:
        assert catalog.query("SELECT count(*) AS n FROM records") == [{"n": 4}]


def test_merge_of_a_record_without_its_artefact_ends_1_and_names_it(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    record = add(other, 7, kind="mask_blocks")
    (tmp_path / "other" / record.artefacts[0].path).unlink()
    result = mlprune("store", "merge", other.uri, "--store", store.uri)
    assert result.exit_code == 1
    assert record.path in result.stdout


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_merge_without_verification_copies_what_follows_from_nothing_and_says_so(
    store: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    version = RECORD_KINDS["answers"].version
    record = made_up_record("answers", parents={"comparisons": ["0" * 20]}, step_version=version)
    other.write_record(record)
    arguments = ("store", "merge", other.uri, "--store", store.uri)
    assert mlprune(*arguments).exit_code == 1
    assert not store.has_record("answers", record.id)
    assert mlprune(*arguments, "--unverified").exit_code == 0
    assert store.has_record("answers", record.id)
    assert other.uri in mlprune("check", "store", "--store", store.uri).stderr


def test_rebuild_counts_the_records(store: Store) -> None:
    result = mlprune("store", "rebuild", "--store", store.uri)
    assert (result.exit_code, result.stdout.split()[:2]) == (0, ["3", "records,"])


@pytest.mark.thorough("runs commands that start or finish runs")
def test_control_characters_in_names_are_escaped_by_check(store: Store) -> None:
    store.write_bytes("masks/\x1b[2J", b"unreferenced")
    store.write_bytes("records/masks/\x1b[2J.json", b"{}")
    result = mlprune("check", "store", "--repair", "--store", store.uri)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert r"masks/\x1b[2J" in result.stderr
    assert r"records/masks/\x1b[2J.json" in result.stdout


@pytest.mark.parametrize("command", [("store", "merge", "nothing"), ("store", "rebuild"), ("check", "store")])
def test_a_missing_store_or_source_is_bad_input(command: tuple[str, ...], tmp_path: Path) -> None:
    result = mlprune(*command, "--store", str(tmp_path / "nothing"))
    assert isinstance(result.exception, StoreError)
    assert not (tmp_path / "nothing").exists()


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
    estimate=Estimate(0.25, 180.0),
)


def test_a_running_run_shows_counts_rate_remaining_time_and_workers() -> None:
    assert format_run(replace(RUN, n_retried=1, working_on=(f"masks/{'d' * 20}",))).splitlines() == [
        "run 20260101T000000-abc123 of tiny on node (auto): running",
        "  1 of 4 jobs done in 60 s, 1.0 per minute, 25 %, about 3 min left",
        "  prune             1 done      2 left, 1 failed, 2.00 s each",
        "  1 attempts were repeated",
        "  working on masks/dddddd",
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
