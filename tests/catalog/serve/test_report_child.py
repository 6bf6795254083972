"""The report, rendered in a child process."""

import time
from pathlib import Path
from threading import Event, Timer

import pytest

from catalog.report.page import render_page
from catalog.results import visible
from catalog.serve import report_child
from catalog.serve.report_child import render, render_in_child
from catalog.store import Catalog
from mlprune.errors import StoreError
from mlprune.store.store import Store


def test_a_report_of_the_store_is_rendered_from_a_private_copy(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    out = tmp_path / "out" / "report.html"
    out.parent.mkdir()
    render(store.uri, out)
    with Catalog.in_memory(store) as catalog:
        assert out.read_text("utf-8") == visible(render_page(catalog))
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert not (tmp_path / "store").exists()


def test_a_child_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_child.sys, "executable", "/bin/false")
    with pytest.raises(StoreError, match="cannot be rendered"):
        render_in_child("nothing")(tmp_path / "out.html", Event())


def test_a_child_is_ended_when_the_server_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(report_child.sys, "executable", str(program))
    stopped = Event()
    Timer(0.1, stopped.set).start()
    started = time.monotonic()
    render_in_child("nothing")(tmp_path / "out.html", stopped)
    assert time.monotonic() - started < 50
