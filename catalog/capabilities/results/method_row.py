"""The row of one method from the catalog of a store."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from catalog.results import Row, Value
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.capabilities.results.row import ALPHA, FORM, ResultRow, checked_row, kept_bytes
from mlprune.errors import BadInputError
from mlprune.store.run_log_files import recipe_of_run
from mlprune.store.store import Store

EVALUATED = ("task", "split", "metric", "scoring_rule", "example_limit", "protocol_id")
"""Columns that say how something was evaluated."""
MAX_LISTED = 10
BITS: Mapping[str, int] = {"float32": 32, "bfloat16": 16, "float16": 16}
"""dtype of a model -> bits of a weight."""
DIGITS = 9
"""Significant digits of numbers in a row: more than two machines agree on."""
_LANGUAGE = ("language", "value", "dense", "n", "difference", "ci_low", "ci_high", "p_corrected", "n_family", "pays")
_MODEL = ("model", "model_id", "revision", "dtype", "n_prunable")
_METHOD = ("method", "name", "structure", "sparsity", "n_removed")
_EVALUATION = ("task", "metric", "split", "scoring_rule", "protocol", "higher_is_better", "scale")


def method_row(catalog: Catalog, variant_ids: Sequence[str], *, wanted: Mapping[str, str]) -> ResultRow:
    """Return the row of a method.

    Args:
        variant_ids: some of its variants; the row is about all that differ from them in nothing but seeds.
        wanted: column of `EVALUATED` -> its value, which chooses one of several evaluations.
    Raises:
        BadInputError: the variants belong to no method that was compared with the dense model, or to several; or the
            method was evaluated in none or several of the wanted ways.
    """
    method = _one_method(catalog, variant_ids)
    variant_ids = method["variant_ids"]
    found = catalog.query(statement("result_row", "values"), {"variant_ids": variant_ids, "alpha": ALPHA})
    rows = _of_one_evaluation(found, wanted)
    ids = sorted({evaluation_id for row in rows for evaluation_id in row["evaluation_ids"]})
    origins = catalog.query(statement("result_row", "origins"), {"ids": [*variant_ids, *ids]})
    recipe = next((row for row in origins if row["recipe"] is not None), None)
    dense_bits = BITS.get(method["dtype"])
    if dense_bits is None:
        raise BadInputError(
            "the records do not say in which dtype the model was evaluated", got=method["dtype"], expected=list(BITS)
        )
    bits = method["bits"] or dense_bits
    row = {
        "form": FORM,
        **{name: _rounded(method[name]) for name in (*_MODEL, *_METHOD)},
        **{name: rows[0][name] for name in _EVALUATION},
        "bits": bits,
        "bytes": kept_bytes(method["n_prunable"] - method["n_removed"], bits),
        "dense_bytes": kept_bytes(method["n_prunable"], dense_bits),
        "n_draws": len(variant_ids),
        "languages": [{name: _rounded(row[name]) for name in _LANGUAGE} for row in rows],
        "code": _code(origins),
        "recipe": recipe and recipe["recipe"],
        "recipe_sha256": recipe and recipe_hash(catalog.store, str(recipe["run_id"])),
        "store": store_hash(catalog.store),
        "variant_ids": variant_ids,
        "evaluation_ids": ids,
    }
    return checked_row(row, store=catalog.store.uri, method=method["method"])


def _code(origins: Sequence[Row]) -> list[dict[str, Value]]:
    """Return the versions of the code that made the results, each once."""
    known = [row for row in origins if row["mlprune"] is not None]
    versions = dict.fromkeys((row["mlprune"], row["git_commit"], row["is_modified"]) for row in known)
    return [dict(zip(("mlprune", "commit", "is_modified"), version, strict=True)) for version in versions]


def _one_method(catalog: Catalog, variant_ids: Sequence[str]) -> Row:
    """Return the one method of variants.

    Raises:
        BadInputError: there is none, or there are several.
    """
    methods = catalog.query(statement("result_row", "methods"), {"variant_ids": list(variant_ids)})
    if not methods:
        raise BadInputError(
            "the variants have no comparison with the dense model by language",
            got=list(variant_ids),
            expected="variants that a recipe evaluates in the same way as the dense model",
        )
    if len(methods) > 1:
        labels = [row["label"] for row in methods]
        message = "a row is about one method, and the variants belong to several"
        raise BadInputError(message, got=labels[:MAX_LISTED], next="name one of them by its label or id")
    return methods[0]


def _of_one_evaluation(rows: Sequence[Row], wanted: Mapping[str, str]) -> list[Row]:
    """Return the rows of the one evaluation that is wanted.

    Raises:
        BadInputError: there is none, or there are several.
    """
    chosen = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    ways = list(dict.fromkeys(tuple(row[name] for name in EVALUATED) for row in chosen or rows))
    if len(ways) == 1 and chosen:
        return chosen
    listed = [", ".join(f"{name} {value}" for name, value in zip(EVALUATED, way, strict=True) if value) for way in ways]
    if not chosen:
        raise BadInputError("the method was not evaluated so", got=dict(wanted), expected=listed[:MAX_LISTED])
    raise BadInputError(
        "the method was evaluated in several ways",
        got=listed[:MAX_LISTED],
        next="choose one with --task, --metric, --split, --scoring-rule or --protocol-id",
    )


def _rounded(value: Value) -> Value:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def recipe_hash(store: Store, run_id: str) -> str | None:
    """Return the SHA-256 of the text of the recipe of a run; None if no run file has it."""
    text = recipe_of_run(store, run_id)
    return None if text is None else sha256(text.encode()).hexdigest()


def store_hash(store: Store) -> str:
    """Return the SHA-256 of the names of all records, `KIND/ID` in order, one per line."""
    names = sorted(f"{kind}/{record_id}\n" for kind, record_id in store.record_names())
    return sha256("".join(names).encode()).hexdigest()
