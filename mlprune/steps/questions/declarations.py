"""Declarations: whether a question was recorded before the results that it is about existed.

Records have no times. At the start of a run, before any job, the run looks for results that already exist: evaluations
of a compared variant on the task and language of the question that share an item (id and right answer) with its own
evaluation. Split, limit, scoring rule, prompts and the name of the question make no difference, and evaluations of the
baseline alone do not count. What is found becomes part of the record of the recipe, and later runs keep it. A question
that is declared after such a result is exploratory. Results in other stores are not known.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from mlprune.errors import DamagedArtefactError, RetiredArtefactError
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task_files import Item
from mlprune.json_values import JsonValue, as_int, as_str
from mlprune.steps.questions.asked import PlannedQuestion, evaluations_of
from mlprune.steps.tasks import stored_items
from mlprune.steps.tasks.evaluation import EvaluationSpec, task_data
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.store.records import Record
from mlprune.store.store import Store

Pair = tuple[str, str]
"""(variant, baseline)."""
ItemKeys = frozenset[tuple[str, str]]
"""(id, right answer) of items."""


class EarlierResults(NamedTuple):
    """Evaluations of a variant that existed when a question was first declared for it."""

    n: int = 0
    evaluation_id: str | None = None
    """The first of them, in the order of the ids; None if there are none, or in records of earlier versions."""


NO_RESULTS = EarlierResults()
DeclaredAfter = Mapping[Pair, EarlierResults]
"""Pair -> results that existed when the question was first declared for the pair."""


def declarations(questions: Iterable[PlannedQuestion], store: Store) -> dict[str, DeclaredAfter]:
    """Return id of a declared question -> its pairs with the results that existed before the declaration.

    A pair keeps the smallest number of earlier records that declared the same question for it: the same task,
    languages, metric, claim, margin and `over`, whatever the names. Such a record counts only if the question still has
    all of its pairs: a family may grow, but variants that are left out after their results existed make a new question.
    A record that declared the question as exploratory does not make it primary. For other pairs, the evaluations of the
    variant in the store are read.
    """
    declared = [question for question in questions if question.config is not None]
    if not declared:
        return {}
    earlier = _earlier(store.records("recipes"))
    stored = _StoredEvaluations(store)
    return {question.id: _declared_after(question, earlier[question.criterion_id], stored) for question in declared}


def dropped_questions(recipe: str, primary: Sequence[PlannedQuestion], store: Store) -> list[str]:
    """Return the names of primary questions that a recipe of this name declared before and no longer asks.

    Such a question may ask about fewer variants, other languages or another claim under the same name; the earlier one
    still counts. A question with the same name and more variants replaces it, and a new name alone changes nothing.

    Args:
        primary: primary questions of the plan.
    """
    known = [(question.criterion_id, question.name, set(question.pairs)) for question in primary]
    dropped = set()
    for record in store.records("recipes"):
        for declaration in _declared_in(record):
            pairs = declaration.results.keys()
            is_kept = any(
                criterion_id == declaration.criterion_id
                and (pairs == asked or (pairs < asked and name == declaration.name))
                for criterion_id, name, asked in known
            )
            if declaration.is_primary and declaration.recipe == recipe and not is_kept:
                dropped.add(declaration.name)
    return sorted(dropped)


class _Declaration(NamedTuple):
    """What the record of a recipe says about a declared question."""

    criterion_id: str
    recipe: str
    name: str
    is_primary: bool
    results: DeclaredAfter


def _declared_after(
    question: PlannedQuestion, earlier: Sequence[_Declaration], stored: "_StoredEvaluations"
) -> DeclaredAfter:
    is_primary = question.config is not None and question.config.primary
    valid = [each for each in earlier if each.results.keys() <= set(question.pairs)]
    found: dict[Pair, EarlierResults] = {}
    for comparison, pair in zip(question.comparisons, question.pairs, strict=True):
        known = [
            each.results[pair]
            for each in valid
            if pair in each.results and (each.is_primary or each.results[pair].n or not is_primary)
        ]
        found[pair] = min(known, key=_order) if known else stored.sharing(pair[0], evaluations_of(question, comparison))
    return found


def _order(results: EarlierResults) -> tuple[int, str]:
    return results.n, results.evaluation_id or ""


class _Stored(NamedTuple):
    """What is known of a stored evaluation without its predictions."""

    evaluation_id: str
    split: str
    items_id: str | None
    """None in records of earlier versions."""


class _StoredEvaluations:
    """The evaluations of a store by variant, task and language; read once, and only if they are needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._item_keys: dict[str, ItemKeys | None] = {}
        self._shared: dict[tuple[str, TaskSpec], bool] = {}

    def sharing(self, variant_id: str, evaluations: Sequence[EvaluationSpec]) -> EarlierResults:
        """Return the stored evaluations of a variant that share a task, a language and an item with one of these."""
        found = sorted(
            stored.evaluation_id
            for evaluation in evaluations
            for stored in self._evaluations.get((variant_id, evaluation.task.task, evaluation.task.language), ())
            if self._share_an_item(stored, evaluation)
        )
        return EarlierResults(len(found), found[0]) if found else NO_RESULTS

    @cached_property
    def _evaluations(self) -> Mapping[tuple[str, str, str], list[_Stored]]:
        index: dict[tuple[str, str, str], list[_Stored]] = defaultdict(list)
        for record in self._store.each_record(self._store.record_ids("evaluations")):
            task, language, split = (str(record.parameters.get(name, "")) for name in ("task", "language", "split"))
            items_id = next((row.get("items_id") for row in record.rows.get("evaluations", ())), None)
            stored = _Stored(record.id, split, None if items_id is None else as_str(items_id))
            index[str(record.parents.get("variant", "")), task, language].append(stored)
        return index

    def _share_an_item(self, stored: _Stored, evaluation: EvaluationSpec) -> bool:
        """Whether two evaluations share an item; if one has lost its items, whether they have the same split."""
        if stored.items_id is None or (keys := self._stored_keys(stored.items_id)) is None:
            return stored.split == evaluation.task.split
        known = (stored.items_id, evaluation.task)
        if known not in self._shared:
            self._shared[known] = not keys.isdisjoint(map(_key_of, task_data(evaluation.task).items))
        return self._shared[known]

    def _stored_keys(self, items_id: str) -> ItemKeys | None:
        if items_id not in self._item_keys:
            self._item_keys[items_id] = self._read_keys(items_id)
        return self._item_keys[items_id]

    def _read_keys(self, items_id: str) -> ItemKeys | None:
        record = self._store.read_record(stored_items.KIND, items_id)
        if record is None or not record.artefacts:
            return None
        try:
            columns = self._store.read_table(record.artefacts[0])
        except (DamagedArtefactError, RetiredArtefactError):
            return None
        if "reference" in columns:
            return frozenset(zip(map(str, columns["example_id"]), map(str, columns["reference"]), strict=True))
        rows = zip(columns["example_id"], columns["candidate"], columns["is_gold"], strict=True)
        return frozenset((str(example), str(candidate)) for example, candidate, is_gold in rows if is_gold)


