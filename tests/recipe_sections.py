"""A valid entry of every kind of every section of a recipe, and the values that each of its keys accepts."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any

from pydantic import ValidationError

from mlprune.capabilities.baselines.keys import ALLOWED, NEEDED, BaselineConfig
from mlprune.capabilities.neurons.keys import NeuronsConfig
from mlprune.capabilities.quantisation.keys import QuantiseConfig
from mlprune.capabilities.reconstruction.keys import ReconstructConfig
from mlprune.capabilities.recovery.keys import RecoverConfig
from mlprune.capabilities.search.keys import BudgetConfig, SearchConfig, SearchMethodConfig
from mlprune.capabilities.search.points import LevelsConfig
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.capabilities.sensitivity.keys import SensitivityConfig
from mlprune.capabilities.vocabulary.keys import KeepConfig
from mlprune.descriptions import AnswerRule, ConstantAnswer, HubSet, TemplateTask
from mlprune.methods import AGGREGATIONS, REFINERS, SCHEDULES, SCORES, STRUCTURES, Method
from mlprune.recipe.analyses import (
    AnalysesConfig,
    LayerErrorsConfig,
)
from mlprune.recipe.base import AgainstConfig, ChatConfig
from mlprune.recipe.demonstrations import KINDS_OF_SETS, ActivationsConfig, DemonstrationConfig
from mlprune.recipe.evaluations import KEYS_OF_TASKS, EvaluationConfig
from mlprune.recipe.models import KEYS_OF_CORPORA, BaseModelConfig, ComputeConfig, CorpusConfig, Recipe
from mlprune.recipe.questions import QuestionConfig
from mlprune.recipe.schedule_and_scope import FROM_KEY, LOSS_KEYS, WITH_SOURCE, ScheduleConfig, ScopeConfig
from mlprune.recipe.variant_checks import KEYS_WITHOUT_SCORE, WITH_ANY_KIND
from mlprune.recipe.variants import VariantConfig
from mlprune.strict_model import Model
from mlprune.vocabulary import TASK_TRAITS
from tests.search_recipes import BASE, SEARCH

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
    "draw": "published",
    "chat": {"system": "Translate."},
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
    "keep": {"languages": ["fr"]},
    "adopt": "models/pruned",
    "translations": {"xnli": "translated"},
    "system": "nllb",
    "reconstruct": {"demonstrations": "mt", "biases": True},
    "recover": {"demonstrations": "mt", "rank": 2},
    "quantise": {"demonstrations": "mt", "bits": 3},
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
OF_WHOLE_ENTRIES = {kind: keys | WITH_ANY_KIND for kind, keys in KEYS_WITHOUT_SCORE.items()}
OF_SCORES: Mapping[str, Mapping[str, object]] = {
    "given": {"scope": {"blocks": [0]}},
    "contrast": {**ENTRY_KEYS, "structure": "experts"},
}
OF_MODEL = {
    "units": "flap",
    "blocks": "random",
    "sublayers": "random",
    "experts": "frequency",
    "all_experts": "frequency",
}
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
            "vocabulary": {"structure": "vocabulary", "keep": VALUES["keep"]},
            "adopted": {"adopt": VALUES["adopt"]},
            "combination": {"combine": "union", "of": ["a", "b"]},
            "dense": {"sparsity": 0},
        },
        common=(),
        values={"shares": [1, 2], "sparsity": 0.25},
        choosing=("score", "neurons", "adopt", "keep", "combine", "of"),
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
        common=(
            "task",
            "path",
            "split",
            "split_by",
            "aligned",
            "limit",
            "longer",
            "distance",
            "seed",
            "profile",
            "variants",
            "chat",
        ),
        values={"languages": ["fr"], "pairs": ["fr-en"], "shots_split": "train"},
    ),
    "kept tokens": Section(
        KeepConfig,
        "score",
        {"seed": ["random"]},
        {score: {"languages": "fr"} for score in ("frequency", "translation_sets", "random")},
        common=("languages", "corpus", "demonstrations", "score", "at_least", "share", "size"),
    ),
    "neurons": Section(
        NeuronsConfig,
        "action",
        {"seed": ["random"]},
        {action: {"of": "fr", "sets": "mono"} for action in ("remove", "only", "random")},
        common=("of", "sets", "action", "share", "quantile"),
    ),
}


def value_of(section: Section, key: str) -> Any:
    """A value of a key: its default, or that of the first method if methods differ."""
    known = {**VALUES, **section.values}
    default = section.model.model_fields[key].default
    if key in known or default is not None:
        return known.get(key, default)
    methods = [method for registry in (SCHEDULES, SCORES, REFINERS, SEARCH_METHODS) for method in registry.values()]
    return next(one.default for method in methods for one in fields(method.parameters) if one.name == key)


PLAIN: Mapping[type[Model], Mapping[str, Any]] = {
    Recipe: {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}},
    BaseModelConfig: {"path": "m"},
    ActivationsConfig: {"quota_gib": 1},
    ScopeConfig: {},
    ReconstructConfig: {},
    RecoverConfig: {},
    QuantiseConfig: {},
    ConstantAnswer: {"constant": 0},
    TemplateTask: {"name": "mood", "template": "{text} {candidate}", "answer": "label", "labels": ["bad", "good"]},
    AnswerRule: {},
    HubSet: {"name": "some/nli", "files": "{config}/{split}-*.parquet"},
    QuestionConfig: {"name": "q", "variants": "wanda", "task": "facts", "languages": "all"},
    AgainstConfig: {"name": "x"},
    ChatConfig: {},
    SearchConfig: SEARCH,
    LevelsConfig: {"values": [0.25, 0.5, 0.75], "total": 0.5},
    BudgetConfig: {"variants": 6},
    SensitivityConfig: {"name": "where", "base": BASE, "sparsity": 0.5},
    AnalysesConfig: {},
    LayerErrorsConfig: {"demonstrations": ["mt"]},
    ComputeConfig: {},
}
"""Models whose entries have no kinds -> a valid entry."""
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -(2**63) - 1, -1, 0, 1, 1.0, 3, 50, 5001, 2**63, 0.25, 0.5, 1.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "0.5", "4:2", "two\nlines", "0-99999999999", "9" * 400 + ":1", b"bytes"),
    *([], [[]], [None], [{}], [-1], [1], [0.5], ["x"], ["x", "x"], {}, {"x": 1}, {1: {2: 3}}, {0: 0.5}, {0: 1.0}),
    *("02:04", "cluster", [1, 0], [1, -1], [-1, 2], ["e"], [[0, 1]], {-1: 0.5}, {"a": 0.5}, {"fc1": "much"}, {3: 0.5}),
    date(2024, 1, 1),
)


def valid_entries() -> Iterator[tuple[str, type[Model], dict[str, Any]]]:
    """Section and kind, model, and a valid entry."""
    for name, section in SECTIONS.items():
        for kind in section.bases:
            yield f"{name} {kind}", section.model, section.entry(kind)
    for model, entry in PLAIN.items():
        yield model.__name__, model, dict(entry)


def refusal(model: type[Model], entry: Mapping[str, Any]) -> ValidationError | None:
    """The error of an entry; None if it is valid. Other exceptions are not caught."""
    try:
        model.model_validate(entry)
    except ValidationError as err:
        return err
    return None


def accepted_values(
    model: type[Model], entry: Mapping[str, Any], errors: list[tuple[str, ValidationError]] | None = None
) -> dict[str, list[str]]:
    """Key of a model -> which of the odd values it accepts, as text; `errors` receives those of the other values."""
    accepted: dict[str, list[str]] = {}
    for key, value in itertools.product(model.model_fields, ODD_VALUES):
        err = refusal(model, {**entry, key: value})
        accepted.setdefault(key, [])
        if err is None:
            accepted[key].append(repr(value)[:40])
        elif errors is not None:
            errors.append((key, err))
    return accepted
