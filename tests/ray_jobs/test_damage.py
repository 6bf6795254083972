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


def flip_a_metric(store: Store, record: Record) -> None:
    """Change one bit of a digit of a metric."""
    file = root(store) / record.path
    flip(file, file.read_bytes().index(b'"value":0.') + len(b'"value":0.'))


def swap_records(store: Store, *records: Record) -> None:
    """Move two sound records onto each other's names."""
    names = [root(store) / record.path for record in records]
    texts = [path.read_bytes() for path in names]
    for path, text in zip(names, reversed(texts), strict=True):
        path.write_bytes(text)


def reshape(store: Store, record: Record) -> None:
    """Give a record rows of another shape, with a checksum that matches."""
    file = root(store) / record.path
    file.write_bytes(record_text({**json.loads(file.read_text()), "rows": {"metrics": 5}}))


def put_folder(path: Path) -> None:
    """Put a folder with a folder in it in place of a file."""
    path.unlink()
    (path / "inside").mkdir(parents=True)


def put_loop(path: Path) -> None:
    """Put a link to itself in place of a file."""
    path.unlink()
    path.symlink_to(path.name)


def damaged_in_every_way(store: Store) -> list[Record]:
    """Damage records of a store, each in another way; return the damaged ones."""
    flipped, swapped, swapped_with, looped, *_ = store.records("evaluations")
    (reshaped,) = store.records("demonstration_sets")
    flip_a_metric(store, flipped)
    swap_records(store, swapped, swapped_with)
    put_loop(root(store) / looped.path)
    reshape(store, reshaped)
    return [flipped, swapped, swapped_with, looped, reshaped]


@pytest.mark.thorough("damages files of runs")
def test_damaged_records_are_named_by_answers_that_move_nothing_and_repaired_by_a_run(
    small_run: FinishedRun, store: Store, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    before = results(store)
    records = damaged_in_every_way(store)
    damaged = sorted(store.list(""))
    checked = here("check", "store", "--store", store.uri)
    assert checked.code == 1
    for record in records:
        assert [line for line in checked.out.splitlines() if line.startswith(f"{record.path}: the record is damaged")]
    for command in (
        ("query", "SELECT count(*) FROM metrics"),
        ("report", "--out", str(root(store).parent / "report.html")),
        ("plan", str(small_run.recipe_path)),
    ):
        caplog.clear()
        done = here(*command, "--store", store.uri)
        assert done.code == 0, done.err
        for record in records:
            assert record.id in caplog.text, command
    assert [path for path in sorted(store.list("")) if not path.startswith("catalog.")] == damaged
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("check", "store", "--store", store.uri).out == "sound\n"


@pytest.mark.thorough("damages files of runs")
def test_a_run_heals_folders_in_place_of_files(small_run: FinishedRun, store: Store, here: Here) -> None:
    """Of records of several kinds, and of artefacts of others."""
    before = results(store)
    evaluation, other_evaluation, *_ = store.records("evaluations")
    ordering, *_ = store.records("masks")
    statistics, *_ = store.records("statistics")
    paths = [record.path for record in (first(store, "recipes"), evaluation, ordering)]
    paths += [record.artefacts[0].path for record in (other_evaluation, statistics)]
    for path in paths:
        put_folder(root(store) / path)
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("check", "store", "--store", store.uri).code == 0


@pytest.mark.thorough("damages files of runs")
def test_rows_that_do_not_fit_the_catalog_are_named_and_stop_no_question(
    store: Store, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    rows = first(store, "evaluations").rows
    metrics = [{name: value for name, value in row.items() if name != "evaluation_id"} for row in rows["metrics"]]
    unfitting = made_up_record("evaluations", {"by": "hand"}, rows={**rows, "metrics": metrics})
    store.write_record(unfitting)
    for command in (("query", "SELECT count(*) FROM metrics"), ("store", "rebuild")):
        assert here(*command, "--store", store.uri).code == 0
        assert unfitting.id in caplog.text
        caplog.clear()
    assert unfitting.id in here("check", "store", "--store", store.uri).out


@pytest.mark.thorough("damages files of runs")
def test_an_export_that_meets_damage_names_the_repair_and_the_next_run_does_it(
    small_run: FinishedRun, store: Store, here: Here, tmp_path: Path
) -> None:
    before = results(store)
    ordering = next(store.records("masks"))
    variant_id = ordering.rows["ordering_variants"][0]["variant_id"]
    flip(root(store) / ordering.artefacts[0].path, -20)
    assert run(here, small_run, store).code == 0  # the size is right: not noticed
    model = ("--base-model", small_run.folder / "model", "--store", store.uri)
    done = here("export", variant_id, "--out", tmp_path / "out", *model)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert ordering.artefacts[0].path in line
    assert "mlprune run" in line
    assert here("check", "variant", variant_id, *model).code == 2  # the variant has to be made again
    assert not (tmp_path / "out").exists()
    assert run(here, small_run, store).code == 0
    assert results(store) == before
    assert here("export", variant_id, "--out", tmp_path / "out", *model).code == 0


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


@pytest.mark.thorough("damages files of runs")
@pytest.mark.parametrize("command", ["run --scrub", "check store --repair"])
def test_damage_of_equal_size_is_repaired_and_what_was_computed_from_it_stays(
    small_run: FinishedRun, store: Store, here: Here, command: str
) -> None:
    before, times = results(store), written_at(store)
    files, listing = flip_artefacts(store)
    if command == "run --scrub":
        done = here(*command.split(), small_run.recipe_path, "--store", store.uri, "--address", "none")
        assert f"{len(listing)} records" in done.err
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
    assert here("check", "store", "--store", store.uri).out == "sound\n"


@pytest.mark.thorough("damages files of runs")
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
    model = ("--base-model", small_run.folder / "model")
    for path, command in (
        (predictions, ("rescore", "--rule", "candidate_sum")),
        (masks, ("check", "variant", variants[0], *model)),
    ):
        done = here(*command, "--store", store.uri)
        (line,) = done.err.splitlines()
        assert (done.code, path in line, "mlprune run RECIPE" in line) == (2, True, True)


@pytest.mark.thorough("damages files of runs")
def test_a_name_that_is_not_utf_8_is_reported_and_skipped(
    small_run: FinishedRun, store: Store, here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("records/evaluations", "masks", "runs"):
        (root(store) / folder).mkdir(exist_ok=True)
        Path(os.fsdecode(os.fsencode(root(store) / folder) + b"/\xff.json")).write_bytes(b"{}")
    for command in (("query", "SELECT count(*) FROM metrics"), ("check", "store"), ("plan", small_run.recipe_path)):
        assert here(*command, "--store", store.uri).code == 0
    assert "records/evaluations/\\xff.json" in caplog.text
    assert run(here, small_run, store).code == 0