def _key_of(item: Item) -> tuple[str, str]:
    answer = item.candidates[item.gold] if isinstance(item, ChoiceItem) else item.reference
    return item.example_id, answer


def _earlier(records: Iterable[Record]) -> dict[str, list[_Declaration]]:
    """Return key of the criterion -> what each record of a recipe says about a declared question."""
    earlier: dict[str, list[_Declaration]] = defaultdict(list)
    for record in records:
        for declaration in _declared_in(record):
            earlier[declaration.criterion_id].append(declaration)
    return earlier


def _declared_in(record: Record) -> Iterator[_Declaration]:
    """Yield the declared questions in the record of a recipe."""
    results: dict[str, dict[Pair, EarlierResults]] = defaultdict(dict)
    for row in record.rows.get("question_variants", ()):
        pair = as_str(row["variant_id"]), as_str(row["baseline_id"])
        evaluation_id = row.get("earlier_evaluation_id")
        results[as_str(row["question_id"])][pair] = EarlierResults(
            as_int(row["declared_after"]), None if evaluation_id is None else as_str(evaluation_id)
        )
    for row in record.rows.get("questions", ()):
        if row["is_declared"]:
            criterion_id, recipe, name = (as_str(row[column]) for column in ("criterion_id", "recipe", "name"))
            is_primary = bool(row["is_primary"])
            yield _Declaration(criterion_id, recipe, name, is_primary, results[as_str(row["question_id"])])


def declaration_parameters(
    questions: Iterable[PlannedQuestion], declared: Mapping[str, DeclaredAfter]
) -> Iterator[JsonValue]:
    """Yield what the id of a recipe's record depends on: each question, and when it was declared."""
    for question in questions:
        config = question.config
        if config is None:
            yield [question.id]
        else:
            results = [declared.get(question.id, {}).get(pair, NO_RESULTS) for pair in question.pairs]
            against = [config.against.name, *config.against.ignore] if config.against.ignore else config.against.name
            numbers: list[JsonValue] = [each.n if each.evaluation_id is None else list(each) for each in results]
            yield [question.id, config.name, config.variants, against, config.primary, numbers]


def question_rows(
    recipe: str, questions: Sequence[PlannedQuestion], declared: Mapping[str, DeclaredAfter]
) -> dict[str, list[dict[str, JsonValue]]]:
    """Return catalog table -> rows about the questions of a recipe.

    Args:
        recipe: name of the recipe.
        declared: of `declarations`; absent: no results.
    """
    rows: dict[str, list[dict[str, JsonValue]]] = {
        "questions": [],
        "question_variants": [],
        "recipe_questions": [],
    }
    for question in questions:
        config = question.config
        results = {pair: declared.get(question.id, {}).get(pair, NO_RESULTS) for pair in question.pairs}
        n_before = sum(each.n for each in results.values())
        is_primary = config is not None and config.primary and n_before == 0
        if is_primary:
            rows["recipe_questions"].append({"recipe": recipe, "question_id": question.id})
        earlier = sorted(each.evaluation_id for each in results.values() if each.evaluation_id is not None)
        rows["questions"].append(
            {
                "question_id": question.id,
                "declared_after": n_before if config else None,
                "earlier_evaluation_id": earlier[0] if config and earlier else None,
                "is_declared": config is not None,
                "is_primary": is_primary,
                "recipe": recipe,
                "name": question.name,
                "variants": config.variants if config else "",
                "against": config.against.name if config else "dense",
                "differs_in": ", ".join(question.differs_in),
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
                "declared_after": each.n,
                "earlier_evaluation_id": each.evaluation_id,
            }
            for (variant_id, baseline_id), each in results.items()
            if config is not None
        ]
    return rows if questions else {}
