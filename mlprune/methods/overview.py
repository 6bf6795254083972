"""Overview of all methods as rows of plain values: built-in ones, those of files, and installed plug-ins."""

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace

from mlprune.errors import PluginError
from mlprune.methods.aggregations import AGGREGATIONS
from mlprune.methods.method import Method, Refiner, Schedule, Score, StatisticsName, Structure
from mlprune.methods.plugins import LOOKUPS, installed_plugins
from mlprune.methods.refiners import REFINERS
from mlprune.methods.schedules import SCHEDULES
from mlprune.methods.scores import SCORES
from mlprune.methods.structures import structure_of

BUILT_IN = "built-in"
NOT_LOADED = "not loaded"
STATISTICS_COSTS: Mapping[StatisticsName, str] = {
    "squares": "one number per input and demonstration",
    "sums": "two numbers per input and set",
    "products": "a Gram matrix per input and set: n * n / 2 numbers of 8 bytes",
    "gradients": "one number per weight and set",
    "routes": "six numbers per expert, demonstration and role of the tokens",
}
"""Statistics -> what is stored of them."""
KINDS = (*(lookup.kind for lookup in LOOKUPS), "aggregation")
COMBINATION_NOTES = (
    "A variant has one of each. Left out: the first structure, schedule uniform, no refiner. An aggregation is for "
    "several demonstration sets (over).",
    "Structure N:M has schedule uniform. removes: highest excludes refiners, permute, and scores that change weights.",
    f"schedules: {', '.join(SCHEDULES)}. refiners: {', '.join(REFINERS)}. aggregations: {', '.join(AGGREGATIONS)}.",
)
"""What holds for all scores."""


@dataclass(frozen=True)
class MethodRow:
    """One method; unknown values of a plug-in that is not loaded are None."""

    kind: str
    name: str
    source: str
    """`built-in`, or the distribution or file of a plug-in."""
    summary: str | None = None
    formula: str | None = None
    needs: str | None = None
    """Statistics of demonstrations."""
    cost: str | None = None
    parameters: str | None = None
    """Names with defaults."""
    structures: str | None = None
    """Of a score or refiner: the comparison groups it works with."""
    citation: str | None = None

    @property
    def values(self) -> tuple[str | None, ...]:
        """The values in the order of `COLUMNS`."""
        return astuple(self)


COLUMNS = tuple(field.name for field in fields(MethodRow))


def method_rows(*, loads: bool = False) -> Iterator[MethodRow]:
    """Yield the methods by kind: built-in ones, those of files, and installed plug-ins.

    Args:
        loads: whether installed plug-ins are imported; otherwise only their metadata is read. A plug-in that cannot be
            loaded has the reason as its summary.
    """
    for lookup in LOOKUPS:
        yield from (_row(lookup.kind, name, method, BUILT_IN) for name, method in lookup.built_in.items())
        yield from (_row(lookup.kind, name, method, source.label) for name, method, source in lookup.of_files())
        for plugin in installed_plugins(lookup.group):
            if not loads and plugin.name not in lookup.built_in:
                yield MethodRow(lookup.kind, plugin.name, plugin.label, NOT_LOADED)
                continue
            try:
                yield _row(lookup.kind, plugin.name, lookup.load(plugin), plugin.label)
            except PluginError as err:
                yield MethodRow(lookup.kind, plugin.name, plugin.label, f"refused: {err}")
    for name, method in AGGREGATIONS.items():
        yield _row("aggregation", name, method, BUILT_IN)


def _row(kind: str, name: str, method: Method, source: str) -> MethodRow:
    defaults = [f"{field.name}={field.default}" for field in fields(method.parameters)]
    row = MethodRow(
        kind,
        name,
        source,
        method.summary,
        cost=cost_words(method),
        parameters=", ".join(defaults) or None,
        citation=method.citation,
    )
    if isinstance(method, Score | Refiner | Schedule):
        row = replace(row, needs=", ".join(method.needs) or None)
    if isinstance(method, Score | Refiner):
        row = replace(row, formula=method.formula or None, structures=", ".join(method.structures))
    return row


def cost_words(method: Method) -> str:
    """Describe what a method costs in addition to one ordering of the weights of every layer."""
    if isinstance(method, Structure):
        return "one ordering for all sparsities" if method.masks_nest else "one ordering per sparsity"
    if isinstance(method, Schedule) and method.reads_losses:
        return "the evaluations of a sensitivity analysis"
    needs: tuple[StatisticsName, ...] = getattr(method, "needs", ())
    passes = ["a forward pass over the demonstrations"] if needs else []
    passes += ["a backward pass through every block"] if "gradients" in needs else []
    stored = [STATISTICS_COSTS[name] for name in needs]
    changed = (
        ["new weights, stored per variant"] if isinstance(method, Score | Refiner) and method.changes_weights else []
    )
    return "; ".join([*passes, *stored, *changed]) or "no statistics"


@dataclass(frozen=True)
class CombinationRow:
    """What goes with one score: the names of each registry, separated by commas, `all`, or `-` for none.

    Scores of weights without statistics have aggregations only `with a refiner`, which reads some.
    """

    score: str
    structures: str
    schedules: str
    refiners: str
    aggregations: str

    @property
    def values(self) -> tuple[str, ...]:
        """The values in the order of `COMBINATION_COLUMNS`."""
        return astuple(self)


COMBINATION_COLUMNS = tuple(field.name for field in fields(CombinationRow))


def combinations() -> Iterator[CombinationRow]:
    """Yield what goes with each built-in score."""
    for name, score in SCORES.items():
        structure = structure_of(score.structures[0])
        of_model = structure.of_model
        schedules = {one: not of_model and (bool(score.needs) or not SCHEDULES[one].needs) for one in SCHEDULES}
        refiners = {
            one: not score.changes_weights and bool({*score.structures} & {*refiner.structures})
            for one, refiner in REFINERS.items()
        }
        only = structure.aggregation or ("mean" if score.changes_weights else None)
        aggregations = {one: only in (None, one) for one in AGGREGATIONS}
        yield CombinationRow(
            name,
            ", ".join(score.structures),
            "uniform" if of_model else _names(schedules),
            _names(refiners),
            _names(aggregations) if score.needs else "-" if of_model else "with a refiner",
        )


def _names(allowed: Mapping[str, bool]) -> str:
    """Return the allowed names in few words."""
    names, others = ([name for name, is_in in allowed.items() if is_in is wanted] for wanted in (True, False))
    if not names:
        return "-"
    if not others:
        return "all"
    return f"all but {', '.join(others)}" if len(others) < len(names) else ", ".join(names)
