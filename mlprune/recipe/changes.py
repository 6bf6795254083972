"""Changes of a loaded recipe on the command line: fewer demonstrations and items, or another base model.

The result is a recipe like any other, with a name that shows the changes; its results have ids of their own.
"""

from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.models import BaseModelConfig, Recipe
from mlprune.recipe.variants import VariantConfig


def shrink(recipe: Recipe, n: int) -> Recipe:
    """Return the recipe with at most `n` demonstrations per set, shots per text, items per evaluation and variants per
    search.

    A set with a token budget gets `n` demonstrations instead. A mixed set of more than `n` demonstrations becomes the
    union of its parts. A search has only its rungs below `n`. Languages, sparsities, seeds and all other choices stay.
    """
    return recipe.model_copy(
        update={
            "name": f"{recipe.name} (shrink {n})",
            "demonstrations": tuple(_shrink_set(entry, n) for entry in recipe.demonstrations),
            "variants": tuple(_shrink_variant(entry, n) for entry in recipe.variants),
            "baselines": tuple(entry.shrunk(n) for entry in recipe.baselines),
            "evaluations": tuple(_shrink_evaluation(entry, n) for entry in recipe.evaluations),
            "searches": tuple(entry.shrunk(n) for entry in recipe.searches),
            "sensitivity": tuple(entry.shrunk(n) for entry in recipe.sensitivity),
        }
    )


def with_model(recipe: Recipe, path: str, *, label: str, max_positions: int | None) -> Recipe:
    """Return the recipe with another base model, of which only the dtype stays.

    Args:
        path: folder or hub id of the model.
        label: the model in the name of the recipe.
        max_positions: longest text of the model; longer demonstrations are truncated to it. None for no limit.
    """
    longest = max_positions or max((entry.max_tokens for entry in recipe.demonstrations), default=0)
    return recipe.model_copy(
        update={
            "name": f"{recipe.name} (model {label})",
            "model": BaseModelConfig(path=path, dtype=recipe.model.dtype),
            "demonstrations": tuple(
                entry.model_copy(update={"max_tokens": min(entry.max_tokens, longest)})
                for entry in recipe.demonstrations
            ),
        }
    )


def _shrink_set(entry: DemonstrationConfig, n: int) -> DemonstrationConfig:
    if entry.kind == "mixed":
        return entry.model_copy(update={"samples": None}) if entry.samples and entry.samples > n else entry
    update: dict[str, object] = {
        "samples": min(entry.samples or n, n),
        "token_budget": None,
        "shots": min(entry.shots, n),
    }
    if entry.activations is not None and entry.activations.samples is not None:
        update["activations"] = entry.activations.model_copy(update={"samples": min(entry.activations.samples, n)})
    return entry.model_copy(update=update)


def _shrink_variant(entry: VariantConfig, n: int) -> VariantConfig:
    return entry if entry.samples is None else entry.model_copy(update={"samples": min(entry.samples, n)})


def _shrink_evaluation(entry: EvaluationConfig, n: int) -> EvaluationConfig:
    return entry.model_copy(update={"limit": min(entry.limit or n, n), "shots": min(entry.shots, n)})
