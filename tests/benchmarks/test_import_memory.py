"""The benchmark of imports runs on a small model. Its time is not checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("import_memory.py")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("options", [[], ["--files", "3", "--old-format"]])
def test_a_small_checkpoint_is_imported_within_the_limit_and_without_a_difference(
    tmp_path: Path, options: list[str]
) -> None:
    command = [sys.executable, str(SCRIPT), "--shape", "small", "--folder", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout[done.stdout.index("{") :])
    assert figures["is_within_limit"]
    assert figures["different_tensors"] == []
    assert list(tmp_path.iterdir()) == []
