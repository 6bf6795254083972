"""Objectives and constraints: measures, and expressions that are evaluated on arrays."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlprune.languages import ENGLISH, language_tag, pair_languages
from mlprune.vocabulary import METRIC_TRAITS, GroupKind

RANK_CONSISTENCY = "rank_consistency"
METRIC_NAMES = (*METRIC_TRAITS, RANK_CONSISTENCY)
WHOLE_GROUPS: Sequence[GroupKind] = ("outside_english", "all", "worst")
"""Groups that need no name."""
EXPECTED_GROUPS = "outside_english, all, worst, english, a language, a pair, script:Latn or class:2"
_SCRIPT = re.compile(r"script:([A-Z][a-z]{3})")
_CLASS = re.compile(r"(?:resource_)?class:([0-5])")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_REGION = re.compile(r"[a-z]{2,3}[-_][A-Z]{2}")
Array: TypeAlias = NDArray[np.float64]
TOLERANCE = 1e-12
"""A constraint that is missed by at most this much is met: the difference is rounding."""
N_ARGUMENTS: Mapping[str, int] = {"min": 2, "max": 2, "log": 1}
"""Arguments of each function."""


@dataclass(frozen=True)
class Group:
    """Languages, or pairs of languages, that are taken together."""

    kind: GroupKind
    name: str = ""
    """The language, pair, script or resource class; empty for the other kinds."""

    def __str__(self) -> str:
        if self.kind == "language":
            return "english" if self.name == ENGLISH else self.name
        return f"{self.kind.removeprefix('resource_')}:{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Measure:
    """A metric of a task over a group. Parts that the objective omits are None: the caller knows the defaults.

    `worst` is the language with the lowest value, or the highest one of a metric for which lower is better. Other
    groups are unweighted means over their languages.
    """

    task: str | None
    metric: str | None
    group: Group

    def __str__(self) -> str:
        metric = f"{self.task}.{self.metric}" if self.task else self.metric
        return f"{metric}({self.group})" if metric else str(self.group)


Lookup: TypeAlias = Callable[[Measure | Literal["kept"]], Array]
"""Values of a measure, or the share of weights that are kept; arrays of one shape, or that broadcast to one."""


def parse_group(text: str) -> Group | None:
    """Return the group of a name such as `worst`, `fr`, `fr-en`, `script:Latn` or `class:2`; None if it is not one."""
    if text == "english":
        return Group("language", ENGLISH)
    for kind in WHOLE_GROUPS:
        if text == kind:
            return Group(kind)
    if match := _SCRIPT.fullmatch(text):
        return Group("script", match[1])
    if match := _CLASS.fullmatch(text):
        return Group("resource_class", match[1])
    if not _REGION.fullmatch(text):
        try:
            return Group("language", "-".join(pair_languages(text)))
        except ValueError:
            pass
    return Group("language", language_tag(text)) if _LANGUAGE.fullmatch(text) else None


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Share:
    """Share of weights of the pruned layers that are kept, or removed (`sparsity`)."""

    name: Literal["kept", "sparsity"]


@dataclass(frozen=True)
class Dense:
    """The value of the left side of a constraint for the dense model."""


@dataclass(frozen=True)
class Operation:
    """An operator or function of other nodes."""

    name: str
    """A key of `OPERATIONS`."""
    arguments: tuple["Node", ...]


Node: TypeAlias = Number | Share | Dense | Measure | Operation


@dataclass(frozen=True)
class OperationTraits:
    """Computation of an operation and its place in a text."""

    compute: Callable[..., Array]
    """Elementwise, of two arguments; of one for `log` and `negative`."""
    precedence: int
    """Operators with a higher one bind more tightly; functions have the highest."""
    symbol: str = ""
    """Of an operator; empty for a function."""


def _log(values: Array) -> Array:
    """Natural logarithm; minus infinity for 0, not a number below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values), dtype=np.float64)


