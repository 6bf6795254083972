"""The state that the page shows: a version, which requests wait for, and the progress of runs."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.visible_text import visible
from mlprune.json_values import JsonObject, JsonValue
from mlprune.store.run_status import RunStatus
from mlprune.timestamps import timestamp

MAX_FAILURES = 50
"""Failures that the page lists; it states the number of all."""


_ID = re.compile(r"\b[0-9a-f]{20}\b")


def with_labels(text: str, labels: Mapping[str, str]) -> str:
    """Return a text with labels instead of ids; ids of other things are shortened.

    Args:
        labels: id of a variant -> label.
    """
    return _ID.sub(lambda match: labels.get(match[0], match[0][:6]), text)


def run_content(run: RunStatus, labels: Mapping[str, str]) -> JsonObject:
    """Return what the page shows of a run, without the estimate of the remaining time, which changes all the time.

    Args:
        labels: id of a variant -> label.
    """
    return {
        "id": visible(run.run_id),
        "name": visible(run.recipe),
        "host": visible(run.host),
        "state": run.state,
        "advice": run.advice,
        "started_at": timestamp(run.started_at),
        "last_seen_at": None if run.state == "running" else timestamp(run.last_seen_at),
        "steps": [
            {"name": visible(name), "n_jobs": step.n_jobs, "n_done": step.n_done, "n_failed": step.n_failed}
            for name, step in run.steps.items()
        ],
        "failures": [visible(failure) for failure in run.failures[:MAX_FAILURES]],
        "n_failures": len(run.failures),
        "searches": [visible(search.describe()) for search in run.searches],
        "working_on": [visible(with_labels(work, labels)) for work in run.working_on],
        "n_retried": run.n_retried,
    }


@dataclass(frozen=True)
class Part:
    """One part of the state, such as the runs."""

    content: JsonValue
    """What the page shows; a change of it makes a new version."""
    estimates: JsonObject
    """Values that change all the time and make no new version."""


class LiveState:
    """Named parts of the state. Belongs to one event loop: all methods are called there."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        self._changed = asyncio.Condition()
        self._is_closed = False
        self.version = ""
        """Changes whenever the content of a part does."""

    @property
    def content(self) -> JsonObject:
        """The parts by name, with the estimates below `estimates`."""
        parts = {name: part.content for name, part in self._parts.items()}
        estimates = {name: part.estimates for name, part in self._parts.items() if part.estimates}
        return {**parts, "estimates": estimates}

    async def put(self, name: str, content: JsonValue, *, estimates: JsonObject | None = None) -> bool:
        """Replace a part, and wake the requests that wait if its content has changed; return whether it has.

        The estimates of equal content are not replaced, so that they belong to the version that a page has.
        """
        known = self._parts.get(name)
        if known is not None and known.content == content:
            return False
        self._parts[name] = Part(content, estimates or {})
        texts = json.dumps({key: part.content for key, part in sorted(self._parts.items())})
        self.version = hashlib.sha256(texts.encode()).hexdigest()[:20]
        async with self._changed:
            self._changed.notify_all()
        return True

    async def wait_for_change(self, version: str, *, seconds: float) -> bool:
        """Wait until the version is another one, at most some seconds; return whether it is."""

        def has_news() -> bool:
            return self._is_closed or self.version != version

        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(has_news)
        except TimeoutError:
            return False
        return self.version != version

    async def close(self) -> None:
        """Let all requests stop waiting."""
        self._is_closed = True
        async with self._changed:
            self._changed.notify_all()
