"""Schedule and scope of a variant: the distribution of its sparsity, and the blocks and layers that are pruned."""

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from mlprune.methods import SCHEDULES, GivenParameters, Parameters
from mlprune.methods.plugins import SCHEDULE_METHODS, PluginSource
from mlprune.recipe import options
from mlprune.recipe.base import EntryName
from mlprune.recipe.questions import asked_languages
from mlprune.strict_model import Model, as_pairs
from mlprune.vocabulary import SubLayerKind, UnitName

Sparsity = Annotated[float, Field(ge=0, lt=1, title="fraction")]
_SCHEDULE = options.MethodName(SCHEDULE_METHODS)
ScheduleName = Annotated[str, AfterValidator(_SCHEDULE), Field(title=_SCHEDULE.title)]
_GIVEN_KEYS = tuple(field.name for field in fields(GivenParameters))
"""Keys of schedule given."""
FROM_KEY = "from"
"""Key with the name of a sensitivity analysis or search; a Python keyword cannot be declared as a field."""
WITH_SOURCE = ("sensitivity", "search")
"""Schedules with the key `from`."""
LOSS_KEYS = ("by", "at", "task")
"""Keys of schedule sensitivity that are not its parameters: they choose the losses."""
MAX_BLOCKS = 10_000
"""Exclusive upper bound of block numbers in spans."""
_BLOCK_LAYER = re.compile(r"(?:0|[1-9]\d*)\.\S+")
_SUBLAYER = re.compile(rf"(?:(?:0|[1-9]\d*)\.)?(?:{'|'.join(get_args(SubLayerKind))})")
_SPAN = re.compile(r"(\d+)-(\d+)")


def _block_numbers(value: object) -> object:
    """Return blocks as numbers: `[0, "4-6"]` gives 0, 4, 5, 6."""
    blocks: list[object] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        span = _SPAN.fullmatch(str(item))
        if span and not int(span[1]) <= int(span[2]) < MAX_BLOCKS:
            raise ValueError(f"expected a span of blocks such as 4-7, the lower first, got {item!r}")
        blocks.extend(range(int(span[1]), int(span[2]) + 1) if span else [item])
    return tuple(blocks)


Blocks = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    BeforeValidator(_block_numbers),
    Field(title="list of block numbers, or spans such as `4-7`"),
]


def _group(text: str) -> str:
    return asked_languages(text).text


def _sublayer(name: str) -> str:
    if not _SUBLAYER.fullmatch(name):
        raise ValueError(f"expected attention or feed_forward, also with a block as in 3.attention, got {name!r}")
    return name


def _block_layer(name: str) -> str:
    if not _BLOCK_LAYER.fullmatch(name):
        raise ValueError(f"expected a block number and a layer such as 3.self_attn.q_proj, got {name!r}")
    return name


