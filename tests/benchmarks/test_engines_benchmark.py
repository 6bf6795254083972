"""The table of engines has ratios to the first file, those of times within a round."""

from importlib import import_module
from pathlib import Path

import pytest


def test_ratios_are_to_the_first_file_and_those_of_times_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    engines = import_module("engines")
    texts = {"en": [[1, 2, 3], [4, 5]]}
    scores = [{"en": [4.0, 2.0]}, {"en": [4.0, 5.0]}]
    rounds = [
        [dict.fromkeys(engines.TIMED, dense), dict.fromkeys(engines.TIMED, other)]
        for dense, other in ((1, 2), (10, 5), (4, 4))
    ]
    dense, other = engines.rows_of(["dense", "other"], {"n_bytes": [8, 2], "scores": scores, "rounds": rounds}, texts)
    assert dense["bytes"] == dense["perplexity"]["en"]["ratio"] == 1
    assert other["bytes"] == 0.25
    assert other["perplexity"]["en"]["ratio"] == pytest.approx(2.718281828)  # 3 nats more over 3 scored tokens
    assert other["perplexity"]["en"]["low"] < 1 < other["perplexity"]["en"]["high"]
    assert all(other[key] == {"ratio": 1, "low": 0.5, "high": 2} for key in engines.TIMED)
