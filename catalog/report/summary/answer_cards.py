"""Cards of the summary: one per question, with its evidence and its limits."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import grouped
from catalog.report.labels import number, text_range
from catalog.report.summary.amounts import magnitude
from catalog.report.summary.claims import NEGLIGIBLE, answer_of
from catalog.report.summary.findings import Finding
from catalog.report.summary.question_texts import question_text
from catalog.results import Row


def shown_questions(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the answers of each question that has a card: declared ones, and exploratory ones of tasks without any.

    Args:
        rows: of `answered_questions.sql`.
    """
    with_declared = {(row["base_model_id"], row["task"]) for row in rows if row["is_declared"]}
    return [
        answers
        for _, answers in grouped(rows, "base_model_id", "question_id")
        if answers[0]["is_declared"] or (answers[0]["base_model_id"], answers[0]["task"]) not in with_declared
    ]


def answer_card(rows: Sequence[Row], *, n_models: int) -> Finding:
    """Return the card of a question.

    Args:
        rows: its answers.
        n_models: number of base models in the catalog.
    """
    first = rows[0]
    answer, sentence, tone = answer_of(rows)
    text = question_text(first)
    return Finding(
        question=text[0].upper() + text[1:],
        answer=answer,
        sentence=sentence,
        tone=tone,
        kind=" · ".join(word for word in (str(first["name"]), _standing(first)) if word),
        evidence=_evidence(rows),
        limits=_limits(rows, n_models=n_models),
        facets={"model": str(first["base_model"])} if first["base_model"] is not None else {},
    )


def _standing(row: Row) -> str:
    return "primary" if row["is_primary"] else "exploratory"


def _evidence(rows: Sequence[Row]) -> tuple[str, ...]:
    first, n_tests = rows[0], rows[0]["n_family"]
    languages = "1 language" if first["n_languages"] == 1 else f"{first['n_languages']} languages"
    items = f"{_span(rows, 'n_items')} items"
    if any(row["n_clusters"] != row["n_items"] for row in rows):
        items += f" in {_span(rows, 'n_clusters')} clusters"
    parts = [f"{first['split']} split", items, languages]
    if first["chance"] is not None:
        parts.append(f"chance {number(first['chance'])}")
    if first["n_variants"] > 1:
        parts.append(f"mean of {first['n_variants']} variants")
    parts.append("1 test" if n_tests == 1 else f"family of {n_tests} tests")
    smallest = "smallest significant" if n_tests == 1 else "smallest for Holm's first test"
    for column, words in (("smallest_significant", smallest), ("detectable_difference", "detectable")):
        if first["margin"] is not None and column == "smallest_significant":
            continue  # a question with a margin does not ask for a gain
        values = [row[column] for row in rows if (row[column] or 0) > NEGLIGIBLE]
        if values:
            low, high = (magnitude(end, first["scale"]) for end in (min(values), max(values)))
            parts.append(f"{words} {text_range(low, high)}")
    return tuple(parts)


def _span(rows: Sequence[Row], column: str) -> str:
    return text_range(*(str(end(row[column] for row in rows)) for end in (min, max)))


def _limits(rows: Sequence[Row], *, n_models: int) -> tuple[str, ...]:
    first, limits = rows[0], []
    if not first["is_declared"]:
        limits.append("Exploratory: no recipe declares this question.")
    elif first["declared_after"]:
        limits.append(f"Exploratory: declared after {first['declared_after']} of its results existed.")
    elif not first["is_primary"]:
        limits.append("Exploratory: the recipe does not declare it as primary.")
    if any(row["conditional_on_one_draw"] for row in rows):
        draws = "each variant is" if first["seeds_differ"] or len(rows) > 1 else "the result is"
        limits.append(f"Conditional on one draw: {draws} made from one seed of demonstrations or random scores.")
    if len(rows) > 1:
        limits.append("Intervals and bounds are those of single tests; p-values are corrected over the family.")
    if first["split"] != "test":
        limits.append(f"Measured on {first['split']}, on which variants may have been chosen.")
    if n_models == 1:
        limits.append("One model.")
    return tuple(limits)
