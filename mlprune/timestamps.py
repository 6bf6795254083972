"""Times as the store's files write them."""

from datetime import UTC, datetime


def timestamp(moment: datetime | None = None) -> str:
    """A moment, or now: UTC, ISO 8601, milliseconds."""
    return (moment or datetime.now(UTC)).isoformat(timespec="milliseconds")
