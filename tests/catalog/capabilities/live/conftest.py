"""The application of a live page about the small filled store, without a socket."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from catalog.capabilities.live.access import Token
from catalog.capabilities.live.application import Live, create_application
from catalog.capabilities.live.query_child import QueryChildren
from catalog.capabilities.live.watcher import LiveState, Watcher
from catalog.store.live_catalog import LiveCatalog
from mlprune.processes.remaining_time import Estimate
from mlprune.store.run_status import RunStatus, State, StepStatus
from mlprune.store.store import Store
from tests.catalog.capabilities.live.asgi import PATIENCE_S, Client

STARTED = datetime(2026, 2, 3, 22, 15, tzinfo=UTC)


def a_run(
    run_id: str = "run", *, n_done: int = 3, state: State = "running", failures: tuple[str, ...] = ()
) -> RunStatus:
    """A run of ten jobs, each of which takes 10 s."""
    return RunStatus(
        run_id=run_id, recipe="study", host="node", address="none", state=state, started_at=STARTED,
        last_seen_at=STARTED + timedelta(seconds=10 * n_done), failures=failures, workers={},
        steps={"prune": StepStatus(10, n_done, len(failures), spent_s=10.0 * n_done)},
        estimate=Estimate(n_done / 10, 10.0 * (10 - n_done)) if state == "running" else None,
    )  # fmt: skip


def write_page(out: Path, _: Event) -> None:
    """Stand in for the report."""
    out.write_text("<!DOCTYPE html><title>r</title><nav></nav><main><section>all results</section></main>")


@pytest.fixture(scope="session")
def token() -> Token:
    return Token()


@pytest.fixture(scope="session")
def live_catalog(small_filled: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCatalog]:
    """The private catalog of the small filled store, which has been read."""
    catalog = LiveCatalog(small_filled, tmp_path_factory.mktemp("live"))
    assert catalog.refresh()
    yield catalog
    catalog.close()


@pytest.fixture(scope="session")
def queries(live_catalog: LiveCatalog, small_filled: Store) -> Iterator[QueryChildren]:
    """The children that answer SQL on it; the time limit does not matter on a busy machine."""
    children = QueryChildren(live_catalog, small_filled.uri, seconds=PATIENCE_S)
    yield children
    children.close()


@pytest.fixture
def live(live_catalog: LiveCatalog, queries: QueryChildren, small_filled: Store, tmp_path: Path) -> Live:
    state = LiveState()
    watcher = Watcher(live_catalog, state, read_runs=lambda: [a_run()], render_report=write_page, folder=tmp_path)
    return Live(small_filled.uri, live_catalog, queries, state, watcher)


@pytest.fixture
def client(live: Live, token: Token) -> Iterator[Client]:
    """A client that has the cookie."""
    made = Client(create_application(live, token), f"{token.cookie}={token.text}")
    with made.runner:
        yield made
