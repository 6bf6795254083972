"""Names of tensors: from those of a published checkpoint to those of the model.

The tensors of the text part of a multimodal checkpoint have other names than those of the same model alone: the names
of the base model follow a prefix, such as `language_model.model.` or `model.language_model.`, and the head is above the
base model or next to it. The prefix is the one under which the shapes of the model are found.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mlprune.capabilities.importing.sources.weight_format import TensorSpec
from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import is_obsolete_buffer

MAX_LISTED = 5

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelLayout:
    """What a model needs from its checkpoint."""

    parameters: Mapping[str, Shape | None]
    """Name -> shape; None for a tensor of which only the shape of several together is known."""
    buffers: tuple[str, ...]
    """Tensors that the model computes itself."""
    tied: Mapping[str, str]
    """Parameter -> parameter whose values it shares."""
    prefix: str
    """Start of names that some checkpoints omit, with its dot."""
    renamed: tuple[tuple[str, str], ...]
    """(name in the model, name in published checkpoints)."""
    is_part: bool = False
    """Whether the checkpoint is of a larger model, of which this one is a part."""
    unread: tuple[str, ...] = ()
    """Regular expressions of tensors that checkpoints may have and the model does not read."""
    stored: Mapping[str, tuple[Mapping[str, Shape | None], ...]] = field(default_factory=dict)
    """Parameter -> the other forms in which checkpoints store it: the tensors that contain it, as `parameters`."""

    def as_stored(self, specs: Iterable[TensorSpec]) -> "ModelLayout":
        """Return the layout in which parameters are those tensors that a source has of them.

        A layer of an expert can be a part of a stack of all experts, or be stored in several tensors.
        """
        if not self.stored:
            return self
        names = {spec.name[begin:] for spec in specs for begin in _module_starts(spec.name)}
        parameters: dict[str, Shape | None] = {}
        for name, shape in self.parameters.items():
            forms = ({name: shape}, *self.stored.get(name, ()))
            found = (form for form in forms if all(tensor.removeprefix(self.prefix) in names for tensor in form))
            parameters |= next(found, forms[min(1, len(forms) - 1)])
        return replace(self, parameters=parameters, stored={})

    @cached_property
    def published(self) -> dict[str, str]:
        """Name in the model -> name in published checkpoints."""
        return dict(self.renamed)

    @cached_property
    def current(self) -> dict[str, str]:
        """Name in published checkpoints -> name in the model."""
        return {published: current for current, published in self.renamed}


def _module_starts(name: str) -> tuple[int, ...]:
    """Return where the parts of the name of a tensor begin."""
    return (0, *(match.end() for match in re.finditer(r"\.", name)))


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
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Other part of a larger model -> number of its tensors."""

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
    layout = layout.as_stored(specs)
    part_names = _part_names(specs, layout, where) if layout.is_part else {spec.name: spec.name for spec in specs}
    part_specs = [spec for spec in specs if spec.name in part_names]
    assigned, dropped = _assign(part_specs, part_names, layout, where)
    for name, spec in assigned.items():
        _check(name, spec, layout, where=where)
    left_out = _count_parts([spec.name for spec in specs if spec.name not in part_names], part_names)
    plan = _with_ties(TensorPlan(tuple(assigned.items()), tuple(dropped), (), {}, left_out), layout)
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


def _assign(
    specs: Sequence[TensorSpec], published: Mapping[str, str], layout: ModelLayout, where: Path
) -> tuple[dict[str, TensorSpec], list[str]]:
    """Return parameter -> tensor, and the tensors that are not read.

    Args:
        published: name in the source -> name in a checkpoint of the model alone.
    """
    assigned: dict[str, TensorSpec] = {}
    dropped: list[str] = []
    unexpected: list[str] = []
    for spec in specs:
        alone = published[spec.name]
        name = model_name(alone, layout)
        if name is None:
            is_buffer = is_obsolete_buffer(alone) or _is_buffer(alone, layout)
            is_unread = is_buffer or any(re.search(pattern, alone) for pattern in layout.unread)
            (dropped if is_unread else unexpected).append(spec.name)
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
    return layout.published.get(name, name)


