"""The counts on a pretended GPU run on tiny models. The counts themselves are not checked."""

from pathlib import Path

import pytest

from tests.benchmarks.device_counts import ROWS, Counting

pytestmark = pytest.mark.slow


def test_every_scenario_is_counted(tmp_path: Path) -> None:
    shown = {}
    counting = Counting(tmp_path, is_small=True, show=shown.__setitem__)
    rows = [row for scenario in ROWS.values() for row in scenario(counting)]
    assert len(shown) == 6
    assert all(ledger.operations for ledger in shown.values())
    assert {row.unit for row in rows if row.must_reach is not None} == {
        "kernels",
        "waits",
        "host operations",
        "host operations per generated token",
        "waits per step",
        "bytes to the device per weight",
    }
    assert all(row.count > 0 for row in rows)
