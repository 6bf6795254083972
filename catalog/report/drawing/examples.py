"""Examples as text in the page: items whose answers changed, and generated texts side by side."""

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


@dataclass(frozen=True)
class TextCell:
    """A text in a table of texts."""

    text: str
    language: str = ""
    """Language of the text, for screen readers and fonts; empty for the language of the page."""
    is_same: bool = False
    """Whether it equals the output of the dense model."""


@dataclass(frozen=True)
class SideBySide:
    """Texts side by side, one item per row, which the page opens on demand."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]
