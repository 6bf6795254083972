"""Answers to questions as short texts and sentences. Every claim follows from a test of the tables."""

import math
from collections.abc import Callable, Mapping, Sequence

from catalog.report.labels import number, text_range
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO, is_higher_better


def sign_of(metric: str) -> int:
    """Return 1 if higher values of a metric are better, else -1."""
    return 1 if is_higher_better(metric) else -1


def gain_of(row: Row) -> float:
    """Return the difference with a positive sign if it is an improvement, whatever direction is better."""
    return sign_of(row["metric"]) * float(row["difference"])


def best_of(rows: Sequence[Row]) -> Row:
    """Return the row with the largest gain, or the smallest loss; the first of equal ones."""
    return max(rows, key=gain_of)


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
    """Return the size of a difference without its sign, such as `1.3 points`, or `1.3 %` for a ratio."""
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{100 * share:.1f} {unit}"


def bound(value: float, scale: str | None) -> str:
    """Return an upper bound of a difference's size, rounded up to one decimal of a point."""
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{math.ceil(round(1000 * share, 6)) / 10:.1f} {unit}"


def loss_bound(row: Row) -> float | None:
    """Return the one-sided 95 % bound of the loss: the bad end of the 90 % interval, at most 100 points."""
    sign = sign_of(row["metric"])
    end: float | None = row["ci90_low"] if sign > 0 else row["ci90_high"]
    if end is None:
        return None
    return -sign * end if row["scale"] == LOG_RATIO else min(-sign * end, 1.0)


def is_left_open_by_correction(row: Row) -> bool:
    """Return whether the bound of a loss is below the margin, but the corrected test of a primary question is not."""
    end = loss_bound(row)
    is_corrected = row["p_margin_corrected"] is not None
    return is_corrected and not row["is_supported"] and end is not None and end < row["margin"]


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


_GROUPS = {"outside_english": "outside English", "all": "over all languages", "worst": "in the worst language"}
_NAMED_GROUPS = {"script": "in the languages written in {}", "resource_class": "in the languages of resource class {}"}


def group_text(row: Row) -> str:
    """Return the languages of a question as text, such as `outside English`."""
    kind, name = str(row["group_kind"]), str(row["group_name"])
    if kind in _GROUPS:
        return _GROUPS[kind]
    return _NAMED_GROUPS.get(kind, "in {}").format("English" if name == "en" else name)


def margin_text(row: Row) -> str:
    """Return the margin of a claim as text, such as `2.0 points`."""
    return magnitude(row["margin"], row["scale"])


def question_text(row: Row) -> str:
    """Return a question as a sentence.

    Args:
        row: of `answered_questions.sql`.
    """
    variants, against = row["variants"] or "any variant", row["against"]
    what = f"{group_text(row)} ({row['task']}, {row['metric']})?"
    if row["claim"] == "equivalent":
        return f"Do {row['variants'] or 'pruned variants'} and {against} differ by less than {margin_text(row)} {what}"
    if row["claim"] == "noninferior":
        return f"Does {variants} lose less than {margin_text(row)} against {against} {what}"
    if row["over"] == "mean":
        return f"Is {variants} on average better than {against} {what}"
    return f"Is {f'a variant of {variants}' if row['variants'] else variants} better than {against} {what}"


ALPHA = 0.05
CANNOT_BE_ASKED = "cannot be asked"
"""Verdict of an answer without room for a loss, a difference or a gain."""
NEGLIGIBLE = 0.0005
"""Detectable differences up to this size come from variants without any change and are not reported."""
Answer = tuple[str, str, str]
"""Short answer, sentences, tone."""


def answer_of(rows: Sequence[Row]) -> Answer:
    """Return the answer to one question.

    Args:
        rows: of `answered_questions.sql`, all of one question.
    """
    asked = [row for row in rows if row["verdict"] != CANNOT_BE_ASKED]
    if not asked:
        return _not_asked(rows)
    answer, sentence, tone = _CLAIMS[str(rows[0]["claim"])](asked)
    n_left_out = len(rows) - len(asked)
    left_out = f" Of {n_left_out} more it cannot be asked." if n_left_out else ""
    return answer, sentence + left_out + _other_differences(rows[0]) + _noise(asked), tone


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


def _not_asked(rows: Sequence[Row]) -> Answer:
    """Return why a question has no answer: nothing is left of what it asks about."""
    first, reasons = rows[0], sorted({str(row["verdict_reason"]) for row in rows})
    sentence = f"{' and '.join(reasons)} {group_text(first)}: {_NO_ROOM[str(first['claim'])]}."
    return CANNOT_BE_ASKED, sentence[0].upper() + sentence[1:], "soft"


_NO_ROOM = {
    "gain": "no gain can be measured",
    "noninferior": "what guesses has nothing to lose",
    "equivalent": "two models that guess differ in nothing",
}


def _gain(rows: Sequence[Row]) -> Answer:
    if len(rows) == 1:
        return _gain_of_one(rows[0])
    better = [row for row in rows if is_better(row)]
    worse = [row for row in rows if is_worse(row)]
    group, against = group_text(rows[0]), rows[0]["against"]
    n_worse, maximum = _n_worse(worse, rows), _best_estimate(rows)
    if better:
        verb = "is" if len(better) == 1 else "are"
        sentence = f"{len(better)} of {len(rows)} variants {verb} significantly better than {against} {group}."
        return f"{len(better)} of {len(rows)}", sentence + n_worse + maximum, "good"
    sentence = f"None of {len(rows)} variants is significantly better than {against} {group}."
    tone = "bad" if len(worse) == len(rows) else "open"
    return f"none of {len(rows)}", sentence + n_worse + maximum + power_sentence(rows), tone


