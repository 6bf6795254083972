"""The recipe: the YAML file a user writes, as frozen typed models with plain values.

Relative paths start at the recipe's folder. Only `steps`, `plan`, `demo` and `ray_jobs` import this package.
"""

from mlprune.languages import pair_languages
from mlprune.recipe.analyses import AnalysesConfig, BaselineConfig, ReconstructConfig
from mlprune.recipe.base import DENSE_LABEL, IMPORT_KEY, AgainstConfig, wants_import
from mlprune.recipe.changes import shrink, with_model
from mlprune.recipe.combinations import expand_entry
from mlprune.recipe.demonstrations import DemonstrationConfig
from mlprune.recipe.evaluations import EvaluationConfig
from mlprune.recipe.loading import load_recipe, parse_recipe, read_recipe_file
from mlprune.recipe.models import (
    AUTO_BATCH_TOKENS,
    BaseModelConfig,
    ComputeConfig,
    CorpusConfig,
    Recipe,
)
from mlprune.recipe.questions import AskedLanguages, QuestionConfig, asked_languages
from mlprune.recipe.settings import with_settings
from mlprune.recipe.variants import VariantConfig

__all__ = [
    "AUTO_BATCH_TOKENS",
    "DENSE_LABEL",
    "IMPORT_KEY",
    "AgainstConfig",
    "AnalysesConfig",
    "AskedLanguages",
    "BaseModelConfig",
    "BaselineConfig",
    "ComputeConfig",
    "CorpusConfig",
    "DemonstrationConfig",
    "EvaluationConfig",
    "QuestionConfig",
    "Recipe",
    "ReconstructConfig",
    "VariantConfig",
    "asked_languages",
    "expand_entry",
    "load_recipe",
    "pair_languages",
    "parse_recipe",
    "read_recipe_file",
    "shrink",
    "wants_import",
    "with_model",
    "with_settings",
]
