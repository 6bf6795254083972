"""Recipe keys of the parameters of methods."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.methods import (
    AGGREGATIONS,
    NO_PARAMETERS,
    REFINERS,
    SCHEDULES,
    SCORES,
    STRUCTURES,
    Method,
    Parameters,
    parameter,
)
from mlprune.recipe import BaselineConfig, DemonstrationConfig, EvaluationConfig, VariantConfig
from mlprune.recipe.analyses import ALLOWED, NEEDED, NeuronsConfig
from mlprune.recipe.demonstrations import KINDS_OF_SETS
from mlprune.recipe.evaluations import KEYS_OF_TASKS
from mlprune.recipe.models import KEYS_OF_CORPORA, CorpusConfig
from mlprune.recipe.options import check_owners, chosen_parameters, with_options
from mlprune.recipe.schedule_and_scope import FROM_KEY, LOSS_KEYS, WITH_SOURCE, ScheduleConfig
from mlprune.recipe.searches.search import SearchMethodConfig
from mlprune.recipe.variants import KEYS_WITHOUT_SCORE, WITH_ANY_KIND
from mlprune.search.registry import SEARCH_METHODS
from mlprune.strict_model import Model
from mlprune.vocabulary import TASK_TRAITS


@dataclass(frozen=True)
class PowerParameters(Parameters):
    """Parameters of the first method."""

    power: float = parameter(0.5, "exponent", above=0)
    seed: int = parameter(0, "seed", ignored_by_others=True)


@dataclass(frozen=True)
class OtherPowerParameters(Parameters):
    """Parameters of the second method."""

    power: float = parameter(2.0, "another exponent")


METHODS = {
    "first": Method("first", parameters=PowerParameters),
    "second": Method("second", parameters=OtherPowerParameters),
    "plain": Method("without parameters"),
}


class Entry(Model):
    """An entry of a recipe."""

    method: str = "plain"
    """The chosen method."""


ENTRY = with_options("Entry", Entry, method=METHODS)


def test_every_parameter_is_a_key_with_a_sentence_per_method() -> None:
    assert list(ENTRY.model_fields) == ["method", "power", "seed"]
    assert ENTRY.model_fields["power"].description == "first: exponent (0.5). second: another exponent (2.0)."
    assert ENTRY.model_fields["seed"].description == "first: seed (0); others ignore it."
    assert (ENTRY.model_fields["power"].default, ENTRY.model_fields["seed"].default) == (None, 0)


def test_absent_keys_have_the_defaults_of_the_chosen_method() -> None:
    given = ENTRY.model_validate({"method": "first", "power": 0.7})
    assert chosen_parameters(given, METHODS["first"]) == PowerParameters(0.7)
    assert chosen_parameters(ENTRY(), METHODS["second"]) == OtherPowerParameters(2.0)
    assert chosen_parameters(given, METHODS["plain"]) == NO_PARAMETERS


def test_keys_of_another_method_are_refused_unless_they_are_ignored() -> None:
    check_owners(ENTRY.model_validate({"seed": 3}), "method", METHODS, "plain")
    check_owners(ENTRY.model_validate({"power": None}), "method", METHODS, "plain")
    with pytest.raises(ValueError, match="power does not apply to method plain, only to first or second"):
        check_owners(ENTRY.model_validate({"power": 1.0}), "method", METHODS, "plain")


def test_unknown_keys_and_values_out_of_range_are_refused() -> None:
    for wrong in ({"powr": 1.0}, {"seed": 2**63}, {"power": "much"}):
        with pytest.raises(ValidationError):
            ENTRY.model_validate(wrong)


def test_a_field_without_parameter_is_refused() -> None:
    @dataclass(frozen=True)
    class Bare(Parameters):
        power: float = 0.5

    with pytest.raises(TypeError, match=r"the field power of Bare is not a parameter: declare it with parameter\(\)"):
        with_options("Entry", Entry, method={"bare": Method("bare", parameters=Bare)})


Owners = Mapping[str, Collection[str]]
"""Key -> the kinds that have it."""
VALUES: Mapping[str, Any] = {
    "blocks": {0: 0.25},
    "layers": {"fc1": 0.25},
    "block_layers": {"0.fc1": 0.25},
    FROM_KEY: "where",
    "by": "block",
    "at": 0.5,
    "task": "facts",
    "group": "all",
    "path": "x",
    "split": "dev",
    "lines": 10,
    "seed": 1,
    "source": "fr",
    "target": "en",
    "pair": "fr-en",
    "language": "fr",
    "parts": ["mt"],
    "shots": 1,
    "template": "{text}",
    "token_budget": 9,
    "activations": {"quota_gib": 1},
    "shares": "equal",
    "paired": False,
    "prompt": "x",
    "temperature": 0.5,
    "max_tokens": 16,
    "demonstrations": "mt",
    "revision": "v1",
    "limit": 3,
    "dtype": "float32",
    "import": True,
    "max_new_tokens": 4,
    "rule": "pmi",
    "prompt_language": "native",
    "shots_from": "x",
    "shot_seed": 1,
    "contrast": "code",
    "permute": True,
    "score": "wanda",
    "refine": "dsnot",
    "parameters": {"a": 1},
    "over": ["mt", "mono"],
    "aggregate": "mean",
    "tokens": "all",
    "samples": 4,
    "resample": 1,
    "sparsity": 0.25,
    "structure": "row",
    "removes": "lowest",
    "propagation": "dense",
    "schedule": "owl",
    "scope": {"blocks": [0]},
    "profile": "corrected",
    "combine": "union",
    "of": ["a", "b"],
    "neurons": {"of": "fr", "sets": "mono"},
}
"""A value of every key that is not a parameter of a method."""
ENTRY_KEYS = {"sparsity": 0.25, "demonstrations": "mt", "propagation": "dense"}


@dataclass(frozen=True)
class Section:
    """A section of a recipe whose entries have kinds."""

    model: type[Model]
    kind_key: str
    owners: Owners
    bases: Mapping[str, Mapping[str, Any]]
    """Kind -> a valid entry of it, without the key of the kind."""
    common: Collection[str] | None = None
    """The other keys, which all kinds have; None if they are checked elsewhere."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values of this section only."""
    choosing: Collection[str] = ()
    """Keys that make an entry one of another kind."""

    def entry(self, kind: str) -> dict[str, Any]:
        """A valid entry of a kind."""
        chosen = {self.kind_key: kind} if self.kind_key in self.model.model_fields else {}
        return {**self.bases[kind], **chosen}


