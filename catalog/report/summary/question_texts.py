"""Questions as text: what is compared, in which languages, and with which claim."""

from catalog.report.summary.amounts import magnitude
from catalog.results import Row

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
