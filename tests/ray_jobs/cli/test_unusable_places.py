"""Commands whose store or output cannot be written: one line and exit code 2, and nothing is changed."""

import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from typer.testing import CliRunner

from mlprune.errors import BadInputError
from ray_jobs.cli.application import app, main
from tests.read_only import read_only
from tests.tiny_recipes import FinishedRun, copy_of, small_recipe, write_recipe


def refusal(*arguments: object) -> str:
    """The message of a command that refuses its input."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, BadInputError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A path below a file."""
    (tmp_path / "file").write_text("a file")
    return tmp_path / "file" / "folder"


def test_a_store_below_a_file_is_refused_by_every_command(below_a_file: Path, small_run: FinishedRun) -> None:
    recipe = small_run.recipe_path
    commands = (
        ("plan", recipe),
        ("run", recipe, "--address", "none"),
        ("catalog", "merge", small_run.store.uri),
    )
    for command in commands:
        assert "below a file" in refusal(*command, "--store", below_a_file)


def test_an_export_below_a_file_is_refused(below_a_file: Path, small_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(small_run.store, tmp_path / "store").uri
    assert "cannot be written" in refusal("catalog", "export", "--to", below_a_file, "--store", store)


def test_a_read_only_store_is_refused_by_commands_that_write_to_it(small_run: FinishedRun, tmp_path: Path) -> None:
    store = Path(copy_of(small_run.store, tmp_path / "store").uri)
    recipe = write_recipe(small_run.recipe_path.parent, {**small_recipe(), "name": "another"}, name="another.yaml")
    (store / "masks" / "unreferenced").write_bytes(b"x")
    before = sorted(store.rglob("*"))
    commands = (
        ("run", recipe, "--address", "none"),
        ("catalog", "rebuild"),
        ("rescore", "--rule", "candidate_sum"),
        ("store", "compact"),
        ("gc", "--delete", "--min-age-hours", "0"),
    )
    with read_only(store):
        for command in commands:
            assert "read-only" in refusal(*command, "--store", store), command
        assert "read-only" in refusal("run", recipe, "--address", "none", "--store", store / "new")
    assert sorted(store.rglob("*")) == before


def test_a_store_whose_name_is_too_long_is_refused(small_run: FinishedRun, tmp_path: Path) -> None:
    assert "cannot be opened" in refusal("plan", small_run.recipe_path, "--store", tmp_path / ("a" * 300))


@pytest.mark.parametrize(
    ("arguments", "address", "named"),
    [
        (["--version"], "http://[::1", "HF_ENDPOINT"),
        (["query", "SELECT '\udcff'"], "https://huggingface.co", "udcff"),
        (["import", "a" * 300, "out"], "nonsense", "HF_ENDPOINT"),
    ],
)
def test_unusable_arguments_and_hub_addresses_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    address: str,
    named: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(sys, "argv", ["mlprune", *arguments])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
