"""Parquet files of other people: names of columns and rows, within limits.

A column can repeat a value very often in a few bytes, and a footer can name very many columns. Sizes are therefore
checked before values are decoded, and dictionaries are decoded in batches that are measured first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlprune.errors import CorpusError
from mlprune.given_files import MIB, expanded_limit, open_given
from mlprune.json_values import JsonValue

MOST_ROWS = 20_000_000
"""Most rows of a file, which can repeat a value very often in a few bytes."""
MOST_FOOTER_MIB = 4
"""Largest footer, which describes the columns; one of this size has about 15,000 columns."""
VALUE_BYTES = 16
"""Bytes that each value counts in addition to its text."""
BATCH_ROWS = 4096
"""Rows that are decoded at a time."""
_END_BYTES = 8
"""The end of a file: the size of its footer in 4 bytes, and 4 letters."""


def parquet_columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file.

    Raises:
        CorpusError: the file cannot be read, or has too many columns.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_parquet(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of a Parquet file.

    Raises:
        CorpusError: the file cannot be read, has too many columns or rows, or expands too much.
    """
    return list(_rows(path))


def first_parquet_rows(path: Path, n_rows: int) -> list[dict[str, JsonValue]]:
    """The first rows of a Parquet file. Raises as `read_parquet` does."""
    return list(islice(_rows(path, batch_rows=n_rows), n_rows))


def _rows(path: Path, *, batch_rows: int = BATCH_ROWS) -> Iterator[dict[str, JsonValue]]:
    limit, n_bytes = expanded_limit(path) if path.exists() else 0, 0
    with _opened(path) as file:
        _check_sizes(path, file.metadata, limit=limit)
        for batch in file.iter_batches(batch_size=batch_rows):
            n_bytes += sum(map(_decoded_bytes, batch.columns))
            if n_bytes > limit:
                raise _too_large(path, limit=limit)
            yield from batch.to_pylist()


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file whose texts stay indices into dictionaries until they become Python values."""
    try:
        _check_footer(path)
        metadata = pq.read_metadata(path)
        leaves = map(metadata.schema.column, range(len(metadata.schema)))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts) as file:
            yield file
    except (OSError, pa.ArrowException) as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def _check_footer(path: Path) -> None:
    """Refuse a file that is not regular, or whose footer is too large. Raises OSError if it cannot be opened."""
    with open_given(path) as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        n_bytes = int.from_bytes(file.read(_END_BYTES)[:4], "little")
    if path.stat().st_size > n_bytes > MOST_FOOTER_MIB * MIB:
        message, expected = "a table has too many columns", f"a footer of at most {MOST_FOOTER_MIB} MiB"
        raise CorpusError(message, file=str(path), expected=expected, got=f"{n_bytes:,} bytes")


def _check_sizes(path: Path, metadata: pq.FileMetaData, *, limit: int) -> None:
    """Refuse a file whose rows, decompressed pages or values are too many, as its footer states them."""
    if metadata.num_rows > MOST_ROWS:
        expected = f"at most {MOST_ROWS:,}"
        raise CorpusError("a table has too many rows", file=str(path), expected=expected, got=metadata.num_rows)
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    n_bytes = sum(max(chunk.total_uncompressed_size, VALUE_BYTES * chunk.num_values) for chunk in chunks)
    if n_bytes > limit:
        raise _too_large(path, limit=limit)


def _too_large(path: Path, *, limit: int) -> CorpusError:
    message = f"the file expands to more than {limit // MIB:,} MiB"
    return CorpusError("a file cannot be read", file=str(path), reason=message)


def _decoded_bytes(values: pa.Array) -> int:
    """Return the bytes of the texts and numbers of a column as Python values, at least."""
    if isinstance(values, pa.DictionaryArray):
        return VALUE_BYTES * len(values) + int(_text_bytes(values.dictionary)[values.indices.drop_null()].sum())
    if isinstance(values, pa.StructArray):
        return sum(map(_decoded_bytes, values.flatten()))
    if isinstance(values, pa.ListArray | pa.LargeListArray):
        return VALUE_BYTES * len(values) + _decoded_bytes(values.flatten())
    return int(values.nbytes) + VALUE_BYTES * len(values)


def _text_bytes(texts: pa.Array) -> NDArray[np.signedinteger]:
    """Return the length of each text in bytes: [n], int32 or int64."""
    is_large = pa.types.is_large_string(texts.type) or pa.types.is_large_binary(texts.type)
    starts = texts.buffers()[1] if len(texts) else None
    if starts is None:
        return np.zeros(len(texts), np.int32)
    offsets = np.frombuffer(starts, np.int64 if is_large else np.int32)
    return np.diff(offsets[texts.offset : texts.offset + len(texts) + 1])
