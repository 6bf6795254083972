"""Closing lines of a run: the answers to the declared questions as sentences, and a small table of the curve.

Every sentence and every mark follows from a test in the catalog.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from catalog.report import claims, verdicts
from catalog.report.labels import text_range
from catalog.results import Row, Value, visible
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.counted import counted

MAX_METHODS = 6
"""Most methods in the table: the best one of each score, then the next ones."""
MAX_SPARSITIES = 5
"""Most sparsities in the table: those with most methods."""
MAX_MEANINGS = 6
"""Most questions whose meaning is said in sentences."""
RISK = (
    "The risk that any yes or no is due to chance is at most 5 %, all main questions of the recipe together; a range "
    "in brackets is for one number alone."
)
NO_RISK = "They are only explored: no main question was asked before the results were known."
DEFAULT_SPARSITY = 0.4
"""Sparsity at which the price in English is stated: the nearest one of the table."""


def closing_lines(catalog: Catalog, recipe: str, *, variants: Sequence[str], width: int) -> list[str]:
    """Return the answers to the primary questions of a recipe, and its curve; empty if it has neither.

    Without a primary question, exploratory ones that it declares are answered.

    Args:
        recipe: name of the recipe.
        variants: ids of its variants.
        width: cells of a line; sentences are folded, the table is not.
    """
    answers = _rows(catalog, "answers", {"recipe": recipe})
    questions = [list(rows) for _, rows in groupby(answers, key=lambda row: row["question_id"])]
    questions.sort(key=lambda rows: verdicts.rank(rows[0]))
    primary = [rows for rows in questions if rows[0]["is_primary"]] or questions
    splits = " and ".join(sorted({str(row["split"]) for row in answers}))
    head = f"Answers, measured on the {splits} split. "
    head += RISK if any(rows[0]["is_primary"] for rows in questions) else NO_RISK
    lines = _folded(head, width=width) if questions else []
    for number, rows in enumerate(primary, 1):
        lines += _folded(str(rows[0]["title"]), width=width, label=f"  {number:<3}")
        lines += _folded(answer_line(rows), width=width, label="     ")
    lines += _folded(meaning_line(questions), width=width) if questions else []
    curve = _rows(catalog, "curve", {"recipe": recipe, "variants": list(variants)})
    chances = {row["chance"] for row in answers if row["chance"] is not None and row["over"] == "each"}
    table = curve_lines(curve, width=width, chance=min(chances) if len(chances) == 1 else None) if curve else []
    return [*lines, *([""] if lines and table else []), *table]


def _folded(text: str, *, width: int, label: str = "") -> list[str]:
    """Fold a text; further lines are indented."""
    indent = " " * max(len(label), 2)
    return textwrap.wrap(
        visible(text), max(width, 20), initial_indent=label, subsequent_indent=indent, break_on_hyphens=False
    )


def _rows(catalog: Catalog, name: str, parameters: Mapping[str, Value]) -> Sequence[Row]:
    return catalog.select(statement("closing", name), parameters).as_dicts()


def answer_line(rows: Sequence[Row]) -> str:
    """Return the answer to a question: the verdict or tally, and the best estimate.

    Args:
        rows: of `closing/answers.sql`, all of one question.
    """
    best = claims.best_of(rows)
    verdict = claims.verdict_text(best)
    if best["verdict"] == claims.CANNOT_BE_ASKED:
        return _sentence(verdict)
    return _sentence(f"{verdict}; {claims.estimate_text(best, has_p=False)}").replace("\N{MINUS SIGN}", "-")


def meaning_line(questions: Sequence[Sequence[Row]]) -> str:
    """Return in plain sentences what the verdicts mean: the tally of the questions, and what few questions show.

    Args:
        questions: the rows of each question, of `closing/answers.sql`.
    """
    tally = f"{counted(len(questions), 'question')}: {verdicts.questions_tally([rows[0] for rows in questions])}"
    found = [text for rows in questions if (text := verdicts.meaning(rows))]
    if len(found) > MAX_MEANINGS:
        return f"In short, {tally}."
    shown = found or ["Nothing is shown: the intervals say how large a difference can still be"]
    return f"In short ({tally}): {' '.join(map(_sentence, shown))}".replace("\N{MINUS SIGN}", "-")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def curve_lines(rows: Sequence[Row], *, width: int, chance: float | None = None) -> list[str]:
    """Return sentences about the variants outside English and in English, and the table of the curve.

    Args:
        rows: of `closing/curve.sql`.
        width: cells of a line of the sentences.
        chance: accuracy of guessing, if it is known.
    """
    counts = Counter(row["sparsity"] for row in rows)
    sparsities = sorted(sorted(counts, key=lambda sparsity: (-counts[sparsity], sparsity))[:MAX_SPARSITIES])
    price = min(sparsities, key=lambda sparsity: (abs(sparsity - DEFAULT_SPARSITY), sparsity))
    methods = {
        name: {row["sparsity"]: row for row in own} for name, own in groupby(rows, key=lambda row: row["method"])
    }
    shown = _shown_methods(methods)
    first = rows[0]
    heads = [f"{100 * sparsity:g} % " for sparsity in (0.0, *sparsities)] + [f"English {100 * price:g} % "]
    dense = _value(first["dense_value"])
    table = [[f"{str(first['metric']).capitalize()} outside English", *heads]]
    for name in shown:
        row = methods[name].get(price)
        english = _value(row["english_value"], is_changed=row["english_is_changed"]) if row else "-"
        cells = [_cell(methods[name].get(sparsity)) for sparsity in sparsities]
        table.append([f"  {_named_method(name, methods[name])}", dense, *cells, english])
    english = first["english_dense_value"]
    notes = [str(first["task"]), *([f"chance {chance:.2f}"] if chance is not None else [])]
    notes += [f"unpruned English {english:.2f}"] if english is not None else []
    notes += ["* differs from unpruned by more than chance explains"]
    notes += [counted(len(methods) - len(shown), "more method")] if len(methods) > len(shown) else []
    sentences = [line for text in _sentences(rows, price) for line in _folded(text, width=width)]
    return [*sentences, *map(visible, _aligned(table)), *_folded("; ".join(notes), width=width, label="  ")]


def _shown_methods(methods: Mapping[str, Mapping[float, Row]]) -> list[str]:
    """Return the names of at most `MAX_METHODS` methods, those with most sparsities and the best value first."""
    best = sorted(methods, key=lambda name: (-len(methods[name]), -max(row["value"] for row in methods[name].values())))
    ranks: Counter[str] = Counter()
    order = []
    for name in best:
        score = str(next(iter(methods[name].values()))["score"])
        order.append((ranks[score], name))
        ranks[score] += 1
    chosen = {name for _, name in sorted(order, key=lambda item: item[0])[:MAX_METHODS]}
    return [name for name in best if name in chosen]


def _named_method(name: str, points: Mapping[float, Row]) -> str:
    n_seeds = max(row["n_variants"] for row in points.values())
    return visible(name if n_seeds == 1 else f"{name} ({n_seeds} seeds)")


def _cell(row: Row | None) -> str:
    return "-" if row is None else _value(row["value"], is_changed=row["is_changed"])


def _value(value: float | None, *, is_changed: bool = False) -> str:
    return "-" if value is None else f"{value:.2f}{'*' if is_changed else ' '}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    cells = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in table)
    return ["  ".join(line).rstrip() for line in cells]


def _sentences(rows: Sequence[Row], price: float) -> list[str]:
    """Return how many settings differ significantly from dense, outside English and in English at one sparsity."""
    better, worse = (sum(row["is_changed"] and sign * row["difference"] > 0 for row in rows) for sign in (1, -1))
    settings = counted(len(rows), "setting")
    verb = "is" if better < 2 else "are"
    text = f"Outside English {better or 'none'} of {settings} {verb} better than the unpruned model, "
    text += f"{worse or 'none'} worse, by more than chance explains."
    priced = [row for row in rows if row["sparsity"] == price and row["english_difference"] is not None]
    losses = [-100 * row["english_difference"] for row in priced if row["english_is_changed"]]
    losses = sorted(loss for loss in losses if loss > 0)
    if not priced:
        return [text]
    methods = counted(len(priced), "method")
    verb = "loses" if len(losses) < 2 else "lose"
    english = f"English at {100 * price:g} %: {len(losses) or 'none'} of {methods} {verb} more than chance explains"
    span = f" ({text_range(*(f'{loss:.1f} points' for loss in (losses[0], losses[-1])))})" if losses else ""
    return [text, f"{english}{span}."]
