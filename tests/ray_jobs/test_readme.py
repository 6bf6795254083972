"""The first recipe of the README, typed as shown, against a hub on loopback with a pickled model."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.evaluation.tasks.hub_datasets import pinned
from mlprune.steps.tasks.evaluation import _prepared_task, _task_data
from tests.command_line import Done
from tests.docs.pages import ROOT, blocks
from tests.hub import Hub, folder_files, serving, use_hub_in_processes
from tests.published_models import publish, published_tensors
from tests.tiny_models import save_tiny_model

LANGUAGES = ("en", "fr", "sw")
README = ROOT / "README.md"
MAX_LINES = 78


def commands() -> list[list[str]]:
    """The commands on mlprune in the README, without comments, as lists of words after `mlprune`."""
    lines = [line.partition("#")[0].split() for block in blocks(README) for line in block.text.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["mlprune"]]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def nli(split: str) -> bytes:
    """A few rows in the layout of the hub."""
    rows = [{"premise": f"{split} {n}.", "hypothesis": f"H {n}.", "label": n % 3} for n in range(6)]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for cached in (pinned, _task_data, _prepared_task):
        cached.cache_clear()
    monkeypatch.delenv("MLPRUNE_MODEL_CACHE", raising=False)
    with serving() as served:
        use_hub_in_processes(monkeypatch, served.url, tmp_path / "cache")
        model = save_tiny_model(tmp_path / "model", "xglm", positions=512)
        served.push(
            "facebook/xglm-564M", folder_files(publish(tmp_path / "hub", model, published_tensors(model, "xglm")))
        )
        files = {f"{name}/{split}-0.parquet": nli(split) for name in LANGUAGES for split in ("validation", "test")}
        served.push("facebook/xnli", files)
        yield served


@pytest.mark.slow
def test_the_first_recipe_runs_as_written(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., Done]
) -> None:
    (recipe,) = [block.text for block in blocks(README) if block.words == "yaml"]
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    (tmp_path / "flores").mkdir()
    for language in LANGUAGES:
        lines = "".join(f"{language} sentence {n}.\n" for n in range(40))
        (tmp_path / "flores" / f"{language}.txt").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = {words[0]: words for words in commands()}
    shrunk = ["--shrink", "1"]
    planned = here(*shown["plan"], *shrunk)
    assert (planned.code, planned.err) == (0, "")
    assert "fetch facebook/xglm-564M" in planned.out
    done = here(*shown["run"], *shrunk, "--address", "none")
    assert done.code == 0, done.err
    assert "next: mlprune query best_by_language --store runs/" in done.err
    answer = here(*shown["query"])
    assert answer.code == 0, answer.err
    assert "\nen" in answer.out
    assert here(*shown["report"]).code == 0
