"""The registry of record kinds, against the records of finished runs and against the docs."""

from pathlib import Path

import pytest

from mlprune.store.record_kinds import ARTEFACT_FOLDERS, RECORD_KINDS

DOCS = Path(__file__).parents[3] / "docs" / "store.md"


@pytest.mark.parametrize("run", ["tiny_run", "method_run", "baseline_run"])
def test_artefacts_are_in_the_folders_of_their_kind(run: str, request: pytest.FixtureRequest) -> None:
    for record in request.getfixturevalue(run).store.records():
        folders = {artefact.path.partition("/")[0] for artefact in record.artefacts}
        assert folders <= set(RECORD_KINDS[record.kind].folders), record.path
        assert record.step_version == RECORD_KINDS[record.kind].version


def test_artefacts_have_folders_of_their_own() -> None:
    other_folders = {"records", "runs", "claims", "quarantine", "retired", "imported-models"}
    assert not set(ARTEFACT_FOLDERS) & other_folders
    assert all(kind.version >= 1 for kind in RECORD_KINDS.values())


def test_a_merge_copies_models_sets_statistics_and_masks_before_what_is_made_from_them() -> None:
    order = list(RECORD_KINDS)
    chain = ["base_models", "demonstration_sets", "statistics", "outliers", "mask_blocks", "masks", "variants"]
    assert sorted(chain, key=order.index) == chain
    assert order.index("variants") < order.index("evaluations") < order.index("comparisons")


def test_the_docs_list_every_kind_with_its_description() -> None:
    rows = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert [row for row in rows if row in _expected_rows()] == _expected_rows()


def _expected_rows() -> list[str]:
    return [f"| `{name}` | {kind.one_per} |" for name, kind in RECORD_KINDS.items()]
