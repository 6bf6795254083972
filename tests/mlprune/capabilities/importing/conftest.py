"""Imports that convert in this process: a child process takes seconds to import torch."""

import pytest

from mlprune.capabilities.importing import model_import
from mlprune.capabilities.importing.child_process import (
    ChildJob,
    ChildResult,
    job_from_line,
    message_line,
    parse_message,
    result_from,
)
from mlprune.capabilities.importing.conversion import convert
from mlprune.capabilities.importing.sources.weight_format import Report
from mlprune.json_values import as_object


def run_here(job: ChildJob, *, lock: int, report: Report, progress: object) -> ChildResult:
    """Convert in this process, with the messages that pass between the processes."""
    result = convert(job_from_line(job.to_line()), lambda kind, value: report(f"{kind} {value}"), has_network=True)
    return result_from(as_object(parse_message(message_line("result", vars(result)))["result"]))


@pytest.fixture
def without_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import_model` convert in this process."""
    monkeypatch.setattr(model_import, "run_child", run_here)
