"""Declarations: whether a question was recorded before the results that it is about existed.

Records have no times. At the start of a run, before any evaluation, the run looks for results that already exist:
evaluations on an item of the question (known by its texts) of a compared variant, of a variant that has the same recipe
apart from dtype and text of the model's config, or of one whose masks and weights are equal. Such a question is
exploratory. The name of the question, split, limit, scoring rule and prompts make no difference. What is found becomes
part of the record of the recipe, and later runs keep it. Results in other stores are not known.

A variant whose masks do not exist yet cannot be compared with variants that have results. Its question is then recorded
as one that awaits its masks, and declared once they exist, before its first evaluation.

Evaluations of a baseline make no question exploratory: they are counted, and the p-value is multiplied by the number of
choices that there were among baselines that differ in seeds only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import NamedTuple

from mlprune.json_values import JsonObject, JsonValue
from mlprune.recipe.questions import QuestionConfig
from mlprune.steps.questions.asked import PlannedQuestion, evaluations_of
from mlprune.steps.questions.declaring_records import (
    NO_RESULTS,
    Declaration,
    EarlierResults,
    Pair,
    stored_declarations,
)
from mlprune.steps.questions.earlier_results import StoredEvaluation, StoredEvaluations
from mlprune.steps.questions.known_variants import KnownVariants
from mlprune.store.store import Store

MOST_CHOICES = 10**6
"""Largest number of choices among known baselines that is stated."""


@dataclass(frozen=True)
class DeclaredAfter:
    """What existed when a question was first declared."""

    results: Mapping[Pair, EarlierResults] = field(default_factory=dict)
    """Pair -> results that existed when the question was first declared for the pair."""
    other_languages: tuple[str, ...] = ()
    """Other languages in which a variant of the question had results on the same items."""
    n_seeds: int | None = None
    """Number of seeds of the first declaration, if it is not that of the question."""
    awaits_masks: bool = False
    """Whether a variant without masks has to be compared with variants that have results, before it is evaluated."""

    @property
    def n(self) -> int:
        """Number of results that make the question exploratory."""
        return sum(results.n for results in self.results.values())

    @property
    def is_primary(self) -> bool:
        """Whether the question is primary, if it is declared as such."""
        return self.n == 0 and self.n_seeds is None and not self.awaits_masks

    @property
    def columns(self) -> JsonObject:
        """Further columns of `questions`, without those that are NULL."""
        columns: JsonObject = {
            "other_languages": ", ".join(self.other_languages) or None,
            "n_seeds_declared": self.n_seeds,
            "awaits_masks": self.awaits_masks or None,
        }
        return {name: value for name, value in columns.items() if value is not None}


NOTHING = DeclaredAfter()


def declarations(
    questions: Iterable[PlannedQuestion], store: Store, *, can_wait: bool = True
) -> dict[str, DeclaredAfter]:
    """Return id of a declared question -> the results that existed before the declaration.

    A pair keeps the smallest number of earlier records that declared the same question for it: the same task,
    languages, metric, claim, margin and `over`, whatever the names. Such a record counts only if the question still has
    all of its pairs: a family may grow, but variants that are left out after their results existed make a new question.
    A record that declared the question as exploratory does not make it primary. For other pairs, the evaluations in the
    store are read. The number of seeds is that of the first declaration with results.

    Args:
        can_wait: whether the questions can be declared again, once their masks exist and before they are evaluated. If
            not, variants without masks are compared by their recipes only.
    """
    declared = [question for question in questions if question.config is not None]
    if not declared:
        return {}
    earlier: dict[str, list[Declaration]] = defaultdict(list)
    for declaration in stored_declarations(store):
        earlier[declaration.criterion_id].append(declaration)
    stored = StoredEvaluations(store)
    known = KnownVariants(store, declared[0].identities)
    return {
        question.id: _Declaring(question, earlier[question.criterion_id], stored, known, can_wait).found()
        for question in declared
    }


def awaited_variants(questions: Iterable[PlannedQuestion], declared: Mapping[str, DeclaredAfter]) -> frozenset[str]:
    """Return the variants whose masks have to exist before their questions can be declared."""
    awaiting = (each for each in questions if each.id in declared and declared[each.id].awaits_masks)
    return frozenset(variant_id for question in awaiting for variant_id, _ in question.pairs)


def dropped_questions(recipe: str, primary: Sequence[PlannedQuestion], store: Store) -> list[str]:
    """Return the names of primary questions that a recipe of this name declared before and no longer asks.

    Such a question may ask about fewer variants, other languages or another claim under the same name; the earlier one
    still counts. A question with the same name and more variants replaces it, and a new name alone changes nothing. One
    of a damaged or quarantined record counts whatever its status, and is not replaced.

    Args:
        primary: primary questions of the plan.
    """
    known = [(question.criterion_id, question.name, set(question.pairs)) for question in primary]
    dropped = set()
    for declaration in stored_declarations(store):
        pairs = declaration.results.keys()
        is_kept = any(
            criterion_id == declaration.criterion_id
            and (pairs == asked or (declaration.is_sound and pairs < asked and name == declaration.name))
            for criterion_id, name, asked in known
        )
        counts = declaration.is_primary or not declaration.is_sound
        if counts and declaration.recipe == recipe and not is_kept:
            dropped.add(declaration.name)
    return sorted(dropped)


class _Declaring(NamedTuple):
    """A question that is declared in a store."""

    question: PlannedQuestion
    earlier: Sequence[Declaration]
    """Declarations of the same criterion in the store."""
    stored: StoredEvaluations
    known: KnownVariants
    can_wait: bool

    def found(self) -> DeclaredAfter:
        """Return what existed before the question was declared."""
        question = self.question
        is_primary = question.config is not None and question.config.primary
        valid = [each for each in self.earlier if each.is_sound and each.results.keys() <= set(question.pairs)]
        results: dict[Pair, EarlierResults] = {}
        new: list[Pair] = []
        for pair in question.pairs:
            kept = [
                each.results[pair]
                for each in valid
                if pair in each.results and (self._was_meant(each) or each.results[pair].n or not is_primary)
            ]
            new += [] if kept else [pair]
            results[pair] = min(kept, key=_order) if kept else NO_RESULTS
        sharing = (
            self.stored.sharing(evaluations_of(question, question.comparisons[0])) if new or question.n_seeds else []
        )
        of_variant: dict[str, list[StoredEvaluation]] = defaultdict(list)
        for stored in sharing:
            of_variant[stored.variant_id].append(stored)
        awaits_masks = self._add_new(results, new, of_variant) and self.can_wait and is_primary
        n_seeds = self._first_seeds(of_variant)
        awaits_masks = awaits_masks and not any(each.n for each in results.values())
        return DeclaredAfter(
            {} if awaits_masks else results,  # which masks exist already depends on where an earlier run ended
            self._other_languages(new, valid),
            None if n_seeds == question.n_seeds or not is_primary else n_seeds,
            awaits_masks,
        )

    def _was_meant(self, earlier: Declaration) -> bool:
        """Whether an earlier declaration was primary, or waited for the number of seeds that the question now has."""
        return earlier.is_primary or (earlier.n_seeds is not None and earlier.n_seeds == self.question.n_seeds)

    def _other_languages(self, new: Sequence[Pair], valid: Sequence[Declaration]) -> tuple[str, ...]:
        """Return the other languages in which new variants have results, and those that earlier declarations name."""
        languages = {language for each in valid for language in each.other_languages}
        if new:
            evaluations = evaluations_of(self.question, self.question.comparisons[0])
            languages.update(self.stored.other_languages((variant_id for variant_id, _ in new), evaluations))
        return tuple(sorted(languages))

    def _add_new(
        self,
        results: dict[Pair, EarlierResults],
        new: Sequence[Pair],
        of_variant: Mapping[str, Sequence[StoredEvaluation]],
    ) -> bool:
        """Add the results of pairs that no record declares; return whether masks have to exist first.

        A variant with results whose record is missing or damaged cannot be compared, and counts as equal to each.
        """
        own = {variant_id for variant_id, _ in new}
        recipes = {variant_id: self.known.keys(variant_id).recipe for variant_id in (*own, *of_variant)}
        others = [one for one in of_variant if one not in own and self.known.has_changes(one)] if own else []
        equal: dict[object, list[str]] = defaultdict(list)
        for other in others:
            if (key := self.known.weights_key(other)) is not None:
                equal[key].append(other)
        nearest = self.known.nearest(own, others) if others else {}
        unknown = {one for one in of_variant if not self.known.is_known(one)}
        awaits_masks = False
        for variant_id, baseline_id in new:
            same = unknown | {one for one in of_variant if recipes[one] == recipes[variant_id]}
            if others and not same:
                key = self.known.weights_key(variant_id)
                same |= set(equal[key]) if key is not None else set()
                awaits_masks |= not self.known.is_stored(variant_id)
            ids = sorted(stored.evaluation_id for one in same for stored in of_variant[one])
            results[variant_id, baseline_id] = EarlierResults(
                len(ids),
                ids[0] if ids else None,
                self._n_baselines(baseline_id, of_variant),
                nearest.get(variant_id),
            )
        return awaits_masks

    def _n_baselines(self, baseline_id: str, of_variant: Mapping[str, object]) -> int:
        """Return how many choices there were among the baselines with results that differ from one in seeds only.

        If the question asks about all of them, nothing was chosen. A baseline without results was not looked at. For
        the mean over some of them, each set of as many could have been chosen.
        """
        if baseline_id not in of_variant:
            return 0
        kind = self.known.keys(baseline_id).unseeded
        alike = {one for one in of_variant if self.known.keys(one).unseeded == kind}
        n_asked = len(alike & {asked for _, asked in self.question.pairs})
        n_chosen = n_asked if self.question.criterion.over == "mean" else min(1, len(alike) - n_asked)
        return min(MOST_CHOICES, comb(len(alike), n_chosen))

    def _first_seeds(self, of_variant: Mapping[str, object]) -> int:
        """Return the number of seeds that the first declaration states; that of the question if it is the first.

        An earlier declaration of the same question with other seeds counts if one of its variants has results. One of a
        damaged or quarantined record counts only against the question.
        """
        config = self.question.config
        stated = (config.seeds if config else None) or self.question.n_seeds
        if not self.question.n_seeds:
            return stated
        kinds = self._kinds(self.question.pairs)
        asked = [
            each
            for each in self.earlier
            if (each.is_primary or each.n_seeds is not None or not each.is_sound)
            and any(variant_id in of_variant for variant_id, _ in each.results)
            and not set(kinds).isdisjoint(self._kinds(each.results))
        ]
        lost = {self._seeds_of(each) for each in asked if not each.is_sound} - {self.question.n_seeds}
        return min(lost or (self._seeds_of(each) for each in asked if each.is_sound), default=stated)

    def _seeds_of(self, earlier: Declaration) -> int:
        return earlier.n_seeds or max(Counter(self._kinds(earlier.results)).values())

    def _kinds(self, pairs: Iterable[Pair]) -> list[str]:
        """Return the kind of the variant of each pair without its seeds, one per variant."""
        return [self.known.keys(variant_id).unseeded for variant_id in dict.fromkeys(variant for variant, _ in pairs)]


def _order(results: EarlierResults) -> tuple[int, str, int, float]:
    agreement = results.neighbour.agreement if results.neighbour else 0.0
    return results.n, results.evaluation_id or "", results.n_baselines, agreement


def declaration_parameters(
    questions: Iterable[PlannedQuestion], declared: Mapping[str, DeclaredAfter]
) -> Iterator[JsonValue]:
    """Yield what the id of a recipe's record depends on: each question, and when it was declared."""
    for question in questions:
        config = question.config
        if config is None:
            yield [question.id]
        else:
            after = declared.get(question.id, NOTHING)
            numbers: list[JsonValue] = [after.results.get(pair, NO_RESULTS).parameters for pair in question.pairs]
            against = [config.against.name, *config.against.ignore] if config.against.ignore else config.against.name
            columns = {**after.columns, **title_of(config)}
            further = [columns] if columns else []
            yield [question.id, config.name, config.variants, against, config.primary, numbers, *further]


def title_of(config: QuestionConfig) -> JsonObject:
    """Return the title of a question as a column of its row; empty if the recipe gives none.

    It is a parameter of the record of the recipe, so that a run records another title, and of no question.
    """
    return {} if config.title is None else {"title": config.title}


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
        after = declared.get(question.id, NOTHING)
        results = {pair: after.results.get(pair, NO_RESULTS) for pair in question.pairs}
        is_primary = config is not None and config.primary and after.is_primary
        if is_primary:
            rows["recipe_questions"].append({"recipe": recipe, "question_id": question.id})
        earlier = sorted(each.evaluation_id for each in results.values() if each.evaluation_id is not None)
        rows["questions"].append(
            {
                "question_id": question.id,
                "declared_after": after.n if config else None,
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
                **after.columns,
                **(title_of(config) if config else {}),
            }
        )
        rows["question_variants"] += [
            {
                "question_id": question.id,
                "variant_id": variant_id,
                "baseline_id": baseline_id,
                "declared_after": each.n,
                "earlier_evaluation_id": each.evaluation_id,
                **each.columns,
            }
            for (variant_id, baseline_id), each in results.items()
            if config is not None and not after.awaits_masks  # the declaration that follows has them
        ]
    return rows if questions else {}
