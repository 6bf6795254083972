"""Serve the live page of a store on loopback, until the process is stopped."""

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from catalog.serve.access import Token
from catalog.serve.application import Live, create_application
from catalog.serve.live_state import LiveState
from catalog.serve.report_child import RenderReport
from catalog.serve.run_progress import RunProgress
from catalog.serve.watcher import Watcher
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import BadInputError
from mlprune.store.scratch import scratch_folder
from mlprune.store.store import Store

HOST = "127.0.0.1"
MAX_CONNECTIONS = 100
MAX_HEADER_BYTES = 32_768
SHUTDOWN_S = 2
"""Time for answers that are being sent when the server stops."""


@dataclass(frozen=True)
class Sources:
    """Where the page gets what it shows."""

    store: Store
    read_runs: Callable[[], Sequence[RunProgress]]
    """Returns the newest runs; empty if no run has written to the store."""
    render_report: RenderReport


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
        live = Live(sources.store.uri, self._catalog, self._state, self._watcher)
        super().__init__(
            uvicorn.Config(
                create_application(live, self.token),
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,  # it would write the token
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
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
            self._catalog.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second SIGINT does not wait for answers that are being sent. The signal is not raised again."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests stop waiting for news, and stop."""
        await self._state.close()
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