class ScheduleFields(Model):
    """Distribution of the sparsity over blocks and layers. `schedule: owl` is short for `schedule: {kind: owl}`."""

    kind: ScheduleName = "uniform"
    """`uniform`: the same share everywhere. `given`: other shares in named blocks and layers; the default with
    `blocks`, `layers` or `block_layers`. `owl`: less in blocks whose scores have many outliers (Yin et al.,
    arXiv:2310.05175). `dlp`: less in blocks whose scores are low (Chen et al., arXiv:2505.23807).
    `alpha_pruning`: less in blocks whose spectra have heavy tails (Lu et al., arXiv:2410.10912); it reads weights only.
    `sensitivity`: less in parts that cost more when only they are pruned; the default with `from`.
    `search`: the levels of the winner of the search that `from` names, once it has finished."""
    blocks: Annotated[
        tuple[tuple[Annotated[int, Field(ge=0)], Sparsity], ...],
        BeforeValidator(as_pairs),
        Field(title="mapping of block numbers to fractions"),
    ] = ()
    """given: sparsity of a block, in place of the entry's."""
    layers: Annotated[
        tuple[tuple[str, Sparsity], ...], BeforeValidator(as_pairs), Field(title="mapping of layers to fractions")
    ] = ()
    """given: sparsity of a layer, by its path inside a block, in all blocks that `blocks` does not name."""
    block_layers: Annotated[
        tuple[tuple[Annotated[str, AfterValidator(_block_layer)], Sparsity], ...],
        BeforeValidator(as_pairs),
        Field(title="mapping of a block and a layer, such as `3.self_attn.q_proj`, to fractions"),
    ] = ()
    """given: sparsity of a layer of one block; it takes precedence over `blocks` and `layers`."""
    by: UnitName | None = None
    """sensitivity: kind of the parts whose losses are read (the first one of the analysis)."""
    at: Annotated[float, Field(gt=0, lt=1, title="fraction")] | None = None
    """sensitivity: sparsity at which the losses were measured (the first one of the analysis)."""
    task: str | None = None
    """sensitivity: task in which the losses were measured (the first one of the analysis)."""
    group: Annotated[str, AfterValidator(_group)] = "outside_english"
    """sensitivity: languages whose loss counts, as in `languages` of a question."""
    parameters: options.PluginPairs = ()
    """Parameters of a schedule that is a plug-in."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and any(key in value for key in _GIVEN_KEYS):
            return {"kind": "given", **value}
        if isinstance(value, dict) and FROM_KEY in value:
            return {"kind": "sensitivity", **value}
        return value

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> "ScheduleFields":
        if (self.kind == "given") != any(getattr(self, key) for key in _GIVEN_KEYS):
            message = "schedule given takes blocks, layers or block_layers, and no other schedule takes them"
            raise ValueError(f"{message}, got schedule {self.kind}")
        if (self.kind in WITH_SOURCE) != (self.source is not None):
            message = f"schedules sensitivity and search need from, and no other schedule takes it, got {self.kind}"
            raise ValueError(message)
        options.refuse_keys_of_others(self, "schedule", dict.fromkeys(LOSS_KEYS, ("sensitivity",)), self.kind)
        options.check_owners(self, "schedule", SCHEDULES, self.kind)
        options.check_parameters(self, {self.kind: SCHEDULE_METHODS.find(self.kind)})
        return self

    @property
    def source(self) -> str | None:
        """Name of the sensitivity analysis or the search that the schedule reads."""
        source: str | None = getattr(self, FROM_KEY, None)
        return source

    @property
    def method_parameters(self) -> Parameters:
        """The parameters of the schedule."""
        return options.method_parameters(self, SCHEDULE_METHODS, self.kind)

    @property
    def reads_statistics(self) -> bool:
        """Whether the schedule reads statistics of demonstrations."""
        return bool(SCHEDULE_METHODS.find(self.kind)[0].needs)

    @property
    def plugin(self) -> PluginSource | None:
        """Where the schedule comes from; None if it is built in."""
        return SCHEDULE_METHODS.find(self.kind)[1]


if TYPE_CHECKING:

    class ScheduleConfig(ScheduleFields):
        """`ScheduleFields` with a key for every parameter of a schedule."""

else:
    _MEANING = (
        "sensitivity: name of the sensitivity analysis whose losses are read. search: name of the search whose winner "
        "has the levels."
    )
    _SOURCE = {FROM_KEY: (EntryName | None, Field(default=None, description=_MEANING))}
    _WITH_SOURCE = create_model("ScheduleFields", __base__=ScheduleFields, __module__=__name__, **_SOURCE)
    _WITH_SOURCE.__doc__ = ScheduleFields.__doc__
    ScheduleConfig = options.with_options("ScheduleConfig", _WITH_SOURCE, schedule=SCHEDULES)


class ScopeConfig(Model):
    """Blocks, layers and sub-layers that are pruned; the others are not changed."""

    blocks: Blocks = ()
    """Only these blocks (all)."""
    layers: tuple[str, ...] = ()
    """Only these layers, by their path inside a block (all)."""
    without_blocks: Blocks = ()
    """Not these blocks."""
    without_layers: tuple[str, ...] = ()
    """Not these layers."""
    sublayers: tuple[Annotated[str, AfterValidator(_sublayer)], ...] = ()
    """structure sublayers: only `attention` or `feed_forward`, of all blocks or of one, as in `3.attention` (all)."""
