"""Tables of the real study, for the terminal and as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from catalog.results import QueryResult, to_csv
from infra.real.comparisons import Comparison
from infra.real.values import Value
from mlprune.atomic import write_atomically


def values_table(values: Sequence[Value], task: str) -> Table:
    """Build a table with one row per arm and propagation and one column per language."""
    chosen = [each for each in values if each.task == task]
    languages = list(dict.fromkeys(each.language for each in chosen))
    table = _table(f"{task}, mean over sources and seeds", ["weights kept by", "propagation", "variants", *languages])
    for arm, propagation in dict.fromkeys((each.arm, each.propagation) for each in chosen):
        row = {each.language: each for each in chosen if (each.arm, each.propagation) == (arm, propagation)}
        n_variants = str(max(each.n_variants for each in row.values()))
        shown = [f"{row[language].value:.3g}" if language in row else "" for language in languages]
        table.add_row(arm, propagation, n_variants, *shown)
    return table


def comparisons_table(comparisons: Sequence[Comparison]) -> Table:
    """Build a table with one row per comparison."""
    columns = ("metric", "propagation", "opponent", "languages", "difference", "95 % interval", "below 0", "p", "Holm")
    table = _table("translation demonstrations minus each opponent", columns)
    for each in comparisons:
        mean = each.difference
        interval = f"{mean.ci_low:+.4f} to {mean.ci_high:+.4f}"
        below = f"{mean.n_below} of {mean.n_cells}"
        numbers = (f"{mean.mean:+.4f}", interval, below, f"{mean.p_value:.3f}", f"{each.p_holm:.3f}")
        table.add_row(each.metric, each.propagation, each.opponent, each.role, *numbers)
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name)
    return table


def write_tables(folder: Path, values: Sequence[Value], comparisons: Sequence[Comparison], *, name: str) -> list[Path]:
    """Write both tables as CSV files and return their paths."""
    values_path, comparisons_path = folder / f"{name}-values.csv", folder / f"{name}-comparisons.csv"
    _write_csv(values_path, [asdict(each) for each in values])
    _write_csv(comparisons_path, [{**asdict(each), **asdict(each.difference)} for each in comparisons])
    return [values_path, comparisons_path]


def _write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    columns = tuple(name for name in rows[0] if name != "difference") if rows else ()
    cells = (tuple(row[name] for name in columns) for row in rows)
    texts = (tuple(f"{value:.6g}" if isinstance(value, float) else value for value in row) for row in cells)
    write_atomically(path, f"{to_csv(QueryResult(columns, tuple(texts)))}\n".encode())
