"""Findings: answers to the main questions, as sentences computed from the rows of queries."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.report.drawing.exhibits import grouped
from catalog.report.filters import Facets
from catalog.report.labels import number
from catalog.results import Row
from mlprune.numeric.evaluation.significance import holm

ALPHA = 0.05


@dataclass(frozen=True)
class Finding:
    """One card: a question, a short answer, and a sentence."""

    question: str
    answer: str
    sentence: str
    tone: str = "open"
    """Colour of the answer: `good`, `bad` or `open`."""
    facets: Facets = field(default_factory=dict)


def best_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Compare the variants chosen on dev with dense on test, outside English.

    Args:
        rows: result of `best_by_language.sql`, one model and scoring rule.
        suffix: appended to the question.
    """
    question = f"Does pruning help outside English?{suffix}"
    tested = [row for row in rows if row["difference"] is not None and row["language"] != "en"]
    if not tested:
        sentence = "No variant can be chosen on dev and reported on test: evaluations need both splits, and languages "
        return Finding(question, "–", sentence + "in addition to en.")
    better = [row for row in tested if row["difference"] > 0]
    n_significant = sum(
        p is not None and p < ALPHA and row in better for row, p in zip(rows, holm_p_values(rows), strict=True)
    )
    top = max(tested, key=lambda row: (row["difference"], row["language"]))
    sentence = (
        f"Chosen on dev, the best pruned variant is more accurate on test than the dense model in {len(better)} of "
        f"{len(tested)} languages, significantly in {n_significant}. "
        f"{'Largest gain' if better else 'Smallest loss'}: {top['language']} at sparsity {top['sparsity']:g}, "
        f"{number(top['test_value'])} and {number(top['dense_value'])} for dense, a difference of "
        f"{number(top['difference'], signed=True)}{interval(top, 'difference_ci')}."
    )
    if len(tested) > 1:
        worst = min(tested, key=lambda row: (row["difference"], row["language"]))
        mean = sum(row["difference"] for row in tested) / len(tested)
        sentence += (
            f" The lowest difference is {number(worst['difference'], signed=True)}{interval(worst, 'difference_ci')} "
            f"in {worst['language']}; the mean over these languages is {number(mean, signed=True)}."
        )
    tone = "good" if n_significant else "open" if top["difference"] >= 0 else "bad"
    return Finding(question, f"{number(top['difference'], signed=True)} {top['language']}", sentence, tone)


def holm_p_values(rows: Sequence[Row]) -> list[float | None]:
    """Return the p-value of each row after Holm's correction over these rows, None for rows without one."""
    p_values = [row["p_value"] for row in rows if row["p_value"] is not None]
    corrected = iter(holm(p_values) if p_values else [])
    return [None if row["p_value"] is None else next(corrected) for row in rows]


def english_finding(rows: Sequence[Row], cost: Sequence[Row], *, suffix: str = "") -> Finding:
    """Report the change in English for the variants chosen for other languages, and on average at each sparsity.

    Args:
        rows: result of `best_by_language.sql`.
        cost: of `english_cost.sql`.
        suffix: appended to the question.
    """
    question = f"What is the cost in English?{suffix}"
    changes = [
        row["english_difference"] for row in rows if row["language"] != "en" and row["english_difference"] is not None
    ]
    default_cost = [row for row in cost if not row["settings"]]
    by_sparsity = ", ".join(
        f"{number(_mean(members, 'difference', weight='n_variants'), signed=True)} at {sparsity:g}"
        for (sparsity,), members in grouped(sorted(default_cost or cost, key=lambda row: row["sparsity"]), "sparsity")
        if sparsity > 0 and all(row["difference"] is not None for row in members)
    )
    which = "pruned variants with default settings" if 0 < len(default_cost) < len(cost) else "pruned variants"
    average = f" Over all {which}, English changes on average by {by_sparsity} sparsity." if by_sparsity else ""
    if not changes:
        sentence = "The chosen variants were not evaluated on test in English: evaluations need en among languages."
        return Finding(question, "–", sentence + average)
    mean = sum(changes) / len(changes)
    low, high = (number(end, signed=True) for end in (min(changes), max(changes)))
    spread = f"by {low} to {high}" if low != high else f"by {low}"
    sentence = f"With the variants that were best for the other languages, English accuracy changes {spread}.{average}"
    tone = "good" if mean >= 0 else "bad"
    return Finding(question, f"{number(mean, signed=True)} en", sentence, tone)


