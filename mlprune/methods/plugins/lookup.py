"""Look-up of methods by name, checks of what plug-ins declare, and those that a run needs.

Look-up of methods by name: built-in ones first, then plug-ins of files, then installed plug-ins.

A recipe names a method; `find` returns it together with its provenance. A specification has the provenance;
`resolve` returns the method with exactly this source, in any process.
"""

import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Generic, NamedTuple, TypeVar, get_args

from mlprune.errors import PluginError, unknown
from mlprune.methods.method import Method, Parameters, Refiner, Schedule, Score, StatisticsName, Structure
from mlprune.methods.plugins.installed import (
    InstalledPlugin,
    file_plugins,
    installed_plugins,
    load_installed,
    provided_files,
    source_of,
)
from mlprune.methods.plugins.plugin import (
    PluginKind,
    PluginSource,
    RefinerPlugin,
    SchedulePlugin,
    ScorePlugin,
    StructurePlugin,
)
from mlprune.methods.refiners import REFINERS
from mlprune.methods.schedules import SCHEDULES
from mlprune.methods.scores import REMOVED_SCORES, SCORES
from mlprune.methods.structures import STRUCTURES

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
AnyMethod = TypeVar("AnyMethod", bound=Method)


class Problem(NamedTuple):
    """An attribute that is wrong."""

    attribute: str
    expected: str
    got: object


def attribute_problems(plugin: Method) -> Iterator[Problem]:
    """Yield what is wrong with the attributes of a plug-in."""
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield Problem("name", "a letter, then letters, digits, _, . and -", name)
    if not callable(getattr(plugin, "function", None)):
        yield Problem("function", "a function", getattr(plugin, "function", None))
    for attribute in ("summary", "citation", "formula"):
        value = getattr(plugin, attribute, None)
        if not isinstance(value, str) and (value is not None or attribute == "summary"):
            yield Problem(attribute, "a text", value)
    known = [name for name in get_args(StatisticsName) if name != "routes"]
    needs = getattr(plugin, "needs", ())
    if not isinstance(needs, tuple) or not all(one in known for one in needs):
        yield Problem("needs", f"a tuple of {', '.join(known)}", needs)
    yield from _parameter_problems(plugin.parameters)
    if isinstance(plugin, Schedule) and (needs or plugin.reads_losses):
        yield Problem("needs", "nothing: a schedule plug-in reads the sizes of layers", needs or "reads_losses=True")
    if isinstance(plugin, Structure) and plugin.of_model:
        yield Problem("of_model", "False: a structure plug-in gets the scores of one layer", True)
    if isinstance(plugin, Score) and (plugin.changes_weights or plugin.has_contrast):
        got = "changes_weights" if plugin.changes_weights else "has_contrast"
        yield Problem(got, "False: a score orders weights; a RefinerPlugin can change them", True)


def _parameter_problems(kind: object) -> Iterator[Problem]:
    if not isinstance(kind, type) or not issubclass(kind, Parameters) or not is_dataclass(kind):
        yield Problem("parameters", "a frozen dataclass that is a subclass of Parameters", kind)
        return
    for declared in fields(kind):
        if declared.default is MISSING or "bounds" not in declared.metadata:
            yield Problem("parameters", "fields that are declared with parameter(default, meaning)", declared.name)


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
_BY_KIND = {lookup.kind: lookup for lookup in LOOKUPS}


@dataclass(frozen=True)
class RequiredPlugin:
    """A method of an installed distribution, with the source that it must have."""

    kind: PluginKind
    name: str
    source: PluginSource

    def check(self) -> InstalledPlugin:
        """Return the entry point of this plug-in on this machine.

        Raises:
            PluginError: it is missing, or its version or source differs.
        """
        return _BY_KIND[self.kind].locate(self.name, self.source)


def required_plugins(methods: Iterable[tuple[PluginKind, str]]) -> Iterator[RequiredPlugin]:
    """Yield those methods that are plug-ins of distributions; built-in ones and those of files are left out.

    Args:
        methods: kind and name, as a recipe names them.
    Raises:
        PluginError: a plug-in cannot be used.
    """
    for kind, name in dict.fromkeys(methods):
        if name in _BY_KIND[kind].names:
            _, source = _BY_KIND[kind].find(name)
            if source is not None and source.distribution is not None:
                yield RequiredPlugin(kind, name, source)
