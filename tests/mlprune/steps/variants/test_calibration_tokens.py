"""Tokens that reached layers and experts: against hooks on the library's models, through lineages, and as shown."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.model_card import model_card
from mlprune.corpus.calibration import pad_batch
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.local_chain import local_chain
from mlprune.planning.text.calibration_lines import calibration_lines
from mlprune.steps.observe import passes
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.variants.calibration_tokens import (
    CalibrationTokens,
    TokensRead,
    calibration_tokens,
    layers_of,
    token_line,
    token_rows,
)
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.expert_models import save_expert_model
from tests.local_replica import LocalReplica, shared
from tests.mlprune.steps.prune.test_sweep import sweep_of, with_sets_only
from tests.recurrent_models import save_recurrent_model
from tests.routing_recipe import DEAD
from tests.tiny_recipes import FinishedRun, contents, copied_inputs, finished_run, small_recipe, write_texts

SIDES = {0: "other", 1: "fr", 2: "en"}


def record_of(run: FinishedRun, name: str, propagation: str | None = None) -> Record:
    return run.store.require("variants", run.named(name, propagation)[0].id)


def tokens_of(run: FinishedRun, name: str, propagation: str | None = None) -> CalibrationTokens:
    return calibration_tokens(run.store, record_of(run, name, propagation))


def only_read(run: FinishedRun, name: str, propagation: str | None = None) -> TokensRead:
    (read,) = tokens_of(run, name, propagation).reads
    return read


def table_of(run: FinishedRun, name: str) -> Mapping[str, Sequence[Any]]:
    (planned,) = {one.id: one for one in run.named(name)[0].sets}.values()
    return run.store.read_table(run.store.require("demonstration_sets", planned.id).artefacts[0])


def counted_in(table: Mapping[str, Sequence[Any]], *, counts: Iterable[int] = SIDES) -> dict[str, int]:
    """Count the tokens of a set of French to English side by side."""
    found = Counter(SIDES[side] for sides in table["sides"] for side in sides if side in set(counts))
    return dict(found)


def seen_by_hooks(folder: Path, table: Mapping[str, Sequence[Any]]) -> dict[tuple[int, str], Counter[str]]:
    """Run the library's own model on one padded batch; (block, layer) -> real tokens by language that it reads.

    Of experts, the layer is the number of the expert.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, experts_implementation="eager").eval()
    batch, sides = pad_batch(table["token_ids"]), pad_batch(table["sides"]).token_ids
    assert not bool(batch.attention_mask.all()), "the batch has padding"
    labels = [SIDES[int(side)] for side in sides.flatten()]
    real = batch.attention_mask.flatten().tolist()
    seen: dict[tuple[int, str], Counter[str]] = {}

    def see(key: tuple[int, str], rows: Sequence[bool]) -> None:
        found = (label for label, is_read, is_real in zip(labels, rows, real, strict=True) if is_read and is_real)
        seen.setdefault(key, Counter()).update(found)

    def at_layer(block: int, layer: str, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        see((block, layer), [True] * args[0].reshape(-1, args[0].shape[-1]).shape[0])

    def at_experts(block: int, n_experts: int, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        for expert in range(n_experts):
            see((block, str(expert)), (args[1] == expert).any(dim=1).tolist())

    architecture = architecture_at(folder)
    for block in range(architecture.n_blocks):
        kind, module = architecture.block(block), model.get_submodule(f"{architecture.blocks}.{block}")
        experts = kind.experts
        for layer in (one for one in kind.layers if experts is None or not experts.has(one)):
            module.get_submodule(layer).register_forward_pre_hook(partial(at_layer, block, layer))
        if experts is not None:
            hook = partial(at_experts, block, experts.n_experts)
            module.get_submodule(experts.path).register_forward_pre_hook(hook)
    with torch.no_grad():
        model(input_ids=batch.token_ids, attention_mask=batch.attention_mask)
    return seen


UNEQUAL = {"shots": 2, "samples": None, "max_tokens": 48, "token_budget": 220}
"""The last demonstration is cut, so that its batch has padding."""


def small_run(folder: Path) -> FinishedRun:
    recipe = small_recipe()
    recipe["demonstrations"][0] |= UNEQUAL
    recipe["evaluations"] = []
    return finished_run(folder, recipe, name="small")


@pytest.fixture(scope="module")
def hybrid_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("hybrid")
    save_recurrent_model(folder / "model", "qwen3_5_text")
    write_texts(folder)
    return small_run(folder)


@pytest.fixture(scope="module")
def dense_run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return small_run(copied_inputs(tiny_inputs, tmp_path_factory.mktemp("dense")))


@pytest.fixture(scope="module")
def expert_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("experts")
    save_expert_model(folder / "model", "qwen3_moe", blocks=2, seed=1)
    write_texts(folder)
    recipe = small_recipe()
    recipe["demonstrations"][0] |= UNEQUAL
    wanda = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5}
    recipe["variants"] += [
        {"name": "target", **wanda, "propagation": "dense", "tokens": "target"},
        {"name": "products", **wanda, "propagation": "dense", "refine": "gram_swaps", "sparsity": 0.25},
        {"name": "part", **wanda, "propagation": "dense", "samples": 2},
        {"name": "removed", "demonstrations": "mt", "score": "reap", "propagation": "dense", "sparsity": 0.25},
    ]
    recipe["evaluations"] = []
    return finished_run(folder, recipe, name="experts")


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["dense_run", "hybrid_run"])
def test_layers_outside_experts_read_the_real_tokens_that_hooks_see(name: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = request.getfixturevalue(name)
    seen = seen_by_hooks(run.folder / "model", table_of(run, "sweep"))
    layers = layers_of(run.store, run.plan.model.base_model_id)
    assert {(one.block, one.name) for one in layers} == set(seen)
    for variant in ("ordering", "sweep"):
        read = only_read(run, variant)
        assert {layer: read.at(layer) for layer in layers} == {one: dict(seen[one.block, one.name]) for one in layers}


def test_experts_read_the_real_tokens_that_the_library_routes_to_them(expert_run: FinishedRun) -> None:
    run = expert_run
    seen = seen_by_hooks(run.folder / "model", table_of(run, "ordering"))
    for name in ("ordering", "products", "removed"):
        read = only_read(run, name)
        assert read.experts is not None
        assert len(read.experts) == 2 * 4
        for (block, expert), by_language in read.experts.items():
            assert Counter(by_language) == seen[block, str(expert)], name
    swept = only_read(run, "sweep").experts
    assert swept is not None
    dense = only_read(run, "ordering").experts
    assert dense is not None
    assert {key: swept[key] for key in swept if key[0] == 0} == {key: dense[key] for key in dense if key[0] == 0}
    assert swept != dense, "block 1 reads what the pruned block 0 gives"
    targets = only_read(run, "target").experts
    assert targets == {key: {"en": by_language["en"]} for key, by_language in dense.items()}


@pytest.mark.thorough("runs a model in parts")
def test_counts_of_the_parts_of_a_large_set_are_added(
    expert_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "PART_TOKENS", 2 * 48)
    recipe = small_recipe()
    recipe["demonstrations"][0] |= UNEQUAL
    recipe["variants"], recipe["evaluations"] = recipe["variants"][:1], []
    in_parts = finished_run(copied_inputs(expert_run.folder, tmp_path / "parts"), recipe, name="parts")
    assert len(list(in_parts.store.records("statistics_parts"))) == 3
    assert only_read(in_parts, "ordering") == only_read(expert_run, "ordering")


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("n_replicas", "n_shards"), [(1, 2), (2, 1)])
def test_replicas_and_shards_count_the_same_tokens(
    expert_run: FinishedRun, tmp_path: Path, n_replicas: int, n_shards: int
) -> None:
    job, store = sweep_of(expert_run, "sweep"), with_sets_only(expert_run, tmp_path / "store")
    model = Path(expert_run.plan.model.path)
    first, *others = (local_chain(model, n_shards=n_shards) for _ in range(n_replicas))
    job.run(store, lambda: shared(first, [LocalReplica(chain) for chain in others]))
    expected = contents(expert_run.store)
    assert {path: data for path, data in contents(store).items() if data != expected[path]} == {}
    assert all(record.rows["expert_tokens"] for record in store.records("mask_blocks"))


