"""A variant with a smaller vocabulary: in place, exported, and what it costs each language."""

import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.vocabulary.cost import VocabularyCostJob, log_ratio
from mlprune.capabilities.vocabulary.in_place import tokenizer_folder
from mlprune.capabilities.vocabulary.texts import measured_lines
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.loading import SENTENCE
from mlprune.steps.inputs import open_corpus
from mlprune.steps.variants.variant_rows import stored_tokens
from tests.tiny_recipes import FinishedRun, chain_of_model, copy_of, plan_of, write_recipe
from tests.vocabulary_recipe import EMBEDDED, vocabulary_recipe


@pytest.fixture(scope="module")
def run(vocabulary_run: FinishedRun) -> FinishedRun:
    return vocabulary_run


@pytest.fixture(scope="module")
def exported(run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    export_variant(run.store, variant_id(run), run.folder / "model", out, vocabulary_multiple=64)
    return out


def variant_id(run: FinishedRun, number: int = 0) -> str:
    return run.named(f"v{number}")[0].id


def log_prob(model: Any, ids: Sequence[int], kept: Sequence[int] | None = None) -> float:
    """Return the log-probability of tokens after the first, over all tokens or some, as a plain loop."""
    with torch.no_grad():
        logits = model(torch.tensor([list(ids)])).logits[0].double()
    allowed = list(range(logits.shape[1])) if kept is None else list(kept)
    return sum(
        float(logits[position, token] - torch.logsumexp(logits[position, allowed], 0))
        for position, token in enumerate(ids[1:])
    )


def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).float().eval()


@pytest.mark.thorough("runs a model for every case")
def test_costs_are_those_of_plain_loops_over_the_base_model_and_the_export(run: FinishedRun, exported: Path) -> None:
    tokenizer, model = loaded(EMBEDDED)
    small_tokenizer, small = loaded(exported)
    kept = stored_tokens(run.store, run.store.require("variants", variant_id(run)))
    ref = run.plan.variants[variant_id(run)].measured.corpus
    rows = {row["language"]: row for row in run.rows("tokenizations") if row["variant_id"] == variant_id(run)}
    assert [rows[name]["is_kept"] for name in ("en", "sw", "ru")] == [True, True, False]
    for language in ("en", "ru"):
        lines = [open_corpus(ref).lines(language)[number] for number in measured_lines(ref, "en")]
        dense = [tokenizer(line)["input_ids"] for line in lines]
        new = [small_tokenizer(line)["input_ids"] for line in lines]
        old = [[kept[number] for number in ids] for ids in new]
        row = rows[language]
        assert row["n_tokens_dense"] == sum(map(len, dense))
        assert row["n_tokens"] == sum(map(len, new))
        assert row["n_changed_lines"] == sum(a != b for a, b in zip(dense, old, strict=True))
        assert row["log_prob_dense"] == pytest.approx(sum(log_prob(model, ids) for ids in dense), rel=1e-4)
        assert row["log_prob_cost"] == pytest.approx(sum(log_prob(model, ids) for ids in old), rel=1e-4)
        trimmed = sum(log_prob(small, ids, range(len(kept))) for ids in new)
        assert row["log_prob_trimmed"] == pytest.approx(trimmed, rel=1e-4)
        assert row["log_prob_trimmed"] == pytest.approx(sum(log_prob(model, ids, kept) for ids in old), rel=1e-4)
        whole = [ids for ids in dense if set(ids) <= set(kept)]
        assert row["n_masked_lines"] == len(whole)
        assert row["n_longer_lines"] == 0
        if whole:
            assert row["log_prob_masked"] == pytest.approx(sum(log_prob(model, ids, kept) for ids in whole), rel=1e-4)
        assert row["log_cost"] == pytest.approx((row["log_prob_dense"] - row["log_prob_cost"]) / row["n_characters"])
        assert row["log_cost_low"] <= row["log_cost"] <= row["log_cost_high"]
    assert rows["en"]["n_partial"] == 0 < rows["ru"]["n_partial"]


@pytest.fixture(scope="module")
def cost_job(run: FinishedRun) -> VocabularyCostJob:
    jobs = (job for job in run.plan.jobs if isinstance(job, VocabularyCostJob))
    return next(job for job in jobs if job.identity.parents["variant"] == variant_id(run))


def costs_of_a_model_with(
    n_positions: int, job: VocabularyCostJob, run: FinishedRun, folder: Path
) -> dict[str, dict[str, Any]]:
    """The rows of a measurement of the same weights with fewer positions, by language."""
    model = replace(job.model, max_positions=n_positions)
    identity = replace(job.identity, parameters={**job.identity.parameters, "positions": n_positions})
    store = copy_of(run.store, folder / "store")
    replace(job, identity=identity, model=model).run(store, lambda: chain_of_model(job.model))
    return {row["language"]: row for row in store.require(*identity.key).rows["tokenizations"]}


