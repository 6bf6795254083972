"""Commands on models and data: import, results and data check."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from rich.cells import cell_len
from typer.testing import CliRunner

from catalog.store import Catalog
from mlprune.errors import CorpusError
from mlprune.store.store import Store
from ray_jobs.capabilities.inspection.check_data import describe_data
from ray_jobs.cli.application import app
from ray_jobs.cli.options import WIDTH
from tests.command_line import Done
from tests.forked_runs import mlprune
from tests.lm_eval_output import write_output
from tests.multimodal_models import multimodal_model, publish_multimodal, stored_tensors
from tests.published_models import publish, published_tensors
from tests.published_text import TEXT_WRITERS, writer
from tests.refusals import refused
from tests.tiny_recipes import copied_inputs, small_recipe, write_recipe


class Calls:
    """An object whose pickle calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.thorough("runs commands that start or finish runs")
def test_import_and_run_lead_from_a_published_folder_to_a_variant(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path / "inputs")
    tensors = published_tensors(folder / "model", "xglm", has_buffers=True, has_head=True)
    publish(
        folder / "published", folder / "model", {name: tensor.half() for name, tensor in tensors.items()}, n_files=2
    )
    (folder / "model" / "model.safetensors").unlink()
    recipe = write_recipe(folder, {**small_recipe(), "model": {"path": "./imported"}})

    imported = mlprune("import", "./published", "--out", "./imported", cwd=folder)
    assert imported.returncode == 0, imported.stderr
    assert "100 %" in imported.stderr
    assert "peak memory" in imported.stdout
    assert "model.embed_positions.weights" in imported.stdout
    assert f"model: {{path: {folder / 'imported'}}}" in imported.stdout
    again = mlprune("import", "./published", "--out", "./imported", cwd=folder)
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "already imported: imported")

    run = mlprune("run", recipe, "--store", tmp_path / "store", "--address", "none")
    assert run.returncode == 0, run.stderr
    with Catalog.open(Store(str(tmp_path / "store"))) as catalog:
        (row,) = catalog.query("SELECT imported_from, imported_revision, import_sources FROM base_models")
    assert (row["imported_from"], row["imported_revision"]) == ("published", None)
    assert "pytorch_model-00002-of-00002.bin" in str(row["import_sources"])


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_multimodal_model_is_refused_with_the_command_that_makes_its_text_part_runnable(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path / "inputs")
    shutil.rmtree(folder / "model")
    publish_multimodal(folder / "model", multimodal_model("gemma3"))
    recipe = write_recipe(folder, small_recipe())

    refusal = mlprune("run", recipe, "--store", tmp_path / "store", "--address", "none")
    assert (refusal.returncode, len(refusal.stderr.splitlines())) == (2, 1), refusal.stderr
    command = f"import {folder / 'model'} --out {folder / 'model'}-imported"
    assert f"mlprune {command}" in refusal.stderr

    imported = mlprune(*command.split())
    assert imported.returncode == 0, imported.stderr
    assert "vision_tower (" in imported.stdout
    recipe = write_recipe(folder, {**small_recipe(), "model": {"path": "./model-imported"}})
    run = mlprune("run", recipe, "--store", tmp_path / "store", "--address", "none")
    assert run.returncode == 0, run.stderr

    export = ("export", "sweep", "--store", tmp_path / "store", "--into", folder / "model", "--out", tmp_path / "out")
    done = mlprune(*export)
    assert done.returncode == 0, done.stderr
    assert set(stored_tensors(tmp_path / "out")) == set(stored_tensors(folder / "model"))
    assert mlprune(*export, "--smaller").returncode == 2


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_malicious_pickle_is_one_line_with_the_name_it_asked_for(tiny_inputs: Path, tmp_path: Path) -> None:
    tensors = published_tensors(tiny_inputs / "model", "xglm")
    publish(tmp_path / "source", tiny_inputs / "model", tensors, n_files=3)
    torch.save({"model.layer_norm.weight": Calls()}, tmp_path / "source" / "pytorch_model-00003-of-00003.bin")
    done = mlprune("import", "source", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "os.system" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert not list(tmp_path.rglob("ran"))


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_source_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    for arguments in (("./nowhere",), (tmp_path / "nowhere",), ("./nowhere", "--dtype", "int8")):
        done = mlprune("import", *arguments, "--out", "out", cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


@pytest.mark.thorough("runs commands that start or finish runs")
def test_a_hub_that_cannot_be_reached_is_found_before_libraries_are_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ray_jobs.cli.application import app\n"
        "try:\n    app(['import', 'some/model', '--out', 'out'], standalone_mode=False)\n"
        "except Exception as err:\n    print(type(err).__name__, 'torch' in sys.modules)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "HubError False\n"


Run = Callable[..., Done]


@pytest.mark.thorough("runs commands that start or finish runs")
def test_results_leave_a_store_and_results_of_others_come_in(
    queried_store: Store, copied_store: Callable[[Store], Store], tmp_path: Path, here: Run
) -> None:
    store = copied_store(queried_store)
    done = here("export", "dense", "--as", "every_eval_ever", "--out", tmp_path / "out", "--store", store.uri)
    assert (done.code, done.err) == (0, "")
    assert "2 files" in done.out
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1
    write_output(tmp_path / "elsewhere")
    for known in (False, True):
        done = here("import", "--results", tmp_path / "elsewhere", "--variant", "sweep", "--store", store.uri)
        assert done.code == 0
        assert "xnli_fr: acc,none 0.625, acc_norm,none 0.5; 8 samples" in done.out
        assert ("known already" in done.out) == known
    answered = here("query", "results_from_elsewhere", "--store", store.uri, "--format", "csv")
    assert len(answered.out.splitlines()) == 4


def test_bad_input_is_one_line(queried_store: Store, tmp_path: Path, here: Run) -> None:
    out = ("--out", tmp_path / "out", "--store", queried_store.uri)
    for arguments in (
        ("export", "--as", "csv", "--organisation", "x", *out),
        ("export", "nobody", "--as", "hub", *out),
        ("export", "--as", "hub", *out),
        ("export", "--as", "every_eval_ever", "--relationship", "friend", *out),
        ("import", "--results", tmp_path / "missing.json", "--store", queried_store.uri),
        ("import", "--results", tmp_path, "--variant", "nobody", "--store", queried_store.uri),
    ):
        done = here(*arguments)
        assert (done.code, len(done.err.splitlines())) == (2, 1), arguments
    assert not (tmp_path / "out").exists()


def test_the_table_fits_into_80_cells_and_shows_language_split_n_and_first(tmp_path: Path) -> None:
    write = writer(tmp_path)
    for code, text in (("eng_Latn", "word " * 40), ("zho_Hans", "词" * 100)):
        write(f"dev/{code}.dev", f"{text}\n{text}\n".encode())
    text, n_problems = describe_data(tmp_path)
    lines = text.splitlines()
    assert n_problems == 0
    assert lines[1].split() == ["language", "code", "split", "n", "first"]
    assert lines[2].split()[:5] == ["en", "eng_Latn", "dev", "2", "word"]
    assert all(cell_len(line) <= WIDTH for line in lines[:-1])
    assert lines[2].endswith("…")
    assert lines[3].endswith("…")
    assert lines[-1].startswith("recipe: corpus:")


def test_nothing_recognised_is_one_line_that_lists_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    with refused(CorpusError, got=["notes.md"], page="docs/data.md"):
        describe_data(tmp_path)
    with pytest.raises(CorpusError, match="unknown task"):
        describe_data(tmp_path, tasks=["perplexity", "xnly"])


@pytest.mark.parametrize(
    ("file", "nearest"),
    [
        ("data/hau/tests.tsv", "masakhanews"),
        ("data/parallel_fra.tsv", "global_piqa_parallel"),
        ("en-de.jsonl", "WMT24++"),
        ("newstest2020-ref.fra.txt", "NTREX-128"),
    ],
)
def test_nothing_recognised_names_the_nearest_layout_not_all(tmp_path: Path, file: str, nearest: str) -> None:
    writer(tmp_path)(file, b"x\n")
    with refused(CorpusError, expected="a published layout") as caught:
        describe_data(tmp_path)
    assert f"{nearest}: " in str(caught.value.context["nearest"])
    assert len(str(caught.value)) < 500


def test_tables_in_no_known_layout_give_a_draft_of_a_task_and_few_names(
    tmp_path: Path, here: Callable[..., Done]
) -> None:
    for number in range(67):
        writer(tmp_path)(f"{'long' * 30}_{number}.csv", b"question,A,B,gold\nq,a,b,A\n")
    done = here("check", "data", tmp_path)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert len(done.out.splitlines()) < 24
    assert len(done.out + done.err) < 2500
    assert yaml.safe_load(done.out)["tasks"][0]["candidates"] == ["A", "B"]
    assert "custom task" in done.err
    done = here("check", "data", tmp_path, "--task", "xnli")
    assert (done.code, done.out) == (2, "")


def test_a_path_that_is_neither_a_file_nor_a_folder_is_named_for_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as opened, contextlib.chdir(tmp_path):
        opened.bind("socket")
    paths = {"pipe": "a pipe", "socket": "a socket", "/dev/zero": "a device", "missing": "no such folder"}
    for name, kind in paths.items():
        with refused(CorpusError, got=kind):
            describe_data(tmp_path / name)


def test_an_archive_of_no_task_lists_its_files_and_says_when_to_unpack_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("data/notes.md", "notes")
    with pytest.raises(CorpusError) as caught:
        describe_data(tmp_path / "x.zip")
    context = caught.value.context
    assert context["got"] == ["x.zip/data/notes.md"]
    assert "unzip x.zip" in str(context["next"])


def test_a_task_decides_what_is_looked_for(tmp_path: Path) -> None:
    TEXT_WRITERS["plain folder"](writer(tmp_path))
    of_one = describe_data(tmp_path, tasks=["perplexity"])
    assert of_one[1] == 0
    assert describe_data(tmp_path, tasks=["perplexity", "translation"]) == of_one  # both read parallel text
    for tasks in (["xnli"], ["perplexity", "xnli"]):
        with refused(CorpusError, task="xnli", path=str(tmp_path)):
            describe_data(tmp_path, tasks=tasks)


def test_problems_give_exit_code_1(tmp_path: Path) -> None:
    writer(tmp_path)("fr.txt", b"un\n\n")
    result = CliRunner().invoke(app, ["check", "data", str(tmp_path)])
    assert result.exit_code == 1
    assert "problem: fr.txt: 1 of 2 sentences are empty" in result.output
    assert "recipe:" not in result.output
    writer(tmp_path)("fr.txt", b"un\ndeux\n")
    assert CliRunner().invoke(app, ["check", "data", str(tmp_path)]).exit_code == 0
