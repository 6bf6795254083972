"""Damaged stores and the command line: damage is named in one line, answers move nothing, a run repairs."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.command_line import Done
from tests.records import made_up_record, record_text
from tests.tiny_recipes import FinishedRun, copy_of, results

Here = Callable[..., Done]


@pytest.fixture
def store(small_run: FinishedRun, tmp_path: Path) -> Store:
    """A copy without a catalog: other tests may have filled the one of the shared store."""
    copied = copy_of(small_run.store, tmp_path / "store")
    for path in root(copied).glob("catalog.duckdb*"):
        path.unlink()
    return copied


def root(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root


def run(here: Here, finished: FinishedRun, store: Store) -> Done:
    return here("run", finished.recipe_path, "--store", store.uri, "--address", "none")


def first(store: Store, kind: str) -> Record:
    return next(store.records(kind))


def flip(path: Path, index: int) -> None:
    data = bytearray(path.read_bytes())
    data[index] ^= 1
    path.write_bytes(data)


def flip_a_metric(store: Store) -> str:
    """Change one bit of a digit of a metric; return the path of the record."""
    record = first(store, "evaluations")
    file = root(store) / record.path
    flip(file, file.read_bytes().index(b'"value":0.') + len(b'"value":0.'))
    return record.path


def swap_records(store: Store) -> str:
    """Move two sound records onto each other's names; return the path of one."""
    one, other = [record.path for record in store.records("evaluations")][:2]
    names = root(store) / one, root(store) / other
    texts = [path.read_bytes() for path in names]
    for path, text in zip(names, reversed(texts), strict=True):
        path.write_bytes(text)
    return one


def reshape(store: Store) -> str:
    """Give a record rows of another shape, with a checksum that matches."""
    record = first(store, "evaluations")
    file = root(store) / record.path
    file.write_bytes(record_text({**json.loads(file.read_text()), "rows": {"metrics": 5}}))
    return record.path


def put_folder(store: Store) -> str:
    """Put a folder in place of a record."""
    record = first(store, "recipes")
    (root(store) / record.path).unlink()
    (root(store) / record.path).mkdir()
    return record.path


def put_loop(store: Store) -> str:
    """Put a link to itself in place of a record."""
    path = root(store) / first(store, "evaluations").path
    path.unlink()
    path.symlink_to(path.name)
    return path.relative_to(root(store)).as_posix()


DAMAGE = [flip_a_metric, swap_records, reshape, put_loop]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_named_by_answers_that_move_nothing_and_repaired_by_a_run(
    small_run: FinishedRun, store: Store, here: Here, caplog: pytest.LogCaptureFixture, damage: Callable[[Store], str]
) -> None:
    before = results(store)
    path = damage(store)
    name = Path(path).stem
    damaged = sorted(store.list(""))
    checked = here("catalog", "check", "--store", store.uri)
    assert checked.code == 1
    assert [line for line in checked.out.splitlines() if line.startswith(f"{path}: the record is damaged")]
    report = ("report", "--out", str(root(store).parent / "report.html"))
    for command in (
        ("query", "SELECT count(*) FROM metrics"),
        *([report] if damage is flip_a_metric else []),  # a report folds the catalog as a query does
        ("plan", str(small_run.recipe_path)),
    ):
        caplog.clear()
        done = here(*command, "--store", store.uri)
        assert done.code == 0, done.err
        assert name in caplog.text
    assert [path for path in sorted(store.list("")) if not path.startswith("catalog.")] == damaged
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("catalog", "check", "--store", store.uri).out == "sound\n"


@pytest.mark.parametrize(
    ("kind", "is_artefact"),
    [("recipes", False), ("evaluations", False), ("masks", False), ("evaluations", True), ("masks", True)],
)
def test_a_run_heals_a_folder_in_place_of_a_file(
    small_run: FinishedRun, store: Store, here: Here, kind: str, *, is_artefact: bool
) -> None:
    before = results(store)
    record = first(store, kind)
    path = root(store) / (record.artefacts[0].path if is_artefact else record.path)
    path.unlink()
    (path / "inside").mkdir(parents=True)
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("catalog", "check", "--store", store.uri).code == 0


