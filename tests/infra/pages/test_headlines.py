"""Headline numbers: all are declared as their pages state them, and the commands print them."""

import io
import runpy
import shlex
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.pages.frozen import archive_of, names, thaw
from infra.pages.headlines import (
    CONDITIONS,
    HEADLINES,
    MADE_BY,
    README,
    ROOT,
    STUDIES,
    STUDY,
    Printed,
    numbers,
    opening_answers,
    plain,
    printed_numbers,
)
from infra.pages.site import DOCS
from ray_jobs.cli.application import app

PRINTED = {headline.source.command: headline for headline in HEADLINES if isinstance(headline.source, Printed)}
STORES = sorted({name for headline in PRINTED.values() for name in headline.source.stores})
CHEAP = "where-gemma"
"""The store of the test that always runs."""


def text_of(page: str) -> str:
    return plain((ROOT / page).read_text("utf-8"))


@pytest.mark.parametrize("headline", HEADLINES, ids=lambda headline: headline.text[:40])
def test_a_number_is_declared_as_its_page_states_it(headline) -> None:
    whole = " ".join((ROOT / headline.page).read_text("utf-8").split())
    assert headline.text in (whole if headline.page == STUDY else text_of(headline.page))
    assert numbers(headline.text)
    if isinstance(headline.source, Printed):
        assert len(numbers(headline.text)) == len(headline.source.cells)
        assert set(headline.source.stores) <= set(names()) & set(MADE_BY)


@pytest.mark.parametrize("page", [README, STUDIES, STUDY])
def test_every_number_of_the_readme_and_of_an_opening_answer_is_on_the_page_of_results(page: str) -> None:
    answers = {README: text_of(README), STUDIES: opening_answers(), STUDY: text_of(STUDY)}
    text = answers[page]
    if page == STUDY:
        text = text.partition("## The answer")[2].partition("- Translations")[2].partition("With `--wide`")[0]
    assert len(PRINTED) == sum(isinstance(headline.source, Printed) for headline in HEADLINES)
    assert text
    for condition in CONDITIONS.get(page, ()):
        assert condition in text
        text = text.replace(condition, " ")
    results = " ".join((DOCS / "results.md").read_text("utf-8").split())
    for headline in HEADLINES:
        assert headline.text in results
        text = text.replace(headline.text, " ") if headline.page == page else text
    assert numbers(text) == []


def test_numbers_are_those_outside_of_names() -> None:
    text = "FLORES-200, XGLM-7.5B, float32 and 2:4: +0.37 (95 %: -1 to 1,200), 26 %, p = 0.032; en25, 40."
    assert numbers(text) == ["+0.37", "-1", "1,200", "26", "0.032", "40"]


def test_a_cell_is_a_number_of_the_line_that_begins_with_its_word() -> None:
    output = "unit  less\nlow   12\nmean +0.084, p 0.28\n"
    assert list(printed_numbers(output, ("low", "mean:1"))) == ["12", "0.28"]
    for cell in ("high", "unit", "low:1"):
        with pytest.raises(ValueError, match="no number"):
            list(printed_numbers(output, (cell,)))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone; stores are unpacked when they are needed."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "docs").symlink_to(DOCS)
    return folder


def output_of(command: str, stores: tuple[str, ...], clone: Path) -> str:
    for name in stores:
        if not (clone / f"{name}-store").exists():
            thaw(archive_of(name), clone / f"{name}-store")
    program, *words = shlex.split(command)
    with chdir(clone):
        if program == "python":
            printed = io.StringIO()
            with redirect_stdout(printed):
                runpy.run_path(words[0])["main"](*words[1:])
            return printed.getvalue()
        done = CliRunner().invoke(app, words)
        assert (program, done.exit_code) == ("mlprune", 0), done.output
        return done.stdout


def assert_prints(command: str, clone: Path) -> None:
    """Assert that a command prints the numbers of its text, in the digits of the text."""
    headline = PRINTED[command]
    stated = numbers(headline.text)
    printed = list(printed_numbers(output_of(command, headline.source.stores, clone), headline.source.cells))
    decimals = [len(number.partition(".")[2]) for number in stated]
    assert [f"{float(number):.{n}f}" for number, n in zip(printed, decimals, strict=True)] == [
        f"{float(number):.{n}f}" for number, n in zip(stated, decimals, strict=True)
    ]


def commands_of(store: str) -> Iterator[str]:
    return (command for command, headline in PRINTED.items() if headline.source.stores[0] == store)


def test_a_command_prints_the_number_of_the_page(
    clone: Path, write_comments: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.ingest.fold._write_comments", write_comments)
    assert_prints(next(commands_of(CHEAP)), clone)


@pytest.mark.thorough("fills several stores")
@pytest.mark.parametrize("store", STORES)
def test_all_commands_of_a_store_print_the_numbers_of_the_page(store: str, clone: Path) -> None:
    for command in commands_of(store):
        assert_prints(command, clone)
