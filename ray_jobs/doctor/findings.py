"""Findings of the doctor: one line each, with a level and the command that helps."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Works, but slower, only in part, or with a limit."""
    MISSING = "missing"
    """Does not work."""


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    subject: str
    """machine, gpu, ray, store or recipe."""
    level: Level
    text: str
    help: str = ""
    """The command, or the change, that helps; empty if nothing has to be done."""


def ok(subject: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(subject, Level.OK, text)


def warning(subject: str, text: str, help_: str) -> Finding:
    """Return a finding that limits what works."""
    return Finding(subject, Level.WARNING, text, help_)


def missing(subject: str, text: str, help_: str) -> Finding:
    """Return a finding that prevents something."""
    return Finding(subject, Level.MISSING, text, help_)


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Return whether nothing is missing; warnings are allowed."""
    return all(finding.level is not Level.MISSING for finding in findings)


def to_text(findings: Sequence[Finding]) -> str:
    """Format findings as lines, each followed by the help if there is any."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.value:8} {finding.subject:8} {finding.text}")
        if finding.help:
            lines.append(f"{'':17} -> {finding.help}")
    return "\n".join(lines)


def to_json(findings: Sequence[Finding]) -> str:
    """Format findings as a JSON array of objects with the keys subject, level, text and help."""
    return json.dumps([{**vars(finding), "level": finding.level.value} for finding in findings], indent=1)
