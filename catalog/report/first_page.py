"""Page one of the report: answers to the questions, chosen variants, one figure, the price in English, and the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from catalog.report import verdicts
from catalog.report.claims import CANNOT_BE_ASKED, estimate_text, points, points_with_interval, unit_of
from catalog.report.first_figure import FirstFigure, first_figure
from catalog.report.query_results import Source, run_report_query, styles_by_text
from catalog.report.styles import method_label
from catalog.report.summary import CRITERIA, question_anchor
from catalog.report.svg import to_svg
from catalog.results import Row
from catalog.store import Catalog
from mlprune.counted import counted, format_time

MAX_QUESTIONS, MAX_CHOSEN = 15, 8
"""Maximum number of questions and of chosen variants."""
NOT_ANSWERED, NO_TEST = "not answered yet", "No test of it is in the store."
"""Text in place of a verdict, and of an estimate, of a question without an answer."""


@dataclass(frozen=True)
class AnswerLine:
    """The answer to one question."""

    anchor: str
    """Id of its evidence in the page."""
    question: str
    verdict: str
    """The verdict of its only test, or the tally of several, such as `Yes 2, no 1, not shown 1 of 4`."""
    tone: str
    """Colour: `good` if tests show the claim and none its opposite, `bad` the other way round, else `open`."""
    estimate: str
    """The best difference with its interval, the variant, and the number of items."""


@dataclass(frozen=True)
class Choice:
    """What to use for a language: the variant chosen on dev if its gain is shown on test, else dense."""

    name: str
    """Language or criterion."""
    use: str
    is_shown: bool
    """Whether the gain of the choice is significant."""
    on_dev: str
    """The variant chosen on dev, with its share of wins and how many are tied with it."""
    change: str
    """Its difference to dense on test."""


@dataclass(frozen=True)
class FirstPage:
    """Content of page one."""

    answers: tuple[AnswerLine, ...]
    """The declared questions, or the exploratory ones of a store without any; at most `MAX_QUESTIONS`. Of the primary
    ones, those with a verdict `no` or `not shown` come first."""
    n_questions: int
    tally: str
    """How many questions have each verdict."""
    verdicts: Mapping[str, AnswerLine]
    """Id of the evidence -> answer, of all questions."""
    tested: str
    """How the answers were tested."""
    chosen: tuple["Choice", ...]
    task: str
    """Task of the curve and of the chosen variants; empty without a curve."""
    figure: FirstFigure | None
    """None without data."""
    curve: Markup
    """The figure as an SVG element; empty without data."""
    price: tuple[str, ...]
    """Sentences."""
    cost: str
    sources: tuple[Source, ...]


def first_page(catalog: Catalog) -> FirstPage:
    """Return page one of a catalog."""
    answers, curve, cost = (run_report_query(catalog, name) for name in ("first_answers", "first_curve", "first_cost"))
    task, choices = "", None
    if curve.rows:
        task = str(curve.rows[0]["task"])
        parameters = {"task": task, "metric": curve.rows[0]["metric"]}
        choices = run_report_query(catalog, "chosen_on_dev", parameters=parameters)
    model = curve.rows[0]["base_model_id"] if curve.rows else None
    best = [row for row in choices.rows if row["base_model_id"] == model] if choices else []
    figure, named = None, None
    if curve.rows:
        columns = ("base_model_id", "task", "split", "metric", "scoring_rule", "protocol", "example_limit")
        named = run_report_query(
            catalog, "first_variants", parameters={column: curve.rows[0][column] for column in columns}
        )
        figure = first_figure(curve.rows, named.rows, styles=styles_by_text(catalog))
    every = [answer_line(row) for row in answers.rows]
    shown = sorted([row for row in answers.rows if row["is_declared"]] or list(answers.rows), key=verdicts.rank)
    return FirstPage(
        answers=tuple(answer_line(row) for row in shown[:MAX_QUESTIONS]),
        n_questions=len(shown),
        tally=verdicts.questions_tally(shown),
        verdicts={line.anchor: line for line in every},
        tested=_tested(shown),
        chosen=tuple(map(chosen, best[:MAX_CHOSEN])),
        task=task,
        figure=figure,
        curve=Markup(to_svg(figure.panel, "first-curve")) if figure else Markup(),  # noqa: S704 - escaped there
        price=price_sentences(curve.rows, best),
        cost=_cost(cost.rows[0]),
        sources=(answers, curve, *([named] if named else []), cost),
    )


def answer_line(row: Row) -> AnswerLine:
    """Return the answer to a question.

    Args:
        row: of `first_answers.sql`.
    """
    answer = NOT_ANSWERED if row["answer"] is None else str(row["answer"])
    return AnswerLine(
        anchor=question_anchor(row),
        question=str(row["title"]),
        verdict=answer[0].upper() + answer[1:],
        tone=_tone(row),
        estimate=_estimate(row),
    )


def _tone(row: Row) -> str:
    n_yes, n_no = row["n_yes"] or 0, row["n_no"] or 0
    return "open" if bool(n_yes) == bool(n_no) else "good" if n_yes else "bad"


def _estimate(row: Row) -> str:
    if row["answer"] is None:
        return NO_TEST
    if row["verdict"] == CANNOT_BE_ASKED:
        return str(row["reason"])
    name = row["label"] or f"mean of {counted(row['n_variants'], 'variant')}"
    parts = [estimate_text(row), str(name), f"n {row['n_items']}"]
    if row["lowest_sparsity"] is not None:
        low, high = (f"{row[end]:.3g}" for end in ("lowest_sparsity", "highest_sparsity"))
        parts.insert(0, f"yes at sparsity {low if low == high else f'{low} to {high}'}")
    if row["n_worse"]:
        n, n_all = row["n_worse"], row["n_answers"]
        parts.append("significantly worse" if n_all == 1 else f"{n} of {n_all} significantly worse")
    return " · ".join(parts)


def _tested(rows: Sequence[Row]) -> str:
    if not rows:
        return "No question has been asked."
    n_tests = counted(sum(row["n_answers"] or 0 for row in rows), "test")
    if not rows[0]["is_declared"]:
        kind = "No question was declared before the run: these are exploratory"
    else:
        n_primary = sum(bool(row["is_primary"]) for row in rows)
        kind = f"{n_primary} of {counted(len(rows), 'question')} declared before the results existed (primary)"
    return f"{kind}; {n_tests}."


def _is_gain(row: Row) -> bool:
    """Whether the gain of a choice on dev, a row of `chosen_on_dev.sql`, is shown on test."""
    return bool(row["verdict"] == "gain shown")


def chosen(row: Row) -> Choice:
    """Return a row of `chosen_on_dev.sql` as text; what to use is decided by the view `best_variant`."""
    name, use, is_shown = CRITERIA.get(row["criterion"], str(row["criterion"])), str(row["use"]), _is_gain(row)
    if row["is_dense"]:
        return Choice(name, use, is_shown, on_dev="dense", change="no variant is better on dev")
    share = [] if row["win_share"] is None else [f"wins {row['win_share']:.0%}"]
    tied = [f"{row['n_tied']} tied"] if (row["n_tied"] or 1) > 1 else []
    on_dev = f"{row['label']} ({', '.join([*share, *tied])})" if share or tied else str(row["label"])
    ends = row["difference_ci_low"], row["difference_ci_high"]
    change = points_with_interval(row["difference"], *ends, scale=row["scale"])
    loss = ", significantly worse" if row["verdict"] == "loss shown" else ""
    return Choice(name, use, is_shown, on_dev=on_dev, change=change + loss)


def price_sentences(rows: Sequence[Row], choices: Sequence[Row]) -> tuple[str, ...]:
    """Return what English pays: for the variant chosen for the other languages, and by method at one sparsity.

    Args:
        rows: of `first_curve.sql`.
        choices: of `chosen_on_dev.sql`.
    """
    sentences = []
    best = next((row for row in choices if row["criterion"] == "outside_english"), None)
    if best is not None and best["is_dense"]:
        sentences.append("Outside English no variant is better than dense on dev: pruning buys nothing there.")
    elif best is not None and not _is_gain(best):
        sentences.append("Outside English no gain is shown: keep dense, with which English pays nothing.")
    elif best is not None and best["english_difference"] is not None:
        ends = best["english_ci_low"], best["english_ci_high"]
        change = points_with_interval(best["english_difference"], *ends, scale=best["scale"])
        sentences.append(f"{best['label']}, chosen for the mean outside English, changes English by {change}.")
    english = [row for row in rows if row["language"] == "en"]
    if english:
        sparsities = [row["sparsity"] for row in english]
        usual = max(sparsities, key=lambda value: (sparsities.count(value), value))
        highest = max([value for value in sparsities if sparsities.count(value) > 1], default=usual)
        changes = [_changes([row for row in english if row["sparsity"] == at]) for at in sorted({usual, highest})]
        sentences.append(f"English changes {'; '.join(changes)} (means over the variants of a method).")
    return tuple(sentences)


def _changes(rows: Sequence[Row]) -> str:
    """Return the changes of English at one sparsity: of random pruning, and the range of all other methods."""
    others = [row for row in rows if row["score"] != "random"]
    parts = []
    if others:
        ends = [points(end(row["difference"] for row in others), others[0]["scale"]) for end in (min, max)]
        name = method_label(others[0]) if len(others) == 1 else f"{len(others)} methods"
        unit = unit_of(others[0]["scale"])
        parts.append(f"{' to '.join(dict.fromkeys(ends))}{unit} with {name}")
    parts.extend(f"{points(row['difference'], row['scale'])} with random" for row in rows if row["score"] == "random")
    return f"at {rows[0]['sparsity']:.0%} by {' and '.join(parts)}"


def _cost(row: Row) -> str:
    if not row["n_tries"]:
        return "No job has run."
    where = f"{counted(row['n_hosts'], 'machine')}, {counted(row['n_workers'], 'worker')}"
    memory = "" if row["peak_memory_gib"] is None else f"; at most {row['peak_memory_gib']:.1f} GiB a job"
    return f"{format_time(row['elapsed_s'] or 0.0)} of jobs on {where}{memory}"
