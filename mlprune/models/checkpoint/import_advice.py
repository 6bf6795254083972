"""Advice on models whose weights have to be imported before they can be read."""

import shlex
from pathlib import Path

MODEL_FOLDER = "models"
"""Folder that an example of a command names."""


def import_command(source: str) -> str:
    """Return the command that imports a model.

    Args:
        source: id on the hub, or folder.
    """
    name = Path(source).name
    target = f"{source.rstrip('/')}-imported" if Path(source).exists() else f"{MODEL_FOLDER}/{name}"
    return f"mlprune import {shlex.quote(source)} {shlex.quote(target)}"


def import_advice(source: str, *, revision: str = "main") -> str:
    """Return what to do about a model without weights that are read here.

    Args:
        source: id on the hub, or folder.
        revision: branch, tag or commit of a hub id.
    """
    command = import_command(source) + (f" --revision {shlex.quote(revision)}" if revision != "main" else "")
    return f"{command}, then name that folder in the recipe; or add import: true and run with --allow-import"
