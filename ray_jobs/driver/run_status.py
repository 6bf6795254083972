"""`mlprune status`: how far the runs of a store are, from their own files and claims. Reads only, and no catalog.

What a run is at is written down by its `RunLog`. Whether it still lives is told by its process, where that is one of
this machine, and by its claims, which a living run renews; clocks of other machines are taken as they are. The words
are in `status_words.py`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from mlprune.errors import StoreError
from mlprune.store.claims import STALE_AFTER_S
from mlprune.store.process_identity import is_alive, is_gone
from mlprune.store.run_log_files import kind_of, read_run_file, run_files
from mlprune.store.store import Store
from ray_jobs.driver.eta import remaining_s

State = Literal["running", "silent", "died", "done", "failed", "stopped"]
"""failed: some jobs did, the others are done; silent: no sign of life, and nothing is known of its process."""

READS_AT_ONCE = 16


@dataclass(frozen=True)
class StepStatus:
    """One step of a run."""

    n_jobs: int
    n_done: int
    """Those that another run did included."""
    n_failed: int
    spent_s: float
    """Time of the done jobs, summed over the workers."""

    @property
    def n_left(self) -> int:
        """Jobs that are neither done nor failed."""
        return max(0, self.n_jobs - self.n_done - self.n_failed)


@dataclass(frozen=True)
class RunStatus:
    """One run."""

    run_id: str
    recipe: str
    host: str
    address: str
    state: State
    started_at: datetime
    last_sign_at: datetime
    """When it last said anything."""
    steps: Mapping[str, StepStatus]
    failures: tuple[str, ...]
    workers: Mapping[str, int]
    """host and worker -> jobs it has ended."""
    at_work_on: tuple[str, ...] = ()
    """kind and id of the records that it has claimed."""
    lost: int = 0
    """Tries that were repeated."""

    @property
    def elapsed_s(self) -> float:
        """From its beginning to its last sign of life."""
        return max(0.0, (self.last_sign_at - self.started_at).total_seconds())

    @property
    def remaining_s(self) -> float | None:
        """About how long it has to go; None if that is not known or it does not run."""
        if self.state != "running":
            return None
        total, done, spent = ({step: getattr(one, name) for step, one in self.steps.items()} for name in _COUNTED)
        return remaining_s(total, done, spent, elapsed_s=self.elapsed_s)


_COUNTED = ("n_jobs", "n_done", "spent_s")


@dataclass
class _Found:
    """The files of one run."""

    run: dict[str, Any] = field(default_factory=dict)
    planned: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Any] | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: list[dict[str, Any]] = field(default_factory=list)


def store_status(store: Store, *, last: int = 3, now: datetime | None = None) -> list[RunStatus]:
    """The runs of a store, the newest first: those that run, and of the others so many.

    Args:
        last: how many runs to read at most beyond those that hold claims.
        now: the time, for tests.
    Raises:
        StoreError: no run has written to the store.
    """
    files = run_files(store)
    paths = [*files.single, *files.packs]
    names = sorted({path.split("/")[1] for path in paths}, reverse=True)
    if not names:
        raise StoreError("no run has written to the store", store=store.uri)
    claims = _claims(store)
    shown = [name for n, name in enumerate(names) if n < last or _base(name) in claims]
    found = _read(store, [path for path in paths if path.split("/")[1] in {*shown, *map(_base, shown)}])
    moment = now or datetime.now(UTC)
    described = (_status(name, found, claims.get(_base(name), []), moment) for name in shown)
    return [one for one in described if one is not None]


def _base(name: str) -> str:
    """The run that a round of it belongs to: a run that mends damage has several."""
    return "-".join(name.split("-")[:2])


def _claims(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Run -> what it has claimed."""
    owned: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, claim in _contents(store, store.list("claims")):
        owned[str(claim.get("owner"))].append({**claim, "of": path.removeprefix("claims/").removesuffix(".json")})
    return owned


