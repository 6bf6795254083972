"""Types of the names that `mlprune/__init__.py` loads on first access."""

from mlprune.api import open as open  # noqa: A004
from mlprune.api import plan as plan
from mlprune.api import run as run

__version__: str
