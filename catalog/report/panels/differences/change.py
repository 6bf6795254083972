"""Change from dense by language and sparsity: one heat map per method."""

from collections.abc import Sequence

from catalog.report.drawing.exhibits import Group, distinct, grouped
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import facets_of
from catalog.report.labels import method_label, number
from catalog.report.panels.differences.methods import GROUP_LABELS, change_legend, groups_first
from catalog.report.panels.tasks import by_task
from catalog.results import Row

_METHOD = ("score", "intervention", "set_kind", "propagation", "structure", "settings", "demonstration_label")


def change_heat_maps(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw heat maps of the change of accuracy from dense, with a row per language and a column per sparsity.

    The first rows are groups of languages. The colours end at the largest change of all methods but random pruning.

    Args:
        rows: result of `change_to_dense.sql`.
    """
    groups = []
    for title, members in by_task(rows):
        compared = [row for row in members if row["score"] != "random"] or members
        largest_change = max(0.01, *(abs(row["difference"]) for row in compared))
        scale = Scale(-largest_change, largest_change, is_diverging=True)
        languages = groups_first(row["language"] for row in members)
        grids = tuple(_change_grid(cells, languages=languages, scale=scale) for _, cells in grouped(members, *_METHOD))
        groups.append(
            Group(
                title=title,
                panels=grids,
                rows=members,
                legend=(change_legend(scale),),
                facets=facets_of(members[0], only=("model", "task")),
            )
        )
    return tuple(groups)


def _change_grid(rows: Sequence[Row], *, languages: Sequence[str], scale: Scale) -> Grid:
    sparsities = sorted(distinct(rows, "sparsity"))
    cells = {(languages.index(row["language"]), sparsities.index(row["sparsity"])): row for row in rows}
    differences = [row["difference"] for row in rows]
    title = method_label(rows[0])
    if rows[0]["demonstration_label"] is not None:
        title += f": {rows[0]['demonstration_label']}"
    span = f"from {number(min(differences), signed=True)} to {number(max(differences), signed=True)}"
    return Grid(
        title=title,
        label=f"Change of accuracy from dense, {title}: {span}",
        rows=tuple(GROUP_LABELS.get(language, language) for language in languages),
        columns=tuple(f"{sparsity:.3g}" for sparsity in sparsities),
        values={position: row["difference"] for position, row in cells.items()},
        texts={position: _change_text(row) for position, row in cells.items()},
        scale=scale,
        column_name="sparsity",
        facets=facets_of(rows[0], only=("score", "pair")),
    )


def _change_text(row: Row) -> str:
    """Return the change with its mark: ** if the pooled tests of all variants of the cell are significant, * of some.

    Cells of single languages have no mark: they are means without a test.
    """
    n_significant = max(row["n_significantly_better"], row["n_significantly_worse"])
    mark = "" if not n_significant else "**" if n_significant == row["n_variants"] else "*"
    return number(row["difference"], signed=True, digits=2) + mark
