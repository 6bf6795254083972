"""Distances of runs in half precision: states in the dtype of the run, and measures of the logits of the run."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from mlprune.capabilities.distance import divergence, measurement
from mlprune.capabilities.distance.dense_states import KIND, TENSOR, DenseStatesJob
from mlprune.capabilities.distance.divergence import distances
from mlprune.models.local_chain import local_chain
from mlprune.numeric.log_probs import OutputHead, TargetScores
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS
from tests.chains import TransportChain
from tests.tiny_recipes import FinishedRun, copy_of, finished_run, results, small_recipe

pytestmark = pytest.mark.thorough("runs a model in every dtype")

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
MEASURED = tuple(name for name, traits in METRIC_TRAITS.items() if traits.key == "distance")


class Call(NamedTuple):
    """Arguments and result of one call of `distances`."""

    hidden: Tensor
    dense: Tensor
    heads: tuple[OutputHead, OutputHead]
    states: Tensor
    targets: Tensor
    scores: TargetScores

    def expected(self) -> list[float]:
        """The divergence at each target, from the logits of the run, in plain float64 loops."""
        room = torch.empty(2, len(self.hidden), self.heads[0].n_tokens)
        ours, theirs = (
            divergence._fill(logits, hidden, head)
            for logits, hidden, head in zip(room, (self.hidden, self.dense), self.heads, strict=True)
        )
        return [looped_divergence(theirs[state].tolist(), ours[state].tolist()) for state in self.states.tolist()]


def looped_divergence(dense: list[float], variant: list[float]) -> float:
    log_p, log_q = ([value - log_sum(logits) for value in logits] for logits in (dense, variant))
    terms = (math.exp(p) * (p - q) - math.exp(p) + math.exp(q) for p, q in zip(log_p, log_q, strict=True))
    return math.fsum(terms)


def log_sum(logits: list[float]) -> float:
    return max(logits) + math.log(math.fsum(math.exp(value - max(logits)) for value in logits))


@pytest.fixture(scope="module", params=HALVES)
def run_and_calls(
    request: pytest.FixtureRequest, tiny_inputs: Path
) -> Iterator[tuple[FinishedRun, torch.dtype, list[Call]]]:
    """A run in half precision, and what its evaluations measured."""
    calls: list[Call] = []

    def noted(hidden: Tensor, dense: Tensor, heads: tuple[OutputHead, OutputHead], **given: Any) -> TargetScores:
        scores = distances(hidden, dense, heads, **given)
        calls.append(Call(hidden.clone(), dense.clone(), heads, given["states"], given["targets"], scores))
        return scores

    name = request.param
    variants = [
        {"name": "random", "score": "random", "sparsity": 0.5},
        {"name": "same", "score": "magnitude", "sparsity": 0.01},
    ]
    texts = {"path": "corpus", "limit": 4, "distance": True}
    evaluations = [
        {"task": "perplexity", "languages": ["en", "fr"], **texts},
        {"task": "translation", "pairs": ["fr-en"], "shots": 0, "max_new_tokens": 2, **texts},
    ]
    recipe = {**small_recipe(), "demonstrations": [], "variants": variants, "evaluations": evaluations}
    recipe |= {"model": {"path": "model", "dtype": name}, "compute": {"batch_tokens": 64}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "distances", noted)
        yield finished_run(tiny_inputs, recipe, name=name), HALVES[name], calls


def test_states_are_stored_in_the_dtype_of_the_run(run_and_calls: tuple[FinishedRun, torch.dtype, Any]) -> None:
    run, dtype, _ = run_and_calls
    jobs = [job for job in run.plan.jobs if isinstance(job, DenseStatesJob)]
    assert len(jobs) == 3
    for job in jobs:
        artefacts = run.store.require(*job.identity.key).artefacts
        assert {load(run.store.read_bytes(artefact))[TENSOR].dtype for artefact in artefacts} == {dtype}


def test_measures_are_those_of_the_logits_of_the_run(
    run_and_calls: tuple[FinishedRun, torch.dtype, list[Call]],
) -> None:
    _, dtype, calls = run_and_calls
    far = [call for call in calls if not torch.equal(call.hidden, call.dense)]
    assert far
    for call in far:
        assert {call.hidden.dtype, *(head.weight.dtype for head in call.heads)} == {dtype}
        assert call.scores.measures["divergence"].tolist() == pytest.approx(call.expected(), rel=1e-6, abs=1e-12)


def test_dense_and_a_variant_equal_to_it_have_exactly_no_distance(
    run_and_calls: tuple[FinishedRun, torch.dtype, Any],
) -> None:
    run, _, _ = run_and_calls
    equal = (next(iter(run.plan.variants)), run.named("same")[0].id)
    assert equal[0] != equal[1]
    rows = [row for row in run.rows("metrics") if row["variant_id"] in equal and row["metric"] in MEASURED]
    assert len(rows) == len(equal) * len(MEASURED) * 3
    assert {(row["metric"] == "top_agreement", row["value"]) for row in rows} == {(False, 0.0), (True, 1.0)}
    (variant,) = run.named("random")
    others = [row for row in run.rows("metrics") if (row["variant_id"], row["metric"]) == (variant.id, "divergence")]
    assert all(row["value"] > 0 for row in others)


@pytest.mark.parametrize("n_shards", [2, 3])
def test_shards_change_no_byte(
    run_and_calls: tuple[FinishedRun, torch.dtype, Any], tmp_path: Path, n_shards: int
) -> None:
    run, _, _ = run_and_calls
    store: Store = copy_of(run.store, tmp_path / "store")
    for kind in (KIND, "evaluations"):
        for record in list(store.records(kind)):
            for artefact in record.artefacts:
                store.delete(artefact.path)
            store.delete(f"records/{kind}/{record.id}.json")
    folder, dtype = Path(run.plan.model.path), run.plan.model.dtype
    chain = functools.cache(lambda: TransportChain(local_chain(folder, n_shards=n_shards, dtype=dtype)))
    for job in run.plan.jobs:
        if isinstance(job, DenseStatesJob | EvaluateJob):
            job.run(store, chain)
    assert results(store) == results(run.store)
