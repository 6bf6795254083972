"""Plug-ins for tests: distributions in a folder of their own that is on the path, and files."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

CUBIC = '''
from dataclasses import dataclass

from mlprune.plugins import LayerInputs, Parameters, ScorePlugin, parameter


@dataclass(frozen=True)
class CubicParameters(Parameters):
    """Parameters of score cubic."""

    power: float = parameter(3.0, "exponent of the magnitude", above=0)
    floor: float = parameter(0.0, "smallest norm", at_least=0)


def cubic(inputs: LayerInputs, parameters: CubicParameters):
    return inputs.weight.float().abs() ** parameters.power * inputs.norms.clamp(min=parameters.floor)


CUBIC = ScorePlugin(
    "a power of the magnitude times the norm of the feature",
    citation="A. Author, *Cubic Pruning*, 2026",
    parameters=CubicParameters,
    formula="|W[i, j]| ** power * max(floor, ||X_j||_2)",
    needs=("squares",),
    name="cubic",
    function=cubic,
)
'''
"""Source of a score with two parameters."""


def write_distribution(
    site: Path,
    modules: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    *,
    name: str = "cubic-scores",
    version: str = "1.0",
) -> None:
    """Write a distribution as an installer leaves it.

    Args:
        site: folder that is put on the path.
        modules: path of each file below it -> its text.
        entry_points: group -> name -> module and attribute.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = [line for group, names in entry_points.items() for line in (f"[{group}]", *map(" = ".join, names.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    for path, text in modules.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(dedent(text), encoding="utf-8")


@contextmanager
def on_path(site: Path) -> Iterator[Path]:
    """Put a folder first on the path, and forget its modules afterwards."""
    known = set(sys.modules)
    sys.path.insert(0, str(site))
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        for module in [name for name in sys.modules if name not in known]:
            if str(getattr(sys.modules[module], "__file__", "")).startswith(str(site)):
                del sys.modules[module]
