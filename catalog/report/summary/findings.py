"""What was found, in words, whatever it is: sentences are computed from rows, never assumed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.report.drawing.exhibits import grouped
from catalog.report.filters import Facets
from catalog.report.labels import Row, number
from mlprune.numeric.evaluation.significance import holm

ALPHA = 0.05


@dataclass(frozen=True)
class Finding:
    """One card: a question, a number as the short answer, and a sentence."""

    question: str
    answer: str
    sentence: str
    tone: str = "open"
    """`good`, `bad` or `open`: colours the number."""
    facets: Facets = field(default_factory=dict)


def best_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Whether a variant chosen on dev beats dense on test, outside English where there is such a language.

    Args:
        rows: of `best_by_language.sql`, one model and scoring rule.
        suffix: appended to the question.
    """
    question = f"Does pruning help outside English?{suffix}"
    tested = [row for row in rows if row["difference"] is not None and row["language"] != "en"]
    if not tested:
        sentence = "No variant can be chosen on dev and reported on test: evaluations need both splits and languages "
        return Finding(question, "–", sentence + "beside en.")
    better = [row for row in tested if row["difference"] > 0]
    n_sure = sum(p is not None and p < ALPHA and row in better for row, p in zip(rows, adjusted(rows), strict=True))
    top = max(tested, key=lambda row: (row["difference"], row["language"]))
    sentence = (
        f"Chosen on dev, the best pruned variant is more accurate on test than the dense model in {len(better)} of "
        f"{len(tested)} languages, significantly in {n_sure}. {'Largest gain' if better else 'The best of them'}: "
        f"{top['language']} at sparsity {top['sparsity']:g}, {number(top['test_value'])} against "
        f"{number(top['dense_value'])} dense, a difference of {number(top['difference'], signed=True)}"
        f"{interval(top, 'difference_ci')}."
    )
    if len(tested) > 1:
        least = min(tested, key=lambda row: (row["difference"], row["language"]))
        mean = sum(row["difference"] for row in tested) / len(tested)
        sentence += (
            f" Worst off is {least['language']} with {number(least['difference'], signed=True)}"
            f"{interval(least, 'difference_ci')}; the mean over these languages is {number(mean, signed=True)}."
        )
    tone = "good" if n_sure else "open" if top["difference"] >= 0 else "bad"
    return Finding(question, f"{number(top['difference'], signed=True)} {top['language']}", sentence, tone)


def adjusted(rows: Sequence[Row]) -> list[float | None]:
    """Each row's p-value after Holm over these rows; a row without one stays without."""
    known = [row["p_value"] for row in rows if row["p_value"] is not None]
    values = iter(holm(known) if known else [])
    return [None if row["p_value"] is None else next(values) for row in rows]


def english_finding(rows: Sequence[Row], cost: Sequence[Row], *, suffix: str = "") -> Finding:
    """What English pays for the variants that were best elsewhere, and on average at each sparsity.

    Args:
        rows: of `best_by_language.sql`.
        cost: of `english_cost.sql`.
        suffix: appended to the question.
    """
    question = f"What does English pay?{suffix}"
    paid = [
        row["english_difference"] for row in rows if row["language"] != "en" and row["english_difference"] is not None
    ]
    usual = [row for row in cost if not row["settings"]]
    by_sparsity = ", ".join(
        f"{number(_mean(members, 'difference', weight='n_variants'), signed=True)} at {sparsity:g}"
        for (sparsity,), members in grouped(sorted(usual or cost, key=lambda row: row["sparsity"]), "sparsity")
        if sparsity > 0 and all(row["difference"] is not None for row in members)
    )
    which = "pruned variants of default settings" if 0 < len(usual) < len(cost) else "pruned variants"
    over_all = f" Over all {which} English changes on average by {by_sparsity} sparsity." if by_sparsity else ""
    if not paid:
        sentence = "English was not evaluated on test beside the chosen variants: evaluations need en among languages."
        return Finding(question, "–", sentence + over_all)
    mean = sum(paid) / len(paid)
    low, high = (number(end, signed=True) for end in (min(paid), max(paid)))
    spread = f"from {low} to {high}" if low != high else f"by {low}"
    sentence = f"With the variants that were best for the other languages, English accuracy changes {spread}.{over_all}"
    tone = "good" if mean >= 0 else "bad"
    return Finding(question, f"{number(mean, signed=True)} en", sentence, tone)


