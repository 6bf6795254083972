"""Paths of segments and of their markers."""

ENDING = ".jsonl.zst"
"""Ending of a segment."""
VOID = ".void"
"""Ending of a marker that a record of a segment no longer counts."""


def segment_folder(kind: str) -> str:
    """Return the folder of the segments of a kind, relative to the store."""
    return f"records/{kind}/segments"


def segment_path(kind: str, name: str) -> str:
    """Return the path of a segment, relative to the store."""
    return f"{segment_folder(kind)}/{name}{ENDING}"


def void_path(segment: str, record_id: str) -> str:
    """Return the path of the marker that a record of a segment no longer counts."""
    return f"{segment.removesuffix(ENDING)}.{record_id}{VOID}"
