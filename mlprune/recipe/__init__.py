"""The recipe: the YAML file a user writes, as frozen typed models with plain values.

Relative paths start at the recipe's folder. Only `steps`, `plan` and `ray_jobs` import this room.
"""

from mlprune.recipe.models import (
    AUTO_BATCH_TOKENS,
    BaseModelConfig,
    ComputeConfig,
    CorpusConfig,
    DemonstrationConfig,
    EvaluationConfig,
    Recipe,
    VariantConfig,
)
from mlprune.recipe.reading import expanded, load_recipe, parse_recipe

__all__ = [
    "AUTO_BATCH_TOKENS",
    "BaseModelConfig",
    "ComputeConfig",
    "CorpusConfig",
    "DemonstrationConfig",
    "EvaluationConfig",
    "Recipe",
    "VariantConfig",
    "expanded",
    "load_recipe",
    "parse_recipe",
]
