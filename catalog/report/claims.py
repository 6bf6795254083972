"""Answers to questions as texts and sentences: verdicts are those of the view `answers`, numbers those of its tests."""

import math
from collections.abc import Callable, Mapping, Sequence

from catalog.report.labels import number, text_range
from catalog.results import Row
from mlprune.vocabulary import CLAIMS, LOG_RATIO, NATS, is_higher_better

_GROUPS = {"outside_english": "outside English", "all": "over all languages", "worst": "in the worst language"}
_NAMED_GROUPS = {"script": "in the languages written in {}", "resource_class": "in the languages of resource class {}"}
ALPHA = 0.05
CANNOT_BE_ASKED = "cannot be asked"
"""Verdict of an answer without room for a loss, a difference or a gain."""
NEGLIGIBLE = 0.0005
"""Detectable differences up to this size come from variants without any change and are not reported."""


def sign_of(metric: str) -> int:
    """Return 1 if higher values of a metric are better, else -1."""
    return 1 if is_higher_better(metric) else -1


def gain_of(row: Row) -> float:
    """Return the difference with a positive sign if it is an improvement, whatever direction is better."""
    return sign_of(row["metric"]) * float(row["difference"])


def best_of(rows: Sequence[Row]) -> Row:
    """Return the answer that the view `answers` puts first: the best one of a question."""
    return min(rows, key=lambda row: int(row["place"]))


def points(value: float | None, scale: str | None = None) -> str:
    """Return a difference of fractions in points, such as `+1.3`, a ratio such as `×1.013`, or nats as they are."""
    if value is not None and scale == LOG_RATIO:
        return f"×{number(math.exp(value))}"
    if scale == NATS:
        return number(value, signed=True)
    return number(None if value is None else 100 * value, signed=True, digits=1)


def unit_of(scale: str | None) -> str:
    """Return the unit after a text of `points`, with a space before it; a ratio has none."""
    return {LOG_RATIO: "", NATS: " nats"}.get(scale or "", " points")


def points_with_interval(
    value: float | None, low: float | None, high: float | None, *, scale: str | None = None, level: float = 0.95
) -> str:
    """Return a difference with its interval and the level, such as `+0.5 points (95 % −1.0 to +2.0)`."""
    text = points(value, scale) + unit_of(scale)
    if low is None or high is None:
        return text
    return f"{text} ({100 * level:.0f} % {points(low, scale)} to {points(high, scale)})"


def verdict_text(row: Row) -> str:
    """Return the verdict of the only test of a question or the tally of several, with the reason if none can be asked.

    Args:
        row: with the columns of `question_answers`.
    """
    if row["n_answers"] == row["n_not_askable"]:
        return f"{row['answer']}: {row['reason']}"
    return str(row["answer"])


def estimate_text(row: Row, *, has_p: bool = True) -> str:
    """Return what the best test of a question measured: difference, interval with its level, margin and p-value.

    Args:
        row: the answer in the first place, with the columns of `answers`, `questions` and `question_answers`.
        has_p: whether the p-value is stated.
    """
    columns = "ci" if row["claim"] == "gain" else "ci90"
    ends = row[f"{columns}_low"], row[f"{columns}_high"]
    estimate = points_with_interval(row["difference"], *ends, scale=row["scale"], level=row["ci_level"])
    parts = [estimate if row["n_answers"] == 1 else f"best of {row['n_answers']}: {estimate}"]
    if row["claim"] != "gain":
        parts.append(f"margin {margin_text(row)}")
    if has_p:
        p_value, kind = p_of_verdict(row)
        parts.append(p_text(p_value) + (f" ({kind})" if kind else ""))
    return ", ".join(parts)


def p_of_verdict(row: Row) -> tuple[float | None, str]:
    """Return the p-value that decides an answer, and what it is unless it is the corrected one of the claim."""
    if row["claim"] == "gain":
        return (row["p_value"], "not corrected") if row["p_corrected"] is None else (row["p_corrected"], "")
    if row["verdict"] == "no":
        return row["p_opposite_corrected"], "opposite"
    if row["p_margin_corrected"] is None:
        return row["p_margin"], "not corrected"
    return row["p_margin_corrected"], ""


def change(value: float | None, scale: str | None) -> str:
    """Return a difference with its sign, such as `+0.013`, or a ratio such as `×1.013`."""
    if scale == LOG_RATIO and value is not None:
        return f"×{number(math.exp(value))}"
    return number(value, signed=True)


