"""Entries of run logs and claims, parsed into records, and read again and again."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from mlprune.counted import counted
from mlprune.json_values import JsonObject, JsonValue
from mlprune.processes.job_parts import JobParts
from mlprune.processes.remaining_time import MeasuredWork, PlannedKind
from mlprune.store.run_log_files import kind_of, numbers_of, read_run_file
from mlprune.store.store import Store

N_READERS = 16
CHANGING_KINDS = ("run", "planned", "searches", "ended")
"""Kinds of files that are written again, or whose content is replaced."""


@dataclass(frozen=True)
class SearchState:
    """How far a search is."""

    name: str
    n_trials: int
    """Trials evaluated so far."""
    most_trials: int
    n_items: int
    """Items x languages scored for them."""
    most_items: int
    rung: int
    """Highest rung reached, from 1; 0 before the first trial."""
    n_rungs: int
    item_limit: int | None
    """Items per language of that rung; None for all."""
    best: int | None
    """Number of the best trial of that rung."""
    objective: float | None
    """Its objective, in the direction of the recipe."""
    is_feasible: bool
    """Whether it meets all constraints."""
    is_finished: bool

    @classmethod
    def parse(cls, value: JsonObject) -> "SearchState":
        """Parse an entry of `searches.json`; missing or malformed fields get default values."""
        return cls(
            name=str(value.get("name") or ""),
            **{name: _integer(value.get(name)) or 0 for name in ("n_trials", "most_trials", "n_items", "most_items")},
            rung=_integer(value.get("rung")) or 0,
            n_rungs=_integer(value.get("n_rungs")) or 0,
            item_limit=_integer(value.get("item_limit")),
            best=_integer(value.get("best")),
            objective=_number(value.get("objective")),
            is_feasible=value.get("is_feasible") is True,
            is_finished=value.get("is_finished") is True,
        )

    def to_json(self) -> JsonObject:
        """Return the entry of `searches.json`; an infinite objective is null."""
        return {**asdict(self), "objective": _number(self.objective)}

    def describe(self) -> str:
        """Return one line: trials, items, rung, and the best trial of the rung."""
        if self.is_finished:
            text = f"finished, {counted(self.n_trials, 'trial')}, {self.n_items:,} items"
        else:
            text = f"{self.n_trials} of at most {counted(self.most_trials, 'trial')}, "
            text += f"{self.n_items:,} of at most {self.most_items:,} items"
        if self.n_rungs > 1 and self.rung:
            limit = "all" if self.item_limit is None else f"{self.item_limit:,}"
            text += f", rung {self.rung} of {self.n_rungs} ({limit} items)"
        if self.best is not None:
            value = "no finite value" if self.objective is None else f"{self.objective:.4g}"
            missed = "" if self.is_feasible else ", misses a constraint"
            text += f", best {value} (trial {self.best}{missed})"
        if self.is_finished and not (self.is_feasible and self.objective is not None):
            text += ", no winner"
        return f"search {self.name}: {text}"


def _integer(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@dataclass(frozen=True)
class RunEntry:
    """`run.json`: who runs what, and where."""

    name: str = ""
    """The recipe, or the command if it has none."""
    host: str = ""
    address: str = ""
    started_at: datetime | None = None

    @classmethod
    def parse(cls, value: JsonObject) -> "RunEntry":
        """Parse the content of the file."""
        name = str(value.get("recipe") or value.get("command") or "")
        return cls(name, _text(value, "host"), _text(value, "address"), _time(value.get("started_at")))


@dataclass(frozen=True)
class PlannedEntry:
    """`planned.json`: the planned jobs and the process of the driver."""

    n_jobs: dict[str, int] = field(default_factory=dict)
    """Step -> number of jobs; empty for a command without a recipe."""
    process: str = ""
    """Identity of the process, as `process_identity` writes it."""
    planned_at: datetime | None = None
    flops: dict[str, float] = field(default_factory=dict)
    """Step -> planned floating-point operations of a job, on average."""
    kinds: dict[str, PlannedKind] = field(default_factory=dict)
    """Kind of job -> its planned jobs; empty in the log of an earlier version."""

    @classmethod
    def parse(cls, value: JsonObject) -> "PlannedEntry":
        """Parse the content of the file."""
        jobs = value.get("jobs")
        n_jobs = {step: int(_entry_number(n)) for step, n in jobs.items()} if isinstance(jobs, dict) else {}
        planned = value.get("flops")
        flops = {step: _entry_number(n) for step, n in planned.items()} if isinstance(planned, dict) else {}
        given = value.get("kinds")
        kinds = {
            kind: PlannedKind(int(_entry_number(pair[0])), _entry_number(pair[1]))
            for kind, pair in (given.items() if isinstance(given, dict) else ())
            if isinstance(pair, list) and len(pair) == 2
        }
        return cls(n_jobs, _text(value, "process"), _time(value.get("planned_at")), flops, kinds)


@dataclass(frozen=True)
class EndedEntry:
    """`ended.json`: how and when the run ended."""

    how: str = ""
    ended_at: datetime | None = None

    @classmethod
    def parse(cls, value: JsonObject) -> "EndedEntry":
        """Parse the content of the file."""
        return cls(_text(value, "how"), _time(value.get("ended_at")))


@dataclass(frozen=True)
class AttemptEntry:
    """`job-N.json`: one attempt of a job."""

    step: str
    status: str
    worker: str
    """Host and name of the worker."""
    elapsed_s: float
    ended_at: datetime | None
    kind: str = "/"
    """Of the job."""
    cpu_s: float = 0.0
    """0 if they are unknown."""
    units: float = 0.0
    """Of the job, as in its planned kind."""

    @classmethod
    def parse(cls, value: JsonObject) -> "AttemptEntry":
        """Parse the content of the file."""
        started_at, elapsed_s = _time(value.get("started_at")), _entry_number(value.get("elapsed_s"))
        worker = f"{_text(value, 'host')} {_text(value, 'worker')}".strip()
        ended_at = started_at + timedelta(seconds=elapsed_s) if started_at else None
        cpu_s, units = _entry_number(value.get("cpu_s")), _entry_number(value.get("units"))
        step, status = _text(value, "step"), _text(value, "status")
        return cls(step, status, worker, elapsed_s, ended_at, _kind(value), cpu_s, units)


@dataclass(frozen=True)
class FailureEntry:
    """`failure-N.json`: a job that failed for good."""

    step: str
    record_id: str
    message: str

    @classmethod
    def parse(cls, value: JsonObject) -> "FailureEntry":
        """Parse the content of the file."""
        return cls(_text(value, "step"), _text(value, "record_id"), _text(value, "message"))


@dataclass(frozen=True)
class ClaimEntry:
    """A claim of a run on a record."""

    owner: str
    record: str
    """Kind and id of the record, separated by a slash."""
    renewed_at: datetime | None
    stale_after_s: float
    work: str = ""
    """What the claim is for; empty in claims of earlier versions."""
    parts: JobParts | None = None
    """How far the job was when the claim was renewed; None if it has no parts yet."""

    @property
    def is_of_work(self) -> bool:
        """Whether it is a claim on a record, and not the one by which a run uses the store."""
        return not self.record.startswith("runs/")

    @classmethod
    def parse(cls, path: str, value: JsonObject) -> "ClaimEntry":
        """Parse the path and the content of the file."""
        record = path.removeprefix("claims/").removesuffix(".json")
        renewed_at, stale_after_s = _time(value.get("renewed_at")), _entry_number(value.get("stale_after_s"))
        parts = JobParts.parse(value.get("parts"))
        return cls(_text(value, "owner"), record, renewed_at, stale_after_s, _text(value, "work"), parts)


def _kind(value: JsonObject) -> str:
    return f"{_text(value, 'step')}/{_text(value, 'record_kind')}"


def _text(value: JsonObject, name: str) -> str:
    text = value.get(name)
    return text if isinstance(text, str) else ""


def _time(value: JsonValue) -> datetime | None:
    """Parse a time, UTC by default; None if the value is not a time."""
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@dataclass
class RunEntries:
    """All entries of one run, or of one round of it. Attempts are only counted: a run may have a million."""

    run: RunEntry = RunEntry()
    planned: PlannedEntry = field(default_factory=PlannedEntry)
    ended: EndedEntry | None = None
    failures: list[FailureEntry] = field(default_factory=list)
    searches: tuple[SearchState, ...] = ()
    n_attempts: Counter[str] = field(default_factory=Counter)
    """Worker -> number of its attempts."""
    n_retried: int = 0
    """Number of attempts that failed and were repeated."""
    n_done: Counter[str] = field(default_factory=Counter)
    """Step -> number of its jobs that are done, also by another run."""
    spent_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Step -> seconds of its jobs that this run has done."""
    work: MeasuredWork = field(default_factory=MeasuredWork)
    """What its jobs took, by kind."""
    last_attempt_at: datetime | None = None
    """When the last attempt ended."""

    def add(self, kind: str, value: JsonObject) -> None:
        """Add the content of a run file of a kind; other kinds are ignored."""
        match kind:
            case "run":
                self.run = RunEntry.parse(value)
            case "planned":
                self.planned = PlannedEntry.parse(value)
                self.work.planned, self.work.flops = self.planned.kinds, self.planned.flops
            case "searches":
                states = value.get("searches")
                entries = states if isinstance(states, list) else []
                self.searches = tuple(SearchState.parse(one) for one in entries if isinstance(one, dict))
            case "ended":
                self.ended = EndedEntry.parse(value)
            case "job":
                self._add_attempt(AttemptEntry.parse(value))
            case "failure":
                self.failures.append(FailureEntry.parse(value))
            case "elsewhere":
                self.n_done[_text(value, "step")] += 1
                self.work.done(_kind(value), _entry_number(value.get("units")), elapsed_s=0.0, ended_at=0.0)

    def _add_attempt(self, attempt: AttemptEntry) -> None:
        self.n_attempts[attempt.worker] += 1
        self.n_retried += attempt.status == "lost"
        if attempt.status == "done":
            self.n_done[attempt.step] += 1
            self.spent_s[attempt.step] += attempt.elapsed_s
            if attempt.ended_at is not None:
                seconds, ended_at = attempt.elapsed_s, attempt.ended_at.timestamp()
                self.work.done(attempt.kind, attempt.units, elapsed_s=seconds, ended_at=ended_at, cpu_s=attempt.cpu_s)
        if attempt.ended_at is not None:
            self.last_attempt_at = max(attempt.ended_at, self.last_attempt_at or attempt.ended_at)


