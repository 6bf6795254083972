"""The one tree of errors: what went wrong, where, what was expected and what came.

Two branches, by who can help: a `PermanentError` comes back however often the work is retried (a person must change
something), a `TransientError` may be gone at the next try (a worker died, memory was short). Command lines turn a
`BadInputError` into one line and exit code 2.
"""

from typing import Any


class MlpruneError(Exception):
    """Root of all errors of this project: one message plus keyword context.

    All state is in `args`, so an error survives pickling between processes.
    """

    def __init__(self, message: str, context: dict[str, Any] | None = None, /, **more: Any) -> None:
        self.message = message
        self.context: dict[str, Any] = {**(context or {}), **more}
        super().__init__(message, self.context)

    def __str__(self) -> str:
        details = ", ".join(f"{key}={value!r}" for key, value in self.context.items())
        text = f"{self.message} [{details}]" if details else self.message
        return " ".join(text.split())


class PermanentError(MlpruneError):
    """Retrying cannot help."""


class TransientError(MlpruneError):
    """Retrying may help."""


class BadInputError(PermanentError):
    """Something a user gave is wrong: a recipe, a corpus, a task file, a model folder, an argument."""


class RecipeError(BadInputError):
    """The recipe is not one we can carry out."""


class CorpusError(BadInputError):
    """A corpus or demonstration source is unusable."""


class TaskFileError(BadInputError):
    """An evaluation file is unusable."""


class HubError(BadInputError):
    """A hub has not what was asked of it, or cannot be reached."""


class ModelError(BadInputError):
    """A base model cannot be read or is of an unknown family."""


class StoreError(BadInputError):
    """The store cannot be used as asked."""


class QueryError(BadInputError):
    """A catalog query or one of its parameters is wrong."""


class ShapeError(PermanentError):
    """Two arrays that belong together do not fit."""


class StatisticsError(PermanentError):
    """Activation statistics hold a value that cannot be: negative, infinite, not a number."""


class DamagedArtefactError(PermanentError):
    """A file differs from what its record says; its record has to be quarantined."""


class OutOfMemoryError(TransientError):
    """A process had too little memory for its work; with less at a time it may do."""


class WorkerLostError(TransientError):
    """A worker or node died while it held work."""
