"""The environment of processes that run jobs."""

import importlib
import os

import pytest

import ray_jobs


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("3", "3")])
def test_matrix_products_use_one_thread_unless_the_user_sets_another_number(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", before or "1")
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    importlib.reload(ray_jobs)
    assert os.environ["OPENBLAS_NUM_THREADS"] == after
