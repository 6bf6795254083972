"""The values and the figure of the page about smaller vocabularies, and the script that measures them."""

import csv
import math
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mlprune import demo
from mlprune.capabilities.vocabulary.texts import measured_lines
from mlprune.steps.inputs import open_corpus
from tests.docs.pages import ROOT
from tests.tiny_recipes import FinishedRun, finished_run

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"
FOLDER = ROOT / "docs" / "studies" / "vocabulary"
LANGUAGES = ("en", "sw", "ru")


def run_script(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(FOLDER / name), run_name="__main__")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("curve")
    shutil.copytree(EMBEDDED, folder / "model")
    (folder / "counted").mkdir()
    for language, text in (("en", "the language of the country is\n"), ("sw", "lugha ya nchi ni\n")):
        (folder / "counted" / f"{language}.txt").write_text(text * 3)
    recipe: dict[str, Any] = {
        "name": "curve",
        "model": {"path": "model"},
        "corpus": {"kind": "cldr", "lines": 30},
        "variants": [
            {
                "name": "small",
                "structure": "vocabulary",
                "keep": {"languages": ["en", "sw"], "corpus": "counted", "size": 1500},
            }
        ],
        "evaluations": [{"task": "perplexity", "path": "corpus", "languages": ["ru"], "limit": 2}],
    }
    return finished_run(folder, recipe, name="curve")


@pytest.mark.thorough("runs the commands of a page")
def test_the_script_measures_what_a_run_stores(run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    (variant,) = run.named("small")
    ref = run.plan.variants[variant.id].measured.corpus
    held_out, out = run.folder / "held-out", run.folder / "curve.csv"
    held_out.mkdir()
    for language in LANGUAGES:
        lines = [open_corpus(ref).lines(language)[number] for number in measured_lines(ref, "en")]
        (held_out / f"{language}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    folders = (run.folder / "model", run.folder / "counted", held_out)
    options = ("--kept", "en,sw", "--dropped", "ru", "--sizes", "1500,2000", "--out", out)
    run_script("curve.py", *folders, *options, monkeypatch=monkeypatch)
    measured = {(row["size"], row["language"]): row for row in read(out)}
    assert len(measured) == 6
    (sizes,) = run.rows("vocabularies")
    for stored in run.rows("tokenizations"):
        row = measured["1500", stored["language"]]
        assert row["is_kept"] == str(stored["is_kept"])
        assert float(row["removed_weights"]) == pytest.approx(sizes["n_removed_weights"] / sizes["n_weights"], abs=1e-4)
        assert int(row["changed_lines"]) == stored["n_changed_lines"]
        assert float(row["tokens_per_word"]) == pytest.approx(stored["n_tokens"] / stored["n_words"], rel=1e-4)
        for column, log_prob in (("dense", "log_prob_dense"), ("trimmed", "log_prob_trimmed")):
            perplexity = math.exp(-stored[log_prob] / stored["n_characters"])
            assert float(row[f"perplexity_{column}"]) == pytest.approx(perplexity, rel=1e-4)
        for column, end in (("cost", "log_cost"), ("cost_low", "log_cost_low"), ("cost_high", "log_cost_high")):
            assert math.log1p(float(row[column])) == pytest.approx(stored[end], rel=1e-3, abs=1e-4)
        assert int(row["masked_lines"]) == stored["n_masked_lines"]


def test_the_figure_is_that_of_the_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FOLDER / "curve.csv", tmp_path)
    run_script("figure.py", tmp_path, monkeypatch=monkeypatch)
    size = (FOLDER / "curve.svg").stat().st_size
    assert (tmp_path / "curve.svg").stat().st_size == pytest.approx(size, rel=0.2)


def test_the_table_of_the_page_has_the_values_of_the_file() -> None:
    rows = {(row["size"], row["language"]): row for row in read(FOLDER / "curve.csv")}
    page = (ROOT / "docs" / "studies" / "README.md").read_text("utf-8")
    table = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and " % | " in line]
    assert len(table) == len({size for size, _ in rows})
    for size, removed, *costs in table:
        number = size.replace(",", "")
        assert removed == f"{float(rows[number, 'en']['removed_weights']):.0%}".replace("%", " %")
        assert costs == [shown_cost(rows[number, language]) for language in ("en", "fr", "sw", "es", "hi", "zh")]


def shown_cost(row: dict[str, str]) -> str:
    """A cost with its interval: as a percentage or, above 100 %, as a ratio."""
    cost, *ends = (float(row[name]) for name in ("cost", "cost_low", "cost_high"))
    if cost > 1:
        ratio, low, high = (f"{1 + one:,.0f}" if one > 99 else f"{1 + one:.3g}" for one in (cost, *ends))
        return f"x {ratio} ({low} to {high})"
    percent, low, high = (f"{one:+.1%}".removesuffix("%") for one in (cost, *ends))
    return "0" if cost == ends[0] == ends[1] == 0 else f"{percent} ({low} to {high})"
