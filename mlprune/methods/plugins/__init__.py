"""Plug-ins: methods of other distributions or of files, found by name and identified by their source.

Nothing is loaded before a recipe or a specification names the method. `SCORE_METHODS`, `STRUCTURE_METHODS`,
`SCHEDULE_METHODS` and `REFINER_METHODS` look methods up, built-in ones and plug-ins.
"""

from mlprune.methods.plugins.installed import (
    InstalledPlugin,
    installed_plugins,
    provide_file,
    provided_files,
    withdraw_files,
)
from mlprune.methods.plugins.lookup import (
    LOOKUPS,
    REFINER_METHODS,
    SCHEDULE_METHODS,
    SCORE_METHODS,
    STRUCTURE_METHODS,
    MethodLookup,
    RequiredPlugin,
    required_plugins,
)
from mlprune.methods.plugins.plugin import (
    AnyPlugin,
    LayerSize,
    PluginKind,
    PluginParameters,
    PluginSource,
    RefinerPlugin,
    ScheduleInputs,
    SchedulePlugin,
    ScorePlugin,
    StructurePlugin,
    typed_parameters,
)

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