def test_a_part_of_a_set_has_its_own_tokens_and_unknown_ones_at_experts(expert_run: FinishedRun) -> None:
    read, table = only_read(expert_run, "part"), table_of(expert_run, "part")
    assert read.tokens == counted_in({"sides": table["sides"][:2]})
    assert read.experts is None
    assert all((read.at(layer) is None) == (layer.expert is not None) for layer in layers_of_run(expert_run))
    assert "unknown" in token_line(tokens_of(expert_run, "part"))
    assert {row["fewest_at_an_expert"] for row in token_rows(tokens_of(expert_run, "part"))} == {"unknown"}


def layers_of_run(run: FinishedRun) -> Any:
    return layers_of(run.store, run.plan.model.base_model_id)


def test_sets_of_several_parts_have_the_languages_of_their_parts(tiny_run: FinishedRun) -> None:
    (read,) = tokens_of(tiny_run, "n-m").reads
    (planned,) = tiny_run.named("n-m")[0].sets
    expected: Counter[str] = Counter()
    parts = tiny_run.store.require("demonstration_sets", planned.id).rows["demonstration_set_parts"]
    n_whole = len(table_of(tiny_run, "n-m")["sides"])
    for part in parts:
        record = tiny_run.store.require("demonstration_sets", str(part["part_id"]))
        row, table = record.rows["demonstration_sets"][0], tiny_run.store.read_table(record.artefacts[0])
        names = {0: "other", 1: row["source_language"] or "code", 2: row["target_language"]}
        for sides in table["sides"][: round(float(part["share"]) * n_whole)]:  # type: ignore[arg-type]
            expected.update(str(names[side]) for side in sides)
    assert read.tokens == dict(expected)
    assert {"code", "en"} < set(read.tokens)


