"""The text of `mlprune data check`, its width and its exit codes."""

import zipfile
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from mlprune.errors import CorpusError
from ray_jobs.cli.application import app
from ray_jobs.cli.commands.check_data import describe_data
from ray_jobs.cli.options import WIDTH
from tests.published_text import TEXT_WRITERS, writer


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
    with pytest.raises(CorpusError) as caught:
        describe_data(tmp_path)
    assert caught.value.context["got"] == ["notes.md"]
    assert caught.value.context["page"] == "docs/data.md"
    with pytest.raises(CorpusError, match="unknown task"):
        describe_data(tmp_path, task="xnly")


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
    assert describe_data(tmp_path, task="perplexity")[1] == 0
    with pytest.raises(CorpusError, match="no layout is recognised"):
        describe_data(tmp_path, task="xnli")


def test_problems_give_exit_code_1(tmp_path: Path) -> None:
    writer(tmp_path)("fr.txt", b"un\n\n")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert result.exit_code == 1
    assert "problem: fr.txt: 1 of 2 sentences are empty" in result.output
    assert "recipe:" not in result.output
    writer(tmp_path)("fr.txt", b"un\ndeux\n")
    assert CliRunner().invoke(app, ["data", "check", str(tmp_path)]).exit_code == 0
