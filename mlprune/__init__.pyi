# The functions of mlprune.api, for editors and type checkers. Importing the package loads them on first access.
from mlprune.api import open as open  # noqa: A004 - the public name is mlprune.open
from mlprune.api import plan as plan
from mlprune.api import run as run

__version__: str
