import csv
import io
import re
from pathlib import Path

import matplotlib as mpl
import pytest

from catalog.report import FigureSelection, write_figures
from catalog.report.figure_export import MAX_NAME_LENGTH
from catalog.report.figures import FIGURES
from catalog.store import Catalog
from mlprune.errors import BadInputError
from tests.catalog.report.rows import texts


@pytest.fixture(scope="module")
def written(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All figures of the filled store, as SVG."""
    return list(write_figures(catalog, tmp_path_factory.mktemp("figures"), FigureSelection(format="svg")))


def drawn_by(written: list[Path], anchor: str) -> list[Path]:
    return [path for path in written if re.fullmatch(rf"{anchor}(-tiny.*)?(-part-\d+)?", path.stem)]


def related_file(path: Path, ending: str) -> Path:
    """The file with another suffix for a figure, or for all parts of one."""
    return path.with_name(path.stem.partition("-part-")[0] + ending)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(related_file(path, ".csv").read_text("utf-8"))))


def test_every_figure_of_the_report_is_a_file_with_its_sql_and_data(written: list[Path]) -> None:
    for exhibit in FIGURES:
        if not exhibit.is_optional:
            assert drawn_by(written, exhibit.anchor), exhibit.anchor
    for path in written:
        assert path.read_text("utf-8").startswith("<?xml")
        assert len(rows_of(path)) > 0
        assert related_file(path, ".sql").exists()
        assert len(related_file(path, "").name) <= MAX_NAME_LENGTH
    assert len(set(written)) == len(written)


def test_figures_are_equal_bytes_whatever_matplotlib_is_set_to(
    written: list[Path], catalog: Catalog, tmp_path: Path
) -> None:
    settings = {"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}
    with mpl.rc_context(settings):
        again = list(write_figures(catalog, tmp_path, FigureSelection(format="svg", figures=("curves",))))
        assert mpl.rcParams["font.size"] == 30
    assert len(again) == len(drawn_by(written, "curves")) > 0
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in drawn_by(written, "curves")]


def test_the_data_of_a_figure_are_its_rows_of_the_query(written: list[Path], catalog: Catalog) -> None:
    accuracy, perplexity, chrf = drawn_by(written, "curves")
    assert {row["metric"] for row in rows_of(accuracy)} == {"accuracy"}
    sql = perplexity.with_suffix(".sql").read_text("utf-8")
    assert '-- rows with metric = "perplexity"' in sql
    assert f"-- snapshot {catalog.snapshot_id()} of the catalog" in sql
    asked = [row for row in catalog.query(sql) if row["metric"] == "perplexity" and row["demonstration_label"] is None]
    assert len(rows_of(perplexity)) == len(asked)
    assert {row["language"] for row in rows_of(chrf)} == {"es-en", "fr-en", "outside_english"}


def test_without_a_pair_the_means_are_drawn_and_with_one_its_own_values(
    written: list[Path], catalog: Catalog, tmp_path: Path
) -> None:
    (change,) = drawn_by(written, "change")
    assert {row["demonstration_label"] for row in rows_of(change)} == {""}
    chosen = {"pair": ["fr-en"], "score": ["wanda"]}
    (path,) = write_figures(catalog, tmp_path, FigureSelection(format="svg", figures=("change",), chosen=chosen))
    assert {(row["score"], row["demonstration_label"]) for row in rows_of(path)} == {("wanda", "fr-en")}
    assert "propagation: fr-en" in " ".join(texts(path.read_text("utf-8")))


def test_equal_catalogs_make_equal_files_in_either_format(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("pdf", "svg"):
        wanted = FigureSelection(format=name, figures=("pareto",))
        (one,), (other,) = (list(write_figures(catalog, tmp_path / folder, wanted)) for folder in ("a", "b"))
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"%PDF" if name == "pdf" else b"<?xml")
        plain = one.read_bytes().replace(b"\0", b"").replace(b"\\000", b"")  # a PDF says its subject in UTF-16
        assert catalog.snapshot_id().encode() in plain


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (FigureSelection(format="png"), "no such figure format"),
        (FigureSelection(figures=("curvs",)), "unknown figure .*nearest='curves'"),
        (FigureSelection(chosen={"task": ["fact"]}), "unknown task .*nearest='facts'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    wanted: FigureSelection, said: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=said):
        list(write_figures(catalog, tmp_path / "none", wanted))
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_created_is_an_error_in_one_line(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="a figure cannot be written"):
        list(write_figures(catalog, tmp_path / "file" / "deep", FigureSelection(figures=("pareto",))))


def test_names_of_any_spelling_give_files_in_the_folder(attacked_catalog: Catalog, tmp_path: Path) -> None:
    paths = list(
        write_figures(attacked_catalog, tmp_path, FigureSelection(format="svg", figures=("curves", "rank-matrices")))
    )
    assert len(paths) >= 4
    assert all(path.parent == tmp_path for path in paths)
    assert not [path for path in tmp_path.iterdir() if set(path.name) & set("<>\"'$/")]
    for path in paths:
        assert "<script" not in path.read_text("utf-8")
        assert catalog_lines(related_file(path, ".sql"))


def catalog_lines(path: Path) -> bool:
    """Whether everything after the statement is a comment."""
    _, _, rest = path.read_text("utf-8").rpartition(";\n-- snapshot")
    return all(line.startswith("--") for line in ("-- snapshot" + rest).splitlines())


def test_an_empty_catalog_gives_no_figure(empty_catalog: Catalog, tmp_path: Path) -> None:
    assert list(write_figures(empty_catalog, tmp_path / "none")) == []
