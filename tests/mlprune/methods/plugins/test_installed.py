"""Files of plug-ins: provided by a command, run once, and found again by their hash."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import PluginError
from mlprune.methods.plugins import SCORE_METHODS, ScorePlugin, provide_file, provided_files
from tests.plugin_packages import CUBIC
from tests.refusals import refused


def write(folder: Path, text: str, name: str = "my_score.py") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_is_found_by_the_name_of_its_plugin(tmp_path: Path) -> None:
    source = provide_file(write(tmp_path, CUBIC + "# found"))
    assert provided_files()[0] == source
    method, found = SCORE_METHODS.find("cubic")
    assert isinstance(method, ScorePlugin)
    assert found == source
    assert (source.file, source.distribution) == ("my_score.py", None)


def test_a_source_needs_its_text_or_a_provided_file(tmp_path: Path) -> None:
    source = provide_file(write(tmp_path, CUBIC + "# travels"))
    assert SCORE_METHODS.resolve("cubic", replace(source, text=None)).formula.startswith("|W")
    unknown = replace(source, sha256="0" * 64, text=None)
    with pytest.raises(PluginError) as raised:
        SCORE_METHODS.resolve("cubic", unknown)
    assert raised.value.context["got"] == f"SHA-256 {source.sha256}"
    with refused(PluginError, file="other.py"):
        SCORE_METHODS.resolve("cubic", replace(unknown, file="other.py"))


def test_the_code_of_a_file_runs_once_and_not_when_it_is_provided(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    text = f"open({str(counter)!r}, 'a').write('x')\n" + CUBIC
    source = provide_file(write(tmp_path, text))
    assert not counter.exists()
    assert SCORE_METHODS.resolve("cubic", source) is SCORE_METHODS.resolve("cubic", source)
    assert counter.read_text() == "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "no plug-in"),
        ("import no_such_library", "no_such_library"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_file_without_a_usable_plugin_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    source = provide_file(write(tmp_path, text))
    with pytest.raises(PluginError, match=expected) as raised:
        SCORE_METHODS.resolve("cubic", source)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="No such file"):
        provide_file(tmp_path / "missing.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    with pytest.raises(PluginError, match="cannot be read"):
        provide_file(tmp_path / "bytes.py")
