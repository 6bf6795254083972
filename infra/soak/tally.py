"""Counts of a soak, kept in a file so that several calls add up."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlprune.atomic import write_atomically

STATE = "soak.json"
"""File in the folder of a soak with its counts."""


@dataclass
class Tally:
    """Counts of the whole soak, over all calls that used its folder."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kind of process, or command -> how many were killed."""
    finished: Counter[str] = field(default_factory=Counter)
    """Command, or `run` -> how many results were compared."""
    starts: int = 0
    damages: int = 0
    leftovers: int = 0
    """Temporary files of killed writers, which are never read."""
    differences: list[str] = field(default_factory=list)
    undisturbed: dict[str, float] = field(default_factory=dict)
    """Command -> seconds that it took undisturbed; its result is in the folder of the soak."""
    calls: int = 1

    @property
    def n_kills(self) -> int:
        """Return the number of kills of all kinds."""
        return sum(self.kills.values())

    @property
    def stores(self) -> int:
        """Return the number of results that were compared."""
        return sum(self.finished.values())

    @classmethod
    def read(cls, folder: Path) -> "Tally":
        """Read the counts of earlier calls in a folder; all are 0 in a new one."""
        path = folder / STATE
        if not path.exists():
            return cls()
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        counted = {name: Counter(values[name]) for name in ("kills", "finished")}
        return cls(**{**values, **counted, "calls": values["calls"] + 1})

    def write(self, folder: Path) -> None:
        """Write the counts, so that a call that is interrupted loses the result it was working on, and no other."""
        write_atomically(folder / STATE, json.dumps(vars(self), indent=1).encode())

    def summary(self) -> str:
        """Return all counts in one sentence."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kills.items()))
        counts = f"{self.n_kills} kills survived ({kinds}) in {self.starts} starts and {self.stores} stores"
        counts += f", {self.damages} damages" if self.damages else ""
        left = f"{self.leftovers} temporary files left"
        return f"{counts}, {left}, {len(self.differences)} differences from an undisturbed run"

    def table(self) -> list[str]:
        """Return a line for each kind of kill or command: its kills, results and differences."""
        names = sorted({*self.kills, *self.finished})
        lines = [f"{'command':24}{'kills':>7}{'results':>9}{'differ':>8}"]
        for name in names:
            n_different = sum(line.startswith(f"{name} [") for line in self.differences)
            lines.append(f"{name:24}{self.kills[name]:7}{self.finished[name]:9}{n_different:8}")
        return lines


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - a script
