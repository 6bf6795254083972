"""Requirements of a run on every machine that works for it: files of models, and plug-ins of distributions.

The check is a task of its own on each node. Its process loads this module, and no tensor library.
"""

from dataclasses import dataclass

from mlprune.errors import MlpruneError
from mlprune.methods.plugins import RequiredPlugin
from ray_jobs.workers.nodes.required_files import ModelFiles, require_files_here


@dataclass(frozen=True)
class Requirements:
    """What a machine must have, as the driver has it."""

    models: tuple[ModelFiles, ...] = ()
    plugins: tuple[RequiredPlugin, ...] = ()


NONE = Requirements()


def require_here(requirements: Requirements) -> None:
    """Check this machine. Plug-ins come first: files of hub models are downloaded if they are missing.

    Raises:
        PluginError: a plug-in is missing, or its version or source differs.
        ModelError: a file of a model is missing or differs.
    """
    for plugin in requirements.plugins:
        plugin.check()
    require_files_here(requirements.models)


def problem_here(requirements: Requirements) -> tuple[str, dict[str, object]] | None:
    """Return the message and the context of the error if this machine lacks something."""
    try:
        require_here(requirements)
    except MlpruneError as err:
        return err.message, dict(err.context)
    return None
