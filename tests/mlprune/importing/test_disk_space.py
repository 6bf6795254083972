"""The check of a disk: what is reserved, and what the error names."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from mlprune.errors import ModelError
from mlprune.importing.disk_space import RESERVE_BYTES, require_space


class Usage(NamedTuple):
    free: int


def test_a_reserve_is_left_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(RESERVE_BYTES + 10))
    require_space(tmp_path, 10, purpose="import")
    with pytest.raises(ModelError, match="too small for the import") as caught:
        require_space(tmp_path, 11, purpose="import")
    assert caught.value.context["path"] == str(tmp_path)