def gap_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Whether English is less far ahead with the variants that were chosen for the other languages.

    Args:
        rows: of `best_by_language.sql`, one model and scoring rule.
        suffix: appended to the question.
    """
    question = f"Have the languages come closer to English?{suffix}"
    changes = {
        row["language"]: row["english_difference"] - row["difference"]
        for row in rows
        if row["language"] != "en" and row["difference"] is not None and row["english_difference"] is not None
    }
    if not changes:
        return Finding(question, "–", "It takes variants evaluated on dev and test, in English and other languages.")
    mean = sum(changes.values()) / len(changes)
    closest = min(changes, key=lambda language: (changes[language], language))
    n_closer = sum(change < 0 for change in changes.values())
    sentence = (
        f"With the variant chosen for a language, English is less far ahead of it than in the dense model in "
        f"{n_closer} of {len(changes)} languages. The gap changes by {number(mean, signed=True)} on average, most in "
        f"{closest}, by {number(changes[closest], signed=True)}. It also closes where English loses."
    )
    return Finding(question, f"{number(mean, signed=True)} gap", sentence)


def balance_finding(rows: Sequence[Row], *, suffix: str = "") -> Finding:
    """Whether a variant is at least as accurate as dense both in English and in the mean of the other languages.

    Args:
        rows: of `pareto.sql`, one model and task.
        suffix: appended to the question.
    """
    question = f"Does any variant keep both English and the rest?{suffix}"
    dense = {_evaluated(row): row for row in rows if row["is_dense"]}
    held = [(row, dense[_evaluated(row)]) for row in rows if not row["is_dense"] and _evaluated(row) in dense]
    if not held:
        return Finding(question, "–", "No variant was evaluated on test in English and another language.")
    kept = [row for row, other in held if all(row[side] >= other[side] for side in ("english_value", "others_value"))]
    sentence = (
        f"{len(kept)} of {len(held)} variants are on test at least as accurate as the dense model in English and in "
        "the mean of the other languages, before any test of significance."
    )
    if kept:
        top = max(kept, key=lambda row: (row["sparsity"], row["others_value"], row["variant_id"]))
        sentence += (
            f" The sparsest of them removes {top['sparsity']:.3g}: {number(top['english_value'])} in English, "
            f"{number(top['others_value'])} elsewhere ({top['label']})."
        )
    return Finding(question, f"{len(kept)} of {len(held)}", sentence)


def _evaluated(row: Row) -> tuple[object, ...]:
    """What has to be equal for two variants to be held against each other."""
    return tuple(row[column] for column in ("scoring_rule", "example_limit", "languages"))


def comparison_finding(rows: Sequence[Row], opponent: str, score: str, described: Sequence[Row]) -> Finding:
    """Whether translation demonstrations beat an opponent outside English at equal sparsity.

    Variants whose settings are all defaults count; others only where there are no such, and are named then.

    Args:
        rows: of `demonstrations_compared.sql`.
        opponent: `monolingual` or `random`.
        score: the score the demonstrations were read by.
        described: of `outside_english.sql`, for a description where no paired comparison is stored.
    """
    said = "monolingual ones" if opponent == "monolingual" else "random pruning"
    question = f"Do translation demonstrations beat {said}? ({score})"
    paired = [row for row in rows if row["opponent"] == opponent]
    usual = [row for row in paired if not row["settings"]]
    paired = usual or paired
    if not paired:
        return _described_finding(question, opponent, score, described)
    n_all = sum(row["n_comparisons"] for row in paired)
    better, worse = (sum(row[f"n_significantly_{way}"] for row in paired) for way in ("better", "worse"))
    mean = _mean(paired, "mean_difference", weight="n_comparisons")
    verdict, tone = _verdict(mean, better=better, worse=worse)
    sentence = (
        f"{verdict} {said}: at equal sparsity, outside English, on test, the mean difference over {n_all} paired "
        f"comparisons is {number(mean, signed=True)}; {sum(row['n_wins'] for row in paired)} are ahead and "
        f"{sum(row['n_losses'] for row in paired)} behind, significantly so {better} and {worse} (Holm over all)."
    )
    if not usual:
        sentence += f" Their settings: {'; '.join(dict.fromkeys(row['settings'] for row in paired))}."
    return Finding(question, number(mean, signed=True), sentence, tone)


def _verdict(mean: float, *, better: int, worse: int) -> tuple[str, str]:
    if mean > 0 and better > worse:
        return "Translation demonstrations beat", "good"
    if mean < 0 and worse > better:
        return "Translation demonstrations lose to", "bad"
    return "Translation demonstrations cannot be told apart from", "open"


def _described_finding(question: str, opponent: str, score: str, described: Sequence[Row]) -> Finding:
    """The difference of the means at equal sparsity, where both sides exist, and how to have it tested."""
    advice = "No paired comparison is stored; the key against in an entry of the recipe's variants makes them."
    ours = [
        row for row in described if row["score"] == score and row["set_kind"] == "translation" and not row["settings"]
    ]
    theirs = {_terms(row): row["accuracy"] for row in described if _is_opponent(row, opponent, score)}
    pairs = [
        row["accuracy"] - theirs[terms]
        for row in ours
        if (terms := _terms(row, with_propagation=opponent != "random")) in theirs
    ]
    if not pairs:
        return Finding(question, "–", f"{advice} Both kinds have to be pruned at one sparsity.")
    mean = sum(pairs) / len(pairs)
    way = "higher" if mean > 0 else "lower" if mean < 0 else "no different"
    sentence = (
        f"{advice} By the means outside English at equal sparsity their accuracy is {way} by {number(abs(mean))}."
    )
    return Finding(question, number(mean, signed=True), sentence)


def _is_opponent(row: Row, opponent: str, score: str) -> bool:
    if opponent == "random":
        return bool(row["score"] == "random")
    return bool(row["score"] == score and row["set_kind"] == opponent)


def _terms(row: Row, *, with_propagation: bool = True) -> tuple[object, ...]:
    """What has to be equal for two means to be held against each other; random pruning has no propagation."""
    columns = ("base_model_id", "scoring_rule", "example_limit", "structure", "settings", "sparsity")
    return (*(row[column] for column in columns), row["propagation"] if with_propagation else None)


def _mean(rows: Sequence[Row], column: str, *, weight: str) -> float:
    return float(sum(row[column] * row[weight] for row in rows) / sum(row[weight] for row in rows))


def interval(row: Row, columns: str, *, signed: bool = True) -> str:
    """` (low to high)` of the two columns that start so; nothing where there is no interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None or high is None:
        return ""
    return f" ({number(low, signed=signed)} to {number(high, signed=signed)})"
