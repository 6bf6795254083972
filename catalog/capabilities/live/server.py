"""Serve the live page of a store on loopback, until the process is stopped."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from catalog.capabilities.live.access import CONNECTION, Token
from catalog.capabilities.live.application import Live, create_application
from catalog.capabilities.live.query_child import QueryChildren
from catalog.capabilities.live.report_child import RenderReport
from catalog.capabilities.live.watcher import LiveState, Watcher
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import BadInputError
from mlprune.store.run_status import RunStatus
from mlprune.store.scratch import scratch_folder
from mlprune.store.store import Store

HOST = "127.0.0.1"
MAX_STRANGERS = 100
"""Connections that have not sent the token; one more closes the oldest of them."""
HEADER_TIMEOUT_S = 5.0
"""Time to send the header of a request."""
MAX_HEADER_BYTES = 32_768
SHUTDOWN_S = 2
"""Time for answers that are being sent when the server stops."""


@dataclass(frozen=True)
class Sources:
    """Where the page gets what it shows."""

    store: Store
    read_runs: Callable[[], Sequence[RunStatus]]
    """Returns the newest runs; empty if no run has written to the store."""
    render_report: RenderReport


class BoundedConnection(H11Protocol):
    """A connection that has to send the header of a request soon, and that counts as a stranger's until it has a token.

    So connections without the token can neither wait for ever nor keep the one with the token out.
    """

    has_token = False
    """Set by `Guard`."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a header; close the oldest connection of a stranger if there are too many."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION: self}
        self._opened_at = self.loop.time()
        self._expect_header()
        strangers = [one for one in self.connections if isinstance(one, BoundedConnection) and not one.has_token]
        if len(strangers) > MAX_STRANGERS:
            min(strangers, key=lambda one: one._opened_at).abort()

    def data_received(self, data: bytes) -> None:
        """Read data; whatever is not a whole header by then has to become one soon."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None:
            self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)
        self.transport.abort()

    def _expect_header(self) -> None:
        self._deadline = self.loop.call_later(HEADER_TIMEOUT_S, self.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class LiveServer(uvicorn.Server):
    """A server for one store. `run` returns after SIGINT or SIGTERM, which is its normal end.

    Args:
        sources: see `Sources`.
        listener: see `listen`.
        folder: an empty folder for temporary files.
    """

    def __init__(self, sources: Sources, *, listener: socket.socket, folder: Path, token: Token | None = None) -> None:
        self.token = token or Token()
        self._listener = listener
        self._catalog = LiveCatalog(sources.store, folder)
        self._state = LiveState()
        self._watcher = Watcher(
            self._catalog,
            self._state,
            read_runs=sources.read_runs,
            render_report=sources.render_report,
            folder=folder,
        )
        self._queries = QueryChildren(self._catalog, sources.store.uri)
        live = Live(sources.store.uri, self._catalog, self._queries, self._state, self._watcher)
        super().__init__(
            uvicorn.Config(
                create_application(live, self.token),
                http=BoundedConnection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,  # it would write the token
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )

    @property
    def port(self) -> int:
        """The port that it listens to."""
        return int(self._listener.getsockname()[1])

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        return f"http://{HOST}:{self.port}/?token={self.token.text}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the process is stopped."""
        try:
            super().run(sockets or [self._listener])
        finally:
            self._queries.close()
            self._catalog.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second SIGINT does not wait for answers that are being sent. The signal is not raised again."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests stop waiting for news, end the queries, and stop."""
        await self._state.close()
        self._queries.close()
        await super().shutdown(sockets)


def listen(port: int) -> socket.socket:
    """Return a socket that listens to a port of loopback, 0 for any free one.

    Raises:
        BadInputError: the port is in use or not permitted.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as err:
        listener.close()
        reason = getattr(err, "strerror", None) or str(err)
        raise BadInputError(
            "the port cannot be used", option="--port", got=port, reason=reason, next="another port, or 0 for any"
        ) from err
    return listener


@contextmanager
def live_server(sources: Sources, *, port: int = 0) -> Iterator[LiveServer]:
    """Yield a server that listens but does not answer yet; its temporary files are removed afterwards."""
    with closing(listen(port)) as listener, scratch_folder() as folder:
        yield LiveServer(sources, listener=listener, folder=Path(folder))