def of_registry(registry: Mapping[str, Method]) -> Owners:
    """The keys of the parameters of methods; those that other methods ignore, as documented, are left out."""
    owners: dict[str, list[str]] = {}
    for name, method in registry.items():
        for one in fields(method.parameters):
            if not one.metadata.get("ignored_by_others"):
                owners.setdefault(one.name, []).append(name)
    return owners


def turned(keys_of_kinds: Mapping[str, Collection[str]]) -> Owners:
    """Key -> kinds, from kind -> keys."""
    keys = sorted({key for of_kind in keys_of_kinds.values() for key in of_kind})
    return {key: [kind for kind, of_kind in keys_of_kinds.items() if key in of_kind] for key in keys}


SOURCES = {kind: {FROM_KEY: "where"} for kind in WITH_SOURCE}
KEYS_OF_SETS = {name: kind.needs | kind.may_take | kind.options for name, kind in KINDS_OF_SETS.items()}
SETS = {name: kind.needs for name, kind in KINDS_OF_SETS.items()}
OF_SCORES: Mapping[str, Mapping[str, object]] = {"given": {"scope": {"blocks": [0]}}}
OF_MODEL = {"units": "flap", "blocks": "random"}
OF_WHOLE_ENTRIES = {kind: keys | WITH_ANY_KIND for kind, keys in KEYS_WITHOUT_SCORE.items()}
SECTIONS: Mapping[str, Section] = {
    "schedules": Section(
        ScheduleConfig,
        "kind",
        {**of_registry(SCHEDULES), **dict.fromkeys(LOSS_KEYS, ("sensitivity",)), FROM_KEY: WITH_SOURCE},
        {kind: {"given": {"blocks": {0: 0.5}}, **SOURCES}.get(kind, {}) for kind in SCHEDULES},
        common=("kind", "parameters"),
    ),
    "scores": Section(
        VariantConfig,
        "score",
        {**of_registry(SCORES), "contrast": [name for name, score in SCORES.items() if score.has_contrast]},
        {
            name: {**OF_SCORES.get(name, ENTRY_KEYS), **({"contrast": "code"} if score.has_contrast else {})}
            for name, score in SCORES.items()
        },
    ),
    "structures": Section(
        VariantConfig,
        "structure",
        {"permute": ["2:4"]},
        {name: {"score": OF_MODEL.get(name, "wanda"), **ENTRY_KEYS} for name in STRUCTURES if name != "N:M"},
    ),
    "refiners": Section(
        VariantConfig, "refine", of_registry(REFINERS), {name: {"score": "wanda", **ENTRY_KEYS} for name in REFINERS}
    ),
    "aggregations": Section(
        VariantConfig,
        "aggregate",
        {**of_registry(AGGREGATIONS), "shares": [name for name, one in AGGREGATIONS.items() if one.takes_shares]},
        {name: {"score": "wanda", "sparsity": 0.5, "over": ["mt", "mono"]} for name in AGGREGATIONS},
        values={"shares": [1, 2]},
    ),
    "entries without a score": Section(
        VariantConfig,
        "",
        {key: [kind for kind, keys in OF_WHOLE_ENTRIES.items() if key in keys] for key in VariantConfig.model_fields},
        {
            "neurons": {"neurons": VALUES["neurons"]},
            "combination": {"combine": "union", "of": ["a", "b"]},
            "dense": {"sparsity": 0},
        },
        common=(),
        values={"shares": [1, 2], "sparsity": 0.25},
        choosing=("score", "neurons", "combine", "of"),
    ),
    "search methods": Section(
        SearchMethodConfig, "kind", of_registry(SEARCH_METHODS), {name: {} for name in SEARCH_METHODS}, common=("kind",)
    ),
    "corpora": Section(
        CorpusConfig,
        "kind",
        KEYS_OF_CORPORA,
        {"parallel_text": {"path": "x"}, "cldr": {}},
        common=("kind", "leave_out_evaluated"),
    ),
    "demonstrations": Section(
        DemonstrationConfig,
        "kind",
        turned(KEYS_OF_SETS),
        {kind: {"name": "set", **{key: VALUES[key] for key in sorted(keys)}} for kind, keys in SETS.items()},
        common=("name", "kind", "samples", "seed"),
    ),
    "baselines": Section(
        BaselineConfig,
        "kind",
        turned({kind: NEEDED[kind] | ALLOWED[kind] for kind in NEEDED}),
        {kind: {key: VALUES[key] for key in sorted(keys)} for kind, keys in NEEDED.items()},
        common=("name", "kind", "against"),
        values={"layers": "search"},
    ),
    "tasks": Section(
        EvaluationConfig,
        "task",
        {
            **KEYS_OF_TASKS,
            "languages": [*(task for task in TASK_TRAITS if task != "translation")],
            "pairs": ["translation"],
        },
        {
            task: {"path": "x", **({"pairs": ["fr-en"]} if task == "translation" else {"languages": ["fr"]})}
            for task in TASK_TRAITS
        },
        common=("task", "path", "split", "split_by", "limit", "longer", "seed", "profile", "variants"),
        values={"languages": ["fr"], "pairs": ["fr-en"]},
    ),
    "neurons": Section(
        NeuronsConfig,
        "action",
        {"seed": ["random"]},
        {action: {"of": "fr", "sets": "mono"} for action in ("remove", "only", "random")},
        common=("of", "sets", "action", "share", "quantile"),
    ),
}


