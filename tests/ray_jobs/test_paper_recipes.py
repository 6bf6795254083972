"""The paper's recipes, from published layouts to Tables 1 to 4, on the embedded model."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from catalog.store import Catalog
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store
from ray_jobs.cli.application import app
from tests.paper_inputs import PAPER_RECIPES, write_paper_inputs

MODELS = {
    "xglm-564M": "facebook/xglm-564M",
    "xglm-1.7B": "facebook/xglm-1.7B",
    "xglm-2.9B": "facebook/xglm-2.9B",
    "xglm-7.5B": "facebook/xglm-7.5B",
    "mgpt": "ai-forever/mGPT",
    "bloom-560m": "bigscience/bloom-560m",
    "bloom-1b1": "bigscience/bloom-1b1",
    "bloom-1b7": "bigscience/bloom-1b7",
    "bloom-3b": "bigscience/bloom-3b",
    "bloom-7b1": "bigscience/bloom-7b1",
}
SMALL = """
base: bloom.yaml
name: small
model: {path: none}
demonstrations:
  - {name: monolingual, kind: monolingual, language: [en, fr]}
  - {name: translation, kind: translation, pair: fr-en}
  - {name: code, kind: code, path: data/code}
variants:
  - {name: contrast, demonstrations: translation, contrast: code, score: contrast, sparsity: 0.2, propagation: dense}
  - {name: translation, demonstrations: translation, score: wanda, sparsity: [0.2, 0.5], propagation: dense}
  - {name: monolingual, demonstrations: monolingual, score: wanda, sparsity: 0.2, propagation: dense}
  - {name: random, score: random, sparsity: 0.2}
baselines:
  - {name: lrp2, kind: lrp2, demonstrations: monolingual, layers: [[0, 2], [1, 3]]}
  - {name: self-translation, kind: self_translate, max_new_tokens: 8}
evaluations:
  - {task: xnli, path: data/XNLI-1.0, languages: [en, fr], split: dev, profile: [corrected, paper]}
  - {task: xnli, path: data/XNLI-1.0, languages: [en, fr], split: test, profile: [corrected, paper]}
  - {task: marc, path: data/marc, languages: [en, fr], split: dev}
  - {task: marc, path: data/marc, languages: [en, fr], split: test}
  - {task: translation, path: data/XNLI-15way, pairs: [fr-en], split: test, max_new_tokens: 8, shots_from: corpus}
"""
"""The paper's tasks, methods and baselines in two languages."""
OTHERS = ("as-published", "from-english", "n-of-m", "russian-thai", "xnli-languages")
"""What the published scripts can do beyond the tables of the paper."""
SMALL_OTHERS = """
base: as-published.yaml
name: small-others
model: {path: none}
demonstrations:
  - {name: monolingual, kind: monolingual, language: [en, ru], draw: published}
  - {name: translation, kind: translation, pair: ru-en, draw: published}
  - {name: from-english, kind: translation, pair: en-th}
variants:
  - {name: translation, demonstrations: translation, score: wanda, sparsity: 0.3, profile: paper}
  - {name: monolingual, demonstrations: monolingual, score: wanda, sparsity: 0.3, profile: paper}
  - {name: pattern, demonstrations: from-english, score: wanda, structure: ["2:4", "4:8"], propagation: dense}
baselines:
  - {name: given, kind: translate_test, system: nllb-200-3.3B, translations: {xnli: data/xnli_mt/nllb-200-3.3B}}
evaluations:
  - {task: xnli, path: data/XNLI-1.0, languages: [en, ru, th], split: test, profile: [corrected, paper]}
  - {task: translation, path: data/XNLI-15way, pairs: [th-en], split: test, max_new_tokens: 8, shots_from: corpus}
"""
"""Every topic of these recipes in three languages."""
ON_THE_EMBEDDED_MODEL = ("--shrink", "2", "--model", "demo", "--address", "none")
TABLES = ("table-1-translation", "table-2-xnli", "table-3-marc", "table-4-rank-consistency")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def run_and_write_tables(recipe: Path, store: Path, out: Path) -> dict[str, list[dict[str, str]]]:
    """Run a recipe on the embedded model; the rows of the tables by name."""
    assert invoke("run", str(recipe), "--store", str(store), *ON_THE_EMBEDDED_MODEL).exit_code == 0
    assert invoke("report", "--tables", "--store", str(store), "--like", "paper", "--out", str(out)).exit_code == 0
    return {path.stem: list(csv.DictReader(path.open(encoding="utf-8"))) for path in out.glob("*.csv")}


def check_tables(tables: dict[str, list[dict[str, str]]], *, languages: list[str], store: Path) -> None:
    """Check that all tables are there without missing cells, and that their cells are the catalog's metrics."""
    intervals = {f"{name}-intervals" for name in TABLES}
    assert set(tables) == {*TABLES, *intervals}
    for name in TABLES:
        assert all(cell for row in tables[name] for cell in row.values()), name
    xnli = tables["table-2-xnli"]
    assert list(xnli[0]) == ["model", "method", "sparsity", *languages, "macro", "variant_id"]
    with Catalog.open(Store(str(store))) as catalog:
        metrics = catalog.query("SELECT * FROM metrics WHERE task = 'xnli' AND split = 'test' AND metric = 'accuracy'")
    values = {(row["variant_id"], row["profile"], row["language"]): row["value"] for row in metrics}
    for row in xnli:
        profile = "paper" if row["model"].endswith(", paper profile") else "corrected"
        for language in languages if row["method"] != "LRP2" else languages[1:]:
            assert float(row[language]) == values[row["variant_id"], profile, language]
    assert next(row for row in xnli if row["method"] == "LRP2")["en"] == xnli[0]["en"]


