"""Plan a recipe: all jobs with their ids. Every bad input is found before anything runs or is written.

The package can be called, as the function `mlprune.plan` of the Python interface.
"""

import importlib
import inspect
import sys
from types import ModuleType

from mlprune.plan.pending import pending_jobs
from mlprune.plan.plan import Plan, build_plan, extend_plan

__all__ = ["Plan", "build_plan", "extend_plan", "pending_jobs"]


class _CallablePackage(ModuleType):
    """A package whose name is also that of a function: importing it must not hide the function `mlprune.plan`."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Describe what a recipe would run; see `mlprune.api.plan`."""
        return importlib.import_module("mlprune.api").plan(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        """The parameters of the function, for `inspect.signature` and completion."""
        return inspect.signature(importlib.import_module("mlprune.api").plan)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """The description of the package, then that of the function, for `help`."""
        function = importlib.import_module("mlprune.api").plan
        return f"{self.__dict__['__doc__']}\nplan{self.__signature__}\n\n{inspect.getdoc(function)}"


sys.modules[__name__].__class__ = _CallablePackage
