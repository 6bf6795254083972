"""A row of results: one method on one model, its values in every language, and who pays.

A row is a small JSON file, which `mlprune export --as row` writes from a store and which people exchange. It is checked
on reading: keys, types, and what follows from other values.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from mlprune.atomic import replacing
from mlprune.errors import BadInputError, reason_of
from mlprune.given_files import read_given
from mlprune.json_values import json_text, parse_json
from mlprune.strict_model import Language, Model
from mlprune.vocabulary import DtypeName

FORM = 1
"""Number of the form of a file. A key that readers of this form do not know needs another number."""
ALPHA = 0.05
"""Level at which a family of comparisons has a significant loss."""
MOST_MIB = 1
RELATIVE_ERROR = 1e-6
"""Largest relative difference between a value and the one that follows from others."""
NEXT = "write the file again with mlprune export NAME --as row"
MAX_SHOWN = 80
"""Characters of a wrong text that a message repeats."""


def _shown(text: str) -> str:
    """Check a text that pages show.

    Raises:
        ValueError: it has line breaks, control characters or marks of the writing direction.
    """
    if not text.isprintable():
        raise ValueError("expected printable characters on one line")
    return text


Text = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_shown)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{20,64}$")]
Count = Annotated[int, Field(ge=0)]


class LanguageResult(Model):
    """The values of one language."""

    language: Language
    value: float
    """Of the method; of several draws their mean, for perplexity the geometric one."""
    dense: float
    """Of the dense model."""
    n: Annotated[int, Field(ge=1)]
    """Items."""
    difference: float
    """value - dense; if the scale is log_ratio, the logarithm of value / dense."""
    ci_low: float | None
    """End of the 95 % interval of the difference, for other items and, of several draws, other draws."""
    ci_high: float | None
    p_corrected: Annotated[float, Field(ge=0, le=1)] | None
    """Largest p-value of a draw, corrected over the family of its comparison; null if nothing was tested."""
    n_family: Annotated[int, Field(ge=1)] | None
    """Tests of this family."""
    pays: bool
    """Whether the method is significantly worse than the dense model in every draw."""


class Code(Model):
    """Code that computed a part of the row."""

    mlprune: Text
    """Version."""
    commit: Digest | None
    is_modified: bool | None
    """Whether it differed from the commit; null if that is unknown."""


class ResultRow(Model):
    """One method on one model."""

    form: Literal[1]
    model: Text
    """Name on a hub, or of its folder or file."""
    model_id: Digest
    """Hash of the model's files."""
    revision: Digest | None
    """Commit on the hub that the model was imported from."""
    method: Text
    name: Text | None
    """Name in the recipe."""
    structure: Text | None
    sparsity: Annotated[float, Field(ge=0, le=1)]
    """Fraction of the prunable weights that is removed."""
    dtype: DtypeName
    """Of the model as it was evaluated."""
    n_prunable: Count
    n_removed: Count
    """The smallest of several draws."""
    bits: Annotated[int, Field(ge=1, le=64)]
    """Of a kept weight."""
    bytes: Count
    """Of the kept prunable weights, without masks and scales."""
    dense_bytes: Count
    """Of all prunable weights of the dense model."""
    task: Text
    metric: Text
    split: Text
    scoring_rule: Text | None
    protocol: Text | None
    higher_is_better: bool
    scale: Literal["difference", "log_ratio"]
    n_draws: Annotated[int, Field(ge=1)]
    """Variants that differ in nothing but seeds."""
    languages: Annotated[tuple[LanguageResult, ...], Field(min_length=1)]
    code: tuple[Code, ...]
    """That computed the variants and evaluations, first ones first; empty if the store has no run files."""
    recipe: Text | None
    recipe_sha256: Digest | None
    """Of the text of the recipe."""
    store: Digest
    """SHA-256 of the names of all records of the store."""
    variant_ids: tuple[Digest, ...]
    evaluation_ids: tuple[Digest, ...]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        """Check what follows from other values.

        Raises:
            ValueError: values contradict each other.
        """
        names = [result.language for result in self.languages]
        _require(len(set(names)) == len(names), f"expected each language once, got {names}")
        _require(len(self.variant_ids) == self.n_draws, f"expected {self.n_draws} variant_ids")
        _require(self.n_removed <= self.n_prunable, f"expected n_removed <= {self.n_prunable}, got {self.n_removed}")
        kept = kept_bytes(self.n_prunable - self.n_removed, self.bits)
        _require(self.bytes == kept, f"expected bytes {kept}, got {self.bytes}")
        for result in self.languages:
            self._check(result)
        return self

    def _check(self, result: LanguageResult) -> None:
        where = f"language {result.language}: "
        is_ratio = self.scale == "log_ratio"
        if is_ratio:
            _require(min(result.value, result.dense) > 0, f"{where}expected values above 0")
        value = result.dense * math.exp(result.difference) if is_ratio else result.dense + result.difference
        is_close = math.isclose(value, result.value, rel_tol=RELATIVE_ERROR, abs_tol=RELATIVE_ERROR)
        _require(is_close, f"{where}expected the value {value:.6g} of dense and difference, got {result.value:.6g}")
        ends = [end for end in (result.ci_low, result.difference, result.ci_high) if end is not None]
        _require(ends == sorted(ends), f"{where}expected ci_low <= difference <= ci_high, got {ends}")
        is_worse = result.difference < 0 if self.higher_is_better else result.difference > 0
        is_significant = result.p_corrected is not None and result.p_corrected <= ALPHA
        _require(not result.pays or (is_worse and is_significant), f"{where}it pays without a significant loss")

    @property
    def paying(self) -> tuple[str, ...]:
        """The languages with a significant loss."""
        return tuple(result.language for result in self.languages if result.pays)


