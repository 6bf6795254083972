"""Remaining time of a run at the rates that the run itself has measured, by kind of job.

The driver counts the jobs that it finishes; another process counts those in the log of the run. Both then ask the same
function, so a terminal, `mlprune status` and the live page show one number.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.processes.job_parts import JobParts

RECENT = 12
"""Jobs of a kind from which its rate is measured: the latest ones, because a machine may become busy."""


@dataclass(frozen=True)
class Estimate:
    """How far a run is, by time."""

    share: float
    """From 0 to 1; 0 while the remaining time is unknown and no earlier run has finished parts."""
    remaining_s: float | None
    """None if it is unknown, and when no job remains."""


@dataclass(frozen=True)
class PlannedKind:
    """The planned jobs of a kind."""

    n_jobs: int = 0
    units: float = 0.0
    """Their work, in mean jobs of the step if it has planned operations, otherwise in planned CPU seconds."""

    def more(self, units: float) -> "PlannedKind":
        """Return the same with one more job."""
        return PlannedKind(self.n_jobs + 1, self.units + units)


@dataclass
class MeasuredWork:
    """Counts the finished jobs of a run by kind, and measures what a job of each kind takes.

    A kind is the step of a job and the kind of the last record that it makes, such as `compare/answers`.
    """

    planned: Mapping[str, PlannedKind] = field(default_factory=dict)
    flops: Mapping[str, float] = field(default_factory=dict)
    """Step -> planned floating-point operations of a job, on average."""
    _done: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _recent: dict[str, deque[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=RECENT))
    )
    """Kind -> (units, seconds) of the latest jobs."""
    _units: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Kind -> units of the jobs that this run has done."""
    _seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Kind -> seconds of these."""
    _recent_cpu: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """(Seconds, CPU seconds) of the latest jobs of all kinds."""
    _began: float | None = None
    """When the first job began; the start of the workers is before it."""

    def done(self, kind: str, units: float, *, elapsed_s: float, ended_at: float, cpu_s: float | None = None) -> None:
        """Count a finished job.

        Args:
            elapsed_s: seconds that it took; 0 if another run did it, which says nothing about the rates of this one.
            ended_at: seconds of any clock, the same one as in `estimate`.
            cpu_s: CPU seconds of its process; None if they are unknown.
        """
        self._done[kind] += units
        if elapsed_s <= 0:
            return
        began = ended_at - elapsed_s
        self._began = began if self._began is None else min(self._began, began)
        self._units[kind] += units
        self._seconds[kind] += elapsed_s
        self._recent[kind].append((units, elapsed_s))
        if cpu_s:
            self._recent_cpu.append((elapsed_s, cpu_s))

    def estimate(self, running: Sequence[tuple[str, JobParts]] = (), *, elapsed_s: float, now: float) -> Estimate:
        """Estimate how far the run is. Parts of running jobs that an earlier run has finished count as done.

        Args:
            running: (kind of record that a running job makes, its parts).
            elapsed_s: seconds since the start of the run, with that of the workers.
            now: seconds of the clock of `done`.
        """
        parts = [(f"{one.step}/{kind}", one) for kind, one in running]
        left_s = self._remaining_s(parts, now=now)
        if left_s is None:
            is_done = bool(self.planned) and not self._left
            weights = {kind: self._flops_of(kind) if self.flops else 1.0 for kind in self.planned}
            of_all = sum(each.units * weights[kind] for kind, each in self.planned.items())
            of_found = sum(one.found * self._mean_units(kind) * weights.get(kind, 0.0) for kind, one in parts)
            return Estimate(1.0 if is_done else of_found / of_all if of_all else 0.0, None)
        before_s = elapsed_s + sum(one.found * (one.whole_s or 0.0) for _, one in parts)
        return Estimate(before_s / max(before_s + left_s, 1e-9), left_s)

    @property
    def _left(self) -> dict[str, float]:
        """Kind -> units that are not done."""
        rest = {kind: each.units - self._done.get(kind, 0.0) for kind, each in self.planned.items()}
        return {kind: n for kind, n in rest.items() if n > 1e-6}

    def _flops_of(self, kind: str) -> float:
        return self.flops.get(kind.partition("/")[0], 0.0)

    def _mean_units(self, kind: str) -> float:
        return self.planned[kind].units / self.planned[kind].n_jobs if kind in self.planned else 1.0

    def _remaining_s(self, parts: Sequence[tuple[str, JobParts]], *, now: float) -> float | None:
        """Return the remaining seconds; None while a kind of long jobs has no rate, and when no job remains."""
        left = self._left
        spent_s = sum(self._seconds.values()) + sum(one.elapsed_s for _, one in parts)
        measured = [
            (kind, whole_s, rest_s)
            for kind, one in parts
            if kind in left and (whole_s := one.whole_s) is not None and (rest_s := one.remaining_s) is not None
        ]
        means_s = self._means_s([(kind, whole_s) for kind, whole_s, _ in measured])
        if not left or not spent_s or not means_s.keys() >= left.keys():
            return None
        began = now - max((one.elapsed_s for _, one in parts), default=0.0)
        began = began if self._began is None else min(self._began, began)
        rests_s = [rest_s for _, _, rest_s in measured]
        begun = ((kind, one) for kind, one in parts if kind in left and one.whole_s is None)
        long_s = sum(rests_s) - sum(min(one.elapsed_s, self._mean_units(kind) * means_s[kind]) for kind, one in begun)
        running_units = {kind: self._mean_units(kind) * sum(kind == other for other, _, _ in measured) for kind in left}
        short_s = 0.0
        for kind, n in left.items():
            kind_s = max(0.0, n - running_units[kind]) * means_s[kind]
            if self._done.get(kind) or not self._flops_of(kind):
                short_s += kind_s
            else:
                long_s += kind_s
        n_workers = spent_s / (now - began) if now > began else 1.0
        return max([short_s / n_workers + min(1.0, 1 / n_workers) * long_s, *rests_s])

    def _means_s(self, wholes: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Return kind -> expected seconds of a unit.

        Kinds with planned operations have a rate of their own or, before a job of them is finished, that of the others
        with planned operations; it is unknown if there are none. To the other kinds, what is expected of them counts as
        one more job, because the first job of a kind also loads and compiles code.

        Args:
            wholes: (kind, estimated seconds) of running jobs of which parts are finished.
        """
        jobs = {kind: list(recent) for kind, recent in self._recent.items()}
        for kind, whole_s in wholes:
            jobs.setdefault(kind, []).append((self._mean_units(kind), whole_s))
        sums = {kind: (sum(n for n, _ in of_kind), sum(s for _, s in of_kind)) for kind, of_kind in jobs.items()}
        of_flops = sum(self._flops_of(kind) * units for kind, (units, _) in sums.items())
        of_flops_s = sum(seconds for kind, (_, seconds) in sums.items() if self._flops_of(kind))
        means_s = {}
        for kind in self.planned:
            units, seconds = sums.get(kind, (0.0, 0.0))
            if not self._flops_of(kind):
                one = self._mean_units(kind)
                means_s[kind] = (seconds + one * self._expected_s(kind)) / (units + one)
            elif units:
                means_s[kind] = seconds / units
            elif of_flops:
                means_s[kind] = self._flops_of(kind) * of_flops_s / of_flops
        return means_s

    def _expected_s(self, kind: str) -> float:
        """Return the seconds expected per planned CPU second: those that other kinds of the step took or, without any,
        those that the latest jobs took per CPU second that they used."""
        step = kind.partition("/")[0]
        others = [other for other in self._seconds if other != kind and other.partition("/")[0] == step]
        if others:
            return sum(self._seconds[other] for other in others) / sum(self._units[other] for other in others)
        return self._stretch

    @property
    def _stretch(self) -> float:
        """Seconds per CPU second of the latest jobs, at least 1: how busy the machine is."""
        cpu_s = sum(cpu_s for _, cpu_s in self._recent_cpu)
        return max(1.0, sum(elapsed_s for elapsed_s, _ in self._recent_cpu) / cpu_s) if cpu_s else 1.0
