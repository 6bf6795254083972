"""`mlprune status --web`: its address, its end, and what it refuses."""

import signal
import sys
from pathlib import Path

import pytest

from catalog.capabilities.live.server import LiveServer, listen
from mlprune.errors import BadInputError
from ray_jobs.capabilities.live import serve
from ray_jobs.process.signals import GracefulShutdown


def test_it_prints_the_address_and_ends_quietly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    async def tick(server: LiveServer, _: int) -> bool:
        if not addresses:
            addresses.append(server.address)
            signal.raise_signal(signal.SIGINT)
        return server.should_exit

    monkeypatch.setattr(LiveServer, "on_tick", tick)
    with GracefulShutdown() as shutdown:
        serve(store=str(tmp_path / "store"), port=0)
    assert shutdown.number is None
    out, err = capsys.readouterr()
    assert out.splitlines() == addresses
    assert addresses[0].startswith("http://127.0.0.1:")
    assert "ssh -N -L" in err
    assert "no records yet" in err
    assert not (tmp_path / "store").exists()


def test_a_port_in_use_is_bad_input(tmp_path: Path) -> None:
    with listen(0) as taken:
        taken.listen()
        with pytest.raises(BadInputError, match="the port cannot be used"):
            serve(store=str(tmp_path), port=taken.getsockname()[1])


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("catalog.capabilities.live.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(BadInputError, match=r"\[serve\]"):
        serve(store=str(tmp_path), port=0)
