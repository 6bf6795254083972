"""`mlprune serve`: what it prints, and how it ends."""

import sys
from pathlib import Path

import pytest

from catalog.serve.server import LiveServer, listen
from mlprune.errors import BadInputError
from ray_jobs.cli.commands.runs.serve import serve


def test_it_prints_the_address_and_ends_quietly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    def interrupted(server: LiveServer) -> None:
        addresses.append(server.address)
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "run", interrupted)
    serve(store=str(tmp_path / "store"), port=0)
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
    for name in [name for name in sys.modules if name.startswith("catalog.serve.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(BadInputError, match=r"\[serve\]"):
        serve(store=str(tmp_path), port=0)
