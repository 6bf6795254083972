"""Removal one by one on a model: equal to a plain loop over exported folders, with shared first blocks."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.search import batches
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.planning import Plan, extend_plan, pending_jobs
from mlprune.steps.tasks.evaluation import task_data
from mlprune.store.store import Store
from tests.mlprune.capabilities.search.played_search import searched, trial_rows
from tests.search_recipes import search_recipe
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import copied_inputs, plan_of, results, write_recipe

pytestmark = pytest.mark.thorough("evaluates 33 variants of a model of twelve blocks")
N_BLOCKS, N_ROUNDS = 12, 3
BOUND = 485.0
"""Perplexity of English that no kept trial exceeds; without the bound, the first round would keep another one."""
DEPTH: dict[str, Any] = {
    "name": "depth",
    "base": {"structure": "blocks"},
    "levels": None,
    "minimise": "perplexity(fr)",
    "where": f"perplexity(en) <= {BOUND}",
    "method": {"kind": "one_by_one", "units": N_ROUNDS},
    "budget": None,
}


class Searched(NamedTuple):
    """A finished search."""

    plan: Plan
    store: Store
    n_passes: list[int]
    """Passes of the blocks that run: of the trials of each round."""


@pytest.fixture(scope="module")
def inputs(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("depth"))
    save_tiny_model(folder / "model", "llama", seed=5, blocks=N_BLOCKS)
    return folder


@pytest.fixture(scope="module")
def plan(inputs: Path) -> Plan:
    return plan_of(write_recipe(inputs, search_recipe(**DEPTH), name="depth.yaml"))


def run(plan: Plan, store: Store, *, chain: LocalChain) -> Searched:
    """Run a plan and what follows from its results, and count the passes of blocks of each round."""
    ran: list[int] = []
    for shard in chain.shards:
        for block, module in shard.runner.modules.items():
            module.get_submodule("input_layernorm").register_forward_pre_hook(lambda *_, block=block: ran.append(block))
    passes: list[int] = []
    while pending := pending_jobs((plan := extend_plan(plan, store)).jobs, store):
        trials = {one.scored.variant_id for one in searched(plan).searches[0].batches[-1].trials}
        ran_in_round = 0
        for job in pending:
            ran.clear()
            job.run(store, lambda: chain)
            ran_in_round += len(ran) if {key for _, key in job.needs} & trials else 0
        if any(job.step == "search" and job.makes[0][0] == "search_batches" for job in pending):
            passes.append(ran_in_round)
    return Searched(plan, store, passes)


@pytest.fixture(scope="module")
def finished(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return run(plan, Store(tmp_path_factory.mktemp("depth-store")), chain=local_chain(Path(plan.model.path)))


def removed(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(block) for block, level in row["point"].items() if level)


def plain_perplexity(folder: Path, texts: list[str]) -> float:
    """The perplexity of all tokens of texts but the first of each, one text at a time, with transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    total, n_scored = 0.0, 0
    for text in texts:
        tokens = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            log_probs = torch.log_softmax(model(tokens).logits[0, :-1].double(), dim=-1)
        total += float(log_probs.gather(1, tokens[0, 1:, None]).sum())
        n_scored += tokens.shape[1] - 1
    return math.exp(-total / n_scored)


def test_the_choices_and_values_are_those_of_a_plain_loop_over_exported_folders(
    finished: Searched, tmp_path: Path
) -> None:
    evaluations = searched(finished.plan).searches[0].batches[0].trials[0].scored.evaluations
    items = {one.task.language: task_data(one.task).items for one in evaluations}
    texts = {language: [one.texts[0] for one in of if isinstance(one, ChoiceItem)] for language, of in items.items()}
    rows = {frozenset(removed(row)): row for row in trial_rows(finished.store)}
    gone: frozenset[int] = frozenset()
    for _ in range(N_ROUNDS):
        values = {}
        for block in sorted(set(range(N_BLOCKS)) - gone):
            row, folder = rows.pop(gone | {block}), tmp_path / "-".join(map(str, sorted(gone | {block})))
            export_variant(finished.store, row["variant_id"], Path(finished.plan.model.path), folder)
            french, english = (plain_perplexity(folder, texts[language]) for language in ("fr", "en"))
            assert row["objective"] == pytest.approx(french, rel=1e-5)
            assert row["violation"] == pytest.approx(max(0.0, english - BOUND), abs=1e-5 * english)
            values[block] = (english > BOUND, french, block)
        best = min(values, key=lambda block: values[block])
        gone |= {best}
        kept = next(row for row in trial_rows(finished.store) if frozenset(removed(row)) == gone)
        assert kept["status"] == "kept"
        assert not values[best][0]
        unbounded = min(values, key=lambda block: values[block][1:])
        assert len(gone) > 1 or unbounded != best, "the bound of English decides the first round"
    assert not rows


def test_a_round_runs_at_most_three_fifths_of_the_blocks_of_full_evaluations(
    finished: Searched, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = local_chain(Path(plan.model.path))
    for shard in chain.shards:
        shard.runner.kept_states = None
    monkeypatch.setattr(batches, "evaluated_together", lambda jobs, _: jobs)
    whole = run(plan, Store(tmp_path), chain=chain)
    assert results(whole.store) == results(finished.store)
    per_block = whole.n_passes[0] // (N_BLOCKS * (N_BLOCKS - 1))
    assert whole.n_passes == [per_block * (N_BLOCKS - n) * (N_BLOCKS - n - 1) for n in range(N_ROUNDS)]
    shares = [shared / of_whole for shared, of_whole in zip(finished.n_passes, whole.n_passes, strict=True)]
    assert max(shares) <= 0.6
    assert shares[0] == pytest.approx(1 / 2 + 1 / N_BLOCKS)


def test_the_bytes_are_the_same_on_several_shards(finished: Searched, plan: Plan, tmp_path: Path) -> None:
    whole = run(plan, Store(tmp_path), chain=local_chain(Path(plan.model.path), n_shards=3))
    assert results(whole.store) == results(finished.store)
