"""Counts of a soak."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of the whole soak."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kind of process, or command -> how many were killed."""
    starts: int = 0
    damages: int = 0
    stores: int = 0
    """Finished and compared."""
    leftovers: int = 0
    """Temporary files of killed writers, which are never read."""
    differences: list[str] = field(default_factory=list)

    @property
    def n_kills(self) -> int:
        """Return the number of kills of all kinds."""
        return sum(self.kills.values())

    def summary(self) -> str:
        """Return all counts in one sentence."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kills.items()))
        counts = f"{self.n_kills} kills survived ({kinds}) in {self.starts} starts and {self.stores} stores"
        counts += f", {self.damages} damages" if self.damages else ""
        left = f"{self.leftovers} temporary files left"
        return f"{counts}, {left}, {len(self.differences)} differences from an undisturbed run"


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - a script
