"""Jobs that declare their record: the type of a field says what the field adds to the id.

    share: Annotated[float, Parameter()]
    variant_id: Annotated[str, Parent("variant", "variants")]

The id of the work and the records that it needs follow from the fields. So does the job of a stored record, which
`check store --deep` runs again. A field with a plain type is not part of the id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Protocol, Self, get_type_hints

from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, JsonValue, as_str
from mlprune.steps.job import Identity, ModelRef, RecordJob, RecordKey, computed_parameters, make_identity
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.vocabulary import DtypeName

EVALUATION_ROLES = ("evaluations", "baseline_evaluations")
"""Roles of the evaluations of a variant and of its baseline, in the records of comparisons."""


class StoredWork(Protocol):
    """Finds what a record names, in a store and on this machine."""

    @property
    def store(self) -> Store:
        """The store."""

    def evaluations(self, ids: Iterable[str]) -> Sequence[Any]:
        """Return the `EvaluationSpec` of some ids."""

    def model(self, base_model_id: str, dtype: DtypeName = "float32") -> ModelRef:
        """Return a base model; raises StoreError if it is not found."""

    def model_of(self, record: Record) -> ModelRef:
        """Return the base model of a record, in the dtype of its parameters; raises StoreError if it is not found."""


class Declaration:
    """What a field adds to the id of a job."""

    def parents(self, value: Any) -> JsonObject:
        """Return role -> id, or ids, of the records that the field names."""
        return {}

    def parameters(self, name: str, value: Any) -> JsonObject:
        """Return the parameters that the field adds, unless it has its default.

        Args:
            name: of the field.
        """
        return {}

    def needs(self, value: Any) -> tuple[RecordKey, ...]:
        """Return the records that have to exist before the job runs."""
        return ()

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the value of the field in the job of a record; `MISSING` for its default."""
        raise NotImplementedError


@dataclass(frozen=True)
class Parameter(Declaration):
    """The field is a parameter: a JSON value."""

    def parameters(self, name: str, value: Any) -> JsonObject:
        """Return the value under the name of the field."""
        return {name: value}

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the parameter of the record."""
        return record.parameters.get(name, MISSING)


@dataclass(frozen=True)
class Parameters(Declaration):
    """The field is a dataclass; each of its fields that differs from its default is a parameter."""

    read: Callable[[JsonObject], Any]
    """Returns the dataclass, given the parameters of a record."""

    def parameters(self, name: str, value: Any) -> JsonObject:
        """Return the fields that differ from their defaults."""
        return without_defaults(value)

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the dataclass of the record's parameters."""
        return self.read(record.parameters)


@dataclass(frozen=True)
class Parent(Declaration):
    """The field is the id, or the ids, of records; an empty tuple is left out of the id."""

    role: str
    kind: str
    """Kind of the records, which the job needs; empty if it does not read them itself."""

    def parents(self, value: Any) -> JsonObject:
        """Return the role with its id, or ids."""
        return {self.role: value if isinstance(value, str) else [*value] or None}

    def needs(self, value: Any) -> tuple[RecordKey, ...]:
        """Return the records."""
        ids = [value] if isinstance(value, str) else value
        return tuple((self.kind, record_id) for record_id in ids) if self.kind else ()

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the id, or ids, of the role."""
        ids = record.parents.get(self.role, ())
        return ids if isinstance(ids, str) else tuple(map(as_str, ids))


@dataclass(frozen=True)
class Evaluations(Declaration):
    """The field is a tuple of `EvaluationSpec`; an empty one is left out of the id."""

    role: str

    def parents(self, value: Sequence[Any]) -> JsonObject:
        """Return the role with the ids of the evaluations."""
        ids: list[JsonValue] = [one.identity.id for one in value]
        return {self.role: ids or None}

    def needs(self, value: Sequence[Any]) -> tuple[RecordKey, ...]:
        """Return the records of the evaluations."""
        return tuple(one.identity.key for one in value)

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the evaluations of the role."""
        return tuple(work.evaluations(record.parents.get(self.role, ())))


@dataclass(frozen=True)
class BaseModel(Declaration):
    """The field is a `ModelRef`: a parent, and the settings of its computation; see `computed_parameters`."""

    def parents(self, value: ModelRef) -> JsonObject:
        """Return the id of the model."""
        return {"base_model": value.base_model_id}

    def parameters(self, name: str, value: ModelRef) -> JsonObject:
        """Return the settings of the computation."""
        return computed_parameters(value)

    def stored(self, name: str, record: Record, work: StoredWork) -> Any:
        """Return the model of the record."""
        return work.model_of(record)


@dataclass(frozen=True)
class DeclaredJob(RecordJob):
    """Base of the jobs that declare their record."""

    kind: ClassVar[str]
    """Kind of the record."""
    identity: Identity = field(init=False)

    def __post_init__(self) -> None:
        """Derive the identity from the fields."""
        parents: dict[str, JsonValue] = {}
        parameters: dict[str, JsonValue] = {}
        for name, (declaration, default) in _declared(type(self)).items():
            value = getattr(self, name)
            parents |= declaration.parents(value)
            parameters |= declaration.parameters(name, value) if value != default else {}
        object.__setattr__(self, "identity", make_identity(self.kind, parameters, parents=parents))

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The records that the fields name."""
        declared = _declared(type(self)).items()
        return tuple(key for name, (declaration, _) in declared for key in declaration.needs(getattr(self, name)))

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> Self:
        """Return the job that wrote a record.

        Raises:
            StoreError: a record from which it was made, or the base model, is missing.
        """
        return cls.with_stored(record, work)

    @classmethod
    def with_stored(cls, record: Record, work: StoredWork, **others: Any) -> Self:
        """Return the job that wrote a record.

        Args:
            others: the fields that are not part of the id.
        """
        declared = _declared(cls).items()
        stored = {name: declaration.stored(name, record, work) for name, (declaration, _) in declared}
        return cls(**{name: value for name, value in stored.items() if value is not MISSING}, **others)


@cache
def _declared(job_type: type[DeclaredJob]) -> dict[str, tuple[Declaration, Any]]:
    """Return the declaration and the default of each field that has a declaration."""
    types = get_type_hints(job_type, include_extras=True)
    found = ((one, getattr(types[one.name], "__metadata__", ())) for one in fields(job_type))
    return {
        one.name: (declaration, one.default)
        for one, metadata in found
        for declaration in metadata
        if isinstance(declaration, Declaration)
    }
