"""The error tree: one message plus context that says what, where, what was expected and what was given.

A `PermanentError` returns on every retry until a person changes something. A `TransientError` may succeed on the next
try, for example after a worker died. Command lines print a `BadInputError` as one line and exit with code 2.
"""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

NEAREST_CUTOFF = 0.4
"""Least similarity of a suggestion: `q_proj` has to find `self_attn.q_proj` (0.55)."""
MAX_LISTED_NAMES = 100
"""Longest list of expected names that a message spells out."""
MAX_REASON = 1_000
"""Most characters of the message of a foreign error, some of which print a whole file, and of a list, such as files."""
MAX_VALUE = 200
"""Most characters of a value of the context that a message shows."""
MAX_OWN_TEXT = 4_000
"""The same of `OWN_TEXTS`."""
OWN_TEXTS = frozenset({"expected", "nearest", "next", "page", "path"})
"""Keys of the context whose values are texts of this project, or are needed as a whole: commands, lists of names, and
paths."""
_WORK = "while working on "
"""Start of the notes that `work_context` adds."""
MAX_NAMES_BESIDE_LISTING = 12
"""The same, if the message says how to list all names."""
AnyError = TypeVar("AnyError", bound="MlpruneError")


class MlpruneError(Exception):
    """Root of all errors of this project: one message plus keyword context.

    All state is in `args`, so an error survives pickling between processes.
    """

    def __init__(self, message: str, context: Mapping[str, object] | None = None, /, **more: object) -> None:
        self.message = message
        self.context: dict[str, object] = {**(context or {}), **more}
        super().__init__(message, self.context)

    def __str__(self) -> str:
        details = ", ".join(f"{key}={_shown(key, value)}" for key, value in self.context.items())
        text = f"{self.message} [{details}]" if details else self.message
        return " ".join(text.split())


def _shown(key: str, value: object) -> str:
    """Return a value of the context as a message shows it: a tuple as the list of a recipe, of a long one the start."""
    is_longer = key == "reason" or isinstance(value, list | tuple)
    most = MAX_OWN_TEXT if key in OWN_TEXTS else MAX_REASON if is_longer else MAX_VALUE
    if isinstance(value, str):
        return repr(value) if len(value) <= most else f"{value[:most]!r}… ({len(value) - most:,} more characters)"
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


class PermanentError(MlpruneError):
    """Retrying cannot help."""


class TransientError(MlpruneError):
    """Retrying may help."""


class BadInputError(PermanentError):
    """Something that the user gave is wrong: a recipe, a corpus, a task file, a model folder, an argument."""


class RecipeError(BadInputError):
    """The recipe asks for something impossible or inconsistent."""


class PluginError(BadInputError):
    """A plug-in is missing, differs from the one that a result names, or breaks the contract of its kind."""


class CorpusError(BadInputError):
    """A corpus or demonstration source is unusable."""


class UnrecognisedDataError(CorpusError):
    """The files at a path are in no known layout."""


class TaskFileError(BadInputError):
    """An evaluation file is unusable."""


class MissingTaskFileError(TaskFileError):
    """A task has no file of a language and split."""


class SkippedRowError(TaskFileError):
    """A row has no item: it is skipped, counted and named."""


class BlankTextError(SkippedRowError):
    """A text of the row is blank."""


class EqualCandidatesError(SkippedRowError):
    """Two candidates of the row are equal."""


class HubError(BadInputError):
    """A hub cannot be reached, or does not have the requested file."""


class ModelError(BadInputError):
    """A base model cannot be read, or cannot be pruned."""


class StoreError(BadInputError):
    """The store cannot be used as requested."""


class RetiredArtefactError(StoreError):
    """A retention rule removed a file. A run of its recipe with --remake makes it again."""


class EarlierVersionError(StoreError):
    """A record was written by a version of this package whose records are not read any more."""


class QueryError(BadInputError):
    """A catalog query or one of its parameters is wrong."""


class UnreadableFileError(QueryError):
    """A file that a query reads is missing or damaged."""


class JobsFailedError(PermanentError):
    """Some jobs of a run failed, or were not tried; the results of the others are kept."""


class ShapeError(PermanentError):
    """The shapes of two arrays do not fit."""


class StatisticsError(PermanentError):
    """Activation statistics contain an impossible value: negative, infinite or not a number."""


class DamagedArtefactError(PermanentError):
    """A file differs from what its record says. The record has to be quarantined."""


class DamagedRecordError(DamagedArtefactError):
    """A record is not what was written under its kind and id; its work has to be done again."""


class OutOfMemoryError(TransientError):
    """A process ran out of memory; smaller batches may fit."""


class DeviceError(TransientError):
    """An accelerator stopped working in a process, or has no room; another process may be able to use one."""


class WorkerLostError(TransientError):
    """A worker or node died while it ran a job."""


def reason_of(err: BaseException) -> str:
    """Return the class and the message of a foreign error in one line, of at most `MAX_REASON` characters."""
    text = " ".join(f"{type(err).__name__}: {err}".split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"


@contextmanager
def work_context(describe: Callable[[], str]) -> Iterator[None]:
    """Add a note to any exception that is raised inside: what was being worked on; see `work_of`."""
    try:
        yield
    except Exception as err:
        err.add_note(_WORK + describe())
        raise


def work_of(err: BaseException) -> str:
    """Return what `work_context` noted about an exception, the innermost note first; empty for none."""
    notes = [str(note) for note in getattr(err, "__notes__", ())]
    return "; ".join(note.removeprefix(_WORK) for note in notes if note.startswith(_WORK))


@contextmanager
def statistics_context(**context: object) -> Iterator[None]:
    """Add context, such as the block, to a `StatisticsError` that is raised inside."""
    try:
        yield
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, **context) from err


def unknown(
    what: str,
    got: object,
    known: Iterable[str],
    *,
    error: type[AnyError],
    n_nearest: int = 1,
    listing: str = "",
    **where: object,
) -> AnyError:
    """The error for a name that is not one of the known names: what, where, got, nearest and expected names.

    Args:
        what: the kind of thing that is named, in the singular.
        got: the unknown name.
        known: the names that would be accepted.
        error: class of the error.
        n_nearest: number of suggestions.
        listing: how to list all names, instead of a long list.
        where: context, such as the file and the key.
    """
    names = list(known)
    nearest = nearest_names(str(got), names, n=n_nearest)
    hint = {"nearest": ", ".join(nearest)} if nearest else {}
    most = MAX_NAMES_BESIDE_LISTING if listing else MAX_LISTED_NAMES
    expected = names if len(names) <= most else f"one of {len(names):,} names{listing and f': {listing}'}"
    return error(f"unknown {what}", {**where, "got": got, **hint, "expected": expected})


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, in the order of their first occurrence."""
    return [name for name, n in Counter(names).items() if n > 1]


def nearest_names(name: str, known: Iterable[str], *, n: int = 1) -> list[str]:
    """The known names most like a name, best first: those that begin with it, otherwise those with similar letters."""
    names = list(known)
    same_start = [candidate for candidate in names if name and candidate.startswith(name)]
    return (same_start or difflib.get_close_matches(name, names, n=n, cutoff=NEAREST_CUTOFF))[:n]
