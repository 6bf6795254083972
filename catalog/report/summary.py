"""The first section of the report: answers to the questions about each task, and the best variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from catalog.report import claims
from catalog.report.exhibits import grouped
from catalog.report.labels import Facets, number, p_value, text_range, with_interval
from catalog.report.query_results import Source, run_report_query
from catalog.results import Row
from catalog.store import Catalog

COLUMNS: tuple[str, ...] = (
    "chosen for",
    "chosen on dev",
    "wins in resamples of dev",
    "test (95% interval)",
    "dense",
    "difference (95% interval)",
    "p, corrected",
    "optimism of dev",
    "change in English (95% interval)",
)
"""Headings of the table of best variants."""
CRITERIA: Mapping[str, str] = {"outside_english": "mean outside English", "worst": "worst language"}
"""Criterion of several languages -> label."""
ANSWER_COLUMNS: tuple[str, ...] = (
    "variant",
    "difference (95% interval)",
    "loss at most",
    "p",
    "p, corrected",
    "p of the margin",
    "verdict",
)
"""Headings of the table of answers."""
MAX_ANSWERS = 200
"""Maximum number of tests of one question in the table: verdict yes first, then the smallest p-values."""


@dataclass(frozen=True)
class Finding:
    """One card: a question and its answer in sentences."""

    question: str
    sentence: str
    kind: str = ""
    """Text above the question: its name, and whether it is primary or exploratory."""
    evidence: tuple[str, ...] = ()
    """What the answer is based on: items, languages, chance, tests, power."""
    limits: tuple[str, ...] = ()
    """Sentences that limit the answer."""
    facets: Facets = field(default_factory=dict)
    anchor: str = ""
    """Id in the page."""
    answers: tuple["TableRow", ...] = ()
    """One row per test, at most `MAX_ANSWERS`; the columns are `ANSWER_COLUMNS`."""
    n_answers: int = 0
    """Number of all tests."""


def question_anchor(row: Row) -> str:
    """Return the id of the evidence of a question."""
    return f"question-{row['question_id']}"


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
    standing = "primary" if first["is_primary"] else "exploratory"
    return Finding(
        question=str(first["title"]),
        sentence=claims.answer_sentences(rows),
        kind=" · ".join(word for word in (str(first["name"]), standing) if word),
        evidence=_evidence(rows),
        limits=_limits(rows, n_models=n_models),
        facets={"model": str(first["base_model"])} if first["base_model"] is not None else {},
        anchor=question_anchor(first),
        answers=tuple(_answer_row(row) for row in _shown_answers(rows)),
        n_answers=len(rows),
    )


def _evidence(rows: Sequence[Row]) -> tuple[str, ...]:
    first, n_tests = rows[0], rows[0]["n_family"] or len(rows)
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
    detectable = "margin shown if nothing differs" if _has_margin_of_mean(first) else "detectable"
    for column, words in (("smallest_significant", smallest), ("detectable_difference", detectable)):
        if first["margin"] is not None and column == "smallest_significant":
            continue  # a question with a margin does not ask for a gain
        values = [row[column] for row in rows if (row[column] or 0) > claims.NEGLIGIBLE]
        if values:
            low, high = (claims.magnitude(end, first["scale"]) for end in (min(values), max(values)))
            parts.append(f"{words} {text_range(low, high)}")
    return tuple(parts)


def _has_margin_of_mean(row: Row) -> bool:
    """Whether `detectable_difference` is a margin."""
    return row["margin"] is not None and row["over"] == "mean"


def _span(rows: Sequence[Row], column: str) -> str:
    return text_range(*(str(end(row[column] for row in rows)) for end in (min, max)))


def _limits(rows: Sequence[Row], *, n_models: int) -> tuple[str, ...]:
    first, limits = rows[0], []
    if not first["is_declared"]:
        limits.append("Exploratory: no recipe declares this question.")
    elif first["declared_after"]:
        earlier = f", such as evaluation {first['earlier_evaluation_id']}" if first["earlier_evaluation_id"] else ""
        limits.append(f"Exploratory: declared after {first['declared_after']} of its results existed{earlier}.")
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


@dataclass(frozen=True)
class TableRow:
    """A row of a table as text, and its filter values."""

    cells: tuple[str, ...]
    facets: Facets


def best_variants_table(rows: Sequence[Row], models: Mapping[str, str]) -> tuple[TableRow, ...]:
    """Return the chosen candidates as text.

    Args:
        rows: result of `chosen_on_dev.sql`.
        models: base model id -> name.
    """
    return tuple(TableRow(_cells(row), {"model": models[row["base_model_id"]]}) for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        CRITERIA.get(row["criterion"], row["criterion"]),
        _chosen(row),
        f"{row['win_share']:.0%} of {row['n_candidates']} candidates",
        with_interval(row["test_value"], row["ci_low"], row["ci_high"]),
        number(row["dense_value"]),
        "" if row["is_dense"] else _change(row, "difference", ends="difference"),
        "" if row["is_dense"] else p_value(row["p_corrected"]),
        "" if row["is_dense"] else number(row["optimism"], signed=True),
        "" if row["is_dense"] else _change(row, "english_difference", ends="english"),
    )


def _chosen(row: Row) -> str:
    """Return the chosen candidate, and how many are as good on dev."""
    name = "dense: no pruned variant is better" if row["is_dense"] else str(row["label"])
    return f"{name} ({row['n_tied']} tied)" if row["n_tied"] > 1 else name


def _change(row: Row, column: str, *, ends: str) -> str:
    """Return a change with its interval, of the columns `<ends>_ci_low` and `<ends>_ci_high`."""
    return with_interval(row[column], row[f"{ends}_ci_low"], row[f"{ends}_ci_high"], signed=True)


@dataclass(frozen=True)
class Headline:
    """Findings and tables of one task."""

    title: str
    findings: tuple[Finding, ...]
    table: tuple[TableRow, ...]
    """One row per language with its best variant; the columns are those of `best_variants`."""
    sources: tuple[Source, ...]


def headlines(catalog: Catalog, *, answers: Sequence[Row], models: Sequence[Row]) -> tuple[Headline, ...]:
    """Return a headline for each task with questions or accuracies, tasks with primary questions first.

    Args:
        answers: rows of `answered_questions.sql`.
        models: rows of `base_models.sql`.
    """
    names = {row["base_model_id"]: str(row["source"]) for row in models}
    questions = shown_questions(answers)
    asked = [str(rows[0]["task"]) for rows in sorted(questions, key=lambda rows: not rows[0]["is_primary"])]
    measured = [str(row["task"]) for row in run_report_query(catalog, "tasks").rows]
    return tuple(
        _headline(
            catalog,
            task,
            questions=[rows for rows in questions if rows[0]["task"] == task],
            models=names,
            has_accuracy=task in measured,
        )
        for task in dict.fromkeys((*asked, *measured))
    )


def _headline(
    catalog: Catalog, task: str, *, questions: Sequence[Sequence[Row]], models: Mapping[str, str], has_accuracy: bool
) -> Headline:
    best = run_report_query(catalog, "chosen_on_dev", parameters={"task": task, "metric": "accuracy"})
    return Headline(
        title=task,
        findings=tuple(answer_card(answers, n_models=len(models)) for answers in questions),
        table=best_variants_table(best.rows, models) if has_accuracy else (),
        sources=(best,) if has_accuracy else (),
    )


def _shown_answers(answers: Sequence[Row]) -> list[Row]:
    """Return the answers of a question that the table shows, in the order of the answers."""
    if len(answers) <= MAX_ANSWERS:
        return list(answers)

    def rank(index: int) -> tuple[bool, float]:
        row = answers[index]
        return row["verdict"] != "yes", 1.0 if row["p_value"] is None else row["p_value"]

    return [answers[index] for index in sorted(sorted(range(len(answers)), key=rank)[:MAX_ANSWERS])]


def _answer_row(row: Row) -> TableRow:
    loss = claims.loss_bound(row)
    cells = (
        str(row["label"] or f"mean of {row['n_variants']} variants"),
        claims.change(row["difference"], row["scale"]) + claims.change_interval(row),
        "–" if loss is None else claims.bound(max(0.0, loss), row["scale"]),
        p_value(row["p_value"]),
        p_value(row["p_corrected"]),
        p_value(row["p_margin_corrected"]),
        str(row["verdict"]),
    )
    facets = {"model": row["base_model"], "score": row["intervention"] or row["score"]}
    facets["pair"] = row["demonstration_label"]
    return TableRow(cells, {name: str(value) for name, value in facets.items() if value is not None})
