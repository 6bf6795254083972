"""States beyond the limit are stored on the disk, are read back unchanged, and no file remains."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.inference import spilled_states
from mlprune.models.inference.spilled_states import SpilledStates
from mlprune.models.messages import HiddenStates, SweepStates
from mlprune.store import scratch


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files; two batches of `states_of` stay in memory."""
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spilled_states, "MAX_STATE_BYTES", 2 * 3 * 4 * 4)
    return tmp_path


def states_of(value: float, dtype: torch.dtype = torch.float32) -> SweepStates:
    hidden = torch.full((1, 3, 4), value, dtype=dtype)
    return SweepStates(HiddenStates(hidden, {}), torch.ones(1, 3, dtype=torch.bool))


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def hidden_of(states: SpilledStates, key: int) -> Tensor:
    return states[key].states.hidden


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_states_come_back_bit_for_bit_wherever_they_are(folder: Path, dtype: torch.dtype) -> None:
    states = SpilledStates()
    for key in range(5):
        states[key] = states_of(key + 0.1, dtype)
    assert len(files_in(folder)) == {torch.float32: 3, torch.bfloat16: 1, torch.float64: 4}[dtype]
    for key in range(5):
        states[key] = states_of(key + 0.7, dtype)
    assert list(states) == [0, 1, 2, 3, 4]
    for key in range(5):
        assert torch.equal(hidden_of(states, key), states_of(key + 0.7, dtype).states.hidden)
        assert states[key].counted.all()


def test_only_the_states_within_the_limit_take_memory(folder: Path) -> None:
    states = SpilledStates()
    for key in range(4):
        states[key] = states_of(1.0)
    kept = [one.states.hidden.nbytes for one in states._states.values()]
    assert kept == [48, 48, 0, 0]
    del states[0]
    states[4] = states_of(1.0)  # takes the place that became free
    assert len(files_in(folder)) == 2


def test_what_is_forgotten_leaves_no_file(folder: Path) -> None:
    states = SpilledStates()
    for key in range(6):
        states[key] = states_of(key)
    assert torch.equal(states.pop(5).states.hidden, states_of(5).states.hidden)
    assert len(files_in(folder)) == 3
    states.clear()
    assert not states
    assert not files_in(folder)
    states[9] = states_of(9)
    assert hidden_of(states, 9).eq(9).all()
    with pytest.raises(KeyError):
        states[0]
    del states
    assert not list(folder.iterdir())


def test_threads_may_use_different_keys(folder: Path) -> None:
    states = SpilledStates()

    def work(first: int) -> None:
        for _ in range(20):
            for key in range(first, first + 5):
                states[key] = states_of(key)
                assert hidden_of(states, key).eq(key).all()

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(states) == 15
    assert len(files_in(folder)) == 13
    assert all(hidden_of(states, key).eq(key).all() for key in states)


def test_a_lost_scratch_folder_is_named(folder: Path) -> None:
    states = SpilledStates()
    for key in range(3):
        states[key] = states_of(key)
    files_in(folder)[0].unlink()
    with pytest.raises(ModelError, match="gone"):
        states[2]
    files_in(folder)
    for path in folder.iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    with pytest.raises(ModelError, match="cannot be written"):
        states[2] = states_of(2)