@pytest.mark.thorough("runs the recipes of the paper")
def test_every_model_of_the_paper_has_a_recipe_that_can_be_loaded() -> None:
    paths = {path.stem: path for path in PAPER_RECIPES.glob("*.yaml") if path.stem not in ("common", "bloom", *OTHERS)}
    recipes = {name: load_recipe(path) for name, path in paths.items()}
    assert {name: recipe.model.path for name, recipe in recipes.items()} == MODELS
    assert {recipe.name for recipe in recipes.values()} == {f"paper-{name}" for name in MODELS}
    for name, recipe in recipes.items():
        scores = {variant.score for variant in recipe.variants}
        assert scores == {"wanda", "random", *(["contrast"] if name.startswith("bloom") else [])}
        assert {evaluation.task for evaluation in recipe.evaluations} == {"xnli", "marc", "translation"}
        assert {baseline.kind for baseline in recipe.baselines} == {"lrp2", "self_translate"}
        claimed = {question.variants for question in recipe.questions}
        sets = {variant.demonstrations for variant in recipe.variants if variant.name in claimed}
        seeds = [sorted(one.seed for one in recipe.sets_named(name or "") if one.source == "fr") for name in sets]
        assert seeds == [[0, 1, 2, 3, 4]]


@pytest.mark.thorough("runs the recipes of the paper")
def test_tables_1_to_4_of_a_small_recipe(tmp_path: Path) -> None:
    folder = write_paper_inputs(tmp_path / "paper")
    (folder / "small.yaml").write_text(SMALL, "utf-8")
    tables = run_and_write_tables(folder / "small.yaml", tmp_path / "store", tmp_path / "out")
    check_tables(tables, languages=["en", "fr"], store=tmp_path / "store")
    models = {row["model"] for row in tables["table-2-xnli"]}
    assert models == {"xglm-cldr-2m, defaults", "xglm-cldr-2m, paper profile"}
    methods = [row["method"] for row in tables["table-2-xnli"] if row["model"].endswith("defaults")]
    assert methods == [
        "dense model",
        "LRP2",
        "self-translation",
        "random",
        "monolingual en",
        "monolingual fr",
        "translation fr-en",
        "contrast with code fr-en",
    ]
    assert [row["method"] for row in tables["table-1-translation"]] == [methods[0], *methods[3:]]


@pytest.mark.thorough("runs the recipes of the paper")
@pytest.mark.parametrize("name", OTHERS)
def test_a_recipe_beyond_the_tables_of_the_paper_can_be_planned(name: str, tmp_path: Path) -> None:
    folder = write_paper_inputs(tmp_path / "paper")
    shown = invoke("plan", str(folder / f"{name}.yaml"), "--store", str(tmp_path / "store"), *ON_THE_EMBEDDED_MODEL)
    assert shown.exit_code == 0, shown.output
    recipe = load_recipe(folder / f"{name}.yaml")
    assert {question.variants for question in recipe.questions} <= {
        entry.name for entry in (*recipe.variants, *recipe.baselines)
    }


@pytest.mark.thorough("runs the recipes of the paper")
def test_a_small_recipe_beyond_the_tables_of_the_paper(tmp_path: Path) -> None:
    folder = write_paper_inputs(tmp_path / "paper")
    (folder / "small.yaml").write_text(SMALL_OTHERS, "utf-8")
    tables = run_and_write_tables(folder / "small.yaml", tmp_path / "store", tmp_path / "out")
    methods = [row["method"] for row in tables["table-2-xnli"] if row["model"].endswith("defaults")]
    assert methods[:2] == ["dense model", "translate-test"]
    with Catalog.open(Store(str(tmp_path / "store"))) as catalog:
        sets = catalog.query("SELECT DISTINCT kind, draw, profile FROM demonstration_sets WHERE profile = 'paper'")
        answers = catalog.query("SELECT * FROM answers SEMI JOIN recipe_questions USING (question_id)")
    assert {(one["kind"], one["draw"]) for one in sets} == {("monolingual", "published"), ("translation", "published")}
    assert answers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xglm-564M", "bloom-560m"])
def test_tables_1_to_4_of_the_whole_recipe(name: str, tmp_path: Path) -> None:
    folder = write_paper_inputs(tmp_path / "paper")
    for path in (folder / "common.yaml", folder / "bloom.yaml"):  # two of the five seeds
        path.write_text(path.read_text("utf-8").replace("seed: [0, 1, 2, 3, 4]", "seed: [0, 1]"), "utf-8")
    tables = run_and_write_tables(folder / f"{name}.yaml", tmp_path / "store", tmp_path / "out")
    check_tables(tables, languages=["en", "fr", "es", "zh", "hi", "sw"], store=tmp_path / "store")
    n_sets = 11 + (5 if name.startswith("bloom") else 0)
    assert len(tables["table-3-marc"]) == 2 * (4 + n_sets)
    assert len(tables["table-1-translation"]) == len(tables["table-4-rank-consistency"]) == 2 * (2 + n_sets)
