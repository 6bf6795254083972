"""Ledger: what would cost time on a GPU, counted by operation and by line of the project."""

import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

CPU = torch.device("cpu")
PACKAGES = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("mlprune", "catalog", "ray_jobs"))
_ROOT = len(str(Path(__file__).resolve().parents[2])) + 1


@dataclass
class Ledger:
    """Counts since the last `clear`."""

    submitted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operation, line) -> times that the host submitted it."""
    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operation, line) -> times that it started work on a GPU."""
    waited: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reason, line) -> times that the host waited for a GPU."""
    moved: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(from, to, line) -> bytes."""
    uploaded: Counter[str] = field(default_factory=Counter)
    """line -> copies from the host."""
    blocking: Counter[str] = field(default_factory=Counter)
    """line -> copies from the host without `non_blocking`, which wait for the work before them."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def operations(self) -> int:
        """Operations on a device that the host submits, views included."""
        return self.submitted.total()

    @property
    def kernels(self) -> int:
        """Operations that start work on a device: all except views, empty tensors, and copies that copy nothing."""
        return self.started.total()

    @property
    def waits(self) -> int:
        """Times that the host waits for a result of a device."""
        return self.waited.total()

    @property
    def uploads(self) -> int:
        """Copies from the host to a device."""
        return self.uploaded.total()

    @property
    def blocking_uploads(self) -> int:
        """Copies from the host to a device that also wait for the work before them; not part of `waits`."""
        return self.blocking.total()

    @property
    def bytes_to_device(self) -> int:
        """Bytes copied from the host to any device."""
        return sum(n for (source, target, _), n in self.moved.items() if source == "cpu" != target)

    @property
    def bytes_to_host(self) -> int:
        """Bytes copied from any device to the host."""
        return sum(n for (source, target, _), n in self.moved.items() if source != "cpu" == target)

    @property
    def bytes_between_devices(self) -> int:
        """Bytes copied from one device to another."""
        return sum(n for (source, target, _), n in self.moved.items() if "cpu" not in (source, target))

    def clear(self) -> None:
        """Count from zero."""
        with self._lock:
            for counter in (self.submitted, self.started, self.waited, self.moved, self.uploaded, self.blocking):
                counter.clear()

    def by_line(self, n_lines: int = 20) -> str:
        """Return a table of the lines with the most operations and waits."""
        rows: dict[str, list[int]] = {}
        for column, counter in enumerate((self.submitted, self.started, self.waited)):
            for (_, line), n in counter.items():
                rows.setdefault(line, [0] * 5)[column] += n
        for (source, target, line), n in self.moved.items():
            if "cpu" in (source, target):
                rows.setdefault(line, [0] * 5)[3 if source == "cpu" else 4] += n
        ordered = sorted(rows.items(), key=lambda row: (-row[1][2], -row[1][0], row[0]))[:n_lines]
        head = f"{'operations':>10} {'kernels':>8} {'waits':>6} {'to device':>12} {'to host':>12}  line"
        return "\n".join(
            [head, *(f"{a:>10} {b:>8} {c:>6} {d:>12} {e:>12}  {line}" for line, (a, b, c, d, e) in ordered)]
        )

    def by_operation(self) -> list[tuple[str, int]]:
        """Return the operations by how often the host submitted them, the most frequent first."""
        counts: Counter[str] = Counter()
        for (name, _), n in self.submitted.items():
            counts[name] += n
        return counts.most_common()

    def count_operation(self, name: str, *, starts_work: bool) -> None:
        """Count an operation on a device."""
        line = _line()
        with self._lock:
            self.submitted[name, line] += 1
            if starts_work:
                self.started[name, line] += 1

    def count_wait(self, reason: str) -> None:
        """Count a wait of the host."""
        line = _line()
        with self._lock:
            self.waited[reason, line] += 1

    def count_copy(self, n_bytes: int, source: torch.device, target: torch.device, *, waits: bool = True) -> None:
        """Count bytes that are copied, and the wait for a copy to the host."""
        if source == target:
            return
        line = _line()
        with self._lock:
            self.moved[str(source), str(target), line] += n_bytes
            if source == CPU and n_bytes:
                self.uploaded[line] += 1
                self.blocking[line] += waits
            if target == CPU and waits:
                self.waited["copy to the host", line] += 1


def _line() -> str:
    """Return the innermost line of the project in the call stack."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGES):
            return f"{frame.f_code.co_filename[_ROOT:]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
