"""Names of tensors: from those of a published checkpoint to those of the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.importing.sources.weight_format import TensorSpec
from mlprune.models.checkpoint.weight_files import is_obsolete_buffer

MAX_LISTED = 5


@dataclass(frozen=True)
class ModelLayout:
    """What a model needs from its checkpoint."""

    parameters: Mapping[str, tuple[int, ...]]
    """Name -> shape."""
    buffers: tuple[str, ...]
    """Tensors that the model computes itself."""
    tied: Mapping[str, str]
    """Parameter -> parameter whose values it shares."""
    prefix: str
    """Start of names that some checkpoints omit, with its dot."""
    renamed: tuple[tuple[str, str], ...]
    """(name in the model, name in published checkpoints)."""


@dataclass(frozen=True)
class TensorPlan:
    """What happens to the tensors of a source."""

    written: tuple[tuple[str, TensorSpec], ...]
    """(name in the model, tensor of the source), in the order of the source."""
    dropped: tuple[str, ...]
    """Names of tensors of the source that the model does not read."""
    stored_twice: tuple[tuple[str, str], ...]
    """(parameter, parameter that it is tied to), if the source has values for both."""
    shared: Mapping[str, str]
    """Parameter that is not written -> the parameter that has its values."""

    def written_spec(self, name: str) -> TensorSpec:
        """Return the tensor of the source for a parameter that is written."""
        return dict(self.written)[name]

    def without(self, name: str, *, shares: str) -> "TensorPlan":
        """Return the plan in which a parameter is not written, because another one has its values."""
        written = tuple((other, spec) for other, spec in self.written if other != name)
        return replace(self, written=written, shared={**self.shared, name: shares})

    def renamed(self, layout: ModelLayout) -> dict[str, str]:
        """Return name in the source -> name in the file that is written, where they differ."""
        names = {spec.name: file_name(name, layout) for name, spec in self.written}
        return {stored: name for stored, name in names.items() if stored != name}


def plan_tensors(specs: Sequence[TensorSpec], layout: ModelLayout, *, where: Path) -> TensorPlan:
    """Assign the tensors of a source to the parameters of a model.

    Args:
        where: the source, for messages.
    Raises:
        ModelError: a tensor is unknown, missing, occurs twice, has the wrong shape or is not of a float type.
    """
    assigned, dropped = _assign(specs, layout, where)
    for name, spec in assigned.items():
        _check(name, spec, layout, where=where)
    plan = _with_ties(TensorPlan(tuple(assigned.items()), tuple(dropped), (), {}), layout)
    written = dict(plan.written)
    missing = [name for name in layout.parameters if name not in written and plan.shared.get(name) not in written]
    if missing:
        raise ModelError("the source lacks tensors of the model", path=str(where), **_listed(missing))
    return plan


def _with_ties(plan: TensorPlan, layout: ModelLayout) -> TensorPlan:
    """Write tied parameters once, under the name of the one that the others are tied to."""
    stored_twice = []
    for name, source in layout.tied.items():
        written = dict(plan.written)
        if name in written and source in written:
            if written[name].storage == written[source].storage:
                plan = plan.without(name, shares=source)
            else:
                stored_twice.append((name, source))
        elif name in written:
            renamed = tuple((source if other == name else other, spec) for other, spec in plan.written)
            plan = replace(plan, written=renamed, shared={**plan.shared, name: source})
        else:
            plan = replace(plan, shared={**plan.shared, name: source})
    return replace(plan, stored_twice=tuple(stored_twice))


def _assign(specs: Sequence[TensorSpec], layout: ModelLayout, where: Path) -> tuple[dict[str, TensorSpec], list[str]]:
    assigned: dict[str, TensorSpec] = {}
    dropped: list[str] = []
    unexpected: list[str] = []
    for spec in specs:
        name = model_name(spec.name, layout)
        if name is None:
            is_buffer = is_obsolete_buffer(spec.name) or _is_buffer(spec.name, layout)
            (dropped if is_buffer else unexpected).append(spec.name)
        elif name in assigned:
            message = "two tensors of the source are the same parameter of the model"
            raise ModelError(message, path=str(where), parameter=name, got=[assigned[name].name, spec.name])
        else:
            assigned[name] = spec
    if unexpected:
        raise ModelError("the source has tensors that the model does not have", path=str(where), **_listed(unexpected))
    return assigned, dropped


def model_name(stored: str, layout: ModelLayout) -> str | None:
    """Return the name of the parameter that a published name means; None if the model has no such parameter."""
    return next((name for name in _names(stored, layout) if name in layout.parameters), None)


def file_name(name: str, layout: ModelLayout) -> str:
    """Return the name under which a parameter is written: its own, unless all checkpoints of the family use another."""
    return dict(layout.renamed).get(name, name)


def _is_buffer(stored: str, layout: ModelLayout) -> bool:
    return any(name in layout.buffers for name in _names(stored, layout))


def _names(stored: str, layout: ModelLayout) -> Iterator[str]:
    """Yield the names that a published name can have in the model."""
    older = {published: current for current, published in layout.renamed}
    for name in (stored, layout.prefix + stored, stored.removeprefix(layout.prefix)):
        yield older.get(name, name)


def _check(name: str, spec: TensorSpec, layout: ModelLayout, *, where: Path) -> None:
    if spec.shape != layout.parameters[name]:
        context = {"path": str(where / spec.file), "tensor": spec.name}
        expected = layout.parameters[name]
        raise ModelError("a tensor does not fit the config", context, expected=expected, got=spec.shape)
    if not spec.dtype.is_floating_point or spec.dtype.itemsize == 1:
        context = {"path": str(where / spec.file), "tensor": spec.name}
        message = "a weight is quantised or an integer; import the original model"
        raise ModelError(message, context, expected="float16, bfloat16, float32 or float64", got=str(spec.dtype))


def _listed(names: Sequence[str]) -> dict[str, object]:
    return {"tensors": list(names[:MAX_LISTED]), "n_tensors": len(names)}
