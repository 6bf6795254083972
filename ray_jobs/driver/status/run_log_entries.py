"""Entries of run logs and claims, parsed from JSON into records. Missing or malformed fields get default values."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mlprune.json_values import JsonObject, JsonValue
from ray_jobs.driver.status.search_state import SearchState


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

    @classmethod
    def parse(cls, value: JsonObject) -> "PlannedEntry":
        """Parse the content of the file."""
        jobs = value.get("jobs")
        n_jobs = {step: int(_number(n)) for step, n in jobs.items()} if isinstance(jobs, dict) else {}
        return cls(n_jobs, _text(value, "process"), _time(value.get("planned_at")))


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

    @classmethod
    def parse(cls, value: JsonObject) -> "AttemptEntry":
        """Parse the content of the file."""
        started_at, elapsed_s = _time(value.get("started_at")), _number(value.get("elapsed_s"))
        worker = f"{_text(value, 'host')} {_text(value, 'worker')}".strip()
        ended_at = started_at + timedelta(seconds=elapsed_s) if started_at else None
        return cls(_text(value, "step"), _text(value, "status"), worker, elapsed_s, ended_at)


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

    @property
    def is_of_work(self) -> bool:
        """Whether it is a claim on a record, and not the one by which a run uses the store."""
        return not self.record.startswith("runs/")

    @classmethod
    def parse(cls, path: str, value: JsonObject) -> "ClaimEntry":
        """Parse the path and the content of the file."""
        record = path.removeprefix("claims/").removesuffix(".json")
        renewed_at, stale_after_s = _time(value.get("renewed_at")), _number(value.get("stale_after_s"))
        return cls(_text(value, "owner"), record, renewed_at, stale_after_s)


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
    last_attempt_at: datetime | None = None
    """When the last attempt ended."""

    def add(self, kind: str, value: JsonObject) -> None:
        """Add the content of a run file of a kind; other kinds are ignored."""
        match kind:
            case "run":
                self.run = RunEntry.parse(value)
            case "planned":
                self.planned = PlannedEntry.parse(value)
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

    def _add_attempt(self, attempt: AttemptEntry) -> None:
        self.n_attempts[attempt.worker] += 1
        self.n_retried += attempt.status == "lost"
        if attempt.status == "done":
            self.n_done[attempt.step] += 1
            self.spent_s[attempt.step] += attempt.elapsed_s
        if attempt.ended_at is not None:
            self.last_attempt_at = max(attempt.ended_at, self.last_attempt_at or attempt.ended_at)


def _text(value: JsonObject, name: str) -> str:
    text = value.get(name)
    return text if isinstance(text, str) else ""


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _time(value: JsonValue) -> datetime | None:
    """Parse a time, UTC by default; None if the value is not a time."""
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