def foreign_keys() -> Iterator[tuple[str, str, str]]:
    """Section, kind, and a key that only other kinds have."""
    for name, section in SECTIONS.items():
        for kind in section.bases:
            for key, kinds in section.owners.items():
                if kind not in kinds and key not in {*section.entry(kind), *section.choosing}:
                    yield name, kind, key


def value_of(section: Section, key: str) -> Any:
    """A value of a key: its default, or that of the first method if methods differ."""
    known = {**VALUES, **section.values}
    default = section.model.model_fields[key].default
    if key in known or default is not None:
        return known.get(key, default)
    methods = [method for registry in (SCHEDULES, SCORES, REFINERS, SEARCH_METHODS) for method in registry.values()]
    return next(one.default for method in methods for one in fields(method.parameters) if one.name == key)


@pytest.mark.parametrize("name", SECTIONS)
def test_entries_of_every_kind_are_valid_and_every_key_belongs_to_kinds(name: str) -> None:
    section = SECTIONS[name]
    for kind in section.bases:
        section.model.model_validate(section.entry(kind))
    if section.common is not None:
        assert set(section.model.model_fields) == {*section.owners, *section.common}


@pytest.mark.parametrize(("name", "kind", "key"), foreign_keys())
def test_a_key_of_another_kind_is_refused_with_the_key_and_the_kind(name: str, kind: str, key: str) -> None:
    section = SECTIONS[name]
    with pytest.raises(ValidationError) as caught:
        section.model.model_validate({**section.entry(kind), key: value_of(section, key)})
    text = str(caught.value.errors(include_url=False, include_input=False)[0]["msg"])
    assert key in text
    assert kind in text


def test_a_removed_score_is_refused_as_such() -> None:
    with pytest.raises(ValidationError) as caught:
        VariantConfig.model_validate({"score": "pruner_zero", "sparsity": 0.5})
    (error,) = caught.value.errors(include_url=False)
    assert error["ctx"]["context"]["name"] == "pruner_zero"
    assert error["ctx"]["context"]["next"]
