"""Servers that answer in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

POLL_INTERVAL_S = 0.02
"""The end of a server waits for this long."""


@contextmanager
def answering(server: BaseServer) -> Iterator[None]:
    """Answer requests until the end of the block, then close the server."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_INTERVAL_S,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
