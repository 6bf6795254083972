"""The record of an import is read as it was written; a damaged one is refused."""

import json
from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.models.import_record import IMPORT_FILE, ImportRecord, Origin, SourceFile, read_import_record
from tests.refusals import refused

RECORD = ImportRecord(
    mlprune="1",
    torch="2",
    weight_format="pytorch",
    source="some/model",
    origin=Origin("some/model", "main", "c" * 40),
    dtype="float16",
    files={"model.bin": SourceFile("a" * 64, 12)},
    dropped=("bias",),
    renamed={"old": "new"},
    shared={"head": "embedding"},
    part_of="gemma3",
    left_out={"vision": 3},
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_import_record(tmp_path) is None
    RECORD.write(tmp_path)
    assert read_import_record(tmp_path) == RECORD


@pytest.mark.parametrize("damage", [{"files": None}, {"origin": {"hub_id": "some/model"}}, {"unknown": 1}])
def test_a_damaged_record_is_refused_with_its_path(tmp_path: Path, damage: dict[str, object]) -> None:
    RECORD.write(tmp_path)
    path = tmp_path / IMPORT_FILE
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **damage}), encoding="utf-8")
    with refused(ModelError, path=str(path)):
        read_import_record(tmp_path)
