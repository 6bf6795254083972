"""The soak: commands, damage, and the comparison of stores."""

import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.soak.cases import CASES
from infra.soak.comparison import differences
from infra.soak.damage import DAMAGES, damage_store, fresh_copy
from infra.soak.tally import Tally
from mlprune.store.compaction import compact
from mlprune.store.store import Store
from ray_jobs.cli.command_line import select_form
from ray_jobs.cli.command_table import COMMANDS
from tests.tiny_recipes import FinishedRun, copy_of

ROOT = Path(__file__).parents[3]


def soak(*arguments: str) -> str:
    command = [sys.executable, "-m", "infra.soak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


WITHOUT_RESULT = {"status --web", "methods", "check data", "demo", "export --as mlflow", "completion"}
"""Commands that write nothing into a store, are runs of the others, or write elsewhere."""


def function_of(name: str) -> str:
    words = re.split(r" \(", name)[0].split()
    n_words = 1 if words[0] in COMMANDS else 2
    command = " ".join(words[:n_words])
    form, _ = select_form(command, words[n_words:])
    source = COMMANDS[command]
    return source.forms[form].function if form else source.function


def test_every_command_has_a_case() -> None:
    functions = {one.function for source in COMMANDS.values() for one in (source, *source.forms.values())}
    assert {function_of(name) for name in (*CASES, *WITHOUT_RESULT)} == functions
    assert not {function_of(name) for name in CASES} & {function_of(name) for name in WITHOUT_RESULT}


def test_a_tally_counts_kills_of_all_kinds() -> None:
    tally = Tally(starts=5, damages=1)
    tally.kills.update(("run", "run", "gc"))
    tally.finished.update(("run", "gc"))
    text = tally.summary()
    assert text.startswith("3 kills survived (1 gc, 2 run) in 5 starts and 2 stores, 1 damages")
    assert text.endswith("0 differences from an undisturbed run")


def test_the_counts_of_several_calls_add_up(tmp_path: Path) -> None:
    tally = Tally.read(tmp_path)
    tally.kills.update(("run", "gc --keep-days"))
    tally.finished.update(("run", "gc --keep-days"))
    tally.differences.append("run [killed]: lost: x")
    tally.undisturbed["run"] = 2.5
    tally.write(tmp_path)
    again = Tally.read(tmp_path)
    assert (again.n_kills, again.stores, again.calls, again.undisturbed) == (2, 2, 2, {"run": 2.5})
    again.kills["run"] += 1
    rows = {line[:24].strip(): line[24:].split() for line in again.table()}
    assert rows["run"] == ["2", "1", "1"]
    assert rows["gc --keep-days"] == ["1", "1", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["commands", "here"])
def test_random_kills_change_no_result(tmp_path: Path, where: str) -> None:
    out = soak("--kills", "3", "--seed", "1", "--where", where, "--folder", str(tmp_path))
    assert "kills survived" in out
    assert "0 differences from an undisturbed run" in out
    again = soak("--kills", "4", "--seed", "1", "--where", where, "--folder", str(tmp_path))
    assert "call 2" in again
    assert "undisturbed run" in again


@pytest.mark.thorough("runs recipes of its own")
def test_differences_between_stores_are_reported(
    small_run: FinishedRun, copied_store: Callable[..., Any], tmp_path: Path
) -> None:
    undisturbed = copy_of(small_run.store, tmp_path / "undisturbed").local_root  # the comparison creates catalogs
    assert undisturbed is not None
    store = copied_store(small_run.store).local_root
    compact(Store(store))
    assert list(differences(store, undisturbed)) == []

    (mask, *_) = sorted(store.glob("masks/*/block-000.parquet"))
    mask.write_bytes(mask.read_bytes()[:-1] + b"?")
    lost = next(Store(store).records("rank_consistency"))
    Store(store).quarantine(lost)
    (store / "masks" / "doubled.parquet").write_bytes(b"")
    report = "\n".join(differences(store, undisturbed))
    for words in (
        f"lost: {lost.path}",
        "unexpected: masks/doubled.parquet",
        f"different: {mask.relative_to(store)}",
        "damaged: ",
        "unreferenced: masks/doubled.parquet",
        "table: rank_consistency",
    ):
        assert words in report


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for number, name in enumerate(("records/variants/a.json", "masks/b.parquet", "catalog.duckdb")):
        path = tmp_path / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 10)
    return tmp_path / "store"


def state(store: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(store)): path.read_bytes() if path.is_file() else None for path in store.rglob("*")}


@pytest.mark.parametrize("name", DAMAGES)
def test_every_damage_changes_a_file(store: Path, name: str) -> None:
    before = state(store)
    DAMAGES[name](store / "masks/b.parquet", store / "records/variants/a.json")
    assert state(store) != before
    assert state(store)["catalog.duckdb"] == before["catalog.duckdb"]


def test_the_seed_determines_the_damage_and_all_kinds_occur(store: Path, tmp_path: Path) -> None:
    seen = set()
    for seed in range(40):
        texts = []
        for copy in ("one", "two"):
            fresh_copy(store, tmp_path / copy)
            texts.append(damage_store(tmp_path / copy, random.Random(seed)))
        assert texts[0] == texts[1]
        assert state(tmp_path / "one") == state(tmp_path / "two")
        seen.add(texts[0].partition(" ")[0])
    assert seen == set(DAMAGES)


def test_a_store_without_files_is_not_damaged(tmp_path: Path) -> None:
    assert damage_store(tmp_path, random.Random(0)) == ""
