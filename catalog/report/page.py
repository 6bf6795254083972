"""Write the report: run every query, draw every figure, fill the template, and describe the methods."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from catalog.report.exhibits import Grid, Group, grouped, page_script, style_sheet
from catalog.report.figures import EXAMPLES, FIGURES, TABLES, Exhibit, run_exhibit
from catalog.report.first_page import first_page
from catalog.report.labels import FILTERS, Facets, attributes, facets_of, number, p_value
from catalog.report.query_results import MAX_DATA_ROWS, MAX_FILE_ROWS, Source, run_report_query
from catalog.report.styles import SHAPES, on_page
from catalog.report.summary import ANSWER_COLUMNS, COLUMNS, TableRow, headlines
from catalog.report.svg import to_svg
from catalog.report.topics import topics_of
from catalog.results import Row, visible
from catalog.store import Catalog
from mlprune.atomic import remove_left_over, write_atomically
from mlprune.errors import BadInputError

TEST_NAMES: Mapping[str, str] = {
    "tango": "Tango's score test of paired proportions",
    "sign_flip": "sign flips of clusters",
    "randomization": "paired approximate randomization",
    "minima": "an intersection-union test of the worst languages with sign flips of clusters",
}
"""Method of a p-value -> name."""
INTERVAL_NAMES: Mapping[str, str] = {
    "tango": "the inversion of the test",
    "sign_flip": "the inversion of the test",
    "minima": "the inversion of the test",
    "bca": "BCa bootstrap of clusters",
    "score": "a score interval of the items that changed",
    "debiased": "bootstrap corrected for bias",
}
"""Method of an interval -> name."""
_FOLDER = Path(__file__).parent
_TEMPLATE = "page.html.j2"
MAX_TITLE_NAMES = 3
"""Maximum number of recipes and of models that the title names."""
MAX_TABLE_ROWS = 200
"""Maximum number of rows of a table in the page; the CSV file below it has all rows."""
_NUMERIC = re.compile(r"<?[+−-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_EMPTY = {"", "–"}
_WITHOUT_TRAILING_ZEROS = ("sparsity", "elapsed_s", "peak_memory_gib")
_CHANGES = ("difference", "chrf_change", "exact_match_change", "english_difference", "minus_english_change")
"""Columns whose numbers are shown with their sign."""


@dataclass(frozen=True)
class Methods:
    """Texts to copy."""

    paragraph: str
    bibtex: str
    source: Source


def methods_of(catalog: Catalog) -> Methods:
    """Return the texts for a catalog."""
    source, snapshot = run_report_query(catalog, "methods"), catalog.snapshot_id()
    by_topic: dict[str, list[Row]] = {str(topic): rows for (topic,), rows in grouped(source.rows, "topic")}
    return Methods(methods_paragraph(by_topic, snapshot=snapshot), bibtex_entry(by_topic, snapshot=snapshot), source)


def methods_paragraph(by_topic: Mapping[str, Sequence[Row]], *, snapshot: str) -> str:
    """Return the paragraph.

    Args:
        by_topic: topic -> rows of `methods.sql`.
        snapshot: id of the catalog's snapshot.
    """
    if "model" not in by_topic:
        return ""
    sentences = [
        _listed("Models: {}.", by_topic, "model", "{name} ({detail})"),
        _listed("Pruned variants: {}.", by_topic, "method", "{name} ({n}; sparsity {detail})"),
        _listed("Demonstration sets: {}.", by_topic, "set", "{name} ({n}; {detail})"),
        _listed("Evaluations: {}.", by_topic, "task", "{name} ({n} items; {detail})"),
        _tests("Variants and baselines are compared on the same items: {}.", by_topic.get("test", ())),
        _tests(
            "Means and worst values of languages are tested with clusters shared by the languages: {}.",
            by_topic.get("pooled", ()),
        ),
        _families(by_topic),
        "Intervals are 95 %; bounds of losses and equivalence use the 90 % interval (two one-sided tests at 5 %). "
        "Variants are chosen on dev and reported on test."
        if "test" in by_topic or "pooled" in by_topic
        else "",
        _listed("Code: {}.", by_topic, "code", "mlprune {name} ({detail})"),
        f"All numbers are of snapshot {snapshot} of the catalog.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _listed(sentence: str, by_topic: Mapping[str, Sequence[Row]], topic: str, form: str) -> str:
    rows = by_topic.get(topic, ())
    return sentence.format("; ".join(form.format(**row) for row in rows)) if rows else ""


def _tests(sentence: str, rows: Sequence[Row]) -> str:
    """Return a sentence with each test, the metrics that it is used for, its number of draws and its intervals."""
    parts = []
    details = [str(row["detail"]).partition(" with interval ") for row in rows]
    split = [{**row, "test": test, "interval": end} for row, (test, _, end) in zip(rows, details, strict=True)]
    for (test,), members in grouped(split, "test"):
        metrics = ", ".join(dict.fromkeys(str(row["name"]) for row in members))
        intervals = dict.fromkeys(INTERVAL_NAMES.get(row["interval"], row["interval"]) for row in members)
        n_draws = max(row["n"] or 0 for row in members)
        text = f"{metrics} by {TEST_NAMES.get(str(test), str(test))}" + (f" ({n_draws:,} draws)" if n_draws else "")
        named = " or ".join(name for name in intervals if name)
        parts.append(f"{text}, interval by {named}" if named else text)
    return sentence.format("; ".join(parts)) if parts else ""


def _families(by_topic: Mapping[str, Sequence[Row]]) -> str:
    parts = [
        f"{row['name']} ({kind}, {row['n']} test{'' if row['n'] == 1 else 's'})"
        for kind in ("primary", "exploratory")
        for row in by_topic.get(kind, ())
    ]
    if not parts:
        return "No question was declared before the run; all tests are exploratory."
    return (
        f"Declared questions: {'; '.join(parts)}. The primary questions of a recipe share the level of 5 %, each by "
        "Holm's method; all other tests are exploratory."
    )


def bibtex_entry(by_topic: Mapping[str, Sequence[Row]], *, snapshot: str) -> str:
    """Return a BibTeX entry of the software, with the versions that ran and the snapshot."""
    versions = list(dict.fromkeys(str(row["name"]) for row in by_topic.get("code", ()) if row["name"] is not None))
    fields = {
        "author": "{mlprune contributors}",
        "title": "mlprune: pruning of multilingual language models with translation demonstrations",
        **({"version": " and ".join(versions)} if versions else {}),
        "note": f"Results of catalog snapshot {snapshot}",
    }
    lines = [f"  {name:<7} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@software{mlprune,", *lines, "}"])


@dataclass(frozen=True)
class RenderedPanel:
    """A panel as a finished SVG element."""

    svg: Markup
    facets: Facets


@dataclass(frozen=True)
class RenderedGroup:
    """A group whose panels the template can insert."""

    group: Group
    panels: tuple[RenderedPanel | Grid, ...]


@dataclass(frozen=True)
class RenderedExhibit:
    """An exhibit with its data, as the template needs it."""

    exhibit: Exhibit
    sources: tuple[Source, ...]
    """One per run of its query."""
    groups: tuple[RenderedGroup, ...]
    headings: list[str]
    table: list[TableRow]
    """Rows of a table, at most `MAX_TABLE_ROWS`; empty for a figure."""

    @property
    def anchor(self) -> str:
        """Id of the exhibit in the page."""
        return self.exhibit.anchor

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.groups or self.table)


def write_report(catalog: Catalog, out: Path, *, title: str | None = None) -> Path:
    """Write the report of a catalog as one HTML file that needs no network; equal catalogs give equal files.

    Args:
        catalog: the catalog; its first query folds it, if it was not folded before.
        out: path of the file, which is written atomically; missing parent folders are created.
        title: heading of the page; None for one that names the recipes and the models.
    Returns: `out`.
    Raises:
        BadInputError: `out` is a folder or cannot be written.
    """
    if out.is_dir():
        raise BadInputError("the report cannot be written", expected="a file", got="a folder", path=str(out))
    text = visible(render_page(catalog, title=title))
    try:
        remove_left_over(out)
        write_atomically(out, text.encode())
    except OSError as err:
        raise BadInputError("the report cannot be written", path=str(out), reason=str(err)) from err
    return out


def render_page(catalog: Catalog, *, title: str | None = None) -> str:
    """Return the HTML of the report; see `write_report`."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["attributes"] = lambda facets: Markup(attributes(facets))  # noqa: S704 - escaped there
    environment.filters["numeric_columns"] = numeric_columns
    environment.filters["on_page"] = on_page
    script = page_script()
    overview, answers = (run_report_query(catalog, name) for name in ("overview", "answered_questions"))
    models = run_report_query(catalog, "base_models").rows
    rendered = _render_all(catalog, (*FIGURES, *EXAMPLES, *TABLES))
    return environment.get_template(_TEMPLATE).render(
        title=title or report_title(overview.rows[0]["recipes"] or (), [str(row["source"]) for row in models]),
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style_sheet=Markup(style_sheet()),  # noqa: S704 - a file of this package
        snapshot=catalog.snapshot_id(),
        overview=overview.rows[0],
        overview_source=overview,
        models=models,
        filters=_filters(catalog),
        shapes=SHAPES,
        headlines=headlines(catalog, answers=answers.rows, models=models),
        headline_columns=COLUMNS,
        answer_columns=ANSWER_COLUMNS,
        answers_source=answers,
        methods=methods_of(catalog),
        first=first_page(catalog),
        topics=topics_of([one for one in rendered if one.has_content]),
        without_data=[one for one in rendered if not one.has_content],
        max_rows=MAX_DATA_ROWS,
        max_file_rows=MAX_FILE_ROWS,
        max_lines=MAX_TABLE_ROWS,
    )