def _read(store: Store, paths: list[str]) -> dict[str, _Found]:
    found: dict[str, _Found] = defaultdict(_Found)
    for path, value in _contents(store, paths):
        name, kind = path.split("/")[1], kind_of(path)
        if kind in ("run", "planned", "ended"):
            setattr(found[name], kind, value)
        elif kind in ("job", "failure", "elsewhere"):
            rows = {"job": found[name].jobs, "failure": found[name].failures, "elsewhere": found[name].elsewhere}
            rows[kind].append(value)
    return found


def _contents(store: Store, paths: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, content) of those files, or files in packs, that are there and can be read: a living run removes some."""

    def read(path: str) -> list[tuple[str, dict[str, Any]]]:
        try:
            return list(read_run_file(store, path))
        except (OSError, ValueError, TypeError):
            return []

    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        for found in pool.map(read, paths):
            yield from found


def _status(
    name: str, all_found: Mapping[str, _Found], claims: list[dict[str, Any]], now: datetime
) -> RunStatus | None:
    """What is known of a run; None if its own file cannot be read."""
    found, run = all_found[name], all_found[_base(name)].run
    started = _time(found.planned.get("planned_at")) or _time(run.get("started_at"))
    if started is None:
        return None
    signs = [started, *(_ended(job) for job in found.jobs), *(_time(one.get("renewed_at")) for one in claims)]
    ended_at = _time(found.ended.get("ended_at")) if found.ended else None
    state = _state(found, claims, silent_s=(now - max(sign for sign in signs if sign)).total_seconds())
    last_sign = ended_at or (now if state == "running" else max(sign for sign in signs if sign))
    done = [job for job in found.jobs if job.get("status") == "done"]
    at_work = tuple(sorted(str(one["of"]) for one in claims)) if state == "running" else ()
    return RunStatus(
        run_id=name,
        recipe=str(run.get("recipe") or run.get("command") or ""),
        host=str(run.get("host", "")),
        address=str(run.get("address", "")),
        state=state,
        started_at=started,
        last_sign_at=last_sign,
        steps=_steps(found, done),
        failures=tuple(f"{one.get('step')} {one.get('record_id')}: {one.get('message')}" for one in found.failures),
        workers=Counter(f"{job.get('host')} {job.get('worker')}".strip() for job in found.jobs),
        at_work_on=at_work,
        lost=sum(job.get("status") == "lost" for job in found.jobs),
    )


def _state(found: _Found, claims: list[dict[str, Any]], *, silent_s: float) -> State:
    """Whether a run lives, and if not, how it ended."""
    if found.ended is not None:
        how = found.ended.get("how")
        return how if how in ("done", "failed") else "stopped"
    process = found.planned.get("process")
    if is_gone(process):
        return "died"
    patience_s = max([STALE_AFTER_S, *(float(one.get("stale_after_s") or 0) for one in claims)])
    return "running" if is_alive(process) or silent_s <= patience_s else "silent"


def _steps(found: _Found, done: list[dict[str, Any]]) -> dict[str, StepStatus]:
    n_done = Counter(str(one.get("step")) for one in (*done, *found.elsewhere))
    n_failed = Counter(str(one.get("step")) for one in found.failures)
    spent: dict[str, float] = defaultdict(float)
    for job in done:
        spent[str(job.get("step"))] += float(job.get("elapsed_s") or 0)
    planned = found.planned.get("jobs") or n_done  # a command that is no recipe knows not how many there will be
    return {step: StepStatus(int(n), n_done[step], n_failed[step], spent[step]) for step, n in planned.items()}


def _ended(job: Mapping[str, Any]) -> datetime | None:
    """When a job ended."""
    started = _time(job.get("started_at"))
    return datetime.fromtimestamp(started.timestamp() + float(job.get("elapsed_s") or 0), UTC) if started else None


def _time(text: object) -> datetime | None:
    """A time out of a run file; None if it is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