def test_lines_longer_than_the_model_are_left_out_on_both_sides_and_counted(
    run: FinishedRun, cost_job: VocabularyCostJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer, model = loaded(EMBEDDED)
    variant = run.store.require("variants", variant_id(run))
    trimmed = AutoTokenizer.from_pretrained(tokenizer_folder(run.store, variant, cost_job.model))
    lines = [open_corpus(cost_job.corpus).lines("ru")[number] for number in cost_job.lines]
    dense, small = ([one(line)["input_ids"] for line in lines] for one in (tokenizer, trimmed))
    n_positions = sorted(map(len, small))[len(small) // 2]
    fits = [len(ids) <= n_positions for ids in small]
    assert all(len(ids) <= n_positions for ids in dense), "only the trimmed tokens are too many"
    row = costs_of_a_model_with(n_positions, cost_job, run, tmp_path)["ru"]
    assert 0 < row["n_longer_lines"] == fits.count(False)
    assert row["n_lines"] == fits.count(True)
    dense, small, lines = ([one for one, is_in in zip(of, fits, strict=True) if is_in] for of in (dense, small, lines))
    assert row["n_tokens_dense"] == sum(map(len, dense))
    assert row["n_tokens"] == sum(map(len, small))
    assert row["n_characters"] == sum(map(len, lines))
    assert row["log_prob_dense"] == pytest.approx(sum(log_prob(model, ids) for ids in dense), rel=1e-4)
    assert row["log_prob_cost"] == pytest.approx(sum(log_prob(model, ids) for ids in small), rel=1e-4)
    (warning,) = [record.getMessage() for record in caplog.records if "longer" in record.getMessage()]
    assert f"{row['n_longer_lines']} of {len(fits)} in ru" in warning
    assert " in en" not in warning


def test_a_language_without_a_line_that_fits_has_no_cost(
    run: FinishedRun, cost_job: VocabularyCostJob, tmp_path: Path
) -> None:
    row = costs_of_a_model_with(1, cost_job, run, tmp_path)["ru"]
    assert (row["n_lines"], row["n_longer_lines"]) == (0, len(cost_job.lines))
    assert row["log_cost"] is row["log_cost_low"] is row["log_cost_high"] is None


def test_the_export_gives_the_predictions_of_the_variant(run: FinishedRun, exported: Path) -> None:
    tokenizer, model = loaded(exported)
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size
    assert model.config.vocab_size % 64 == 0
    size = run.row("vocabularies", variant_id(run))
    assert len(tokenizer) == size["n_kept"]
    assert size["n_removed_weights"] == (size["n_tokens"] - size["n_kept"]) * model.config.d_model
    counted = run.plan.variants[variant_id(run)].texts.lines
    original = AutoTokenizer.from_pretrained(EMBEDDED)
    for line in [line for lines in counted.values() for line in lines]:
        ids = tokenizer(line)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids) == original.tokenize(line, add_special_tokens=True)
        assert tokenizer.decode(ids) == original.decode(original(line)["input_ids"])
    evaluations = {row["variant_id"]: row for row in run.rows("evaluations") if row["language"] == "en"}
    assert len(evaluations) == 3, "dense and both variants are evaluated"


def test_a_random_control_has_its_size(run: FinishedRun) -> None:
    assert run.row("vocabularies", variant_id(run, 1))["n_kept"] <= 700


@pytest.mark.parametrize("options", [{"vocabulary_multiple": 0}, {"smaller": True}])
def test_other_exports_of_a_smaller_vocabulary_are_refused(
    run: FinishedRun, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(BadInputError):
        export_variant(run.store, variant_id(run), run.folder / "model", tmp_path / "out", **options)


def test_a_multiple_belongs_to_a_smaller_vocabulary(run: FinishedRun, tmp_path: Path) -> None:
    dense = next(one.id for one in run.plan.variants.values() if one.is_dense)
    with pytest.raises(BadInputError):
        export_variant(run.store, dense, run.folder / "model", tmp_path / "out", vocabulary_multiple=64)


@pytest.mark.parametrize(
    "entry",
    [
        {"structure": "vocabulary"},
        {"keep": {"languages": "en"}},
        {"structure": "vocabulary", "keep": {}},
        {"structure": "vocabulary", "keep": {"languages": "en"}, "sparsity": 0.5},
        {"structure": "vocabulary", "keep": {"languages": "en", "size": 10}},
        {"structure": "vocabulary", "keep": {"languages": "en", "size": 5001}},
        {"structure": "vocabulary", "keep": {"languages": "en", "demonstrations": "none"}},
        {"structure": "vocabulary", "keep": {"languages": "en", "size": 9, "share": 0.5}},
        {"structure": "vocabulary", "keep": {"languages": "en", "seed": 1}},
    ],
)
def test_entries_that_do_not_fit_are_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    with pytest.raises(BadInputError):
        plan_of(write_recipe(tmp_path, {**vocabulary_recipe(), "variants": [entry]}))


def test_the_interval_of_a_ratio_is_that_of_a_plain_loop_and_covers_it() -> None:
    generator = np.random.default_rng(0)
    sizes, covered = generator.uniform(20, 60, 50), 0
    for _ in range(400):
        differences = 0.3 * sizes + generator.normal(0, 3, 50)
        ratio, low, high = log_ratio(differences, sizes)
        assert ratio == pytest.approx(math.fsum(differences) / math.fsum(sizes))
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 400 <= 0.98
    assert math.isnan(log_ratio(np.array([1.0]), np.array([2.0]))[1])


def test_a_tokenizer_that_cannot_be_trimmed_is_refused_when_the_recipe_is_planned(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    names = dict.fromkeys(["<unk>", "</s>", "<pad>", *re.findall(r"\w+|[^\w\s]", SENTENCE), *map(str, range(4000))])
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>").save_pretrained(
        tmp_path / "model"
    )
    with pytest.raises(RecipeError) as caught:
        plan_of(write_recipe(tmp_path, vocabulary_recipe({"languages": "en"})))
    assert caught.value.context["got"] == "WordLevel"


def test_tokens_can_be_counted_in_another_corpus(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "en.txt").write_text("one line\nanother line\n", "utf-8")
    plan = plan_of(write_recipe(tmp_path, vocabulary_recipe({"languages": "en", "corpus": "texts"})))
    (planned,) = (one for one in plan.variants.values() if one.entries)
    assert planned.texts.lines == {"en": ["one line", "another line"]}
    assert planned.label == "vocabulary keeps en"
