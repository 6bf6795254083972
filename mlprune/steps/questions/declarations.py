"""Declarations: whether a question was recorded before the results that it is about existed.

Records have no times. At the start of a run, before any job, the run counts the results that already exist, and the
number becomes part of the record of the recipe. Later runs keep the number of the first declaration. A question that is
declared after some of its results existed is exploratory.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from mlprune.json_values import JsonValue, as_int, as_str
from mlprune.steps.evaluate.adopt import without_groups
from mlprune.steps.job import Identity, RecordKey
from mlprune.steps.questions.plan import PlannedQuestion, evaluations_of
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store

Pair = tuple[str, str]
"""(variant, baseline)."""
DeclaredAfter = Mapping[Pair, int]
"""Pair -> number of evaluations of the variant that existed when the question was first declared for the pair."""


def declarations(questions: Iterable[PlannedQuestion], store: Store) -> dict[str, DeclaredAfter]:
    """Return id of a declared question -> its pairs with the number of results that existed before the declaration.

    A pair keeps the smallest number of earlier records that declared the same question for it: the same task,
    languages, metric, claim, margin and `over`, whatever the names. Such a record counts only if the question still has
    all of its pairs: a family may grow, but variants that are left out after their results existed make a new question.
    For other pairs, the evaluations of the variant in the store are counted.
    """
    declared = [question for question in questions if question.config is not None]
    if not declared:
        return {}
    earlier = _earlier(store.records("recipes"))
    existing = set(store.record_names("evaluations"))
    return {question.id: _declared_after(question, earlier[question.criterion_id], existing) for question in declared}


def _declared_after(
    question: PlannedQuestion, earlier: Sequence[DeclaredAfter], existing: Set[RecordKey]
) -> DeclaredAfter:
    valid = [declaration for declaration in earlier if declaration.keys() <= set(question.pairs)]
    numbers: dict[Pair, int] = {}
    for comparison, pair in zip(question.comparisons, question.pairs, strict=True):
        known = [declaration[pair] for declaration in valid if pair in declaration]
        evaluations = evaluations_of(question, comparison)
        numbers[pair] = (
            min(known) if known else sum(_exists(evaluation.identity, existing) for evaluation in evaluations)
        )
    return numbers


def _exists(evaluation: Identity, existing: Set[RecordKey]) -> bool:
    """Whether the store has an evaluation, made by this version of the step or by an earlier one."""
    ids = (
        each.id_in(version)
        for version in range(RECORD_KINDS[evaluation.kind].version, 0, -1)
        for each in (evaluation, without_groups(evaluation))
    )
    return any((evaluation.kind, record_id) in existing for record_id in ids)


def _earlier(records: Iterable[Record]) -> dict[str, list[DeclaredAfter]]:
    """Return key of the criterion -> what each record of a recipe says about the pairs of a declared question."""
    earlier: dict[str, list[DeclaredAfter]] = defaultdict(list)
    for record in records:
        pairs: dict[str, dict[Pair, int]] = defaultdict(dict)
        for row in record.rows.get("question_variants", ()):
            pair = as_str(row["variant_id"]), as_str(row["baseline_id"])
            pairs[as_str(row["question_id"])][pair] = as_int(row["declared_after"])
        for row in record.rows.get("questions", ()):
            if row["is_declared"]:
                earlier[as_str(row["criterion_id"])].append(pairs[as_str(row["question_id"])])
    return earlier


def declaration_parameters(
    questions: Iterable[PlannedQuestion], declared: Mapping[str, DeclaredAfter]
) -> Iterator[JsonValue]:
    """Yield what the id of a recipe's record depends on: each question, and when it was declared."""
    for question in questions:
        config = question.config
        if config is None:
            yield [question.id]
        else:
            numbers = [declared.get(question.id, {}).get(pair, 0) for pair in question.pairs]
            yield [question.id, config.name, config.variants, config.against, config.primary, numbers]


def question_rows(
    recipe: str, questions: Sequence[PlannedQuestion], declared: Mapping[str, DeclaredAfter]
) -> dict[str, list[dict[str, JsonValue]]]:
    """Return catalog table -> rows about the questions of a recipe.

    Args:
        recipe: name of the recipe.
        declared: id of a question -> its pairs with the number of results before the declaration; absent: none.
    """
    rows: dict[str, list[dict[str, JsonValue]]] = {"questions": [], "question_variants": []}
    for question in questions:
        config = question.config
        numbers = {pair: declared.get(question.id, {}).get(pair, 0) for pair in question.pairs}
        n_before = sum(numbers.values())
        rows["questions"].append(
            {
                "question_id": question.id,
                "declared_after": n_before if config else None,
                "is_declared": config is not None,
                "is_primary": config is not None and config.primary and n_before == 0,
                "recipe": recipe,
                "name": question.name,
                "variants": config.variants if config else "",
                "against": config.against if config else "dense",
                "task": question.family.task,
                "split": question.family.split,
                "metric": question.criterion.metric,
                "group_kind": question.criterion.group_kind,
                "group_name": question.criterion.group_name,
                "claim": question.criterion.claim,
                "margin": question.criterion.margin,
                "over": question.criterion.over,
                "criterion_id": question.criterion_id,
            }
        )
        rows["question_variants"] += [
            {
                "question_id": question.id,
                "variant_id": variant_id,
                "baseline_id": baseline_id,
                "declared_after": number,
            }
            for (variant_id, baseline_id), number in numbers.items()
            if config is not None
        ]
    return rows if questions else {}
