"""Declarations in the records of recipes, also of damaged and quarantined ones, and a check of their rows.

A declaration in a record that was not accepted still counts where this can only cost a claim: its number of seeds is
that of a first declaration. It makes no question primary. In the catalog, its question stays in the family.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from mlprune.json_values import JsonObject, JsonValue, as_float, as_int, as_list, as_object, as_str
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.store.unsound_records import UnsoundRecord, unsound_records

KIND: Final = "recipes"
Pair = tuple[str, str]
"""(variant, baseline)."""


class Neighbour(NamedTuple):
    """The variant whose masks agree most with those of another one."""

    variant_id: str
    agreement: float
    """Share of the weights that both keep or both remove."""


class EarlierResults(NamedTuple):
    """Evaluations of a variant that existed when a question was first declared for it."""

    n: int = 0
    evaluation_id: str | None = None
    """The first of them, in the order of the ids; None if there are none, or in records of earlier versions."""
    n_baselines: int = 0
    """Number of choices among the baselines with results that differ from the pair's in seeds; 0 if it had none."""
    neighbour: Neighbour | None = None
    """Of the variants with results and the same model, score and sets, the one whose masks agree most."""

    @property
    def parameters(self) -> JsonValue:
        """The results as parameters of a record."""
        if self.n_baselines or self.neighbour:
            return [*self[:3], *(self.neighbour or ())]
        return self.n if self.evaluation_id is None else [self.n, self.evaluation_id]

    @property
    def columns(self) -> JsonObject:
        """Further columns of `question_variants`, without those that are NULL."""
        columns: dict[str, JsonValue] = {"n_known_baselines": self.n_baselines} if self.n_baselines else {}
        if self.neighbour is not None:
            columns |= {"nearest_variant_id": self.neighbour.variant_id, "mask_agreement": self.neighbour.agreement}
        return columns

    @classmethod
    def of_row(cls, row: JsonObject) -> "EarlierResults":
        """Read a row of `question_variants`."""
        evaluation_id, nearest = row.get("earlier_evaluation_id"), row.get("nearest_variant_id")
        return cls(
            as_int(row["declared_after"]),
            None if evaluation_id is None else as_str(evaluation_id),
            as_int(row.get("n_known_baselines") or 0),
            None if nearest is None else Neighbour(as_str(nearest), as_float(row["mask_agreement"])),
        )


NO_RESULTS = EarlierResults()


class Declaration(NamedTuple):
    """What the record of a recipe says about a declared question."""

    criterion_id: str
    recipe: str
    name: str
    is_primary: bool
    n_seeds: int | None
    results: Mapping[Pair, EarlierResults]
    other_languages: tuple[str, ...]
    is_sound: bool = True
    """Whether the record was accepted."""


def stored_declarations(store: Store) -> list[Declaration]:
    """Return the declared questions of all records of recipes, then those of damaged or quarantined ones.

    A record whose rows contradict its parameters counts as damaged.
    """
    sound: set[str] = set()
    declarations: list[Declaration] = []
    for record in store.records(KIND):
        if not any(declaration_problems(record)):
            sound.add(record.id)
            declarations += _declared_in(record.rows)
    for unsound in unsound_records(store, KIND, sound=sound):
        declarations += [each._replace(is_sound=False) for each in _readable_declarations(unsound)]
    return declarations


def _declared_in(rows: Mapping[str, Sequence[JsonObject]]) -> Iterator[Declaration]:
    """Yield the declared questions in the rows of a recipe's record."""
    results: dict[str, dict[Pair, EarlierResults]] = defaultdict(dict)
    for row in rows.get("question_variants", ()):
        pair = as_str(row["variant_id"]), as_str(row["baseline_id"])
        results[as_str(row["question_id"])][pair] = EarlierResults.of_row(row)
    for row in rows.get("questions", ()):
        if row["is_declared"]:
            criterion_id, recipe, name = (as_str(row[column]) for column in ("criterion_id", "recipe", "name"))
            n_seeds = row.get("n_seeds_declared")
            languages = tuple(filter(None, str(row.get("other_languages") or "").split(", ")))
            yield Declaration(
                criterion_id,
                recipe,
                name,
                bool(row["is_primary"]),
                None if n_seeds is None else as_int(n_seeds),
                results[as_str(row["question_id"])],
                languages,
            )


def _readable_declarations(record: UnsoundRecord) -> Iterator[Declaration]:
    """Yield the declared questions of a record that was not accepted, without those whose rows cannot be read."""
    for row in record.rows("questions"):
        pairs = [pair for pair in record.rows("question_variants") if pair.get("question_id") == row.get("question_id")]
        try:
            yield from _declared_in({"questions": [row], "question_variants": pairs})
        except (KeyError, TypeError):
            continue


def declaration_problems(record: Record) -> Iterator[str]:
    """Yield where the rows of a recipe's record differ from its parameters, of which its id is a hash."""
    try:
        yield from _contradictions(record)
    except (IndexError, KeyError, TypeError, ValueError) as err:
        yield f"its declarations cannot be read: {err!r}"


def _contradictions(record: Record) -> Iterator[str]:
    entries = [list(as_list(entry)) for entry in as_list(record.parameters.get("questions", []))]
    stated = {as_str(entry[0]): entry[1:] for entry in entries}
    rows = {as_str(row["question_id"]): row for row in record.rows.get("questions", ())}
    if rows.keys() != stated.keys():
        yield "its questions are not those of its parameters"
        return
    numbers: dict[str, list[JsonValue]] = {question_id: [] for question_id in rows}
    for row in record.rows.get("question_variants", ()):
        numbers.setdefault(as_str(row["question_id"]), []).append(EarlierResults.of_row(row).parameters)
    primary = {as_str(row["question_id"]) for row in record.rows.get("recipe_questions", ())}
    for question_id, row in rows.items():
        expected = _stated_columns(stated[question_id])
        columns = {name: row.get(name) for name in expected}
        pairs = stated[question_id][4] if stated[question_id] and not expected.get("awaits_masks") else []
        differs = "recipe_questions" in record.rows and (question_id in primary) != expected["is_primary"]
        if columns != expected or numbers[question_id] != pairs or differs:
            yield f"question {row.get('name') or question_id} is not declared as its parameters say"


def _stated_columns(entry: Sequence[JsonValue]) -> JsonObject:
    """Return columns of `questions` that follow from what `declaration_parameters` yields, without the id."""
    if not entry:
        return {"is_declared": False, "is_primary": False, "declared_after": None}
    name, variants, against, primary, numbers, *further = entry
    columns = as_object(further[0]) if further else {}
    n_before = sum(as_int(as_list(each)[0] if isinstance(each, list | tuple) else each) for each in as_list(numbers))
    return {
        "is_declared": True,
        "is_primary": bool(primary) and not n_before and not {"n_seeds_declared", "awaits_masks"} & columns.keys(),
        "declared_after": n_before,
        "name": name,
        "variants": variants,
        "against": as_list(against)[0] if isinstance(against, list | tuple) else against,
        **{key: columns.get(key) for key in ("other_languages", "n_seeds_declared", "awaits_masks", "title")},
    }