def _entry_number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def folder_of(path: str) -> str:
    """Return the folder of a run file: a run, or a later round of it."""
    return path.split("/")[1]


class RunLogReader:
    """The entries of the runs of a store, kept between two readings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: dict[str, RunEntries] = {}
        """Folder of a run -> its entries so far."""
        self._known: dict[str, set[str]] = defaultdict(set)
        """Folder of a run -> paths of files that were read and do not change."""
        self._numbers: dict[str, set[int]] = defaultdict(set)
        """Folder of a run -> numbers of the entries that were read: a later pack may have them, too."""

    def read(self, paths: Sequence[str], folders: Collection[str]) -> Mapping[str, RunEntries]:
        """Return folder -> entries of some folders; other folders are forgotten.

        Args:
            paths: the current single files and packs of all runs.
        """
        for folder in self._logs.keys() - set(folders):
            for by_folder in (self._logs, self._known, self._numbers):
                by_folder.pop(folder, None)
        for folder in folders:
            self._logs.setdefault(folder, RunEntries())
        ordered = sorted(paths, key=lambda path: (numbers_of(path) or range(-1, 0))[0])  # rates are of the latest jobs
        wanted = [
            path for path in ordered if folder_of(path) in self._logs and path not in self._known[folder_of(path)]
        ]
        for path, contents in read_files(self._store, wanted):
            if contents:
                self._add(path, contents)
        return self._logs

    def _add(self, path: str, contents: Sequence[tuple[str, JsonObject]]) -> None:
        """Add the content of a file, or of the entries in a pack that were not read before they were packed."""
        folder = folder_of(path)
        known, read = self._known[folder], self._numbers[folder]
        for name, value in contents:
            numbers = numbers_of(name)
            if numbers is None or numbers[0] not in read:
                self._logs[folder].add(kind_of(name), value)
                read.update(numbers or ())
        if kind_of(path) not in CHANGING_KINDS:
            known.difference_update(name for name, _ in contents)  # a packed file is never listed again
            known.add(path)


def read_files(store: Store, paths: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, JsonObject]]]]:
    """Yield each path with its content, or with the (path, content) of the files in a pack.

    The content is empty if the file cannot be read: a live run may delete files in the meantime.
    """

    def read(path: str) -> list[tuple[str, JsonObject]]:
        try:
            return list(read_run_file(store, path))
        except (OSError, ValueError, TypeError):
            return []

    if not paths:
        return
    with ThreadPoolExecutor(N_READERS) as pool:
        yield from zip(paths, pool.map(read, paths), strict=True)