def test_each_role_of_a_set_has_its_own_tokens(tiny_run: FinishedRun) -> None:
    reads = {read.role: read.tokens for read in tokens_of(tiny_run, "contrast").reads}
    assert set(reads["calibration"]) > {"en"}
    assert set(reads["contrast"]) == {"code"}
    assert tokens_of(tiny_run, "random").reads == ()
    assert tokens_of(tiny_run, "random").is_known


def test_derived_variants_and_combinations_have_the_tokens_of_their_parents(derived_run: FinishedRun) -> None:
    wanda = record_of(derived_run, "wanda").id
    expected = only_read(derived_run, "wanda")
    for name in ("wanda-bits", "union-bits"):
        assert only_read(derived_run, name) == expected, name
        assert only_read(derived_run, name).variant_id == wanda


@pytest.mark.thorough("fits blocks")
def test_a_reconstruction_adds_the_sets_that_its_blocks_were_fitted_on(reconstructed_run: FinishedRun) -> None:
    record = record_of(reconstructed_run, "two")
    own, of_parent = calibration_tokens(reconstructed_run.store, record).reads
    assert (own.role, own.variant_id) == ("reconstruction", record.id)
    (link,) = record.rows["variant_parents"]
    assert (of_parent.role, of_parent.variant_id) == ("calibration", link["parent_variant_id"])
    assert sum(own.tokens.values()) > sum(of_parent.tokens.values())


