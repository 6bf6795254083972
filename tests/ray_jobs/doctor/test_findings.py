"""Findings of the doctor as text and JSON."""

import json

from ray_jobs.doctor.findings import is_healthy, missing, ok, to_json, to_text, warning

FINDINGS = [
    ok("machine", "2 CPUs"),
    warning("store", "little space", "mlprune gc"),
    missing("gpu", "no driver", "install"),
]


def test_a_line_has_level_subject_text_and_below_it_the_help() -> None:
    lines = to_text(FINDINGS).splitlines()
    assert [line.split()[:2] for line in lines[::2]] == [["ok", "machine"], ["->", "mlprune"], ["->", "install"]]
    assert lines[1].split() == ["warning", "store", "little", "space"]


def test_json_has_one_object_per_finding() -> None:
    rows = json.loads(to_json(FINDINGS))
    assert rows[2] == {"subject": "gpu", "level": "missing", "text": "no driver", "help": "install"}
    assert [row["level"] for row in rows] == ["ok", "warning", "missing"]


def test_warnings_are_healthy_and_missing_things_are_not() -> None:
    assert is_healthy(FINDINGS[:2])
    assert not is_healthy(FINDINGS)
