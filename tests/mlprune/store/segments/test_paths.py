"""Paths of segments and of their markers."""

from mlprune.store.segments.paths import segment_folder, segment_path, void_path


def test_a_marker_is_next_to_its_segment() -> None:
    segment = segment_path("masks", "0a1b")
    assert segment == f"{segment_folder('masks')}/0a1b.jsonl.zst" == "records/masks/segments/0a1b.jsonl.zst"
    assert void_path(segment, "ff") == "records/masks/segments/0a1b.ff.void"
