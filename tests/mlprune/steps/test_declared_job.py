"""Jobs that declare their record in the types of their fields."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from mlprune.hashing import with_defaults
from mlprune.steps.declared_job import (
    BaseModel,
    DeclaredJob,
    Evaluations,
    Parameter,
    Parameters,
    Parent,
)
from mlprune.steps.job import ChainLoader, ModelRef, SmallJob, make_identity
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.records import Record
from mlprune.store.store import Store

MODEL = ModelRef("model", "folder", "tiny", 2, None, "bfloat16")


@dataclass(frozen=True)
class Settings:
    """Parameters that belong together."""

    width: int = 1
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExampleJob(DeclaredJob, SmallJob):
    """A job with a field of every declaration."""

    kind: ClassVar[str] = "layer_errors"
    step: ClassVar[str] = "compare"
    model: Annotated[ModelRef, BaseModel()]
    settings: Annotated[Settings, Parameters(partial(with_defaults, Settings))]
    variant: Annotated[str, Parent("variant", "variants")]
    sets: Annotated[tuple[str, ...], Parent("sets", kind="")]
    evaluations: Annotated[tuple[EvaluationSpec, ...], Evaluations("evaluations")]
    folder: str
    share: Annotated[float, Parameter()] = 0.5

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Do nothing."""


def evaluation(number: int) -> EvaluationSpec:
    """Return an evaluation with an id of its own."""
    return EvaluationSpec(
        make_identity("evaluations", {"n": number}, parents={"variant": "v"}),
        TaskSpec("xnli", language="fr", split="test"),
    )


EVALUATIONS = (evaluation(1), evaluation(2))
JOB = ExampleJob(MODEL, Settings(2, ("a",)), "v", ("s", "t"), EVALUATIONS, "here")


class Stored:
    """The work that the records of this file name."""

    store = Store("unused")

    def evaluations(self, ids: Iterable[str]) -> Sequence[Any]:
        """Return the evaluations of some ids."""
        by_id = {one.identity.id: one for one in EVALUATIONS}
        return [by_id[one] for one in ids]

    def model(self, base_model_id: str, dtype: str = "float32") -> ModelRef:
        """Return the one model."""
        return replace(MODEL, base_model_id=base_model_id)

    def model_of(self, record: Record) -> ModelRef:
        """Return the model of a record."""
        return self.model(record.parent("base_model"))


def test_fields_make_the_identity() -> None:
    assert JOB.identity == make_identity(
        "layer_errors",
        {"dtype": "bfloat16", "width": 2, "names": ["a"]},
        parents={
            "base_model": "model",
            "variant": "v",
            "sets": ["s", "t"],
            "evaluations": [one.identity.id for one in EVALUATIONS],
        },
    )
    assert JOB.makes == (JOB.identity.key,)


def test_a_default_and_an_empty_parent_change_no_id_and_other_values_do() -> None:
    assert "share" not in JOB.identity.parameters
    assert replace(JOB, share=0.25).identity.parameters["share"] == 0.25
    alone = replace(JOB, sets=(), evaluations=())
    assert set(alone.identity.parents) == {"base_model", "variant"}


def test_a_plain_field_and_saved_memory_change_no_id() -> None:
    assert replace(JOB, folder="there").identity == JOB.identity
    assert replace(JOB, n_halvings=2).identity == JOB.identity


def test_a_job_needs_the_records_of_its_parents_that_it_reads() -> None:
    assert JOB.needs == (("variants", "v"), *(one.identity.key for one in EVALUATIONS))


@pytest.mark.parametrize("job", [JOB, replace(JOB, share=0.25), replace(JOB, settings=Settings(), sets=())])
def test_the_job_of_a_record_is_the_one_that_wrote_it(job: ExampleJob, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_record(job.identity.record())
    record = store.require(*job.identity.key)
    assert ExampleJob.with_stored(record, Stored(), folder="here") == job
