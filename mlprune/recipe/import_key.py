"""The recipe key `import`, which cannot be declared as a field because it is a Python keyword."""

from typing import TypeVar

from pydantic import Field, create_model

from mlprune.recipe.base import Model

AnyModel = TypeVar("AnyModel", bound=Model)

IMPORT_KEY = "import"
MEANING = (
    "Import the model into the model cache before it is used, once, as `mlprune import` does; needs --allow-import on "
    "the command line. Ids do not depend on it."
)


def with_import_key(name: str, base: type[AnyModel], *, meaning: str = MEANING) -> type[AnyModel]:
    """Return a model with the key in addition.

    Args:
        name: of the new model.
        meaning: description of the key.
    """
    field = (bool, Field(default=False, description=meaning))
    options = {"__base__": base, "__module__": base.__module__, "__doc__": base.__doc__, IMPORT_KEY: field}
    model: type[AnyModel] = create_model(name, **options)  # type: ignore[call-overload]
    return model


def wants_import(config: Model) -> bool:
    """Whether an entry has the key `import` with the value true."""
    return bool(getattr(config, IMPORT_KEY, False))