def _filters(catalog: Catalog) -> list[tuple[str, str, list[str]]]:
    """Return name, heading and values of each filter that has values."""
    rows = dict(grouped(run_report_query(catalog, "filters").rows, "filter"))
    return [
        (name, heading, [str(row["value"]) for row in rows[name,]])
        for name, heading in FILTERS.items()
        if (name,) in rows
    ]


def report_title(recipes: Sequence[str], models: Sequence[str]) -> str:
    """Return the heading of a page without one of its own, such as `study: pruning of tiny`.

    Args:
        recipes: names of the recipes that ran.
        models: sources of the base models.
    """
    topic = f"pruning of {_some_names(models)}" if models else "no model has been pruned yet"
    subject = _some_names(recipes) if recipes else "mlprune"
    return f"{subject}: {topic}"


def _some_names(names: Sequence[str]) -> str:
    shown = list(names if len(names) <= MAX_TITLE_NAMES + 1 else names[:MAX_TITLE_NAMES])
    last = shown.pop() if len(shown) == len(names) else f"{len(names) - len(shown)} more"
    return f"{', '.join(shown)} and {last}" if shown else last


def _render_all(catalog: Catalog, exhibits: Sequence[Exhibit]) -> list[RenderedExhibit]:
    """Render exhibits, except optional ones without data."""
    rendered = [_render(catalog, exhibit) for exhibit in exhibits]
    return [one for one in rendered if not one.exhibit.is_optional or any(source.rows for source in one.sources)]


