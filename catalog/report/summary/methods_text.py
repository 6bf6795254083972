"""A paragraph on methods and a BibTeX entry to copy, generated from what was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.drawing.exhibits import grouped
from catalog.report.query_results import Source, run_report_query
from catalog.results import Row
from catalog.store import Catalog

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
    split = [{**row, "test": test, "interval": end} for row in rows for test, end in [_split(str(row["detail"]))]]
    for (test,), members in grouped(split, "test"):
        metrics = ", ".join(dict.fromkeys(str(row["name"]) for row in members))
        intervals = dict.fromkeys(INTERVAL_NAMES.get(row["interval"], row["interval"]) for row in members)
        n_draws = max(row["n"] or 0 for row in members)
        text = f"{metrics} by {TEST_NAMES.get(str(test), str(test))}" + (f" ({n_draws:,} draws)" if n_draws else "")
        named = " or ".join(name for name in intervals if name)
        parts.append(f"{text}, interval by {named}" if named else text)
    return sentence.format("; ".join(parts)) if parts else ""


def _split(detail: str) -> tuple[str, str]:
    """Return the test and the interval of a row of `methods.sql`."""
    test, _, interval = detail.partition(" with interval ")
    return test, interval


def _families(by_topic: Mapping[str, Sequence[Row]]) -> str:
    parts = [
        f"{row['name']} ({kind}, {row['n']} test{'' if row['n'] == 1 else 's'}"
        + (f", {row['detail']})" if row["n"] > 1 else ")")
        for kind in ("primary", "exploratory")
        for row in by_topic.get(kind, ())
    ]
    if not parts:
        return "No question was declared before the run; all tests are exploratory."
    return f"Each question is a family of tests: {'; '.join(parts)}. All other tests are exploratory."


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
