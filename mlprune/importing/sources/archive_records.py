"""Records of a PyTorch file in the zip format, with the checksums that the archive has for them."""

import struct
import zipfile
from pathlib import Path
from typing import IO

from mlprune.errors import ModelError
from mlprune.importing.sources.weight_format import Checksum

_LOCAL_HEADER_BYTES = 30
_LENGTHS_OFFSET = 26
"""Place of the lengths of name and extra field in a local header."""


def is_archive(path: Path) -> bool:
    """Whether a PyTorch file has the format of a zip archive; otherwise it has the old format."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def record_checksums(path: Path) -> tuple[Checksum, ...]:
    """Return the checksums of the records of a file; none for the old format, or if they were switched off.

    `torch.load` does not compare them.

    Raises:
        ModelError: the archive is damaged, has two records of one name, or compresses a record.
    """
    try:
        if not is_archive(path):
            return ()
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return tuple(_checksum(entry, stream) for entry in checked_entries(archive) if entry.CRC)
    except (OSError, struct.error, zipfile.BadZipFile, NotImplementedError) as err:
        raise ModelError("a weight file is damaged", path=str(path), reason=str(err)) from err


def checked_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the records of an archive. `torch.load` finds a record without regard to upper and lower case.

    Raises:
        BadZipFile: two records have the same name, or a record is compressed.
    """
    entries = archive.infolist()
    names = {entry.filename.casefold() for entry in entries}
    if len(names) < len(entries) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise zipfile.BadZipFile("records are compressed or occur twice; torch.save writes no such files")
    return entries


def _checksum(entry: zipfile.ZipInfo, stream: IO[bytes]) -> Checksum:
    stream.seek(entry.header_offset)
    n_name, n_extra = struct.unpack_from("<HH", stream.read(_LOCAL_HEADER_BYTES), _LENGTHS_OFFSET)
    begin = entry.header_offset + _LOCAL_HEADER_BYTES + n_name + n_extra
    return Checksum(entry.filename, begin, begin + entry.file_size, entry.CRC)