def _render(catalog: Catalog, exhibit: Exhibit) -> RenderedExhibit:
    sources = run_exhibit(catalog, exhibit)
    rows = [row for source in sources for row in source.rows]
    groups = [
        group for source in sources for group in (exhibit.draw(source.rows) if exhibit.draw and source.rows else ())
    ]
    rendered = tuple(_render_group(group, f"{exhibit.anchor}-{index}") for index, group in enumerate(groups))
    columns = dict(exhibit.columns)
    if columns and len({row.get("base_model") for row in rows}) > 1:
        columns = {"base_model": "model", **columns}
    table = [
        TableRow(tuple(_cell_text(row, column, exhibit) for column in columns), facets_of(row))
        for row in rows[: MAX_TABLE_ROWS if columns else 0]
    ]
    return RenderedExhibit(exhibit, sources, rendered, list(columns.values()), table)


def _render_group(group: Group, anchor: str) -> RenderedGroup:
    """Render the panels of a group as SVG; the template renders heat maps."""
    panels = tuple(
        panel if isinstance(panel, Grid) else RenderedPanel(Markup(to_svg(panel, f"{anchor}-{index}")), panel.facets)  # noqa: S704
        for index, panel in enumerate(group.panels)
    )
    return RenderedGroup(group, panels)


def _cell_text(row: Row, column: str, exhibit: Exhibit) -> str:
    """Return a value as a short text, with its interval if there is one."""
    text = _short_text(row[column], column)
    ends = [row[end] for end in exhibit.intervals.get(column, ())]
    if not ends or None in ends:
        return text
    low, high = (_short_text(end, column) for end in ends)
    return f"{text} ({low} to {high})"


def _short_text(value: object, column: str) -> str:
    """Return a short text: three digits, a dash for NULL; the data below the table has the full value."""
    if isinstance(value, float) and (column.startswith("p_") or column.endswith("_p_corrected")):
        return p_value(value)
    if isinstance(value, float):
        return f"{value:g}" if column in _WITHOUT_TRAILING_ZEROS else number(value, signed=column in _CHANGES)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return "–" if value is None else str(value)


def numeric_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """Return for each column whether it contains only numbers and dashes; the page right-aligns such columns."""
    return [
        all(_NUMERIC.fullmatch(text) or text in _EMPTY for text in column) and not _EMPTY.issuperset(column)
        for column in zip(*rows, strict=True)
    ]
