"""Lists of examples: items whose answers changed, as text in the page."""

from dataclasses import dataclass, field

from catalog.report.filters import Facets


@dataclass(frozen=True)
class Example:
    """One item with its answers before and after pruning."""

    change: str
    """gained or lost."""
    name: str
    """Id of the item, and its category if it has one."""
    question: str
    english: str
    """The question in English; empty if it is unknown or the evaluated language is English."""
    gold: str
    before: str
    after: str
    margins: str


@dataclass(frozen=True)
class ExampleList:
    """The examples of one language, which the page opens on demand."""

    title: str
    language: str
    """Language of the questions, for screen readers and fonts."""
    examples: tuple[Example, ...]
    facets: Facets = field(default_factory=dict)