@pytest.fixture(scope="module")
def adopted_run(dense_run: FinishedRun) -> FinishedRun:
    """A checkpoint that was made elsewhere, and what is made from it."""
    folder = dense_run.folder
    export_variant(dense_run.store, record_of(dense_run, "sweep").id, folder / "model", folder / "pruned")
    recipe = small_recipe()
    recipe["variants"] = [
        {"name": "theirs", "adopt": "pruned"},
        {"name": "wanda", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"},
        {"name": "theirs-bits", "adopt": "pruned", "bits": 4},
        {"name": "union", "combine": "union", "of": ["theirs", "wanda"]},
    ]
    recipe["evaluations"] = []
    return finished_run(folder, recipe, name="adopted")


@pytest.mark.parametrize(("name", "n_reads"), [("theirs", 0), ("theirs-bits", 0), ("union", 1)])
def test_tokens_of_an_adopted_checkpoint_are_unknown(adopted_run: FinishedRun, name: str, n_reads: int) -> None:
    tokens, record = tokens_of(adopted_run, name), record_of(adopted_run, name)
    assert not tokens.is_known
    assert len(tokens.reads) == n_reads
    assert "unknown" in token_line(tokens)
    assert "unknown" in model_card(adopted_run.store, record).split("## Calibration tokens")[1].split("##")[0]
    languages = {row["language"] for row in answers(adopted_run, variant_id=record.id)}
    assert languages == {"unknown", *(language for read in tokens.reads for language in read.tokens)}


def answers(run: FinishedRun, **parameters: Any) -> list[dict[str, Any]]:
    with Catalog.in_memory(run.store) as catalog:
        pairs = [f"{name}={value}" for name, value in parameters.items()]
        return list(run_user_query(catalog, "calibration_tokens", pairs).as_dicts())


SLOW = pytest.mark.thorough("fills a catalog and writes many cards")


@pytest.mark.parametrize(
    "name", ["expert_run", *(pytest.param(one, marks=SLOW) for one in ("derived_run", "tiny_run", "reconstructed_run"))]
)
def test_query_card_and_message_agree(name: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = request.getfixturevalue(name)
    rows, by_layer = answers(run), answers(run, by_layer="true")
    for record in run.store.records("variants"):
        tokens = calibration_tokens(run.store, record)
        own = [row for row in by_layer if row["variant_id"] == record.id]
        found = {
            (row["read_by"], row["role"], row["block"], row["layer"], row["language"]): row["n_tokens"] for row in own
        }
        layers = layers_of(run.store, record.parent("base_model"))
        expected = {
            (read.variant_id, read.role, layer.block, layer.name, language): None
            if seen is None
            else seen.get(language, 0)
            for read in tokens.reads
            for layer in layers
            for seen in [read.at(layer)]
            for language in read.tokens
        }
        assert found == expected
        for row in (one for one in rows if one["variant_id"] == record.id):
            alike = [one for one in own if all(one[key] == row[key] for key in ("read_by", "role", "language"))]
            known = [one["n_tokens"] for one in alike if one["n_tokens"] is not None]
            assert row["n_tokens"] == min(known)
            assert row["n_unknown"] == len(alike) - len(known)
        card = model_card(run.store, record).split("## Calibration tokens")[1].split("##")[0]
        assert token_line(tokens) in card
        for line in token_rows(tokens):
            assert any(str(line["language"]) in text and str(line["n_tokens"]) in text for text in card.splitlines())


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Fewer tokens than inputs, at all layers and at those of experts only."""
    folder = tmp_path_factory.mktemp("short")
    save_expert_model(folder / "model", "qwen3_moe", blocks=2, seed=1)
    write_texts(folder)
    recipe = small_recipe()
    recipe["demonstrations"][0] |= {"shots": 1, "samples": 1, "max_tokens": 10}
    recipe["variants"] = [
        {"name": "products", "demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5},
        {"name": "squares", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"},
    ]
    recipe["evaluations"] = []
    return finished_run(folder, recipe, name="short")


def test_the_plan_has_the_numbers_of_stored_sets_the_budget_and_bounds_of_others(
    expert_run: FinishedRun, short_run: FinishedRun, tmp_path: Path
) -> None:
    read, empty = only_read(expert_run, "ordering"), Store(tmp_path / "empty")
    line = calibration_lines(expert_run.plan, expert_run.store)[0]
    assert all(f"{language} {n}" in line for language, n in read.tokens.items())
    total = sum(read.tokens.values())
    (before,) = calibration_lines(expert_run.plan, empty)
    for text in (line, before):
        assert f"{total} tokens" in text
        assert f"about {total * 2 // 4}" in text
    assert "at most 10 tokens" in calibration_lines(short_run.plan, empty)[0]


def test_fewer_tokens_than_inputs_of_a_gram_matrix_are_a_warning(short_run: FinishedRun, tmp_path: Path) -> None:
    record = record_of(short_run, "products")
    lines = list(variant_warnings(short_run.store, record))
    singular = [line for line in lines if "inputs" in line]
    (line,) = singular
    read = only_read(short_run, "products")
    short = {one: sum((read.at(one) or {}).values()) for one in layers_of_run(short_run)}
    worst = max(short, key=lambda one: one.n_inputs - short[one])
    assert record.id in line
    assert worst.name in line
    assert f"block {worst.block}" in line
    assert f"{short[worst]} tokens" in line
    assert f"{worst.n_inputs} inputs" in line
    assert not [line for line in variant_warnings(short_run.store, record_of(short_run, "squares")) if "inputs" in line]
    for store in (short_run.store, Store(tmp_path / "empty")):
        _, *warnings = calibration_lines(short_run.plan, store)
        assert any("10 tokens" in one and "16 inputs" in one for one in warnings)
        assert any("experts" in one for one in warnings)


def test_enough_tokens_are_no_warning(expert_run: FinishedRun) -> None:
    assert [
        line for record in expert_run.store.records("variants") for line in variant_warnings(expert_run.store, record)
    ] == []
    assert len(calibration_lines(expert_run.plan, expert_run.store)) == 1


def test_experts_that_no_token_reaches_are_a_warning(routing_run: FinishedRun) -> None:
    record = record_of(routing_run, "french")
    read = only_read(routing_run, "french")
    assert read.experts is not None
    unreached = [key for key, tokens in read.experts.items() if not sum(tokens.values())]
    assert (0, DEAD) in unreached
    (line,) = (line for line in variant_warnings(routing_run.store, record) if "reached" in line)
    assert f"{len(unreached)} of {len(read.experts)} experts" in line
    assert f"{unreached[0][1]} of block {unreached[0][0]}" in line


def test_counts_of_an_earlier_version_are_unknown(expert_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    read_record = Store.read_record

    def without_counts(store: Store, kind: str, record_id: str) -> Record | None:
        record = read_record(store, kind, record_id)
        if record is None:
            return None
        return replace(record, rows={name: rows for name, rows in record.rows.items() if name != "expert_tokens"})

    record = record_of(expert_run, "ordering")
    monkeypatch.setattr(Store, "read_record", without_counts)
    (read,) = calibration_tokens(expert_run.store, record).reads
    assert read.experts is None
    assert read.tokens
