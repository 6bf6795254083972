"""Stored block influence, compared with transformers running one demonstration at a time."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlprune.models.chain import Chain
from mlprune.steps.job import make_identity
from mlprune.steps.observe.block_influence import BlockInfluenceJob, influence_of
from tests.chains import chain_with_masks
from tests.tiny_recipes import (
    FinishedRun,
    reference_model,
)


def _same(chain: Chain) -> Chain:
    return chain


def job_of(run: FinishedRun) -> BlockInfluenceJob:
    """The job of the monolingual set of the tiny recipe."""
    (variant,) = run.named("wanda-mono", "dense")
    (set_id,) = variant.spec.set_ids
    identity = make_identity("block_influence", {"test": 1}, parents={"demonstration_set": set_id})
    return BlockInfluenceJob(identity, run.plan.model, set_id, batch_tokens=128)


def test_rows_are_those_of_each_demonstration_alone_whatever_the_shards(
    tiny_run: FinishedRun, copied_store: Any
) -> None:
    job, store = job_of(tiny_run), copied_store(tiny_run.store)
    source = tiny_run.store.require("demonstration_sets", job.demonstration_set_id).artefacts[0]
    texts = tiny_run.store.read_table(source)["token_ids"]
    model = reference_model(tiny_run.folder / "model")
    terms: dict[int, list[float]] = {}
    for number, block in enumerate(model.model.layers):

        def compare(_: Any, args: Any, output: Any, *, number: int = number) -> None:
            after = output[0] if isinstance(output, tuple) else output
            cosines = torch.cosine_similarity(args[0][0].double(), after[0].double(), dim=1)
            terms.setdefault(number, []).extend((1 - cosines).tolist())

        block.register_forward_hook(compare)
    with torch.no_grad():
        for ids in texts:
            model(input_ids=torch.tensor([list(ids)]))
    records = []
    for n_shards in (1, 2):
        chain = chain_with_masks(Path(tiny_run.plan.model.path), n_shards=n_shards)
        job.run(store, partial(_same, chain))
        records.append(store.require(*job.identity.key))
    one, other = records
    assert one == other
    rows = one.rows["block_influence"]
    assert [row["block"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["influence"] == pytest.approx(np.mean(terms[row["block"]]), rel=1e-4)
        assert (row["n_tokens"], row["n_demonstrations"]) == (sum(map(len, texts)), len(texts))


def test_the_interval_resamples_demonstrations() -> None:
    generator = np.random.default_rng(0)
    n_tokens = generator.integers(5, 20, size=60).astype(float)
    sums = n_tokens * (0.3 + 0.1 * generator.standard_normal(60))
    influence = influence_of(sums, n_tokens)
    value = sums.sum() / n_tokens.sum()
    by_formula = np.sqrt(60 / 59 * ((sums - value * n_tokens) ** 2).sum()) / n_tokens.sum()
    assert influence.value == pytest.approx(value)
    assert influence.standard_error == pytest.approx(by_formula, rel=0.1)
    assert influence.interval is not None
    assert influence.interval.low < value < influence.interval.high
    assert influence.interval.width == pytest.approx(2 * 1.96 * by_formula, rel=0.15)


def test_one_demonstration_has_no_interval_and_equal_ones_have_no_width() -> None:
    single = influence_of(np.array([2.0]), np.array([10.0]))
    assert (single.value, single.interval, single.standard_error) == (0.2, None, None)
    equal = influence_of(np.zeros(4), np.array([3.0, 5.0, 7.0, 9.0]))
    assert equal.interval is not None
    assert (equal.interval.low, equal.interval.high) == (0.0, 0.0)
