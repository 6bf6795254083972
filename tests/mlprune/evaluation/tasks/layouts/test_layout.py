"""Files of a folder, of an archive, and a single file."""

import csv
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlprune import given_files
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.layouts import layout as file_tree_module
from mlprune.evaluation.tasks.layouts.layout import file_tree, first_cells, first_object, tab_separated
from tests.refusals import refused


def test_names_begin_with_the_folder_and_leave_out_hidden_and_deep_files(tmp_path: Path) -> None:
    for name in ("b.tsv", "a/c.tsv", ".git/x", "__MACOSX/a.tsv", ".hidden", "a/b/c/d.tsv", "a/b/c/d/e.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    tree, root = file_tree(tmp_path), tmp_path.name
    assert tree.names == (f"{root}/a/b/c/d.tsv", f"{root}/a/c.tsv", f"{root}/b.tsv")
    assert tree.file(f"{root}/a/c.tsv").read_text() == "a/c.tsv"
    assert tree.origin(f"{root}/a/c.tsv") == str(tmp_path / "a/c.tsv")


def test_a_large_folder_is_looked_at_up_to_a_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        (tmp_path / f"{number}.tsv").touch()
    monkeypatch.setattr(file_tree_module, "MOST_FILES", 4)
    assert [name[-5:] for name in file_tree(tmp_path).names] == ["0.tsv", "1.tsv", "2.tsv", "3.tsv"]


def test_a_missing_path_and_a_single_file(tmp_path: Path) -> None:
    assert file_tree(tmp_path / "none").names == ()
    (tmp_path / "a.tsv").write_text("x")
    tree = file_tree(tmp_path / "a.tsv")
    assert (tree.names, tree.file("a.tsv").read_text(), tree.origin("a.tsv")) == (
        ("a.tsv",),
        "x",
        str(tmp_path / "a.tsv"),
    )


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip or tar archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz", ".tgz"])
def test_an_archive_that_changes_is_read_again(tmp_path: Path, ending: str) -> None:
    path, member = tmp_path / f"x{ending}", "a/b.tsv" if ending == ".zip" else "./a/b.tsv"
    for content in ("one", "three"):
        tree = file_tree(pack(path, {member: content.encode(), "__MACOSX/a/b.tsv": b"no"}))
        assert tree.names == (f"x{ending}/a/b.tsv",)
        assert tree.file(tree.names[0]).read_text() == content
        assert tree.origin(tree.names[0]) == str(path / "a/b.tsv")


@pytest.mark.parametrize(
    ("in_directory", "in_header", "value"),
    [(8, 6, 1), (10, 8, 99), (None, 40, 255)],
    ids=["encrypted", "unknown compression", "damaged"],
)
def test_an_archive_that_cannot_be_unpacked_is_one_error(
    tmp_path: Path, in_directory: int | None, in_header: int, value: int
) -> None:
    path = pack(tmp_path / "x.zip", {"a/b.tsv": b"one two three"})
    data = bytearray(path.read_bytes())
    data[in_header] = value
    if in_directory is not None:
        data[data.index(b"PK\x01\x02") + in_directory] = value
    path.write_bytes(data)
    tree = file_tree(path)
    with refused(TaskFileError, file=str(path), member="a/b.tsv"):
        tree.file(tree.names[0])


def test_a_member_is_extracted_once_however_many_others_there_are(tmp_path: Path) -> None:
    tree = file_tree(pack(tmp_path / "x.zip", {f"{number:02}.tsv": str(number).encode() for number in range(70)}))
    first, second = ([tree.file(name) for name in tree.names] for _ in range(2))
    assert first == second
    assert [file.read_text() for file in first] == [str(number) for number in range(70)]


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_member_that_decompresses_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(file_tree_module, "MOST_BYTES", 1_000)
    tree = file_tree(pack(tmp_path / f"small-{name}", {"small.tsv": bytes(1_000)}))
    assert tree.file(tree.names[0]).stat().st_size == 1_000
    with refused(TaskFileError, member="big.tsv"):
        file_tree(pack(tmp_path / name, {"big.tsv": bytes(1_001)})).file(f"{name}/big.tsv")


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz", "bomb.tgz"])
def test_an_archive_that_expands_too_much_is_refused_before_it_is_extracted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(given_files, "FREE_MIB", 1)
    pack(tmp_path / name, {"x/zeros.tsv": bytes(16 << 20)})
    with refused(TaskFileError, file=str(tmp_path / name)):
        file_tree(tmp_path / name)


@pytest.mark.parametrize("name", ["many.zip", "many.tar"])
def test_an_archive_with_very_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(file_tree_module, "MOST_MEMBERS", 3)
    pack(tmp_path / name, {f"x/{number}.tsv": b"" for number in range(4)})
    with pytest.raises(TaskFileError):
        file_tree(tmp_path / name)


ROWS = [["id", "text"], ["1", 'he said "no"'], ["2", "plain"], ["3", '"']]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_quotes_of_a_csv_writer_enclose_values(tmp_path: Path, quoting: int) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting).writerows(ROWS)
    (tmp_path / "a.tsv").write_bytes(text.getvalue().encode())
    assert tab_separated(tmp_path / "a.tsv") == ROWS


def test_a_cell_in_quotes_may_have_line_breaks_that_make_rows_unequal(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"one\n\ntwo three"\n2\tplain\n')
    assert tab_separated(tmp_path / "a.tsv") == [["id", "text"], ["1", "one\n\ntwo three"], ["2", "plain"]]
    (tmp_path / "b.tsv").write_text('id\ttext\n1\t"one\n2\t"two" or three\textra\n')
    assert tab_separated(tmp_path / "b.tsv")[1:] == [["1", '"one'], ["2", '"two" or three', "extra"]]


@pytest.mark.parametrize("cell", ['"no"', '"no" and "yes"', 'a "no', '"', '""', 'a ""no"" b'])
def test_other_quotes_are_characters(tmp_path: Path, cell: str) -> None:
    for others in ([], ["4\t" + '"a ""b"" c"']):
        lines = ["id\ttext", f"1\t{cell}", *others]
        (tmp_path / "a.tsv").write_text("\n".join(lines))
        assert tab_separated(tmp_path / "a.tsv")[1] == ["1", cell]


def test_the_first_line_of_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9\n[1]\n")
    assert first_cells(tmp_path / "a") == []
    assert first_object(tmp_path / "a") == first_object(tmp_path / "none") == {}
    (tmp_path / "a").write_text("a\tb\nc\n")
    assert first_cells(tmp_path / "a", 2) == [["a", "b"], ["c"]]
