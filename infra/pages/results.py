"""The page of results: headline numbers with the commands that print them, and the table of methods by language."""

import html
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from infra.pages.headlines import HEADLINES, MADE_BY, README, Headline, Measured, Printed
from infra.pages.page import page
from infra.pages.result_rows import FOLDER
from mlprune.capabilities.publishing.model_card import table
from mlprune.capabilities.results.row import ALPHA, LanguageResult, ResultRow, read_rows

OPENING = """
Each number of the [README](../README.md) and of the opening answers of the [studies](studies/README.md) and the
[study](study.md), with the command that prints or measures it. Stores are archives; the commands run in the root of a
clone, where the archive is unpacked once. The first query of a store fills its catalog, which takes some seconds. At
the end: [methods by language](#methods-by-language).
"""
METHODS = f"""
A row is one method on one model: the mean over draws that differ in nothing but seeds. In parentheses is the paired
difference from the dense model with its 95 % interval: of perplexity the ratio, of accuracy the difference. A language
**pays** if every draw is significantly worse than dense ({100 * ALPHA:.0f} % for all comparisons of its
[family](protocol.md#tests)). MB: kept weights that can be pruned, without masks and scales. Rows compare methods only
within a table.
"""
HOW_TO_ADD = """
**Add a row**: evaluate the method and the dense model in one recipe, then

```
mlprune export LABEL --as row --out docs/results/rows/MODEL-METHOD.json --store runs/
make docs
```

and open a pull request with the file. It has values, intervals, corrected p-values, commit, and the hashes of model,
recipe and store; reading checks that they agree. Say in the request where the store or the recipe can be had, so that
others can repeat it. Keys: [`row.py`](../mlprune/capabilities/results/row.py).
"""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]~#!])")
TITLES = {README: "README", "docs/study.md": "study", "docs/studies/README.md": "studies"}


def results() -> str:
    """Return the whole page."""
    parts = [OPENING.strip()]
    for store, printed in _by_store().items():
        parts += [f"## Store `{store}`", _unpacking(source for _, source in printed), _numbers(printed)]
    parts += [*_measured(), *methods_by_language(FOLDER)]
    return page("Results", parts, source="`infra/pages/headlines.py` and `docs/results/`")


def methods_by_language(folder: Path) -> Iterator[str]:
    """Yield the tables of the rows in a folder, and how others add one.

    Raises:
        BadInputError: a file is not a valid row.
    """
    yield "## Methods by language"
    yield METHODS.strip()
    groups: dict[tuple[object, ...], list[ResultRow]] = {}
    for row in read_rows(folder):
        groups.setdefault(_comparable(row), []).append(row)
    for rows in groups.values():
        yield f"### {escaped(_title(rows[0]))}"
        yield table(_columns(rows[0]), [_dense_cells(rows[0]), *map(_cells, rows)])
    yield HOW_TO_ADD.strip()


def escaped(text: str) -> str:
    """Return Markdown that shows a text as it is: neither markup nor HTML of it has an effect.

    Tables escape the ends of cells themselves.
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(text, quote=False))


def _comparable(row: ResultRow) -> tuple[object, ...]:
    """Return what rows of one table have in common."""
    dense = tuple((each.language, each.n, f"{each.dense:.6g}") for each in row.languages)
    return (
        row.model,
        row.model_id,
        row.dtype,
        row.task,
        row.metric,
        row.split,
        row.scoring_rule,
        row.protocol,
        dense,
    )


def _title(row: ResultRow) -> str:
    named = row.metric if row.metric == row.task else f"{row.metric} of {row.task}"
    n = sorted({each.n for each in row.languages})
    items = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    return f"{row.model} in {row.dtype}: {named}, {row.split}, {items} items"


def _columns(row: ResultRow) -> Sequence[str]:
    return "method", "removed", "MB", *(each.language for each in row.languages), "pays", "draws", "commit"


def _dense_cells(row: ResultRow) -> Sequence[str]:
    values = (_number(each.dense, row) for each in row.languages)
    return "dense", "", f"{row.dense_bytes / 1e6:.1f}", *values, "", "", ""


def _cells(row: ResultRow) -> Sequence[str]:
    structure = "" if row.structure in (None, "row") else f" {row.structure}"
    removed = f"{100 * row.sparsity:.3g} %{structure}" if row.n_removed else ""
    values = (f"{_number(each.value, row)} ({_difference(each, row)})" for each in row.languages)
    commits = (f"{(code.commit or 'unknown')[:8]}{' (modified)' if code.is_modified else ''}" for code in row.code)
    return (
        escaped(row.method if row.name in (None, row.method) else f"{row.name}: {row.method}"),
        escaped(removed),
        f"{row.bytes / 1e6:.1f}",
        *values,
        ", ".join(row.paying) or "none",
        f"{row.n_draws}",
        ", ".join(commits) or "unknown",
    )


def _number(value: float, row: ResultRow) -> str:
    return f"{value:.3f}" if row.scale == "difference" else f"{value:,.1f}"


def _difference(result: LanguageResult, row: ResultRow) -> str:
    ends = (result.difference, result.ci_low, result.ci_high)
    if row.scale == "difference":
        texts = ["" if end is None else f"{end:+.3f}" for end in ends]
    else:
        texts = ["" if end is None else f"x{math.exp(end):.2f}" for end in ends]
    return f"{texts[0]}, {texts[1]} to {texts[2]}" if texts[1] and texts[2] else texts[0]


def _by_store() -> dict[str, list[tuple[Headline, Printed]]]:
    """Return the first store of commands -> the numbers that they print, each with its command."""
    found: dict[str, list[tuple[Headline, Printed]]] = {}
    for headline in HEADLINES:
        if isinstance(headline.source, Printed):
            found.setdefault(headline.source.stores[0], []).append((headline, headline.source))
    return found


def _unpacking(sources: Iterable[Printed]) -> str:
    stores = dict.fromkeys(name for source in sources for name in source.stores)
    unpack = [f"mkdir {name}-store && tar -xJf docs/stores/{name}.tar.xz -C {name}-store" for name in stores]
    again = "\n".join(f"`{MADE_BY[name]}` makes {name}-store again." for name in stores)
    return "\n".join(["```", *unpack, "```", "", again])


def _numbers(printed: Iterable[tuple[Headline, Printed]]) -> str:
    rows = ((headline.text, TITLES[headline.page], f"`{source.command}`") for headline, source in printed)
    return table(("number", "page", "command"), rows)


def _measured() -> Iterator[str]:
    """Yield the section of numbers without a store."""
    yield "## Measured without a store"
    rows = (
        (each.text, TITLES[each.page], f"`{each.source.command}`", f"[conditions]({each.source.details})")
        for each in HEADLINES
        if isinstance(each.source, Measured)
    )
    yield table(("number", "page", "command", "details"), rows)
    yield "[Speed and size](running.md#speed-and-size) names the script of each benchmark above its table."