def _n_worse(worse: Sequence[Row], rows: Sequence[Row]) -> str:
    return f" {len(worse)} of {len(rows)} {'is' if len(worse) == 1 else 'are'} significantly worse." if worse else ""


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


def _gain_of_one(row: Row) -> Answer:
    """Answer a question with a single test: of one variant, or of the mean of several."""
    p_value, method = corrected_p(row)
    verdict, tone, power = "not significantly different from", "open", power_sentence([row])
    if is_better(row):
        verdict, tone, power = "significantly better than", "good", ""
    elif is_worse(row):
        verdict, tone, power = "significantly worse than", "bad", ""
    difference = change(row["difference"], row["scale"])
    sentence = (
        f"{_subject(row)} is {verdict} {row['against']} {group_text(row)}: {difference}{change_interval(row)}, "
        f"{p_text(p_value, method)}.{power}"
    )
    return difference, sentence, tone


def _noninferior(rows: Sequence[Row]) -> Answer:
    if len(rows) == 1:
        return _noninferior_of_one(rows[0])
    shown = [row for row in rows if row["is_supported"]]
    worse = [row for row in rows if is_worse(row)]
    first = rows[0]
    who = f"lose less than {margin_text(first)} against {first['against']} {group_text(first)}"
    bounds = sorted(value for row in shown or rows if (value := loss_bound(row)) is not None)
    span = ""
    if bounds and shown:
        low, high = (bound(max(0, end), first["scale"]) for end in (bounds[0], bounds[-1]))
        paid = text_range(low, high) + ("" if low == high else ", depending on the variant")
        span = f" With any one of them, {_payer(first)} pays at most {paid} (one-sided 95 % bound)."
    elif bounds and len(worse) < len(rows):
        span = (
            f" The smallest one-sided 95 % bound of a loss is {bound(max(0, bounds[0]), first['scale'])}: smaller "
            "losses cannot be excluded with these items."
        )
    losses = _n_worse(worse, rows)
    if not shown:
        sentence = f"None of {len(rows)} variants is shown to {who}."
        return f"none of {len(rows)}", sentence + span + losses, "bad" if len(worse) == len(rows) else "open"
    sentence = f"{len(shown)} of {len(rows)} variants {who} (one-sided tests, corrected p < 0.05)."
    return f"{len(shown)} of {len(rows)}", sentence + span + losses, "good" if len(shown) == len(rows) else "open"


def _noninferior_of_one(row: Row) -> Answer:
    value, scale = loss_bound(row), row["scale"]
    margin = f"the margin of {margin_text(row)}"
    estimate = f"{change(row['difference'], scale)}{change_interval(row)}, {p_text(*_margin_p(row))}"
    if value is None:
        return "no bound", f"The loss of {_subject(row)} {group_text(row)} has no bound: {estimate}.", "open"
    paid = f"at most {bound(value, scale)}" if value > 0 else "nothing"
    sentence = f"With {_name(row)}, {_payer(row)} pays {paid} (one-sided 95 % bound): "
    corrected = "after correction " if is_left_open_by_correction(row) else ""
    sentence += f"less than {margin}" if row["is_supported"] else f"{corrected}a loss of {margin} is not excluded"
    tone = "good" if row["is_supported"] else "bad" if is_worse(row) else "open"
    return paid, f"{sentence}. {estimate}.", tone


def _equivalent(rows: Sequence[Row]) -> Answer:
    if len(rows) == 1:
        return _equivalent_of_one(rows[0])
    shown, first = [row for row in rows if row["is_supported"]], rows[0]
    who = f"differ by less than {margin_text(first)} from {first['against']} {group_text(first)}"
    if not shown:
        return f"none of {len(rows)}", f"None of {len(rows)} variants is shown to {who} (TOST).", "open"
    sentence = f"{len(shown)} of {len(rows)} variants {who} (TOST, corrected p < 0.05)."
    return f"{len(shown)} of {len(rows)}", sentence, "good" if len(shown) == len(rows) else "open"


def _equivalent_of_one(row: Row) -> Answer:
    scale, ends = row["scale"], (row["ci90_low"], row["ci90_high"])
    subject, against = _subject(row), row["against"]
    estimate = f"{change(row['difference'], scale)}, 90 % interval {change_interval(row, 'ci90').strip(' ()')}"
    if row["is_supported"] and None not in ends:
        largest = bound(max(abs(end) for end in ends), scale)
        sentence = (
            f"{subject} differs from {against} by less than {largest} {group_text(row)} ({estimate}), within the "
            f"margin of {margin_text(row)}: TOST {p_text(*_margin_p(row))}."
        )
        return f"less than {largest}", sentence, "good"
    sentence = f"{subject} is not shown to differ from {against} by less than {margin_text(row)} {group_text(row)}: "
    sentence += f"{estimate}, TOST {p_text(*_margin_p(row))}."
    if _is_significant(row):
        sentence += f" The difference is significant ({p_text(*corrected_p(row))})."
    else:
        sentence += " Nor is a difference shown."
    return change(row["difference"], scale), sentence, "open"


_CLAIMS: Mapping[str, Callable[[Sequence[Row]], Answer]] = {
    "gain": _gain,
    "noninferior": _noninferior,
    "equivalent": _equivalent,
}
"""Claim -> its answer."""


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


def _payer(row: Row) -> str:
    """Return who bears a loss."""
    if row["group_kind"] == "language":
        return "English" if row["group_name"] == "en" else str(row["group_name"])
    return {"outside_english": "the mean outside English", "worst": "the worst language"}.get(
        str(row["group_kind"]), "the mean over the languages"
    )
