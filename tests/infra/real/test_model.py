import hashlib
import sys

import pytest

from infra.real.model import find_part, import_gemma, join_parts
from mlprune.errors import ModelError


@pytest.fixture
def parts(tmp_path):
    paths = [tmp_path / "part0", tmp_path / "part1"]
    paths[0].write_bytes(b"GGUF" * 400_000)  # more than one block
    paths[1].write_bytes(b"end")
    return paths


def test_parts_are_joined_in_order(parts, tmp_path):
    whole = b"".join(part.read_bytes() for part in parts)
    join_parts(parts, tmp_path / "out", sha256=hashlib.sha256(whole).hexdigest())
    assert (tmp_path / "out").read_bytes() == whole


def test_another_file_is_refused_and_removed(parts, tmp_path):
    whole = b"".join(part.read_bytes() for part in parts)
    with pytest.raises(ModelError) as error:
        join_parts(parts[::-1], tmp_path / "out", sha256=hashlib.sha256(whole).hexdigest())
    assert error.value.context["expected"] == hashlib.sha256(whole).hexdigest()
    assert not (tmp_path / "out").exists()


def test_the_part_of_a_package_is_found_without_running_its_code(tmp_path, monkeypatch):
    (tmp_path / "part_package" / "data").mkdir(parents=True)
    (tmp_path / "part_package" / "__init__.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="no part of Gemma"):
        find_part("part_package")
    part = tmp_path / "part_package" / "data" / "gemma.gguf.part00"
    part.write_bytes(b"GGUF")
    assert find_part("part_package") == part
    assert "part_package" not in sys.modules


def test_a_missing_package_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("infra.real.model.PARTS", ("no_such_part",))
    with pytest.raises(ModelError) as error:
        import_gemma(tmp_path / "gemma")
    assert error.value.context["package"] == "no_such_part"
    assert list(tmp_path.iterdir()) == []
