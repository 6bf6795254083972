"""Counted nouns, numbers of bytes and durations, in text for people."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun, in the singular or plural.

    Args:
        plural: of the noun; by default with an s.
    """
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def bytes_text(n_bytes: int) -> str:
    """Format a number of bytes in the largest unit of which there is at least one."""
    for name, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {name}"
    return counted(n_bytes, "byte")


def format_time(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
