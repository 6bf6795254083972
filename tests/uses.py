"""Recipes, runs and commands that use each capability.

An analysis of demonstration sets that needs nothing else has no entry here: its use follows from its key and its kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlprune import capabilities
from mlprune.recipe.analyses import AnalysesConfig
from mlprune.recipe.names import NamesOf, OfCapability, markers
from mlprune.store.record_kinds import RECORD_KINDS
from tests.neuron_recipe import neuron_recipe
from tests.search_recipes import search_recipe
from tests.tiny_recipes import small_recipe


@dataclass(frozen=True)
class Use:
    """How a recipe uses a capability, and what else it has."""

    sections: dict[str, Any] = field(default_factory=dict)
    """Sections of the small recipe with the capability's keys."""
    key: str = ""
    """Path of the first of these keys; "" if it has none."""
    run: str = ""
    """Fixture with a finished run that has records of the capability; by default the recipe with `sections` is run."""
    kinds: frozenset[str] = frozenset()
    """Some kinds of these records."""
    commands: tuple[str, ...] = ()
    """Its commands and forms of commands."""


_GIVEN = {
    "generation": Use(
        {
            "demonstrations": [
                small_recipe()["demonstrations"][0],
                {"name": "own", "kind": "generated", "language": "fr", "samples": 2, "max_tokens": 24},
            ]
        },
        "demonstrations.1.kind",
        kinds=frozenset(("generated_texts",)),
        commands=("rescore --generated",),
    ),
    "units": Use(
        {"variants": [{"score": "flap", "demonstrations": "mt", "propagation": "dense", "sparsity": 0.3}]},
        "variants.0.score",
        kinds=frozenset(("masks", "variants")),
    ),
    "blocks": Use(
        {"variants": [{"score": "random", "structure": "blocks", "sparsity": 0.5}]},
        "variants.0.structure",
        kinds=frozenset(("variants",)),
    ),
    "neurons": Use(
        {key: neuron_recipe()[key] for key in ("demonstrations", "variants")},
        "variants.0.neurons",
        "neuron_run",
        frozenset(("neuron_activity", "masks", "variants")),
    ),
    "experts": Use(
        {"analyses": {"experts": ["mt"]}},
        "analyses.experts",
        "routing_run",
        frozenset(("expert_statistics", "expert_overlaps", "routing_entropy", "masks", "variants")),
    ),
    "reconstruction": Use(
        {"variants": [{"score": "magnitude", "sparsity": 0.5, "reconstruct": {"demonstrations": "mt"}}]},
        "variants.0.reconstruct",
        "reconstructed_run",
        frozenset(("mask_blocks", "variants")),
    ),
    "recovery": Use(
        {"variants": [{"score": "magnitude", "sparsity": 0.5, "recover": {"demonstrations": "mt"}}]},
        "variants.0.recover",
        "recovered_run",
        frozenset(("masks", "variants")),
    ),
    "quantisation": Use(
        {"variants": [{"sparsity": 0, "quantise": {"demonstrations": "mt"}}, {"sparsity": 0, "bits": 4}]},
        "variants.0.quantise",
        "coded_run",
        frozenset(("mask_blocks", "masks", "variants")),
    ),
    "vocabulary": Use(
        {"variants": [{"name": "small", "structure": "vocabulary", "keep": {"languages": ["en"]}}]},
        "variants.0.keep",
        "vocabulary_run",
        frozenset(("tokenizations",)),
    ),
    "adoption": Use(
        {"variants": [{"adopt": "pruned"}]}, "variants.0.adopt", "adopted_run", frozenset(("masks", "variants"))
    ),
    "baselines": Use(
        {"baselines": [{"name": "small", "kind": "model", "path": "small"}]},
        "baselines",
        "baseline_run",
        frozenset(("hidden_means", "lrp2_trials", "lrp2_choices", "self_translations")),
    ),
    "search": Use(
        {key: search_recipe()[key] for key in ("evaluations", "searches")},
        "searches",
        "run_with_search",
        frozenset(("search_batches", "searches")),
    ),
    "sensitivity": Use(
        {"sensitivity": [{"name": "where", "base": {"score": "magnitude"}, "sparsity": 0.5, "split": "test"}]},
        "sensitivity",
        "run_with_sensitivity",
        frozenset(("sensitivities",)),
    ),
    "live": Use(commands=("status --web",)),
    "tables": Use(commands=("report --tables", "export --as mlflow")),
    "distance": Use(
        {"evaluations": [{**small_recipe()["evaluations"][0], "distance": True}]},
        "evaluations.0.distance",
        kinds=frozenset(("dense_states",)),
    ),
    "outside_scores": Use(commands=("import --scores",)),
    "harness": Use(
        run="run_with_imported_results",
        kinds=frozenset(("external_results",)),
        commands=("export --as every_eval_ever", "export --as hub", "import --results", "harness"),
    ),
    "importing": Use({"model": {"path": "model", "import": True}}, "model.import", commands=("import",)),
    "notebook": Use(commands=("report --notebook",)),
    "publishing": Use(
        commands=(
            *("export", "export --as folder", "export --as compressed_tensors", "export --as masks"),
            *("export --as patches", "export --as imatrix", "apply"),
        ),
    ),
    "inspection": Use(commands=("check data", "check model")),
    "results": Use(commands=("export --as row",)),
}


def _kinds_of(name: str) -> frozenset[str]:
    made = f"{capabilities.__name__}.{name}."
    return frozenset(kind for kind, described in RECORD_KINDS.items() if (described.job or "").startswith(made))


_OF_SETS: Mapping[str, dict[str, Any]] = {
    marker.name: {key: ["mt"]}
    for key in AnalysesConfig.model_fields
    for marker in markers(AnalysesConfig, key, OfCapability)
    if marker.name not in _GIVEN and any(names.named == "sets" for names in markers(AnalysesConfig, key, NamesOf))
}
ANALYSES_OF_SETS = {key: names for keys in _OF_SETS.values() for key, names in keys.items()}
"""Keys of analyses of sets that need nothing else, for a recipe with the sets `mt`."""
USES: Mapping[str, Use] = {
    **_GIVEN,
    **{
        name: Use({"analyses": keys}, f"analyses.{next(iter(keys))}", kinds=_kinds_of(name))
        for name, keys in _OF_SETS.items()
    },
}
"""Name of a capability -> how it is used."""
