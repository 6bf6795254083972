"""Fewer tokens together with masks, units, experts, blocks and rounded weights: in place, exported and compared."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune import demo
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.vocabulary.in_place import tokenizer_folder
from mlprune.errors import BadInputError, RecipeError
from mlprune.models.checkpoint.tensor_slices import zero_weights
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild, verify_variant
from mlprune.steps.variants.variant_rows import require_masks, stored_tokens
from mlprune.trimming.folder import read_tokenizer
from tests.exported_models import loaded_by_its_own_loader
from tests.tiny_recipes import FinishedRun, finished_run, plan_of, write_recipe
from tests.trimmable_models import save_unigram_model

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"
KEEP = {"languages": ["en", "sw"]}
WANDA = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
COMPOSED: dict[str, dict[str, Any]] = {
    "masks": {**WANDA, "against": ["masks-whole", "dense-small"]},
    "rounded": {"sparsity": 0, "bits": 8},
    "rounded-masks": {**WANDA, "bits": 8},
    "union": {"combine": "union", "of": ["masks-whole", "magnitude"]},
    "units": {"demonstrations": "mt", "score": "flap", "sparsity": 0.3, "propagation": "dense"},
    "blocks": {"score": "given", "structure": "blocks", "scope": {"blocks": [1]}},
    "adopted": {"adopt": "pruned"},
    "changed": {"demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5, "propagation": "sequential"},
}
"""Name of an entry -> its weights; each also keeps fewer tokens."""
FC1 = "model.layers.1.fc1.weight"
EVALUATIONS = [{"task": "perplexity", "path": "corpus", "languages": ["en", "ru"], "limit": 10}]


def recipe(*variants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    sizes = {"shots": 2, "samples": 6, "max_tokens": 64}
    return {
        "name": "composed",
        "model": {"path": "model"},
        "corpus": {"kind": "cldr", "lines": 100, "leave_out_evaluated": True},
        "demonstrations": [{"name": "mt", "kind": "translation", "source": ["sw", "es"], "target": "en", **sizes}],
        "variants": list(variants),
        "evaluations": EVALUATIONS,
        "compute": {"batch_tokens": 512},
        **changes,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("composed")
    for name in ("model", "pruned"):
        shutil.copytree(EMBEDDED, folder / name)
    zero_weights(folder / "pruned" / "model.safetensors", FC1, torch.arange(640 * 160).reshape(640, 160) % 2 == 0)
    variants = [
        {"name": "masks-whole", **WANDA},
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5},
        {"name": "dense-small", "structure": "vocabulary", "keep": KEEP},
        {"name": "same-dense-small", "sparsity": 0, "keep": KEEP},
        *({"name": name, **entry, "keep": KEEP} for name, entry in COMPOSED.items()),
    ]
    one_set = {**recipe()["demonstrations"][0], "source": "sw"}
    return finished_run(folder, recipe(*variants, demonstrations=[one_set]), name="composed")


def exported(run: FinishedRun, variant_id: str, out: Path, **options: Any) -> tuple[Any, Any]:
    export_variant(run.store, variant_id, run.folder / "model", out, **options)
    return AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out).float().eval()


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", COMPOSED)
def test_an_export_has_the_weights_of_its_parent_and_the_rows_of_the_kept_tokens(
    run: FinishedRun, tmp_path: Path, name: str
) -> None:
    variant = next(one for one in run.named(name) if one.is_baseline)
    tokenizer, small = exported(run, variant.id, tmp_path / "small", vocabulary_multiple=8)
    _, whole = exported(run, variant.parents[0].id, tmp_path / "whole")
    kept = stored_tokens(run.store, run.store.require("variants", variant.id))
    new_ids = {old: new for new, old in enumerate(kept)}
    card = (tmp_path / "small" / "README.md").read_text("utf-8")
    assert "| keeps | en sw |" in card
    assert f"{len(kept)} of 5000 tokens remain" in card
    assert small.get_input_embeddings().weight.shape[0] == -(-len(kept) // 8) * 8 < 5000
    for line in ("Habari ya leo.", "The day of the week."):
        ids = tokenizer(line)["input_ids"]
        old = [kept[number] for number in ids]
        assert [new_ids[number] for number in old] == ids
        ours, expected = logits(small, ids)[:, : len(kept)], logits(whole, old)[:, kept]
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.thorough("runs a model for every case")
def test_heads_neurons_and_tokens_are_cut_out_of_one_folder(run: FinishedRun, tmp_path: Path) -> None:
    (variant,) = run.named("units")
    tokenizer, with_zeros = exported(run, variant.id, tmp_path / "zeros")
    export_variant(run.store, variant.id, run.folder / "model", tmp_path / "smaller", smaller=True)
    smaller = loaded_by_its_own_loader(tmp_path / "smaller").float()
    assert n_weights(smaller) < n_weights(with_zeros)
    assert smaller.get_input_embeddings().weight.shape == with_zeros.get_input_embeddings().weight.shape
    ids = tokenizer("The day of the week.")["input_ids"]
    torch.testing.assert_close(logits(smaller, ids), logits(with_zeros, ids), atol=1e-4, rtol=1e-4)


def n_weights(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.thorough("runs a model for every case")
def test_the_evaluation_in_place_is_that_of_the_export(run: FinishedRun, tmp_path: Path) -> None:
    for name in ("masks", "rounded-masks"):
        (variant,) = run.named(name)
        folder = tmp_path / name
        export_variant(run.store, variant.id, run.folder / "model", folder / "model")
        again = finished_run(folder, recipe(demonstrations=[]), name="again")
        (dense,) = (one for one in again.plan.variants.values() if one.is_dense)
        assert values(again, dense.id) == pytest.approx(values(run, variant.id), rel=2e-3), "stored as float16"
        (parent,) = variant.parents
        assert values(run, variant.id) != pytest.approx(values(run, parent.id), rel=0.05)


def values(run: FinishedRun, variant_id: str) -> dict[str, float]:
    of_variant = {row["evaluation_id"]: row["language"] for row in run.rows("evaluations")}
    rows = [row for record in run.store.records("evaluations") for row in record.rows["metrics"]]
    ids = {row["evaluation_id"] for row in run.rows("evaluations") if row["variant_id"] == variant_id}
    return {of_variant[row["evaluation_id"]]: row["value"] for row in rows if row["evaluation_id"] in ids}


@pytest.mark.thorough("runs a model for every case")
def test_a_variant_has_the_masks_and_the_row_of_its_parent(run: FinishedRun) -> None:
    for name in COMPOSED:
        (variant,) = run.named(name)
        own, parent = (run.row("variants", one.id) for one in (variant, variant.parents[0]))
        differing = {key for key in own if own[key] != parent.get(key)}
        assert differing == {"variant_id", "intervention", "intervention_parameters"}
        if own["mask_sha256"] is not None:
            assert require_masks(run.store, variant.id) == require_masks(run.store, variant.parents[0].id)
        assert variant.parents[0].entries == () or name in ("masks", "rounded-masks")
        assert run.row("vocabularies", variant.id)["n_kept"] == run.row("vocabularies", small(run))["n_kept"]


@pytest.mark.thorough("runs a model for every case")
def test_variants_with_the_same_tokens_share_a_tokenizer(run: FinishedRun) -> None:
    records = [run.store.require("variants", run.named(name)[0].id) for name in ("dense-small", *COMPOSED)]
    assert len({tokenizer_folder(run.store, record, run.plan.model) for record in records}) == 1


def small(run: FinishedRun) -> str:
    (variant,) = run.named("dense-small")
    return variant.id


@pytest.mark.thorough("runs a model for every case")
def test_the_dense_model_with_fewer_tokens_has_one_id(run: FinishedRun) -> None:
    assert run.named("same-dense-small") == run.named("dense-small")
    assert "all_tokens" not in run.store.require("variants", small(run)).parents


@pytest.mark.thorough("runs a model for every case")
def test_masks_are_verified_as_those_of_the_parent(run: FinishedRun) -> None:
    for name in ("masks", "rounded-masks", "union"):
        (variant,) = run.named(name)
        record = run.store.require("variants", variant.id)
        assert verify_variant(run.store, record, run.folder / "model").is_equal


@pytest.mark.thorough("runs a model for every case")
def test_a_store_with_fewer_tokens_has_no_contradictions(run: FinishedRun) -> None:
    recheck = Recheck(run.store, lambda _: run.folder / "model")
    records = [run.store.require("variants", one.id) for one in run.plan.variants.values()]
    assert [recheck.contradictions(record) for record in records] == [[]] * len(records)
    smaller = [record for record in records if "vocabularies" in record.rows]
    assert not any(has_masks_to_rebuild(record) for record in smaller)


@pytest.mark.thorough("runs a model for every case")
def test_a_variant_is_compared_with_dense_its_parent_and_comparable_entries(run: FinishedRun) -> None:
    (variant,), (plain,) = run.named("masks"), run.named("masks-whole")
    pairs = {(job.variant_id, job.baseline_id) for job in run.plan.jobs if isinstance(job, CompareJob)}
    dense = next(one.id for one in run.plan.variants.values() if one.is_dense)
    assert {(variant.id, dense), (variant.id, plain.id), (variant.id, small(run))} <= pairs
    (rounded,) = run.named("rounded-masks")
    assert [one.id for one in rounded.lineage[1:]] == [rounded.parents[0].id, plain.id]
    assert (rounded.id, rounded.parents[0].id) in pairs
    assert (rounded.id, plain.id) not in pairs


@pytest.mark.thorough("runs a model for every case")
def test_the_cost_is_measured_with_the_weights_of_the_variant(run: FinishedRun) -> None:
    rows = {(row["variant_id"], row["language"]): row for row in run.rows("tokenizations")}
    (masks,) = run.named("masks")
    pruned, dense = rows[masks.id, "en"], rows[small(run), "en"]
    assert pruned["n_tokens"] == dense["n_tokens"]
    assert pruned["log_prob_dense"] < dense["log_prob_dense"], "half of the weights are removed"


@pytest.mark.thorough("runs a model for every case")
def test_the_catalog_names_weights_and_tokens(run: FinishedRun) -> None:
    with Catalog.in_memory(run.store) as catalog:
        labels = {row["variant_id"]: row["label"] for row in catalog.query("FROM described_variants")}
        costs = run_user_query(catalog, "vocabulary_cost").as_dicts()
    assert len(set(labels.values())) == len(labels)
    (masks,) = run.named("masks")
    assert labels[masks.id] == "wanda sw-en 0.5, vocabulary, keeps en sw"
    assert {row["variant"] for row in costs} >= {*COMPOSED, "dense-small, same-dense-small"}
    assert masks.label == f"{masks.parents[0].label}, vocabulary keeps en sw"


@pytest.mark.thorough("runs a model for every case")
def test_tokens_are_counted_in_the_texts_of_demonstration_sets(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    keep = {"demonstrations": "mt", "score": "translation_sets"}
    finished = finished_run(tmp_path, recipe({"name": "sets", "structure": "vocabulary", "keep": keep}), name="sets")
    (variant,) = finished.named("sets")
    record = finished.store.require("variants", variant.id)
    sets = [finished.store.require("demonstration_sets", one) for one in record.parents["demonstration_sets"]]
    texts = [text for one in sets for text in finished.store.read_table(one.artefacts[0])["text"]]
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    of_texts = [set(tokenizer(text)["input_ids"]) for text in texts]
    stored = finished.store.read_table(record.artefacts[0])
    counts = dict(zip(stored["token_id"], stored["score"], strict=True))
    for number in set.union(*of_texts):
        assert counts[number] == sum(number in of_text for of_text in of_texts)
    rows = {row["language"]: row["is_kept"] for row in finished.rows("tokenizations")}
    assert rows == {"sw": True, "en": True, "es": True, "ru": False}
    drawn = {
        line for one in sets for ids in finished.store.read_table(one.artefacts[0])["sentence_ids"] for line in ids
    }
    assert drawn.isdisjoint(variant.measured.lines)
    assert (
        variant.label
        == "vocabulary keeps sw en es counted in translation sw-en, translation es-en score translation_sets"
    )


@pytest.mark.thorough("runs a model for every case")
def test_a_unigram_model_loses_experts_and_tokens_together(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(save_unigram_model(tmp_path / "model"))
    experts = {"demonstrations": "mt", "score": "reap", "structure": "experts", "sparsity": 0.25}
    entry = {"name": "small", **experts, "propagation": "dense", "keep": {"languages": ["en", "sw"]}}
    one_set = {**recipe()["demonstrations"][0], "source": "sw"}
    run = finished_run(tmp_path, recipe(entry, demonstrations=[one_set]), name="unigram")
    (variant,) = run.named("small")
    assert read_tokenizer(tokenizer).model["type"] == "Unigram"
    small_tokenizer, model = exported(run, variant.id, tmp_path / "small")
    _, whole = exported(run, variant.parents[0].id, tmp_path / "whole")
    assert model.config.num_experts == 3
    kept = stored_tokens(run.store, run.store.require("variants", variant.id))
    assert model.config.vocab_size == len(small_tokenizer) == len(kept) < len(tokenizer)
    for lines in variant.texts.lines.values():
        for line in lines[:20]:
            ids = small_tokenizer(line)["input_ids"]
            assert [kept[number] for number in ids] == tokenizer(line)["input_ids"]
            assert small_tokenizer.decode(ids) == tokenizer.decode(tokenizer(line)["input_ids"])
    old = [kept[number] for number in ids]
    torch.testing.assert_close(logits(model, ids), logits(whole, old)[:, kept], atol=1e-5, rtol=1e-5)
    row = run.row("vocabularies", variant.id)
    assert row["n_removed_weights"] == 2 * (len(tokenizer) - len(kept)) * model.config.hidden_size, "head and embedding"


def test_a_prompt_that_no_longer_fits_stops_the_run_before_the_evaluation(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "ru.txt").write_text("Каждый день недели мы говорим о погоде. " * 6 + "\n", "utf-8")
    long = [{"task": "perplexity", "path": "texts", "languages": ["ru"]}]
    entry = {"name": "small", "structure": "vocabulary", "keep": {"languages": "en"}}
    with pytest.raises(BadInputError) as caught:
        finished_run(tmp_path, recipe(entry, demonstrations=[], evaluations=long), name="long")
    assert caught.value.context["got"] > 256
    assert {"vocabulary", "next"} <= caught.value.context.keys()


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"combine": "union", "of": ["masks", "magnitude"]}, "of"),
        ({"structure": "vocabulary", "keep": {"demonstrations": "mt", "corpus": "texts"}}, None),
        ({**WANDA, "sparsity": 0.25, "keep": {"languages": "en", "size": 3}}, "key"),
        ({"structure": "vocabulary", "keep": {"demonstrations": "code"}}, "key"),
    ],
)
def test_entries_that_do_not_fit_are_refused_when_planned(
    tmp_path: Path, entry: dict[str, Any], key: str | None
) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "model")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("x = 1\n" * 20, "utf-8")
    code = {"name": "code", "kind": "code", "path": "code", "samples": 1, "max_tokens": 32}
    named = [{"name": "masks", **WANDA, "keep": KEEP}, {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}]
    sets = [*recipe()["demonstrations"], code]
    with pytest.raises(RecipeError) as caught:
        plan_of(write_recipe(tmp_path, recipe(*named, entry, demonstrations=sets)))
    assert key is None or key in caught.value.context
