"""Plug-ins: methods of other distributions or of files, found by name and identified by their source.

Nothing is loaded before a recipe or a specification names the method. `SCORE_METHODS`, `STRUCTURE_METHODS`,
`SCHEDULE_METHODS` and `REFINER_METHODS` look methods up, built-in ones and plug-ins.
"""

from mlprune.methods.plugins.files import provide_file, provided_files, withdraw_files
from mlprune.methods.plugins.installed import InstalledPlugin, installed_plugins
from mlprune.methods.plugins.lookup import (
    LOOKUPS,
    REFINER_METHODS,
    SCHEDULE_METHODS,
    SCORE_METHODS,
    STRUCTURE_METHODS,
    MethodLookup,
)
from mlprune.methods.plugins.parameters import PluginParameters, typed_parameters
from mlprune.methods.plugins.plugin import (
    AnyPlugin,
    PluginKind,
    RefinerPlugin,
    SchedulePlugin,
    ScorePlugin,
    StructurePlugin,
)
from mlprune.methods.plugins.required import RequiredPlugin, required_plugins
from mlprune.methods.plugins.schedule_inputs import LayerSize, ScheduleInputs
from mlprune.methods.plugins.source import PluginSource

__all__ = [
    "LOOKUPS",
    "REFINER_METHODS",
    "SCHEDULE_METHODS",
    "SCORE_METHODS",
    "STRUCTURE_METHODS",
    "AnyPlugin",
    "InstalledPlugin",
    "LayerSize",
    "MethodLookup",
    "PluginKind",
    "PluginParameters",
    "PluginSource",
    "RefinerPlugin",
    "RequiredPlugin",
    "ScheduleInputs",
    "SchedulePlugin",
    "ScorePlugin",
    "StructurePlugin",
    "installed_plugins",
    "provide_file",
    "provided_files",
    "required_plugins",
    "typed_parameters",
    "withdraw_files",
]
