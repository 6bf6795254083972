"""Options, places that cannot be used, and start-up."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from typer.testing import CliRunner

from mlprune.errors import BadInputError, StoreError
from ray_jobs.cli import options
from ray_jobs.cli.application import app, main
from ray_jobs.cli.options import (
    echo,
    existing_store,
    format_report,
    format_text,
    parse_dtype,
    screen_width,
    show_start,
)
from ray_jobs.driver.progress import VisibleConsole
from tests.read_only import read_only
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, copy_of, small_recipe, write_recipe


def test_a_store_with_records_is_opened(small_run: FinishedRun) -> None:
    assert existing_store(small_run.store.uri).record_names() == small_run.store.record_names()


def test_a_store_without_records_is_bad_input_and_is_not_created(tmp_path: Path) -> None:
    with refused(StoreError, store=str(tmp_path / "nothing")):
        existing_store(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_start_of_a_command_is_shown_on_a_terminal_only(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    show_start("planning r.yaml")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "planning r.yaml ...\n" if is_terminal else "")


def test_the_width_is_that_of_the_terminal_and_elsewhere_80_or_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen_width() == 80
    monkeypatch.setenv("COLUMNS", "60")
    assert screen_width() == 60
    monkeypatch.setenv("COLUMNS", "none")
    assert screen_width() == 80
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((123, 40)))
    assert screen_width() == 123


def test_the_reason_for_no_rows_fits_and_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = format_text("No rows for task=\x1b[2J; the store has facts (dev, test)")
    assert max(map(len, text.splitlines())) <= 30
    assert r"\x1b[2J" in text


def test_a_report_is_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "memory: about 2 GiB per actor, 1 GiB of it for computing\x1b"
    monkeypatch.setenv("COLUMNS", "30")
    assert format_report(line) == line.replace("\x1b", r"\x1b")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert format_report(line).splitlines()[1].startswith("        ")


def test_no_command_writes_characters_that_a_terminal_interprets(capsys: pytest.CaptureFixture[str]) -> None:
    echo("store\x07 \x1b[2J\u202e\tname\nnext")
    echo("\x1b[2J", err=True)
    written = capsys.readouterr()
    assert (written.out, written.err) == ("store\\x07 \\x1b[2J\\u202e\tname\nnext\n", "\\x1b[2J\n")


def test_every_command_writes_through_one_function() -> None:
    folder = Path(options.__file__).parent
    writing = {path.name for path in folder.rglob("*.py") if "typer.echo" in path.read_text("utf-8")}
    assert writing == {"options.py"}


def test_lines_of_a_run_are_escaped_too() -> None:
    stream = io.StringIO()
    VisibleConsole(file=stream, soft_wrap=True).print("failed: a\x1b[2J\x07\u202e", markup=False)
    assert stream.getvalue() == "failed: a\\x1b[2J\\x07\\u202e\n"


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
    commands = (("plan", recipe), ("run", recipe, "--address", "none"), ("store", "merge", small_run.store.uri))
    for command in commands:
        assert "below a file" in refusal(*command, "--store", below_a_file)


@pytest.mark.thorough("runs commands that start or finish runs")
def test_an_export_below_a_file_is_refused(below_a_file: Path, small_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(small_run.store, tmp_path / "store").uri
    assert "cannot be written" in refusal("export", "--as", "parquet", "--out", below_a_file, "--store", store)


def test_a_read_only_store_is_refused_by_commands_that_write_to_it(small_run: FinishedRun, tmp_path: Path) -> None:
    store = Path(copy_of(small_run.store, tmp_path / "store").uri)
    recipe = write_recipe(small_run.recipe_path.parent, {**small_recipe(), "name": "another"}, name="another.yaml")
    (store / "masks" / "unreferenced").write_bytes(b"x")
    before = sorted(store.rglob("*"))
    commands = (
        ("run", recipe, "--address", "none"),
        ("store", "rebuild"),
        ("rescore", "--rule", "candidate_sum"),
        ("store", "compact"),
        ("store", "gc", "--delete", "--min-age-hours", "0"),
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
        (["import", "a" * 300, "--out", "out"], "nonsense", "HF_ENDPOINT"),
    ],
)
def test_unusable_arguments_and_hub_addresses_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], address: str, named: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(sys, "argv", ["mlprune", *arguments])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "ray", "numpy", "pyarrow", "duckdb", "matplotlib", "rich", "jinja2", "yaml", "marimo")
SCRIPT = """
import contextlib, io, json, os, sys
heavy = set(sys.argv[1].split(","))
loaded = {}
def note(step):
    loaded[step] = sorted(heavy & sys.modules.keys())
import mlprune
note("import mlprune")
from ray_jobs.cli import main
store = sys.argv[2]
CALLS = (["--help"], ["query", "--list"], ["status", "--store", store], ["methods"], ["complete", "mlprune query be"])
for arguments in CALLS:
    sys.argv = ["mlprune", *arguments]
    if arguments[0] == "complete":
        os.environ.update(_MLPRUNE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=arguments[1])
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        main()
    note(" ".join(arguments[:2]))
assert "best_by_language" in output.getvalue()
from ray_jobs.cli.command_line import load_command
from ray_jobs.cli.command_table import COMMANDS
for command, source in COMMANDS.items():
    for form in ("", *source.forms):
        load_command(command, form)
note("every command")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Step -> heavy libraries that are loaded after it, in one process."""
    command = [sys.executable, "-c", SCRIPT, ",".join(HEAVY), str(tmp_path_factory.mktemp("store"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=900)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("step", ["import mlprune", "--help", "query --list", "status --store"])
def test_help_lists_and_the_status_of_runs_load_no_heavy_library(loaded: dict[str, list[str]], step: str) -> None:
    assert loaded[step] == []


def test_the_list_of_methods_loads_no_tensor_library(loaded: dict[str, list[str]]) -> None:
    assert not {"torch", "ray", "duckdb", "numpy"} & set(loaded["methods"])


def test_a_completion_loads_no_heavy_library(loaded: dict[str, list[str]]) -> None:
    assert set(loaded["complete mlprune query be"]) <= {"rich"}, "typer formats the summaries with it"


def test_the_help_and_the_options_of_every_command_load_no_models_and_no_ray(loaded: dict[str, list[str]]) -> None:
    assert not {"torch", "transformers", "ray"} & set(loaded["every command"])


@pytest.mark.parametrize(("name", "dtype"), [("bf16", "bfloat16"), ("fp16", "float16"), ("float32", "float32")])
def test_dtypes_have_short_names(name: str, dtype: str) -> None:
    assert parse_dtype(name) == dtype


def test_an_unknown_dtype_is_refused() -> None:
    with refused(BadInputError, got="int8", option="--dtype"):
        parse_dtype("int8")
