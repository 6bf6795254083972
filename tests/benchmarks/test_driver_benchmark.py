"""The driver's benchmark runs, and what the driver does for a job does not grow with the number of jobs."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.store.store import Store
from tests.benchmarks import driver
from tests.benchmarks.driver import EmptyJob, drive, sweep_jobs


def test_the_benchmark_prints_one_line_for_each_number_of_jobs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["driver.py", "--jobs", "60", "120"])
    driver.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["jobs"] for line in lines] == [60, 120]
    assert all(line["ms_per_job"] > 0 for line in lines)


@pytest.mark.parametrize("n_jobs", [1, 100, 1000])
def test_the_jobs_depend_on_each_other_like_those_of_a_sweep(n_jobs: int) -> None:
    jobs = sweep_jobs(n_jobs)
    made = {key for job in jobs for key in job.makes}
    assert len(made) == len(jobs) == n_jobs
    assert {need for job in jobs for need in job.needs} <= made


def operations(store: Store, n_jobs: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a run asks its jobs what they make and need, and uses its store."""
    counts = Counter[str]()

    def counting(name: str) -> Callable[..., object]:
        plain = getattr(Store, name)

        def counted(*arguments: object, **more: object) -> object:
            counts[name] += 1
            return plain(*arguments, **more)

        return counted

    EmptyJob.n_asked.clear()
    with monkeypatch.context() as patched:
        for name in ("has_record", "write_bytes", "write_if_absent", "read_file", "delete", "list", "files_in"):
            patched.setattr(Store, name, counting(name))
        drive(store, n_jobs)
    return counts + EmptyJob.n_asked


def test_the_operations_of_a_run_grow_no_faster_than_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (operations(Store(tmp_path / str(n)), n, monkeypatch) for n in (250, 1000))
    assert few["needs"] < 10 * 250
    assert many["needs"] < 10 * 1000
    for name, n_times in many.items():
        assert n_times <= 4 * few[name] + 50, name
