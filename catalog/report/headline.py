"""The first section, in words: what was found, whatever it is. Sentences are computed from rows, never assumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.exhibits import grouped
from catalog.report.sources import Source, answer
from catalog.report.words import Row, number, p_value
from catalog.store import Catalog
from mlprune.numeric.significance import holm

ALPHA = 0.05
SCORES = ("wanda", "contrast")
"""Scores whose translation demonstrations are held against other demonstrations."""


@dataclass(frozen=True)
class Finding:
    """One card: a question, a number as the short answer, and a sentence."""

    question: str
    answer: str
    sentence: str
    tone: str = "open"
    """`good`, `bad` or `open`: colours the number."""


@dataclass(frozen=True)
class Headline:
    """What one task says."""

    title: str
    findings: tuple[Finding, ...]
    columns: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]
    """Best variant per language, one row each."""
    sources: tuple[Source, ...]


def headlines(catalog: Catalog) -> tuple[Headline, ...]:
    """One headline for each task that was scored by accuracy."""
    models = {row["base_model_id"]: str(row["source"]) for row in answer(catalog, "base_models").rows}
    described = answer(catalog, "outside_english")
    return tuple(
        _headline(catalog, str(row["task"]), models=models, described=described)
        for row in answer(catalog, "tasks").rows
    )


def _headline(catalog: Catalog, task: str, *, models: Mapping[str, str], described: Source) -> Headline:
    best = answer(catalog, "best_by_language", folder="queries", parameters={"task": task})
    cost = answer(catalog, "english_cost", folder="queries", parameters={"task": task, "metric": "accuracy"})
    compared = [
        answer(
            catalog,
            "demonstrations_compared",
            folder="queries",
            parameters={"task": task, "score": score, "alpha": ALPHA},
        )
        for score in SCORES
    ]
    findings = []
    for (model, _), rows in grouped(best.rows, "base_model_id", "scoring_rule"):
        suffix = f" ({models[model]})" if len(models) > 1 else ""
        findings.append(best_finding(rows, suffix=suffix))
        findings.append(
            english_finding(rows, [row for row in cost.rows if row["base_model_id"] == model], suffix=suffix)
        )
    if not findings:
        findings = [best_finding(()), english_finding((), cost.rows)]
    usable = [source for source in compared if source.rows] or compared[:1]
    of_task = [row for row in described.rows if row["task"] == task]
    for opponent in ("monolingual", "random"):
        findings += [
            comparison_finding(source.rows, opponent, source.parameters["score"], of_task) for source in usable
        ]
    return Headline(task, tuple(findings), TABLE_COLUMNS, _table(best.rows, models), (best, cost, *usable))


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
        f"{_interval(top, 'difference_ci')}."
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
    spread = f"from {number(min(paid), signed=True)} to {number(max(paid), signed=True)}"
    sentence = f"With the variants that were best for the other languages, English accuracy changes {spread}.{over_all}"
    tone = "good" if mean >= 0 else "bad"
    return Finding(question, f"{number(mean, signed=True)} en", sentence, tone)


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
    advice = "No paired comparison is stored; an against in the recipe's variants makes them."
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


def _interval(row: Row, columns: str, *, signed: bool = True) -> str:
    """` (low to high)` of the two columns that start so; nothing where there is no interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None or high is None:
        return ""
    return f" ({number(low, signed=signed)} to {number(high, signed=signed)})"


TABLE_COLUMNS: tuple[str, ...] = (
    "language",
    "chosen on dev",
    "sparsity",
    "test (95% interval)",
    "dense",
    "difference (95% interval)",
)
TABLE_COLUMNS += ("p, Holm", "English")


def _table(rows: Sequence[Row], models: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The best variants as text; Holm is computed over the languages of one model and scoring rule."""
    lines = []
    for (model, _), members in grouped(rows, "base_model_id", "scoring_rule"):
        prefix = f"{models[model]}: " if len(models) > 1 else ""
        lines += [_line(row, p_holm, prefix=prefix) for row, p_holm in zip(members, adjusted(members), strict=True)]
    return tuple(lines)


def _line(row: Row, p_holm: float | None, *, prefix: str) -> tuple[str, ...]:
    return (
        row["language"],
        prefix + (row["variant_name"] or row["variant_id"]),
        f"{row['sparsity']:g}",
        number(row["test_value"]) + _interval(row, "test_ci", signed=False),
        number(row["dense_value"]),
        number(row["difference"], signed=True) + _interval(row, "difference_ci"),
        p_value(p_holm),
        number(row["english_difference"], signed=True),
    )
