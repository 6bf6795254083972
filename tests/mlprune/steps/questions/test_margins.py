"""Margins that cannot fail."""

from pathlib import Path

import pytest

from mlprune.steps.questions.margins import is_large, room_of
from mlprune.store.store import Store
from tests.mlprune.steps.questions.test_asked import FACTS, QUESTION, plan_of


def test_the_room_of_a_question_is_known_before_its_run_from_the_candidates(tiny_inputs: Path, tmp_path: Path) -> None:
    variants = [{"name": "random", "score": "random", "sparsity": 0.5}]
    question = {**QUESTION, "variants": "random", "claim": "noninferior", "margin": 0.6}
    plan = plan_of(tiny_inputs, question, variants=variants, evaluations=[FACTS])
    room = room_of(plan.questions[0], Store(str(tmp_path)), {})
    assert room == pytest.approx(2 / 3)
    assert is_large(0.6, room)
    assert not is_large(0.1, room)
    assert not is_large(None, room)
