"""Verdicts of questions taken together: their order, their tally, and what they mean in plain sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence

from catalog.report.claims import CANNOT_BE_ASKED, is_better, is_worse, magnitude, margin_text, payer, points
from catalog.report.labels import METRIC_LABELS, text_range
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

TALLY: Mapping[str, str] = {
    "n_yes": "yes",
    "n_not_shown": "not shown",
    "n_no": "no",
    "n_exploratory": "exploratory",
    "n_not_askable": "cannot be asked",
}
"""Column of `question_answers` -> verdict, in the order of a tally of questions."""
SEVERAL = "with several verdicts"
"""Word of a tally for a question whose tests have several verdicts."""


def verdicts_of(row: Row) -> tuple[str, ...]:
    """Return the verdicts that tests of a question have, a `no` first; empty without a test."""
    order = ("n_no", "n_not_shown", "n_not_askable", "n_yes", "n_exploratory")
    return tuple(TALLY[column] for column in order if row[column])


def rank(row: Row) -> tuple[bool, int]:
    """Return the place of a question: primary ones first, and of them those that are refuted or not shown."""
    order, found = ("no", "not shown", CANNOT_BE_ASKED), verdicts_of(row)
    return not row["is_primary"], next((place for place, verdict in enumerate(order) if verdict in found), len(order))


def questions_tally(rows: Sequence[Row]) -> str:
    """Return how many questions have each verdict, such as `8 yes, 6 not shown, 1 no`.

    A question whose tests have several verdicts counts apart. Exploratory ones are only counted next to primary ones.

    Args:
        rows: one per question, with the columns of `question_answers`.
    """
    primary = [row for row in rows if row["is_primary"]] or rows
    words = Counter(
        found[0] if len(found) == 1 else SEVERAL if found else "not answered" for found in map(verdicts_of, primary)
    )
    tally = ", ".join(f"{words[word]} {word}" for word in (*TALLY.values(), SEVERAL, "not answered") if words[word])
    n_others = len(rows) - len(primary)
    return f"{tally}; {n_others} more exploratory" if n_others else tally


def meaning(rows: Sequence[Row]) -> str:
    """Return what the verdicts of a question mean, in a sentence without its full stop; empty if nothing is shown.

    Sizes are named only of differences whose test is significant.

    Args:
        rows: of `closing/answers.sql`, all of one question.
    """
    asked = [row for row in rows if row["verdict"] != CANNOT_BE_ASKED]
    if not asked or not asked[0]["is_primary"]:
        return ""
    return _meaning_of_gain(asked) if asked[0]["claim"] == "gain" else _meaning_of_margin(asked)


def _measured(row: Row) -> str:
    metric = str(row["metric"])
    return f"{METRIC_LABELS.get(metric, metric)} {row['place_words']}"


def _meaning_of_gain(rows: Sequence[Row]) -> str:
    first = rows[0]
    better, worse = ([row for row in rows if test(row)] for test in (is_better, is_worse))
    changed = better or worse
    if not changed or (better and worse):
        return ""
    part = "" if len(changed) == len(rows) else f" in {len(changed)} of {len(rows)} variants"
    size, is_ratio = _size(changed), first["scale"] == LOG_RATIO
    if first["against"] != "dense":
        verb = "better" if better else "worse"
        with_ = f"with {first['variant_words']} than with {first['against_words']}"
        return f"{_measured(first)} is {verb} {with_} ({size}){part}"
    if is_ratio:
        return f"Pruning changes {_measured(first)} by {size}{part}"
    levels = sorted({100 * row["sparsity"] for row in changed if row["sparsity"] is not None})
    share = text_range(*(f"{level:g} %" for level in (levels[0], levels[-1]))) if levels else "a part"
    return f"Removing {share} of the weights {'gained' if better else 'cost'} {size} of {_measured(first)}{part}"


def _size(rows: Sequence[Row]) -> str:
    """Return the smallest and the largest difference, without signs, or as ratios."""
    ends = [end((row["difference"] for row in rows), key=abs) for end in (min, max)]
    scale = rows[0]["scale"]
    if scale == LOG_RATIO:
        return text_range(*(points(value, scale) for value in ends))
    return text_range(*(magnitude(abs(value), scale) for value in ends))


def _meaning_of_margin(rows: Sequence[Row]) -> str:
    first, verdicts = rows[0], {str(row["verdict"]) for row in rows}
    margin, words = margin_text(first), str(first["variant_words"])
    if first["claim"] == "equivalent":
        both = f"{words} and {first['against_words']}"
        effects = {
            "yes": f"make no difference of {margin} or more to",
            "no": f"make a difference of {margin} or more to",
        }
        return next((f"{both} {effects[each]} {_measured(first)}" for each in effects if verdicts == {each}), "")
    who = "English" if first["group_name"] == "en" else payer(first)
    than = "" if first["against"] == "dense" else f", compared with {first['against_words']}"
    losses = {"yes": f"less than {margin}", "no": f"{margin} or more"}
    return next((f"{who} loses {losses[each]} with {words}{than}" for each in losses if verdicts == {each}), "")