def test_rows_that_do_not_fit_the_catalog_are_named_and_stop_no_question(
    store: Store, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    rows = first(store, "evaluations").rows
    metrics = [{name: value for name, value in row.items() if name != "evaluation_id"} for row in rows["metrics"]]
    unfitting = made_up_record("evaluations", {"by": "hand"}, rows={**rows, "metrics": metrics})
    store.write_record(unfitting)
    for command in (("query", "SELECT count(*) FROM metrics"), ("catalog", "rebuild")):
        assert here(*command, "--store", store.uri).code == 0
        assert unfitting.id in caplog.text
        caplog.clear()
    assert unfitting.id in here("catalog", "check", "--store", store.uri).out


def test_an_export_that_meets_damage_names_the_repair_and_the_next_run_does_it(
    small_run: FinishedRun, store: Store, here: Here, tmp_path: Path
) -> None:
    before = results(store)
    ordering = next(store.records("masks"))
    variant_id = ordering.rows["ordering_variants"][0]["variant_id"]
    flip(root(store) / ordering.artefacts[0].path, -20)
    assert run(here, small_run, store).code == 0  # the size is right: not noticed
    model = ("--model", small_run.folder / "model", "--store", store.uri)
    done = here("export", variant_id, tmp_path / "out", *model)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert ordering.artefacts[0].path in line
    assert "mlprune run" in line
    assert here("verify", variant_id, *model).code == 2  # the variant has to be made again
    assert not (tmp_path / "out").exists()
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("export", variant_id, tmp_path / "out", *model).code == 0


def flip_artefacts(store: Store) -> tuple[list[str], list[str]]:
    """Flip a byte in a file of several kinds; return the paths of the files, and of all records that list them."""
    files = [first(store, kind).artefacts[0].path for kind in ("demonstration_sets", "statistics", "masks")]
    files.append(first(store, "evaluations").artefacts[0].path)
    for path in files:
        flip(root(store) / path, -20)
    listing = [record for record in store.records() if any(one.path in files for one in record.artefacts)]
    return files, [record.path for record in listing]


def written_at(store: Store) -> dict[str, int]:
    """Return path -> time of writing, for all records and artefacts."""
    return {path: (root(store) / path).stat().st_mtime_ns for path in results(store)}


@pytest.mark.parametrize("command", ["run --scrub", "catalog check --repair"])
def test_damage_of_equal_size_is_repaired_and_what_was_computed_from_it_stays(
    small_run: FinishedRun, store: Store, here: Here, command: str
) -> None:
    before, times = results(store), written_at(store)
    files, listing = flip_artefacts(store)
    if command == "run --scrub":
        done = here(*command.split(), small_run.recipe_path, "--store", store.uri, "--address", "none")
        assert f"{len(files)} records" in done.err  # a sweep reads its blocks itself
    else:
        repaired = here(*command.split(), "--store", store.uri)
        assert repaired.code == 1
        assert {line.partition(":")[0] for line in repaired.out.splitlines()} == set(files)
        moved = [line.partition(": ")[2] for line in repaired.err.splitlines() if line.startswith("moved")]
        assert moved == sorted(listing)
        assert "mlprune run RECIPE" in repaired.err
        assert "tiny" in repaired.err
        done = run(here, small_run, store)
    assert done.code == 0
    assert results(store) == before
    made_again = {path for path, time in written_at(store).items() if time != times[path]}
    assert {*files, *listing} <= made_again
    assert not [path for path in made_again if path.startswith("records/comparisons")]
    assert len([path for path in made_again if path.startswith("records/evaluations")]) == 1
    assert here("catalog", "check", "--store", store.uri).out == "sound\n"


def test_a_run_whose_results_are_set_aside_meanwhile_makes_them_again(
    small_run: FinishedRun, store: Store, here: Here
) -> None:
    before = results(store)
    block = next(record for record in store.records("mask_blocks") if "statistics" in record.parents)
    (root(store) / block.path).write_bytes(b"{")  # its masks may have been other ones
    comparison = next(record for record in store.records("comparisons"))
    (root(store) / comparison.path).unlink()
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert Path(block.path).stem in " ".join(store.list("quarantine"))


def test_rescore_and_verify_name_the_damaged_file_and_the_repair_in_one_line(
    small_run: FinishedRun, store: Store, here: Here
) -> None:
    (predictions, masks) = (first(store, kind).artefacts[0].path for kind in ("evaluations", "statistics"))
    for path in (predictions, masks):
        flip(root(store) / path, -20)
    variants = [row["variant_id"] for row in small_run.rows("variants") if row["propagation"] == "dense"]
    model = ("--model", small_run.folder / "model")
    for path, command in (
        (predictions, ("rescore", "--rule", "candidate_sum")),
        (masks, ("verify", variants[0], *model)),
    ):
        done = here(*command, "--store", store.uri)
        (line,) = done.err.splitlines()
        assert (done.code, path in line, "mlprune run RECIPE" in line) == (2, True, True)


def test_a_name_that_is_not_utf_8_is_reported_and_skipped(
    small_run: FinishedRun, store: Store, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("records/evaluations", "masks", "runs"):
        (root(store) / folder).mkdir(exist_ok=True)
        Path(os.fsdecode(os.fsencode(root(store) / folder) + b"/\xff.json")).write_bytes(b"{}")
    for command in (("query", "SELECT count(*) FROM metrics"), ("catalog", "check"), ("plan", small_run.recipe_path)):
        assert here(*command, "--store", store.uri).code == 0
    assert "records/evaluations/\\xff.json" in caplog.text
    assert run(here, small_run, store).code == 0
