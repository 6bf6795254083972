"""The server on loopback: its address, its port, and that many requests leave nothing open."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.serve.server import HOST, LiveServer, Sources, listen, live_server
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from tests.catalog.serve.asgi import PATIENCE_S
from tests.catalog.serve.conftest import a_run, write_page


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


def test_a_port_in_use_is_refused_in_one_line() -> None:
    with listen(0) as taken:
        taken.listen()
        with pytest.raises(BadInputError, match="the port cannot be used"):
            listen(taken.getsockname()[1])
