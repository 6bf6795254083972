"""`mlprune results export` and `mlprune results import`."""

from collections.abc import Callable
from pathlib import Path

from mlprune.store.store import Store
from tests.command_line import Done
from tests.lm_eval_output import write_output

Run = Callable[..., Done]


def test_results_leave_a_store_and_results_of_others_come_in(
    queried_store: Store, copied_store: Callable[[Store], Store], tmp_path: Path, here: Run
) -> None:
    store = copied_store(queried_store)
    done = here(
        "results", "export", "dense", "--format", "every_eval_ever", "--to", tmp_path / "out", "--store", store.uri
    )
    assert (done.code, done.err) == (0, "")
    assert "2 files" in done.out
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1
    write_output(tmp_path / "elsewhere")
    for known in (False, True):
        done = here("results", "import", tmp_path / "elsewhere", "--variant", "sweep", "--store", store.uri)
        assert done.code == 0
        assert "xnli_fr: acc,none 0.625, acc_norm,none 0.5; 8 samples" in done.out
        assert ("known already" in done.out) == known
    answered = here("query", "results_from_elsewhere", "--store", store.uri, "--format", "csv")
    assert len(answered.out.splitlines()) == 4


def test_bad_input_is_one_line(queried_store: Store, tmp_path: Path, here: Run) -> None:
    out = ("--to", tmp_path / "out", "--store", queried_store.uri)
    for arguments in (
        ("export", "--format", "csv", *out),
        ("export", "nobody", "--format", "hub", *out),
        ("export", "--format", "hub", *out),
        ("export", "--format", "every_eval_ever", "--relationship", "friend", *out),
        ("import", tmp_path / "missing.json", "--store", queried_store.uri),
        ("import", tmp_path, "--variant", "nobody", "--store", queried_store.uri),
    ):
        done = here("results", *arguments)
        assert (done.code, len(done.err.splitlines())) == (2, 1), arguments
    assert not (tmp_path / "out").exists()