def change_interval(row: Row, columns: str = "ci") -> str:
    """Return ` (low to high)` of the columns `<columns>_low` and `<columns>_high`; empty without an interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None and high is None:
        return ""
    ends = [change(end, row["scale"]) if end is not None else "unbounded" for end in (low, high)]
    return f" ({ends[0]} to {ends[1]})"


def magnitude(value: float, scale: str | None) -> str:
    """Return the size of a difference without its sign, such as `1.3 points`, `1.3 %` for a ratio, or `0.013 nats`."""
    if scale == NATS:
        return f"{number(value)} nats"
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{100 * share:.1f} {unit}"


def bound(value: float, scale: str | None) -> str:
    """Return an upper bound of a difference's size, rounded up to one decimal of a point, or to 0.001 nats."""
    if scale == NATS:
        return f"{math.ceil(round(1000 * value, 6)) / 1000:.3f} nats"
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{math.ceil(round(1000 * share, 6)) / 10:.1f} {unit}"


def loss_bound(row: Row) -> float | None:
    """Return the one-sided 95 % bound of the loss: the bad end of the 90 % interval, at most 100 points."""
    sign = sign_of(row["metric"])
    end: float | None = row["ci90_low"] if sign > 0 else row["ci90_high"]
    if end is None:
        return None
    return min(-sign * end, 1.0) if row["scale"] not in (LOG_RATIO, NATS) else -sign * end


def is_left_open_by_correction(row: Row) -> bool:
    """Return whether the bound of a loss is below the margin, but the corrected test of a primary question is not."""
    end = loss_bound(row)
    is_corrected = row["p_margin_corrected"] is not None
    return is_corrected and row["verdict"] != "yes" and end is not None and end < row["margin"]


def p_text(value: float | None, method: str = "") -> str:
    """Return a p-value such as `p = 0.041, corrected for 6 tests` or `p < 0.001`."""
    if value is None:
        return "no p-value"
    text = "p < 0.001" if value < 0.001 else f"p = {number(value)}"
    return f"{text}, {method}" if method else text


def corrected_p(row: Row) -> tuple[float | None, str]:
    """Return the p-value of an answer after correction over its family, and the size of the family as text."""
    if row["p_corrected"] is None:
        return row["p_value"], "not corrected"
    return row["p_corrected"], _family_text(row)


def _margin_p(row: Row) -> tuple[float | None, str]:
    if row["p_margin_corrected"] is None:
        return row["p_margin"], "not corrected, exploratory"
    return row["p_margin_corrected"], _family_text(row)


def _family_text(row: Row) -> str:
    return f"corrected for {row['n_family']} tests" if (row["n_family"] or 1) > 1 else ""


def group_text(row: Row) -> str:
    """Return the languages of a question as text, such as `outside English`."""
    kind, name = str(row["group_kind"]), str(row["group_name"])
    if kind in _GROUPS:
        return _GROUPS[kind]
    return _NAMED_GROUPS.get(kind, "in {}").format("English" if name == "en" else name)


def margin_text(row: Row) -> str:
    """Return the margin of a claim as text, such as `2.0 points`."""
    return magnitude(row["margin"], row["scale"])


def answer_sentences(rows: Sequence[Row]) -> str:
    """Return the answer to one question in sentences.

    Args:
        rows: of `answered_questions.sql`, all of one question.
    """
    asked = [row for row in rows if row["verdict"] != CANNOT_BE_ASKED]
    if not asked:
        return _not_asked(rows)
    n_left_out = len(rows) - len(asked)
    left_out = f" Of {n_left_out} more it cannot be asked." if n_left_out else ""
    return _CLAIMS[str(rows[0]["claim"])](asked) + left_out + _other_differences(rows[0]) + _noise(asked)


def _other_differences(row: Row) -> str:
    """Return a sentence about the aspects that the question ignores; empty without any."""
    aspects = row["differs_in"]
    return f" The compared variants also differ in {aspects}: the difference may be due to it." if aspects else ""


def _noise(rows: Sequence[Row]) -> str:
    """Return a sentence if differences are smaller than what another processor changes; empty otherwise."""
    noise = rows[0]["arithmetic_noise"]
    below = [row for row in rows if noise is not None and abs(row["difference"] or 0.0) < noise]
    if not below:
        return ""
    which = "The difference is" if len(rows) == 1 else f"{len(below)} of {len(rows)} differences are"
    return f" {which} below {noise:g}, what another processor can change in bfloat16."


