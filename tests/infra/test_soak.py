"""The soak script reports lost, unexpected and different files, and finds none after a real soak."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tiny_recipes import FinishedRun, copy_of

SCRIPT = Path(__file__).parents[2] / "infra" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def test_differences_between_stores_are_reported(
    soak: ModuleType, small_run: FinishedRun, copied_store: Callable[..., Any], tmp_path: Path
) -> None:
    undisturbed = copy_of(small_run.store, tmp_path / "undisturbed").local_root  # the comparison creates catalogs
    store = copied_store(small_run.store).local_root
    assert list(soak.differences(store, undisturbed)) == []

    (mask, *_) = sorted(store.glob("masks/*/block-000.parquet"))
    mask.write_bytes(mask.read_bytes()[:-1] + b"?")
    (lost, *_) = sorted(store.glob("records/rank_consistency/*.json"))
    lost.unlink()
    (store / "masks" / "doubled.parquet").write_bytes(b"")
    report = "\n".join(soak.differences(store, undisturbed))
    for words in (
        f"lost: {lost.relative_to(store)}",
        "unexpected: masks/doubled.parquet",
        f"different: {mask.relative_to(store)}",
        "damaged: ",
        "unreferenced: masks/doubled.parquet",
        "table: rank_consistency",
    ):
        assert words in report


@pytest.mark.slow
def test_random_kills_change_no_store(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--kills", "3", "--seed", "1", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPT.parents[1], check=False, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills survived (3 driver)" in done.stdout
    assert "0 differences from an undisturbed run" in done.stdout
