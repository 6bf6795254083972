"""Shots of a translation: lines that are not evaluated, of the same text or of another one."""

from pathlib import Path

import pytest

from mlprune.steps.corpus_ref import CorpusRef
from mlprune.steps.evaluate.shots import PUBLISHED_SHOT_LENGTH, shot_contents, shot_lines
from mlprune.steps.evaluate.task_spec import TaskSpec, in_profile

N_LINES = 6


def text(folder: Path, name: str) -> CorpusRef:
    """A text whose third French sentence is long."""
    (folder / name).mkdir()
    for language in ("fr", "en"):
        lines = [f"{name} {language} {line}" for line in range(N_LINES)]
        lines[2] += "x" * PUBLISHED_SHOT_LENGTH if language == "fr" else ""
        (folder / name / f"{language}.txt").write_text("\n".join(lines) + "\n")
    return CorpusRef("parallel_text", path=str(folder / name))


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    return TaskSpec("translation", "fr-en", "test", limit=1, corpus=text(tmp_path, "own"), shots=N_LINES)


def test_all_lines_but_the_evaluated_one_are_shots_in_an_order_that_follows_the_seed(task: TaskSpec) -> None:
    orders = [shot_lines(TaskSpec(**{**vars(task), "shot_seed": seed})) for seed in range(4)]
    assert {len(order) for order in orders} == {N_LINES - 1}
    assert len({frozenset(order) for order in orders}) == 1
    assert len(set(orders)) > 1


def test_profile_paper_keeps_the_order_of_the_file_and_skips_long_sentences(task: TaskSpec) -> None:
    lines = shot_lines(in_profile(task, "paper"))
    assert list(lines) == sorted(lines)
    assert 2 not in lines


def test_lines_of_another_text_are_in_the_id_and_leave_out_evaluated_sentences(task: TaskSpec, tmp_path: Path) -> None:
    other = TaskSpec(**{**vars(task), "other_shots": True, "shot_corpus": text(tmp_path, "other")})
    assert len(shot_lines(other)) == N_LINES
    assert shot_contents(task) == {}
    assert set(shot_contents(other)) == {"shots"}
    same = TaskSpec(**{**vars(task), "other_shots": True, "shot_corpus": task.corpus})
    assert set(shot_lines(same)) == set(shot_lines(task))
