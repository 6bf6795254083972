"""The comparison of a soak reports lost, unexpected and different files, and accepts compacted records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.soak.comparison import differences
from mlprune.store.compaction import compact
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, copy_of


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
