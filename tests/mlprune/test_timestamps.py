"""Times as the store's files write them."""

from datetime import UTC, datetime

from mlprune.timestamps import timestamp


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)) == "2026-01-02T03:04:05.678+00:00"


def test_no_moment_means_now() -> None:
    before = datetime.now(UTC)
    assert abs((datetime.fromisoformat(timestamp()) - before).total_seconds()) < 5
