"""Commands, their forms, and the names and options of the version before."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from mlprune import capabilities
from mlprune.deprecation import DeprecatedNameWarning
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from ray_jobs.cli.command_line import CommandGroup, load_command, present_arguments, select_form
from ray_jobs.cli.command_table import COMMANDS, GROUPS, OLD_NAMES, CommandSource
from ray_jobs.cli.options import PROGRAM
from ray_jobs.driver.progress import VisibleConsole
from ray_jobs.process.verbosity import set_verbosity
from tests.command_line import Done
from tests.ray_jobs.cli.test_known_words import completed
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, small_recipe, write_recipe

MOST_COMMANDS = 15


def help_of(*arguments: str, width: int = 80) -> str:
    result = CliRunner().invoke(app, [*arguments, "-h"], env={"COLUMNS": str(width)}, terminal_width=width)
    assert result.exit_code == 0
    return result.stdout


def test_there_are_fifteen_commands_and_their_list_fits_80_columns_uncut() -> None:
    names = {command.partition(" ")[0] for command in COMMANDS}
    assert len(names) == MOST_COMMANDS
    text = help_of()
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("\n")[2]
    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines()]
    assert listed == list(dict.fromkeys(command.partition(" ")[0] for command in COMMANDS))


@pytest.mark.parametrize("group", GROUPS)
def test_the_list_of_a_group_is_uncut(group: str) -> None:
    assert "..." not in help_of(group).partition("\n")[2]


@pytest.mark.parametrize(
    ("command", "arguments", "form", "others"),
    [
        ("report", ["--store", "s"], "", ["--store", "s"]),
        (
            "report",
            ["--store", "s", "--figures", "--figure", "curves"],
            "--figures",
            ["--store", "s", "--figure", "curves"],
        ),
        ("export", ["fr-en", "--as", "masks"], "--as masks", ["fr-en"]),
        ("export", ["--as=csv"], "--as csv", []),
        ("export", ["--as", "parquet", "--as", "csv"], "--as csv", []),
        ("export", ["--as"], "", ["--as"]),
        ("export", ["--", "--as", "csv"], "", ["--", "--as", "csv"]),
        ("query", ["--store", "s", "ranks", "--task", "facts"], "ranks", ["--store", "s", "--task", "facts"]),
        ("methods", ["ranks"], "", ["ranks"]),
    ],
)
def test_words_choose_the_form_of_a_command(command: str, arguments: list[str], form: str, others: list[str]) -> None:
    assert select_form(command, arguments) == (form, others)


def test_an_unknown_form_and_two_forms_are_refused() -> None:
    with refused(BadInputError, got="mask", nearest="masks"):
        select_form("export", ["--as", "mask"])
    with refused(BadInputError, got="both"):
        select_form("report", ["--figures", "--tables"])


def test_an_option_of_another_form_is_one_line(here: Callable[..., Done], tmp_path: Path) -> None:
    done = here("export", "--as", "csv", "--out", tmp_path / "out", "--store", tmp_path, "--smaller")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--smaller" in done.err
    assert "export --as csv --help" in done.err


def test_the_help_of_a_command_lists_the_options_of_its_forms() -> None:
    text = help_of("report")
    for words in ("With --figures:", "--pair", "With --tables:", "--like", "With --notebook:", "--jupyter"):
        assert words in text
    assert "list[" not in help_of("export")


def test_a_value_that_the_form_determines_is_not_an_option() -> None:
    assert "--format" not in help_of("export", "--as", "csv")
    assert load_command("report", "--figures").name == "report"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mlprune export --as m", {"masks", "mlflow"}),
        ("mlprune report --fig", {"--figures"}),
        ("mlprune report --figures --pa", {"--pair"}),
        ("mlprune gc --keep-b", {"--keep-best"}),
        ("mlprune g", set()),
    ],
)
def test_forms_and_old_names_are_completed_but_old_names_are_not_offered(line: str, expected: set[str]) -> None:
    assert set(completed(line)) == expected


def test_without_a_capability_its_form_is_refused_in_one_line_and_not_offered(
    here: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "--web" in help_of("status")
    monkeypatch.setattr(capabilities, "NAMES", tuple(name for name in capabilities.NAMES if name != "live"))
    done = here("status", "--web", "--store", tmp_path / "store")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "status --web belongs to the capability live, which is not installed" in done.err
    assert "--web" not in help_of("status")
    assert not (tmp_path / "store").exists()


def test_a_command_of_an_absent_capability_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = CommandGroup(name=PROGRAM, commands={}).commands
    assert not any(command.hidden for command in listed.values())
    monkeypatch.setitem(COMMANDS, "methods", CommandSource("ray_jobs.capabilities.absent:methods", "Show methods."))
    listed = CommandGroup(name=PROGRAM, commands={}).commands
    assert [name for name, command in listed.items() if command.hidden] == ["methods"]


@pytest.mark.parametrize("old", OLD_NAMES)
def test_an_old_name_becomes_a_command_and_warns_once(old: str) -> None:
    changed = OLD_NAMES[old]
    options = [f"{option}=csv" if option == "--format" else option for option in changed.options]
    with pytest.warns(DeprecatedNameWarning) as caught:
        words = present_arguments([*old.split(), *options])
    assert len(caught) == 1
    command = next(command for command in COMMANDS if words[: len(command.split())] == command.split())
    form, others = select_form(command, words[len(command.split()) :])
    known = {option for parameter in load_command(command, form).params for option in parameter.opts}
    assert {word.partition("=")[0] for word in others} <= known | {"--as"}


@pytest.mark.filterwarnings("ignore::mlprune.deprecation.DeprecatedNameWarning")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["results", "export", "a", "--format", "hub", "--to", "o"], ["export", "a", "--as", "hub", "--out", "o"]),
        (["catalog", "export", "--to=o"], ["export", "--out=o", "--as", "parquet"]),
        (["catalog", "export", "--format=csv"], ["export", "--as=csv"]),
        (["doctor", "--json"], ["check", "machine", "--format=json"]),
        (["harness", "dense", "--tasks", "a,b"], ["harness", "dense", "--task", "a,b"]),
        (["harness", "dense", "--task", "a"], ["harness", "dense", "--task", "a"]),
        (["catalog"], ["catalog"]),
        ([], []),
    ],
)
def test_options_of_an_old_name_are_renamed(old: list[str], new: list[str]) -> None:
    assert present_arguments(old) == new


@pytest.mark.thorough("runs commands that start or finish runs")
def test_old_names_do_their_work(small_run: FinishedRun, here: Callable[..., Done], tmp_path: Path) -> None:
    store, model = small_run.store.local_root, small_run.folder / "model"
    variant = next(row["variant_id"] for row in small_run.rows("variants") if row["mask_sha256"] is not None)
    calls = [
        ("gc",),
        ("verify", variant, "--model", model),
        ("publish", variant, "--to", tmp_path / "masks", "--model", model),
        ("catalog", "export", "--only", "variants", "--to", tmp_path / "tables"),
    ]
    for call in calls:
        done = here(*call, "--store", store)
        assert done.code == 0, done.err
        assert "is deprecated since 0.3, removed in 1.2" in done.err.splitlines()[0]
    assert (tmp_path / "masks" / "README.md").exists()
    assert [path.suffix for path in (tmp_path / "tables").glob("variants*")] == [".parquet"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "dense", "OUT", "--base-model", "m"),
        ("export", "--store=x", "dense", "OUT"),
        ("apply", "m", "p", "OUT"),
    ],
)
def test_the_output_can_still_be_the_last_argument(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPRUNE_STORE", "s")
    command = load_command(arguments[0])
    with pytest.warns(DeprecatedNameWarning) as caught:
        context = command.make_context(arguments[0], list(arguments[1:]))
    assert context.params["out"] == Path("OUT")
    assert len(caught) == 1


def test_too_many_arguments_are_still_an_error(here: Callable[..., Done]) -> None:
    assert here("export", "a", "b", "c", "--store", "s").code == 2
    assert here("export", "a", "b", "--out", "c", "--store", "s").code == 2


def test_the_store_can_be_in_the_environment(
    small_run: FinishedRun, here: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPRUNE_STORE", str(small_run.store.local_root))
    done = here("query", "SELECT count(*) > 0 AS some FROM variants", "--format", "json")
    assert (done.code, json.loads(done.out)) == (0, [{"some": True}])


def test_every_option_store_has_the_same_variable() -> None:
    for command, source in COMMANDS.items():
        for form in ("", *source.forms):
            stores = [one for one in load_command(command, form).params if one.opts == ["--store"]]
            assert all(one.envvar == "MLPRUNE_STORE" for one in stores), command


def test_a_quiet_command_writes_only_results_and_errors(
    queried_store: object, here: Callable[..., Done], tmp_path: Path
) -> None:
    store = queried_store.uri  # type: ignore[attr-defined]  # it is a store
    question = ("query", "values_by_variant", "--param", "task=nope", "--store", store, "--format", "csv")
    assert here(*question).err != ""
    assert here(*question, "-q").err == ""
    wrong = here("status", "--last", "0", "-q", "--store", store)
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert here(*question).err != "", "a command is as loud as it says, not as the one before"


def test_the_completion_of_a_shell_is_printed(here: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert "compdef" in here("completion").out
    assert "COMPREPLY" in here("completion", "bash").out
    assert here("completion", "tcsh").code == 2
    monkeypatch.delenv("SHELL")
    assert here("completion").code == 2


def test_the_completion_is_installed(
    here: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert here("completion", "bash", "--install").code == 0
    assert "mlprune" in (tmp_path / ".bashrc").read_text("utf-8")


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_setting_is_part_of_the_recipe_and_of_its_ids(own_inputs: Path, here: Callable[..., Done]) -> None:
    path, store = write_recipe(own_inputs, small_recipe()), own_inputs / "store"
    changed = {**small_recipe(), "evaluations": [{**entry, "limit": 3} for entry in small_recipe()["evaluations"]]}
    n_evaluations = len(changed["evaluations"])
    settings = [word for place in range(n_evaluations) for word in ("--set", f"evaluations.{place}.limit=3")]
    assert here("run", path, "--store", store, "--address", "none", *settings).code == 0
    made = Store(store).record_names("evaluations")
    written = write_recipe(own_inputs, changed, name="written.yaml")
    assert here("run", written, "--store", store, "--address", "none").code == 0
    assert Store(store).record_names("evaluations") == made
    runs = [json.loads(path.read_text("utf-8")) for path in sorted(store.glob("runs/*/run.json"))]
    assert [run["recipe"] == changed["name"] for run in runs] == [False, True]
    assert "evaluations.0.limit=3" in runs[0]["recipe"]
    assert yaml.safe_load(runs[0]["recipe_yaml"])["evaluations"][0]["limit"] == 3


@pytest.mark.parametrize(
    "setting", ["evaluations.9.limit=3", "evaluations.0.limt=3", "evaluations.0.limit=many", "limit", "nmae=x"]
)
def test_a_wrong_setting_is_one_line(setting: str, own_inputs: Path, here: Callable[..., Done]) -> None:
    path, store = write_recipe(own_inputs, small_recipe()), own_inputs / "store"
    for command in (("plan", path), ("run", path, "--address", "none")):
        done = here(*command, "--store", store, "--set", setting)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert not store.exists()


def test_a_quiet_run_prints_only_its_failures() -> None:
    stream = io.StringIO()
    console = VisibleConsole(file=stream)
    set_verbosity(-1)
    try:
        console.print("12 s  prune 1/5")
        console.print("failed: prune", is_error=True)
    finally:
        set_verbosity(0)
    assert stream.getvalue() == "failed: prune\n"