OPERATIONS: Mapping[str, OperationTraits] = {
    "add": OperationTraits(np.add, 1, "+"),
    "subtract": OperationTraits(np.subtract, 1, "-"),
    "multiply": OperationTraits(np.multiply, 2, "*"),
    "negative": OperationTraits(np.negative, 3, "-"),
    "min": OperationTraits(np.minimum, 4),
    "max": OperationTraits(np.maximum, 4),
    "log": OperationTraits(_log, 4),
}


@dataclass(frozen=True)
class Expression:
    """A number that is computed from measures and the share of weights kept."""

    root: Node

    def __str__(self) -> str:
        """Canonical text: equal for texts that differ in spaces, parentheses without effect and forms of a number."""
        return _text(self.root)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures in the order of the text, each once."""
        return tuple(dict.fromkeys(node for node in _nodes(self.root) if isinstance(node, Measure)))

    @property
    def reads_kept(self) -> bool:
        """Whether it depends on the share of weights kept."""
        return any(isinstance(node, Share) for node in _nodes(self.root))

    @property
    def reads_dense(self) -> bool:
        """Whether it has the word `dense`."""
        return any(isinstance(node, Dense) for node in _nodes(self.root))

    def value(self, lookup: Lookup, *, dense: Array | None = None) -> Array:
        """Compute the expression elementwise.

        Args:
            lookup: values of each measure and of `kept`.
            dense: value of the word `dense`, if the expression has it.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return _value(self.root, lookup, dense)


@dataclass(frozen=True)
class Constraint:
    """A bound on a number."""

    left: Expression
    relation: Literal[">=", "<="]
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of both sides, each once."""
        return tuple(dict.fromkeys((*self.left.measures, *self.right.measures)))

    def violation(self, lookup: Lookup, *, dense: Lookup) -> Array:
        """Return by how much the constraint is missed, elementwise: 0 where it is met.

        An amount of at most 1e-12 is rounding and counts as 0; a side that is not a number gives infinity.

        Args:
            lookup: values of the trial.
            dense: values of the dense model.
        """
        left = self.left.value(lookup)
        right = self.right.value(lookup, dense=self.left.value(dense))
        with np.errstate(invalid="ignore"):
            missing = right - left if self.relation == ">=" else left - right
        missing = np.where(left == right, 0.0, np.where(np.isnan(missing), np.inf, missing))
        return np.asarray(np.where(missing <= TOLERANCE, 0.0, missing), dtype=np.float64)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Operation):
        for argument in node.arguments:
            yield from _nodes(argument)


def _value(node: Node, lookup: Lookup, dense: Array | None) -> Array:
    match node:
        case Number(value):
            return np.asarray(value, dtype=np.float64)
        case Share(name):
            kept = np.asarray(lookup("kept"), dtype=np.float64)
            return kept if name == "kept" else np.asarray(1 - kept)
        case Dense():
            assert dense is not None
            return np.asarray(dense, dtype=np.float64)
        case Measure():
            return np.asarray(lookup(node), dtype=np.float64)
        case Operation(name, arguments):
            return np.asarray(OPERATIONS[name].compute(*(_value(argument, lookup, dense) for argument in arguments)))


def _text(node: Node) -> str:
    match node:
        case Number(value):
            return repr(int(value)) if value.is_integer() and value < 1e15 else repr(value)
        case Share(name):
            return name
        case Dense():
            return "dense"
        case Measure():
            return str(node)
        case Operation(name, arguments):
            return _operation_text(OPERATIONS[name], name, arguments)


def _operation_text(traits: OperationTraits, name: str, arguments: tuple[Node, ...]) -> str:
    if not traits.symbol:
        return f"{name}({', '.join(_text(argument) for argument in arguments)})"
    if len(arguments) == 1:
        return f"-{_in_parentheses(arguments[0], traits.precedence)}"
    left, right = arguments
    return f"{_in_parentheses(left, traits.precedence)} {traits.symbol} {_in_parentheses(right, traits.precedence + 1)}"


def _in_parentheses(node: Node, least: int) -> str:
    """Return the text of an operand, in parentheses if it binds less tightly than its place needs."""
    precedence = OPERATIONS[node.name].precedence if isinstance(node, Operation) else 4
    return _text(node) if precedence >= least else f"({_text(node)})"
