"""Distances of variants with fewer tokens: over the kept tokens, with the dense mass of the others."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune import demo
from mlprune.capabilities.distance.dense_states import DenseStatesJob
from mlprune.capabilities.vocabulary.in_place import SmallerVocabulary
from mlprune.evaluation.scoring.candidates import PreparedTask
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.models.loading import load_tokenizer
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.variants.variant_rows import stored_tokens
from tests.tiny_recipes import FinishedRun, finished_run

pytestmark = pytest.mark.thorough("runs the embedded model, whose vocabulary can be trimmed")

EMBEDDED = Path(demo.__file__).parent / "xglm-cldr-2m"
KEEP = {"languages": ["en", "sw"]}
RECIPE = {
    "name": "fewer",
    "model": {"path": "model"},
    "corpus": {"kind": "cldr", "lines": 100, "leave_out_evaluated": True},
    "variants": [
        {"name": "small", "structure": "vocabulary", "keep": KEEP},
        {"name": "masks", "score": "magnitude", "sparsity": 0.5, "keep": KEEP},
    ],
    "evaluations": [{"task": "perplexity", "path": "corpus", "languages": ["en", "ru"], "limit": 5, "distance": True}],
    "compute": {"batch_tokens": 256},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("fewer")
    shutil.copytree(EMBEDDED, folder / "model")
    return finished_run(folder, RECIPE, name="fewer")


def measured(run: FinishedRun, name: str) -> dict[str, tuple[PreparedTask, Predictions]]:
    """Language -> the texts of an evaluation of a variant with fewer tokens, and its predictions."""
    (variant,) = (one for one in run.named(name) if one.is_baseline)
    found = {}
    for job in run.plan.jobs:
        if isinstance(job, EvaluateJob) and job.variant_id == variant.id:
            for evaluation in job.evaluations:
                prepared = SmallerVocabulary(variant.id).prepared(
                    run.store, evaluation.task, job.model, batch_tokens=job.batch_tokens
                )
                found[evaluation.task.language] = (prepared, predictions_of(run.store, evaluation))
    assert set(found) == {"en", "ru"}
    return found


def test_the_kept_tokens_of_the_dense_model_are_renormalised_and_the_others_counted(run: FinishedRun) -> None:
    """Dense weights with fewer tokens: no divergence over the kept tokens, and the mass of the removed ones."""
    kept = stored_tokens(run.store, run.store.require("variants", run.named("small")[0].id))
    dense = AutoModelForCausalLM.from_pretrained(run.plan.model.path).float().eval()
    for prepared, predictions in measured(run, "small").values():
        assert predictions.measures["divergence"].tolist() == [0.0] * 5
        assert predictions.measures["log_prob_change"].tolist() == [0.0] * 5
        assert predictions.measures["n_top_agreed"].tolist() == predictions.likelihoods.n_whole.tolist()
        for row, text in enumerate(prepared.texts[:2]):
            with torch.inference_mode():
                log_p = dense(torch.tensor([list(text.tokens)])).logits[0, :-1].double().log_softmax(dim=1)
            mass = float((1 - log_p[:, kept].exp().sum(dim=1))[text.n_context - 1 :].sum())
            assert float(predictions.measures["removed_mass"][row]) == pytest.approx(mass, rel=1e-3, abs=1e-6)
    assert float(measured(run, "small")["ru"][1].measures["removed_mass"].sum()) > 0


def test_the_divergence_of_masks_and_fewer_tokens_is_that_over_the_kept_tokens(run: FinishedRun) -> None:
    (variant,) = (one for one in run.named("masks") if one.is_baseline)
    kept = stored_tokens(run.store, run.store.require("variants", variant.id))
    model = AutoModelForCausalLM.from_pretrained(run.plan.model.path).float().eval()
    whole = AutoModelForCausalLM.from_pretrained(run.plan.model.path).float().eval()
    with torch.no_grad():
        for (block, layer), keep in run.keep_masks(variant.parents[0].id).items():
            weight = model.model.layers[block].get_submodule(layer).weight
            weight.mul_(keep)
    (prepared, predictions) = measured(run, "masks")["en"]
    for row, text in enumerate(prepared.texts[:2]):
        ids = torch.tensor([list(text.tokens)])
        with torch.inference_mode():
            log_p, log_q = (
                one(ids).logits[0, :-1, kept].double().log_softmax(dim=1)[text.n_context - 1 :]
                for one in (whole, model)
            )
        terms = (log_p.exp() * (log_p - log_q) - log_p.exp() + log_q.exp()).flatten().tolist()
        assert float(predictions.measures["divergence"][row]) == pytest.approx(math.fsum(terms), rel=1e-3, abs=1e-5)


def test_texts_with_other_tokens_have_states_of_their_own(run: FinishedRun) -> None:
    jobs = [job for job in run.plan.jobs if isinstance(job, DenseStatesJob)]
    assert len(jobs) == 2 * 3
    assert sum(bool(job.needs) for job in jobs) == 2 * 2
    order = [key for job in run.plan.jobs for key in job.makes]
    for job in jobs:
        assert all(order.index(key) < order.index(job.identity.key) for key in job.needs)
    assert load_tokenizer(Path(run.plan.model.path)) is not None
