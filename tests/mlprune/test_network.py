"""Reachability of addresses within a deadline."""

import socket
import threading
import time

import pytest

from mlprune import network
from mlprune.network import connection_problem
from tests.hub import silent_address


def test_an_address_that_accepts_connections_has_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert connection_problem("127.0.0.1", server.getsockname()[1], timeout_s=60) is None


def test_a_refused_connection_is_named() -> None:
    assert "refused" in str(connection_problem("127.0.0.1", 9, timeout_s=60))


def test_an_address_that_answers_nothing_is_given_up_at_the_deadline() -> None:
    started_at = time.monotonic()
    with silent_address() as port:
        assert connection_problem("127.0.0.1", port, timeout_s=0.3) == "no answer within 0.3 s"
    assert time.monotonic() - started_at < 60


def test_the_deadline_includes_the_resolution_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def resolve_slowly(*_: object, **__: object) -> socket.socket:
        is_over.wait(300)
        return socket.socket()

    monkeypatch.setattr(network.socket, "create_connection", resolve_slowly)
    started_at = time.monotonic()
    assert connection_problem("some.name", 80, timeout_s=0.1) == "no answer within 0.1 s"
    assert time.monotonic() - started_at < 300
    is_over.set()