def gap_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Compare the gap to English of the variants chosen for other languages with the gap of the dense model.

    Args:
        rows: result of `best_by_language.sql`, one model and scoring rule.
        suffix: appended to the question.
    """
    question = f"Does the gap to English become smaller?{suffix}"
    changes = {
        row["language"]: row["english_difference"] - row["difference"]
        for row in rows
        if row["language"] != "en" and row["difference"] is not None and row["english_difference"] is not None
    }
    if not changes:
        return Finding(question, "–", "This needs variants evaluated on dev and test, in English and other languages.")
    mean = sum(changes.values()) / len(changes)
    closest = min(changes, key=lambda language: (changes[language], language))
    n_smaller = sum(change < 0 for change in changes.values())
    sentence = (
        f"With the variant chosen for a language, the gap to English is smaller than in the dense model in "
        f"{n_smaller} of {len(changes)} languages. It changes by {number(mean, signed=True)} on average, and most in "
        f"{closest}, by {number(changes[closest], signed=True)}. The gap also becomes smaller where English loses."
    )
    return Finding(question, f"{number(mean, signed=True)} gap", sentence)


def balance_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Count the variants that are at least as accurate as dense both in English and in the mean of the other languages.

    Args:
        rows: result of `pareto.sql`, one model and task.
        suffix: appended to the question.
    """
    question = f"Does any variant keep both English and the other languages?{suffix}"
    dense = {_conditions(row): row for row in rows if row["is_dense"]}
    pairs = [(row, dense[_conditions(row)]) for row in rows if not row["is_dense"] and _conditions(row) in dense]
    if not pairs:
        return Finding(question, "–", "No variant was evaluated on test in English and another language.")
    sides = ("english_value", "others_value")
    as_good = [row for row, baseline in pairs if all(row[side] >= baseline[side] for side in sides)]
    sentence = (
        f"On test, {len(as_good)} of {len(pairs)} variants are at least as accurate as the dense model in English and "
        "in the mean of the other languages, before any test of significance."
    )
    if as_good:
        top = max(as_good, key=lambda row: (row["sparsity"], row["others_value"], row["variant_id"]))
        sentence += (
            f" The sparsest of them removes {top['sparsity']:.3g}: {number(top['english_value'])} in English, "
            f"{number(top['others_value'])} in the others ({top['label']})."
        )
    return Finding(question, f"{len(as_good)} of {len(pairs)}", sentence)


def _conditions(row: Row) -> tuple[object, ...]:
    """Return the columns that two variants have to share to be compared."""
    return tuple(row[column] for column in ("scoring_rule", "example_limit", "languages"))


def comparison_finding(rows: Sequence[Row], opponent: str, score: str, described: Sequence[Row]) -> Finding:
    """Compare translation demonstrations with an opponent outside English at equal sparsity.

    Only variants with default settings are used, if there are any. Otherwise the sentence mentions the settings.

    Args:
        rows: result of `demonstrations_compared.sql`.
        opponent: `monolingual` or `random`.
        score: the score that read the demonstrations.
        described: of `outside_english.sql`, for a description if no paired comparison is stored.
    """
    opponent_name = "monolingual ones" if opponent == "monolingual" else "random pruning"
    question = f"Do translation demonstrations beat {opponent_name}? ({score})"
    comparisons = [row for row in rows if row["opponent"] == opponent]
    with_defaults = [row for row in comparisons if not row["settings"]]
    comparisons = with_defaults or comparisons
    if not comparisons:
        return _described_finding(question, opponent, score, described)
    n_all = sum(row["n_comparisons"] for row in comparisons)
    better, worse = (sum(row[f"n_significantly_{way}"] for row in comparisons) for way in ("better", "worse"))
    mean = _mean(comparisons, "mean_difference", weight="n_comparisons")
    verdict, tone = _verdict(mean, better=better, worse=worse)
    sentence = (
        f"{verdict} {opponent_name}: at equal sparsity, outside English, on test, the mean difference over {n_all} "
        f"paired comparisons is {number(mean, signed=True)}. They win {sum(row['n_wins'] for row in comparisons)} and "
        f"lose {sum(row['n_losses'] for row in comparisons)}, {better} and {worse} of these significantly (Holm's "
        "correction over their families)."
    )
    if not with_defaults:
        sentence += f" Their settings: {'; '.join(dict.fromkeys(row['settings'] for row in comparisons))}."
    return Finding(question, number(mean, signed=True), sentence, tone)


def _verdict(mean: float, *, better: int, worse: int) -> tuple[str, str]:
    if mean > 0 and better > worse:
        return "Translation demonstrations beat", "good"
    if mean < 0 and worse > better:
        return "Translation demonstrations lose to", "bad"
    return "Translation demonstrations show no clear difference to", "open"


def _described_finding(question: str, opponent: str, score: str, described: Sequence[Row]) -> Finding:
    """Report the difference of the means at equal sparsity, and advise how to test it."""
    advice = "No paired comparison is stored; the key against in an entry of the recipe's variants creates them."
    translation = [
        row for row in described if row["score"] == score and row["set_kind"] == "translation" and not row["settings"]
    ]
    baseline = {_comparison_key(row): row["accuracy"] for row in described if _is_opponent(row, opponent, score)}
    differences = [
        row["accuracy"] - baseline[key]
        for row in translation
        if (key := _comparison_key(row, with_propagation=opponent != "random")) in baseline
    ]
    if not differences:
        return Finding(question, "–", f"{advice} Both kinds have to be pruned at the same sparsity.")
    mean = sum(differences) / len(differences)
    sentence = (
        f"{advice} The mean accuracies outside English at equal sparsity differ by {number(mean, signed=True)}, "
        "without any test."
    )
    return Finding(question, number(mean, signed=True), sentence)


def _is_opponent(row: Row, opponent: str, score: str) -> bool:
    if opponent == "random":
        return bool(row["score"] == "random")
    return bool(row["score"] == score and row["set_kind"] == opponent)


def _comparison_key(row: Row, *, with_propagation: bool = True) -> tuple[object, ...]:
    """Return the columns that two means have to share to be compared; random pruning has no propagation."""
    columns = ("base_model_id", "scoring_rule", "example_limit", "structure", "settings", "sparsity")
    return (*(row[column] for column in columns), row["propagation"] if with_propagation else None)


def _mean(rows: Sequence[Row], column: str, *, weight: str) -> float:
    return float(sum(row[column] * row[weight] for row in rows) / sum(row[weight] for row in rows))


def interval(row: Row, columns: str, *, signed: bool = True) -> str:
    """Return ` (low to high)` from the columns `<columns>_low` and `<columns>_high`; empty without an interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None or high is None:
        return ""
    return f" ({number(low, signed=signed)} to {number(high, signed=signed)})"