def _not_asked(rows: Sequence[Row]) -> str:
    """Return why a question has no answer: nothing is left of what it asks about."""
    first, reasons = rows[0], sorted({str(row["verdict_reason"]) for row in rows})
    sentence = f"{' and '.join(reasons)} {group_text(first)}: {CLAIMS[first['claim']].no_room}."
    return sentence[0].upper() + sentence[1:]


def _gain(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return _gain_of_one(rows[0])
    better = [row for row in rows if is_better(row)]
    group, against = group_text(rows[0]), rows[0]["against"]
    others = _n_worse(rows) + _best_estimate(rows)
    if better:
        verb = "is" if len(better) == 1 else "are"
        return f"{len(better)} of {len(rows)} variants {verb} significantly better than {against} {group}.{others}"
    sentence = f"None of {len(rows)} variants is significantly better than {against} {group}."
    return sentence + others + power_sentence(rows)


def _n_worse(rows: Sequence[Row]) -> str:
    n_worse = sum(map(is_worse, rows))
    return f" {n_worse} of {len(rows)} {'is' if n_worse == 1 else 'are'} significantly worse." if n_worse else ""


def _best_estimate(rows: Sequence[Row]) -> str:
    """Return a sentence about the best of several differences, which is called a gain only if it is one."""
    best = best_of(rows)
    p_value, method = corrected_p(best)
    gain, amount = gain_of(best), change(best["difference"], best["scale"])
    estimate = f"{amount}{change_interval(best)} for {_name(best)} ({p_text(p_value, method)})"
    if gain > 0:
        return f" The best difference, {estimate}, is the best of {len(rows)} and on average too good."
    if gain < 0:
        return f" No estimate is a gain: all {len(rows)} are losses, the smallest is {estimate}."
    n_equal = sum(gain_of(row) == 0 for row in rows)
    if n_equal == len(rows):
        return f" No estimate is a gain: all {len(rows)} differences are {amount}."
    return f" No estimate is a gain: {n_equal} of {len(rows)} differences are {amount}, the others are losses."


def _gain_of_one(row: Row) -> str:
    """Answer a question with a single test: of one variant, or of the mean of several."""
    relation, power = "not significantly different from", power_sentence([row])
    if is_better(row) or is_worse(row):
        relation, power = f"significantly {'better' if is_better(row) else 'worse'} than", ""
    difference = change(row["difference"], row["scale"])
    return (
        f"{_subject(row)} is {relation} {row['against']} {group_text(row)}: {difference}{change_interval(row)}, "
        f"{p_text(*corrected_p(row))}.{power}"
    )


def _noninferior(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return _noninferior_of_one(rows[0])
    shown, beyond = ([row for row in rows if row["verdict"] == verdict] for verdict in ("yes", "no"))
    first = rows[0]
    who = f"lose less than {margin_text(first)} against {first['against']} {group_text(first)}"
    bounds = sorted(value for row in shown or rows if (value := loss_bound(row)) is not None)
    span = ""
    if bounds and shown:
        low, high = (bound(max(0, end), first["scale"]) for end in (bounds[0], bounds[-1]))
        paid = text_range(low, high) + ("" if low == high else ", depending on the variant")
        span = f" With any one of them, {payer(first)} pays at most {paid} (one-sided 95 % bound)."
    elif bounds and not all(map(is_worse, rows)):
        span = (
            f" The smallest one-sided 95 % bound of a loss is {bound(max(0, bounds[0]), first['scale'])}: smaller "
            "losses cannot be excluded with these items."
        )
    losses = f" {len(beyond)} of {len(rows)} {'loses' if len(beyond) == 1 else 'lose'} more." if beyond else ""
    sentence = f"None of {len(rows)} variants is shown to {who}."
    if shown:
        sentence = f"{len(shown)} of {len(rows)} variants {who} (one-sided tests, corrected p < 0.05)."
    return sentence + span + losses + _n_worse(rows)


def _noninferior_of_one(row: Row) -> str:
    value, scale = loss_bound(row), row["scale"]
    margin = f"the margin of {margin_text(row)}"
    estimate = f"{change(row['difference'], scale)}{change_interval(row)}, {p_text(*_margin_p(row))}"
    if value is None:
        return f"The loss of {_subject(row)} {group_text(row)} has no bound: {estimate}."
    paid = f"at most {bound(value, scale)}" if value > 0 else "nothing"
    corrected = "after correction " if is_left_open_by_correction(row) else ""
    outcomes = {"yes": f"less than {margin}", "no": f"the loss is larger than {margin}"}
    outcome = outcomes.get(str(row["verdict"]), f"{corrected}a loss of {margin} is not excluded")
    return f"With {_name(row)}, {payer(row)} pays {paid} (one-sided 95 % bound): {outcome}. {estimate}."


def _equivalent(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return _equivalent_of_one(rows[0])
    shown, beyond = ([row for row in rows if row["verdict"] == verdict] for verdict in ("yes", "no"))
    first = rows[0]
    than = f"than {margin_text(first)} from {first['against']} {group_text(first)}"
    sentence = f"None of {len(rows)} variants is shown to differ by less {than} (TOST)."
    if shown:
        sentence = f"{len(shown)} of {len(rows)} variants differ by less {than} (TOST, corrected p < 0.05)."
    more = f" {len(beyond)} of {len(rows)} {'differs' if len(beyond) == 1 else 'differ'} by more." if beyond else ""
    return sentence + more


_CLAIMS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "gain": _gain,
    "noninferior": _noninferior,
    "equivalent": _equivalent,
}
"""Claim -> its answer in sentences."""


def _equivalent_of_one(row: Row) -> str:
    scale, ends = row["scale"], (row["ci90_low"], row["ci90_high"])
    subject, against = _subject(row), row["against"]
    estimate = f"{change(row['difference'], scale)}, 90 % interval {change_interval(row, 'ci90').strip(' ()')}"
    if row["verdict"] == "yes" and None not in ends:
        largest = bound(max(abs(end) for end in ends), scale)
        return (
            f"{subject} differs from {against} by less than {largest} {group_text(row)} ({estimate}), within the "
            f"margin of {margin_text(row)}: TOST {p_text(*_margin_p(row))}."
        )
    if row["verdict"] == "no":
        than = f"{margin_text(row)} {group_text(row)}"
        p_value = p_text(row["p_opposite_corrected"], _family_text(row))
        return f"{subject} differs from {against} by at least {than}: {estimate}, {p_value}."
    sentence = f"{subject} is not shown to differ from {against} by less than {margin_text(row)} {group_text(row)}: "
    sentence += f"{estimate}, TOST {p_text(*_margin_p(row))}."
    if _is_significant(row):
        return f"{sentence} The difference is significant ({p_text(*corrected_p(row))})."
    return f"{sentence} Nor is a difference shown."


def is_better(row: Row) -> bool:
    """Whether the difference is a significant gain after correction over the family."""
    return _is_significant(row) and gain_of(row) > 0


def is_worse(row: Row) -> bool:
    """Whether the difference is a significant loss after correction over the family."""
    return _is_significant(row) and gain_of(row) < 0


def _is_significant(row: Row) -> bool:
    return row["p_corrected"] is not None and row["p_corrected"] < ALPHA


def power_sentence(rows: Sequence[Row]) -> str:
    """Return what the tests could have found, for a result that is not significant; empty if it is not known."""
    scale, parts = rows[0]["scale"], []
    smallest = [row["smallest_significant"] for row in rows if row["smallest_significant"] is not None]
    if smallest:
        significant = (
            "be significant" if (rows[0]["n_family"] or 1) == 1 else "pass the first test of Holm's correction"
        )
        parts.append(f"a gain of less than {magnitude(min(smallest), scale)} cannot {significant}")
    detectable = sorted(
        row["detectable_difference"] for row in rows if (row["detectable_difference"] or 0) > NEGLIGIBLE
    )
    if detectable:
        low, high = magnitude(detectable[0], scale), magnitude(detectable[-1], scale)
        span = text_range(low, high) + ("" if low == high else ", depending on the variant,")
        parts.append(f"a true difference of {span} is found with a power of 80 % if the error is as estimated")
    family = f"In this family of {rows[0]['n_family']}" if rows[0]["n_family"] else "In a single test"
    return f" {family}, {', and '.join(parts)}." if parts else ""


def _subject(row: Row) -> str:
    """Return the beginning of a sentence about one test."""
    if row["n_variants"] > 1 or row["label"] is None:
        return f"On average over {row['n_variants']} variants, {row['variants'] or 'pruning'}"
    return str(row["label"])


def _name(row: Row) -> str:
    if row["n_variants"] > 1 or row["label"] is None:
        return f"the mean of {row['n_variants']} variants"
    return str(row["label"])


def payer(row: Row) -> str:
    """Return who bears a loss."""
    if row["group_kind"] == "language":
        return "English" if row["group_name"] == "en" else str(row["group_name"])
    return {"outside_english": "the mean outside English", "worst": "the worst language"}.get(
        str(row["group_kind"]), "the mean over the languages"
    )
