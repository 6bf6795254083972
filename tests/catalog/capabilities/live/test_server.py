"""The server on loopback: its address, its port, and that many requests leave nothing open."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from catalog.capabilities.live import server as server_module
from catalog.capabilities.live.query_child import QueryChildren
from catalog.capabilities.live.server import HOST, LiveServer, Sources, listen, live_server
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.catalog.capabilities.live.asgi import PATIENCE_S
from tests.catalog.capabilities.live.conftest import a_run, write_page
from tests.catalog.capabilities.live.test_children import ENDLESS_PLANNING


@contextmanager
def running(sources: Sources) -> Iterator[LiveServer]:
    """A server that answers, in a thread."""
    with live_server(sources) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server ended before it listened"
                time.sleep(0.005)
            yield server
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def ask(server: LiveServer, address: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE_S)
    cookie = f"{server.token.cookie}={server.token.text}"
    connection.request("GET", address, headers={"Cookie": cookie, **headers})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, content


def wait_for_news(server: LiveServer, part: bytes) -> None:
    """Wait until the news have a part."""
    deadline = time.monotonic() + PATIENCE_S
    while part not in (content := ask(server, "/news")[1]):
        assert time.monotonic() < deadline, content
        time.sleep(0.02)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(Store(tmp_path / "store"), read_runs=lambda: [a_run()], render_report=write_page)


def test_it_listens_to_loopback_only_and_the_address_has_its_token(sources: Sources) -> None:
    with running(sources) as server:
        assert server._listener.getsockname()[0] == "127.0.0.1"
        assert server.address == f"http://127.0.0.1:{server.port}/?token={server.token.text}"
        assert ask(server, server.address.partition(f":{server.port}")[2], Cookie="")[0] == 200
        assert ask(server, "/news")[0] == 200
        assert ask(server, "/news", Cookie="")[0] == 403


def test_a_store_that_does_not_exist_yet_is_served_and_not_created(sources: Sources, tmp_path: Path) -> None:
    with running(sources) as server:
        wait_for_news(server, b'"is_ready":true')
    assert not (tmp_path / "store").exists()


def test_stopping_does_not_wait_for_a_page_that_waits_for_news(sources: Sources) -> None:
    with running(sources) as server:
        wait_for_news(server, b'"report":')
        version = server._state.version
        waiting = threading.Thread(target=ask, args=(server, "/news?wait=20"), kwargs={"If-None-Match": f'"{version}"'})
        waiting.start()
        time.sleep(0.2)
        started = time.monotonic()
    waiting.join(PATIENCE_S)
    assert time.monotonic() - started < 15  # the request would have waited for 20 s


@pytest.mark.thorough("serves a live page")
def test_many_requests_leave_no_open_file_or_thread(sources: Sources) -> None:
    with running(sources) as server:
        for _ in range(10):
            ask(server, "/news")
        time.sleep(0.1)
        n_files, n_threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        for _ in range(40):
            assert ask(server, "/news?wait=20", **{"If-None-Match": '"x"'})[0] == 200
            ask(server, "/live.css")
        for _ in range(20):  # a laptop that disappears
            gone = socket.create_connection((HOST, server.port))
            gone.sendall(b"GET /news HTTP/1.1\r\n")
            gone.close()
        deadline = time.monotonic() + PATIENCE_S
        while len(list(Path("/proc/self/fd").iterdir())) > n_files + 3 or threading.active_count() > n_threads + 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def strangers(server: LiveServer, n: int) -> list[socket.socket]:
    """Connections that send half a header and wait."""
    opened = [socket.create_connection((HOST, server.port), timeout=PATIENCE_S) for _ in range(n)]
    for connection in opened:
        connection.sendall(b"GET / HTTP/1.1\r\n")
    return opened


def test_connections_without_the_token_do_not_keep_its_owner_out(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_STRANGERS", 20)
    monkeypatch.setattr(server_module, "HEADER_TIMEOUT_S", 3600.0)
    with running(sources) as server:
        opened = strangers(server, 30)
        for _ in range(5):
            assert ask(server, "/news")[0] == 200
        for connection in opened[:10]:
            assert_closed(connection)
        assert ask(server, "/news", Cookie="")[0] == 403
        for connection in opened:
            connection.close()


@pytest.mark.thorough("serves a live page")
def test_half_a_header_is_not_waited_for(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_TIMEOUT_S", 0.05)
    with running(sources) as server:
        for connection in strangers(server, 3):
            assert_closed(connection)
        with socket.create_connection((HOST, server.port), timeout=PATIENCE_S) as silent:
            assert_closed(silent)
        wait_for_news(server, b'"report":')
        version = server._state.version
        assert ask(server, "/news?wait=1", **{"If-None-Match": f'"{version}"'})[0] in (200, 304)


def assert_closed(connection: socket.socket) -> None:
    """Wait until the server has closed a connection."""
    with suppress(ConnectionResetError):
        assert connection.recv(1) == b""


@pytest.mark.thorough("serves a live page")
def test_it_stops_while_a_query_runs(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "QueryChildren", partial(QueryChildren, seconds=3600.0))
    folders: list[Path] = []
    with running(sources) as server:
        wait_for_news(server, b'"is_ready":true')
        folders.append(server._catalog._folder)
        body = json.dumps({"sql": ENDLESS_PLANNING}).encode()
        asking = threading.Thread(target=post, args=(server, body))
        asking.start()
        while not (children := set(server._queries._children)):
            time.sleep(0.005)
        server.handle_exit(signal.SIGTERM, None)
    asking.join(PATIENCE_S)
    assert not asking.is_alive()
    assert all(child.poll() is not None for child in children)
    assert not folders[0].exists()


def post(server: LiveServer, body: bytes) -> None:
    """Send a query; the server may end meanwhile."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE_S)
    connection.request("POST", "/query", body, {"Cookie": f"{server.token.cookie}={server.token.text}"})
    with suppress(OSError, http.client.HTTPException):
        connection.getresponse().read()
    connection.close()


def test_a_port_in_use_is_refused_in_one_line() -> None:
    with listen(0) as taken:
        taken.listen()
        with pytest.raises(BadInputError, match="the port cannot be used"):
            listen(taken.getsockname()[1])
