"""Find the architecture of a model by its config; each is discovered once and cached for all processes of a user."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlprune.errors import ModelError, reason_of
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.config_checks import (
    check_rope_types,
    check_token_ids,
    largest_numbers,
    require_buildable,
    require_decoder,
)
from mlprune.models.metadata_cache import cached_by_content
from mlprune.models.model_limits import within_limits

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def architecture_of(config: JsonObject) -> Architecture:
    """Return the architecture of the model that a config describes.

    Raises:
        ModelError: the config cannot be used, or describes a model that cannot be pruned.
    """
    return _architecture_of(json.dumps(config, sort_keys=True))


@lru_cache(maxsize=64)
def _architecture_of(config_text: str) -> Architecture:
    config: JsonObject = json.loads(config_text)
    stored = cached_by_content("architecture", config_text, lambda: _discover(config))
    return _adapter().validate_python(stored, strict=False)


@lru_cache(maxsize=1)
def _adapter() -> "TypeAdapter[Architecture]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - not every process reads a model

    return TypeAdapter(Architecture)


def _discover(config: JsonObject) -> dict[str, Any]:
    """Return the architecture as JSON has it; the model of the config is built and run in a child with limits."""
    require_decoder(config)
    from mlprune.models.architecture.discovery import (  # noqa: PLC0415 - imports torch and transformers
        discover_config,
        import_model_code,
    )

    try:
        require_buildable(config)
        check_rope_types(config)
        check_token_ids(config)
        import_model_code(str(config["model_type"]))
    except Exception as err:  # settings of a wrong type
        raise ModelError("the model's config cannot be used", reason=reason_of(err)) from err

    def discover() -> dict[str, Any]:
        try:
            found: dict[str, Any] = _adapter().dump_python(discover_config(dict(config)), mode="json")
        except ModelError:
            raise
        except Exception as err:  # a wrong config can raise anything in the model's code
            raise ModelError("the model's config cannot be used", reason=reason_of(err)) from err
        return found

    return within_limits("the model's config", discover, largest=largest_numbers(config))
