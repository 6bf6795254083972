"""What an export of results is asked for, and what it has done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalog.standards.evaluated import EvaluatedVariant
from catalog.store import Catalog
from mlprune.standards.every_eval_ever import Submission


@dataclass
class ResultsExport:
    """Summary of an export."""

    n_files: int = 0
    n_results: int = 0
    n_samples: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> number of results that the format cannot express."""

    def leave_out(self, reason: str, n: int = 1) -> None:
        """Count results that are left out."""
        if n:
            self.left_out[reason] = self.left_out.get(reason, 0) + n


@dataclass(frozen=True)
class Request:
    """What is written."""

    submission: Submission
    with_samples: bool = True
    """every_eval_ever: whether single items are written too."""


Writer = Callable[[Catalog, Sequence[EvaluatedVariant], Path, Request], ResultsExport]
"""Writes variants to a folder."""
