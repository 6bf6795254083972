"""Counted nouns in text for people."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """Format a number with its noun, in the singular or plural.

    Args:
        plural: of the noun; by default with an s.
    """
    return f"{n} {noun if n == 1 else plural or noun + 's'}"
