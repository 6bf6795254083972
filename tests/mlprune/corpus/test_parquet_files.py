"""Parquet files within limits: sizes are checked before values are decoded."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune import given_files
from mlprune.corpus import parquet_files
from mlprune.corpus.parquet_files import first_parquet_rows, parquet_columns, read_parquet
from mlprune.errors import CorpusError
from tests.refusals import refused

ROWS = [
    {"id": 1, "text": "un", "options": ["a", "b"], "question": {"stem": "?", "choices": [{"label": "A"}]}, "x": 0.5},
    {"id": 2, "text": None, "options": [], "question": {"stem": "!", "choices": []}, "x": None},
]
SCHEMA = pa.Table.from_pylist(ROWS).schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fr.test.parquet"


@pytest.mark.parametrize("text_type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_rows_are_those_of_the_table(path: Path, text_type: pa.DataType) -> None:
    schema = SCHEMA.set(SCHEMA.get_field_index("text"), pa.field("text", text_type))
    pq.write_table(pa.Table.from_pylist(ROWS, schema=schema), path)
    assert read_parquet(path) == ROWS
    assert first_parquet_rows(path, 1) == ROWS[:1]
    assert parquet_columns(path) == list(ROWS[0])


def test_many_batches_keep_their_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "BATCH_ROWS", 3)
    rows = [{"id": number, "text": str(number)} for number in range(10)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    assert read_parquet(path) == rows


def repeated_text() -> pa.Array:
    """A text of 10 kB 1,000 times."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), ["x" * 10_000])


BOMBS = {
    "a text in all rows": repeated_text,
    "a text in a list": lambda: pa.ListArray.from_arrays([0, 1_000], repeated_text()),
    "a long text": lambda: pa.array(["x" * (2 << 20)]),
    "many numbers": lambda: pa.array(np.zeros(200_000, np.int8)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_expands_too_much_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(given_files, "FREE_MIB", 1)
    pq.write_table(pa.table({"text": BOMBS[name]()}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    with refused(CorpusError, file=str(path), reason="the file expands to more than 1 MiB"):
        read_parquet(path)
    assert parquet_columns(path) == ["text"]


def test_a_file_with_very_many_columns_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MOST_FOOTER_MIB", 0)
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    for read in (parquet_columns, read_parquet):
        with refused(CorpusError, file=str(path)):
            read(path)


def test_a_file_with_very_many_rows_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MOST_ROWS", 1)
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    with refused(CorpusError, file=str(path), got=2):
        read_parquet(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 4 + b"PAR1", b"text\n" * 10])
def test_a_file_that_is_not_parquet_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read in (parquet_columns, read_parquet):
        with refused(CorpusError, file=str(path)):
            read(path)
