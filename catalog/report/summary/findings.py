"""Findings: the cards of the summary. Each states the result of a test, never a mean alone."""

from dataclasses import dataclass, field

from catalog.report.filters import Facets


@dataclass(frozen=True)
class Finding:
    """One card: a question, a short answer, and sentences."""

    question: str
    answer: str
    sentence: str
    tone: str = "open"
    """Colour of the answer: `good` for a supported claim, `bad` for a significant loss, else `open`."""
    kind: str = ""
    """Text above the question: its name, and whether it is primary or exploratory."""
    evidence: tuple[str, ...] = ()
    """What the answer is based on: items, languages, chance, tests, power."""
    limits: tuple[str, ...] = ()
    """Sentences that limit the answer."""
    facets: Facets = field(default_factory=dict)
