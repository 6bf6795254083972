"""Names, seeds and registered names in a recipe, and the key `import` of its models."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Protocol, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from mlprune.recipe.names import OfCapability
from mlprune.strict_model import Model, unknown_name
from mlprune.vocabulary import AspectName

MOST_ITEMS = 1_000_000_000
"""Largest limit of items, far above the items of any task: a larger number is a mistake."""
MAX_NAME_CHARACTERS = 200
DENSE_LABEL: Final = "dense"
SEED_BITS = 63
"""Bits of a seed: the catalog stores seeds as signed integers of 64 bits."""
AnyModel = TypeVar("AnyModel", bound=Model)
IMPORT_KEY = "import"
MEANING = (
    "Import the model into the model cache before it is used, once, as `mlprune import` does; needs --allow-import on "
    "the command line. Ids do not depend on it."
)


def _check_name(name: str) -> str:
    """Refuse names that cannot be shown in a line or that mean something else."""
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a name has at most {MAX_NAME_CHARACTERS} characters, and this one has {len(name)}")
    control = [character for character in name if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    if control or not name.strip():
        raise ValueError(f"a name is one line of visible characters, got {name[:40]!r}")
    return name


Name = Annotated[str, Field(min_length=1), AfterValidator(_check_name)]


def _check_not_dense(name: str) -> str:
    """Refuse the label of the dense model, which every recipe evaluates."""
    if name == DENSE_LABEL:
        raise ValueError(f"{DENSE_LABEL!r} is the label of the model that is not pruned: choose another name")
    return name


EntryName = Annotated[Name, AfterValidator(_check_not_dense)]
"""Name of an entry that makes variants."""


def _check_recipe_name(name: str) -> str:
    """Refuse separators of paths: `recipe/name` is a name of a variant, and files may be named after a recipe."""
    if set(name) & set("/\\") or name in (".", ".."):
        raise ValueError(f"the name of a recipe is not a path: write it without / and \\, got {name[:40]!r}")
    return name


RecipeName = Annotated[Name, AfterValidator(_check_recipe_name)]


class ChatConfig(Model):
    """The chat that texts become, in the model's own chat template. `chat: true` is a chat without a system text."""

    system: Annotated[str, Field(pattern=r"\S", title="text")] | None = None
    """System text before the first turn (none)."""


def _as_chat(value: object) -> object:
    """Return a mapping for true, and None for false.

    Raises:
        ValueError: the value is something else than a truth value or a mapping.
    """
    if isinstance(value, bool):
        return {} if value else None
    if value is not None and not isinstance(value, dict | ChatConfig):
        raise ValueError(f"expected true, false or a mapping with the key system, got {value!r}")
    return value


ChatKey = Annotated[ChatConfig | None, BeforeValidator(_as_chat)]
"""Type of the key `chat`."""


class AgainstConfig(Model):
    """An entry to compare with. `against: mono` is short for `against: {name: mono}`."""

    name: str
    """Name of the entry."""
    ignore: tuple[AspectName, ...] = ()
    """Aspects in which the compared variants may differ; `language` and `seed` are those of their demonstrations."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        return value if isinstance(value, dict | cls) else {"name": value}


class NamedEntry(Protocol):
    """An entry that makes variants."""

    @property
    def name(self) -> str | None:
        """Its name."""

    @property
    def against(self) -> tuple[AgainstConfig, ...]:
        """Other entries to compare with."""


def names_of(entries: Iterable[AgainstConfig]) -> list[str]:
    """Return the names of entries to compare with."""
    return [entry.name for entry in entries]


def _check_seed(value: int) -> int:
    """Refuse an integer that does not fit into a column of the catalog."""
    if not -(2**SEED_BITS) <= value < 2**SEED_BITS:
        raise ValueError(f"a seed is an integer from -2**{SEED_BITS} to 2**{SEED_BITS} - 1")
    return value


Seed = Annotated[int, AfterValidator(_check_seed)]


@dataclass(frozen=True)
class RegisteredName:
    """Validator of the names of a registry."""

    kind: str
    """The kind of name, for messages."""
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The names for the recipe reference."""
        return ", ".join(f"`{name}`" for name in self.names)

    def __call__(self, name: str) -> str:
        """Return the name.

        Raises:
            PydanticCustomError: it is not registered.
        """
        if name not in self.names:
            raise unknown_name(self.kind, name, self.names)
        return name


def with_import_key(name: str, base: type[AnyModel], *, meaning: str = MEANING) -> type[AnyModel]:
    """Return a model with the key in addition.

    Args:
        name: of the new model.
        meaning: description of the key.
    """
    field = (Annotated[bool, OfCapability("importing")], Field(default=False, description=meaning))
    options = {"__base__": base, "__module__": base.__module__, "__doc__": base.__doc__, IMPORT_KEY: field}
    model: type[AnyModel] = create_model(name, **options)  # type: ignore[call-overload]
    return model


def wants_import(config: Model) -> bool:
    """Whether an entry has the key `import` with the value true."""
    return bool(getattr(config, IMPORT_KEY, False))
