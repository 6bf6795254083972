"""Pairs of demonstration sets whose experts are compared."""

from types import SimpleNamespace
from typing import Any

import pytest

from mlprune.capabilities.experts import expert_overlaps


def test_experts_are_compared_between_sets_that_differ_only_in_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expert_overlaps, "_without_language", lambda spec: spec.shots)
    sets = [("a", "sw", 2), ("b", "fr", 2), ("c", "es", 4), ("d", "sw", 2), ("e", None, 2)]
    planned: list[Any] = [
        SimpleNamespace(id=name, spec=SimpleNamespace(source=source, shots=shots)) for name, source, shots in sets
    ]
    assert [(a.id, b.id) for a, b in expert_overlaps._pairs(planned)] == [("a", "b"), ("b", "d")]