def _require(is_so: bool, message: str) -> None:
    if not is_so:
        raise ValueError(message)


def kept_bytes(n_weights: int, bits: int) -> int:
    """Return the bytes of weights, rounded up."""
    return -(-n_weights * bits // 8)


def write_row(row: ResultRow, path: Path) -> None:
    """Write a row; the file appears as a whole.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json_text(row.model_dump(mode="json")), encoding="utf-8")


def read_row(path: Path) -> ResultRow:
    """Read and check the file of a row.

    Raises:
        BadInputError: it cannot be read, is not JSON, or is not a row of this form.
    """
    try:
        value = parse_json(read_given(path, most_mib=MOST_MIB))
    except OSError as err:
        reason = err.strerror or str(err)
        raise BadInputError("a row of results cannot be read", path=str(path), reason=reason) from err
    except ValueError as err:
        raise BadInputError(
            "a row of results is not JSON", path=str(path), expected="one object", reason=reason_of(err), next=NEXT
        ) from err
    return checked_row(value, path=str(path), next=NEXT)


def checked_row(value: object, **where: object) -> ResultRow:
    """Return the row that a value describes.

    Args:
        where: context of the error.
    Raises:
        BadInputError: the value is not a row of this form.
    """
    try:
        return ResultRow.model_validate(value)
    except ValidationError as err:
        raise _first_error(err, where) from err


def read_rows(folder: Path) -> list[ResultRow]:
    """Read all rows of a folder, ordered by model, task, sparsity and method.

    Raises:
        BadInputError: as `read_row`.
    """
    rows: Iterable[ResultRow] = map(read_row, sorted(folder.glob("*.json")))
    return sorted(rows, key=lambda row: (row.model, row.task, row.metric, row.sparsity, row.bits, row.method))


def _first_error(err: ValidationError, where: Mapping[str, object]) -> BadInputError:
    """Return the first error as one line."""
    first = err.errors(include_url=False)[0]
    value = first["input"]
    is_plain = isinstance(value, str | int | float | type(None))
    got = (value[:MAX_SHOWN] if isinstance(value, str) else value) if is_plain else type(value).__name__
    key = ".".join(map(str, first["loc"])) or "row"
    expected = first["msg"].removeprefix("Value error, ").removeprefix("expected ")
    return BadInputError("a row of results is not valid", {"key": key, "expected": expected, "got": got, **where})
