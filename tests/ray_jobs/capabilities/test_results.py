"""`mlprune export --as row` writes a row that can be read, and replaces an earlier one."""

from pathlib import Path

from typer.testing import CliRunner

from mlprune.capabilities.results.row import read_row
from mlprune.errors import BadInputError
from mlprune.store.store import Store
from ray_jobs.cli.application import app


def test_a_row_is_written_and_replaced(queried_store: Store, tmp_path: Path) -> None:
    record = next(each for each in queried_store.records("variants") if each.rows["variants"][0]["mask_sha256"])
    out = tmp_path / "row.json"
    words = ["export", record.id, "--as", "row", "--task", "facts", "--metric", "accuracy", "--out", str(out)]
    for _ in range(2):
        done = CliRunner().invoke(app, [*words, "--store", queried_store.uri])
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[-1] == str(out)
    assert record.id in read_row(out).variant_ids
    wrong = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "no" / "row.json"), "--store", queried_store.uri])
    assert isinstance(wrong.exception, BadInputError)