def _is_buffer(stored: str, layout: ModelLayout) -> bool:
    return any(name in layout.buffers for name in _names(stored, layout))


def _names(stored: str, layout: ModelLayout) -> Iterator[str]:
    """Yield the names that a published name can have in the model."""
    for name in (stored, layout.prefix + stored, stored.removeprefix(layout.prefix)):
        yield layout.current.get(name, name)
        yield name


def _check(name: str, spec: TensorSpec, layout: ModelLayout, *, where: Path) -> None:
    expected = layout.parameters[name]
    if expected is not None and spec.shape != expected:
        context = {"path": str(where / spec.file), "tensor": spec.name}
        raise ModelError("a tensor does not fit the config", context, expected=expected, got=spec.shape)
    if not spec.dtype.is_floating_point or spec.dtype.itemsize == 1:
        context = {"path": str(where / spec.file), "tensor": spec.name}
        message = "a weight is quantised or an integer; import the original model"
        raise ModelError(message, context, expected="float16, bfloat16, float32 or float64", got=str(spec.dtype))


def _listed(names: Sequence[str]) -> dict[str, object]:
    return {"tensors": list(names[:MAX_LISTED]), "n_tensors": len(names)}


def _part_names(specs: Sequence[TensorSpec], layout: ModelLayout, where: Path) -> dict[str, str]:
    """Return name in the source -> name in a checkpoint of the model alone, for all tensors of the model.

    Raises:
        ModelError: the source has no tensors of the model, or several sets of them.
    """
    base = {name[len(layout.prefix) :]: name for name in layout.parameters if name.startswith(layout.prefix)}
    prefix = _base_prefix(specs, {name: layout.parameters[full] for name, full in base.items()}, where)
    modules = {name.partition(".")[0] for name in base}
    names = {
        spec.name: layout.prefix + spec.name.removeprefix(prefix)
        for spec in specs
        if spec.name.startswith(prefix) and spec.name.removeprefix(prefix).partition(".")[0] in modules
    }
    stored = {spec.name for spec in specs}
    for name in layout.parameters.keys() - set(base.values()):
        above = next((start for start in _paths_above(prefix) if start + name in stored), None)
        if above is not None:
            names[above + name] = name
    return names


def _base_prefix(specs: Sequence[TensorSpec], shapes: Mapping[str, Shape | None], where: Path) -> str:
    """Return the prefix under which a source has the most tensors of a base model, first by shape, then by name.

    Args:
        shapes: parameter, relative to the base model -> shape.
    Raises:
        ModelError: no tensor of the source has such a name, or several prefixes fit equally.
    """
    with_shape: Counter[str] = Counter()
    with_name: Counter[str] = Counter()
    for spec in specs:
        for begin in _module_starts(spec.name):
            prefix, name = spec.name[:begin], spec.name[begin:]
            if name in shapes:
                with_name[prefix] += 1
                with_shape[prefix] += spec.shape == shapes[name]
    most = max(((with_shape[prefix], number) for prefix, number in with_name.items()), default=None)
    prefixes = [prefix for prefix, number in with_name.items() if (with_shape[prefix], number) == most]
    if len(prefixes) != 1:
        message = "the source has several text models" if prefixes else "the source has no tensors of the text model"
        expected = next(iter(shapes))
        raise ModelError(message, path=str(where), expected=f"one tensor {expected}", got=sorted(prefixes))
    return prefixes[0]


def _paths_above(prefix: str) -> Iterator[str]:
    """Yield a prefix and the shorter ones that end before one of its modules; the empty one is the last."""
    modules = prefix.split(".")[:-1]
    for n_modules in range(len(modules), -1, -1):
        yield "".join(f"{module}." for module in modules[:n_modules])


def _count_parts(left_out: Sequence[str], read: Iterable[str]) -> dict[str, int]:
    """Return part -> number of tensors that are left out. A part is a largest module without a tensor that is read."""
    with_read = {name[: match.start()] for name in read for match in re.finditer(r"\.", name)}
    counts: Counter[str] = Counter()
    for name in left_out:
        ends = [*(match.start() for match in re.finditer(r"\.", name)), len(name)]
        counts[next(name[:end] for end in ends if name[:end] not in with_read)] += 1
    return dict(sorted(counts.items()))
