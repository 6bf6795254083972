"""Parts of a running job: blocks, batches, texts. Its loops count them; the worker that runs the job reads the counts.

Counting changes no result. It costs microseconds, because nothing is sent: a reader loads the latest
state, from another thread of the same process. Outside of a job, and in other threads of a job, nothing is counted.

Loops may be nested: the batches of an evaluation are parts of the part that is the evaluation.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")
PartKind = Literal["block", "batch", "text", "part", "evaluation", "language"]
_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("step", "kind"), str),
    **dict.fromkeys(("n_done", "n"), int),
    **dict.fromkeys(("share", "found", "part_share", "spent_s", "current_s", "other_s"), float),
}
_COUNTER: ContextVar["PartCounter | None"] = ContextVar("parts of the job", default=None)


@dataclass(frozen=True)
class JobParts:
    """How far a job is."""

    step: str
    """Of the job."""
    kind: str
    """Singular, such as `block`; of the outermost loop that has several parts."""
    n_done: int
    n: int
    share: float
    """Finished share of the job, from 0 to 1; inner loops are included."""
    found: float = 0.0
    """Share that an earlier run had finished."""
    part_share: float = 1.0
    """Share of the part of the innermost loop that runs now."""
    spent_s: float = 0.0
    """Seconds in which this run finished `share` minus `found`."""
    current_s: float = 0.0
    """Seconds since then."""
    other_s: float = 0.0
    """Seconds of the job before its first part, and of parts that an earlier run had finished."""

    @classmethod
    def parse(cls, value: Any) -> "JobParts | None":
        """Parse what `to_json` returned; None if it is something else, as in a claim of another version."""
        try:
            fields = {name: kind(value[name]) for name, kind in _FIELDS.items()}
        except (KeyError, TypeError, ValueError):
            return None
        return cls(**fields)

    def to_json(self) -> dict[str, str | int | float]:
        """Return the fields, with times rounded to milliseconds."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def describe(self) -> str:
        """Return the part that runs, such as `block 6 of 18`."""
        return f"{self.kind} {min(self.n_done + 1, self.n)} of {self.n}"

    def later(self, seconds: float) -> "JobParts":
        """Return the same state some seconds later."""
        return replace(self, current_s=self.current_s + max(0.0, seconds))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job began."""
        return self.other_s + self.spent_s + self.current_s

    @property
    def whole_s(self) -> float | None:
        """Estimated seconds of all parts; None until this run has finished one."""
        computed = self.share - self.found
        return self.spent_s / computed if computed > 0 and self.spent_s > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """Estimated remaining seconds; None as for `whole_s`."""
        if (whole_s := self.whole_s) is None:
            return None
        return (1 - self.share) * whole_s - min(self.current_s, self.part_share * whole_s)


RunningParts = Mapping[tuple[str, str], JobParts]
"""(kind, id) of the last record that a running job makes -> its parts."""


@dataclass
class _Loop:
    """A loop over parts that runs."""

    kind: str
    n: int
    n_done: int = 0


class PartCounter:
    """Counts the parts of one job, in the thread that runs it.

    Args:
        step: of the job.
        clock: seconds that never go back.
    """

    def __init__(self, step: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = step
        self._clock = clock
        self._loops: list[_Loop] = []
        self._began = self._changed_at = clock()
        self._share = self._found = self._spent_s = 0.0
        self._is_found = False
        self._latest: tuple[JobParts, float] | None = None
        """The state and when it was reached; replaced as a whole, because other threads read it."""

    @property
    def parts(self) -> JobParts | None:
        """How far the job is now; None before its first loop. Can be called in any thread."""
        latest = self._latest
        return latest and latest[0].later(self._clock() - latest[1])

    def begin(self, loop: _Loop) -> None:
        """Begin a loop, inside those that run."""
        if self._latest is None:
            self._changed_at = self._clock()
        self._loops.append(loop)
        self._publish()

    def done(self, loop: _Loop, n: int) -> None:
        """Count finished parts of a loop."""
        now, share = self._clock(), self._part_share(loop)
        if self._is_found:
            self._found += n * share
        else:
            self._spent_s += now - self._changed_at
        self._changed_at, self._is_found = now, False
        loop.n_done = min(loop.n, loop.n_done + n)
        self._publish()

    def note_found(self) -> None:
        """Note that the part that runs was finished by an earlier run."""
        self._is_found = True

    def end(self, loop: _Loop) -> None:
        """End a loop; its last state stays until the part around it is finished."""
        self._loops.remove(loop)

    def _part_share(self, loop: _Loop) -> float:
        """Return the share of the job that one part of a loop is."""
        share = 1.0
        for outer in self._loops:
            share /= outer.n
            if outer is loop:
                break
        return share

    def _publish(self) -> None:
        share, part_share = 0.0, 1.0
        for loop in self._loops:
            part_share /= loop.n
            share += part_share * loop.n_done
        self._share = min(1.0, max(self._share, share))  # a second loop does not begin again at 0
        shown = next((loop for loop in self._loops if loop.n > 1), self._loops[-1])
        parts = JobParts(
            self._step,
            shown.kind,
            shown.n_done,
            shown.n,
            self._share,
            found=min(self._found, self._share),
            part_share=part_share,
            spent_s=self._spent_s,
            other_s=self._changed_at - self._began - self._spent_s,
        )
        self._latest = parts, self._changed_at


@contextmanager
def counting_parts(counter: PartCounter) -> Iterator[None]:
    """Let a counter count the parts of the job that runs in this thread."""
    token = _COUNTER.set(counter)
    try:
        yield
    finally:
        _COUNTER.reset(token)


@contextmanager
def job_parts(kind: PartKind, n: int) -> Iterator[Callable[[int], None]]:
    """Count the parts of a loop of the running job.

    Args:
        kind: of the parts.
        n: their number.
    Returns: counts some parts as finished.
    """
    counter, loop = _COUNTER.get(), _Loop(kind, max(1, n))
    if counter is None:
        yield lambda _: None
        return
    counter.begin(loop)
    try:
        yield lambda n_done: counter.done(loop, n_done)
    finally:
        counter.end(loop)


def in_parts(kind: PartKind, items: Sequence[Item]) -> Iterator[Item]:
    """Yield items, each of which is a part that is finished when the next one is asked for."""
    with job_parts(kind, len(items)) as done:
        for item in items:
            yield item
            done(1)


def finished_parts(kind: PartKind, n: int, results: Iterable[Item]) -> Iterator[Item]:
    """Yield results as they arrive; each one is a finished part.

    Args:
        n: number of results.
    """
    with job_parts(kind, n) as done:
        for result in results:
            done(1)
            yield result


def note_found_part() -> None:
    """Note that the part that runs was finished by an earlier run, so that it does not count as time of a part."""
    if (counter := _COUNTER.get()) is not None:
        counter.note_found()
