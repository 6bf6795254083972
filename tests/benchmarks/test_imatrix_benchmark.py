"""The comparison of importance matrices runs on a tiny model, and has a row for each language and matrix."""

from itertools import product
from pathlib import Path

import pytest

from tests import llama_cpp
from tests.benchmarks.small_runs import small_figures


@pytest.mark.slow
@pytest.mark.skipif(not llama_cpp.IS_INSTALLED, reason=llama_cpp.REASON)
def test_the_small_comparison_has_an_interval_for_each_language_and_matrix(tmp_path: Path) -> None:
    figures = small_figures("imatrix.py", tmp_path)
    rows = {(row["language"], row["from"], row["to"]): row for row in figures["rows"]}
    from_files, to_files = ("without", "equal"), ("en", "sw", "all")
    assert rows.keys() >= set(product(("en", "sw"), from_files, to_files))
    assert rows.keys() >= {
        ("sw", "en", "sw"),
        ("en", "sw", "en"),
        ("en", "source", "without"),
        ("sw", "without", "equal"),
    }
    assert all(row["low"] < row["change"] < row["high"] for row in rows.values())
    n_bytes = {name: found["n_bytes"] for name, found in figures["files"].items()}
    assert n_bytes["source"] > n_bytes["equal"] == n_bytes["en"] == n_bytes["sw"] == n_bytes["all"]
