"""Look-up of methods by name: built-in ones first, then plug-ins of files, then installed plug-ins.

A recipe names a method; `find` returns it together with its provenance. A specification has the provenance;
`resolve` returns the method with exactly this source, in any process.
"""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mlprune.errors import PluginError, unknown
from mlprune.methods.method import Method, Refiner, Schedule, Score, Structure
from mlprune.methods.plugins.attributes import attribute_problems
from mlprune.methods.plugins.files import file_plugins, provided_files
from mlprune.methods.plugins.installed import InstalledPlugin, installed_plugins, load_installed, source_of
from mlprune.methods.plugins.plugin import PluginKind, RefinerPlugin, SchedulePlugin, ScorePlugin, StructurePlugin
from mlprune.methods.plugins.source import PluginSource
from mlprune.methods.refiners import REFINERS
from mlprune.methods.schedules import SCHEDULES
from mlprune.methods.scores import REMOVED_SCORES, SCORES
from mlprune.methods.structures import STRUCTURES

AnyMethod = TypeVar("AnyMethod", bound=Method)


@dataclass(frozen=True, eq=False)
class MethodLookup(Generic[AnyMethod]):
    """The methods of one kind."""

    kind: PluginKind
    group: str
    """Entry points of other distributions."""
    built_in: Mapping[str, AnyMethod]
    plugin: type[AnyMethod]
    """Class of the plug-ins."""
    removed: Mapping[str, str] = field(default_factory=dict)
    """Built-in names of earlier versions -> the version that removed them."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names: built-in ones, those of files, and installed ones."""
        of_files = (name for name, _, _ in self.of_files())
        installed = (plugin.name for plugin in installed_plugins(self.group))
        return tuple(dict.fromkeys([*self.built_in, *of_files, *installed]))

    def find(self, name: str) -> tuple[AnyMethod, PluginSource | None]:
        """Return the method of a name in a recipe, and its provenance; None for a built-in method.

        Raises:
            PluginError: no method has this name, several have it, or the plug-in cannot be used.
        """
        installed = [one for one in installed_plugins(self.group) if one.name == name]
        if name in self.built_in:
            if installed:
                raise self._is_built_in(name, installed[0].label)
            return self.built_in[name], None
        for of_file, plugin, source in self.of_files():
            if of_file == name:
                return plugin, source
        if len(installed) > 1:
            got = " and ".join(one.label for one in installed)
            raise PluginError(f"several distributions have a {self.kind} of this name", name=name, got=got)
        if not installed:
            raise self._unknown(name)
        return self.load(installed[0]), source_of(installed[0])

    def resolve(self, name: str, source: PluginSource | None) -> AnyMethod:
        """Return the method that a specification names.

        Args:
            source: its provenance; None for a built-in method.
        Raises:
            PluginError: the plug-in is missing here, or its source differs, or an earlier version had the method.
        """
        if source is None:
            if name not in self.built_in:
                raise self._unknown(name)
            return self.built_in[name]
        if source.file is not None:
            plugins = self._of_file(source)
            if name not in plugins:
                raise unknown(f"{self.kind} of a plug-in file", name, tuple(plugins), error=PluginError)
            return plugins[name]
        return self.load(self.locate(name, source))

    def locate(self, name: str, source: PluginSource) -> InstalledPlugin:
        """Return the entry point of an installed plug-in with exactly this source; nothing is imported.

        Raises:
            PluginError: it is missing here, or its version or source differs.
        """
        context = {self.kind: name, "expected": source.label, "node": socket.gethostname(), "next": source.advice}
        of_name = [plugin for plugin in installed_plugins(self.group) if plugin.name == name]
        matching = [plugin for plugin in of_name if plugin.distribution == source.distribution]
        if not matching:
            got = " and ".join(plugin.label for plugin in of_name) or "not installed"
            raise PluginError("a plug-in is missing", context, got=got)
        here = source_of(matching[0])
        if here != source:
            expected, got = f"{source.label}, SHA-256 {source.sha256}", f"{here.label}, SHA-256 {here.sha256}"
            message = "a plug-in differs from the one that the result names"
            raise PluginError(message, {**context, "expected": expected}, got=got)
        return matching[0]

    def of_files(self) -> Iterator[tuple[str, AnyMethod, PluginSource]]:
        """Yield the plug-ins of the files that this process was given, with their names and files."""
        for source in provided_files():
            yield from ((name, plugin, source) for name, plugin in self._of_file(source).items())

    def _of_file(self, source: PluginSource) -> dict[str, AnyMethod]:
        """Return name -> plug-in of this kind in a file."""
        found: dict[str, AnyMethod] = {}
        for plugin in file_plugins(source):
            if isinstance(plugin, self.plugin):
                if plugin.name in self.built_in:
                    raise self._is_built_in(plugin.name, source.label)
                self._check(plugin, plugin.name, source.label)
                found[plugin.name] = plugin
        return found

    def load(self, installed: InstalledPlugin) -> AnyMethod:
        """Import an installed plug-in.

        Raises:
            PluginError: it cannot be imported, is of another class, or has another name or that of a built-in method.
        """
        if installed.name in self.built_in:
            raise self._is_built_in(installed.name, installed.label)
        value, label = load_installed(installed), installed.label
        if not isinstance(value, self.plugin):
            context = {"plugin": installed.name, "source": label, "expected": self.plugin.__name__}
            raise PluginError("a plug-in is of another class", context, got=type(value).__name__)
        self._check(value, installed.name, label)
        return value

    def _check(self, plugin: AnyMethod, name: str, label: str) -> None:
        """Check the attributes of a plug-in."""
        declared = getattr(plugin, "name", "")
        if declared != name:
            message = "the name of a plug-in differs from that of its entry point"
            raise PluginError(message, source=label, expected=name, got=declared)
        for attribute, expected, got in attribute_problems(plugin):
            context = {"plugin": name, "source": label, "attribute": attribute}
            raise PluginError("an attribute of a plug-in is wrong", context, expected=expected, got=got)

    def _unknown(self, name: str) -> PluginError:
        if name in self.removed:
            message = f"version {self.removed[name]} of mlprune removed this {self.kind}"
            return PluginError(message, name=name, expected=list(self.names), next="stored results stay readable")
        return unknown(self.kind, name, self.names, error=PluginError)

    def _is_built_in(self, name: str, label: str) -> PluginError:
        message = f"a plug-in has the name of a built-in {self.kind}"
        return PluginError(message, name=name, source=label, next="rename the plug-in, or uninstall its distribution")


SCORE_METHODS = MethodLookup[Score]("score", "mlprune.scores", SCORES, ScorePlugin, REMOVED_SCORES)
STRUCTURE_METHODS = MethodLookup[Structure]("structure", "mlprune.structures", STRUCTURES, StructurePlugin)
SCHEDULE_METHODS = MethodLookup[Schedule]("schedule", "mlprune.schedules", SCHEDULES, SchedulePlugin)
REFINER_METHODS = MethodLookup[Refiner]("refiner", "mlprune.refiners", REFINERS, RefinerPlugin)
LOOKUPS: tuple[MethodLookup[Score] | MethodLookup[Structure] | MethodLookup[Schedule] | MethodLookup[Refiner], ...] = (
    SCORE_METHODS,
    STRUCTURE_METHODS,
    SCHEDULE_METHODS,
    REFINER_METHODS,
)
"""One look-up per kind of method that plug-ins can add."""
