"""Installed plug-ins, from metadata without loading them, and files of plug-ins."""

import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from types import ModuleType

from mlprune.errors import PluginError, reason_of
from mlprune.given_files import read_given_text
from mlprune.methods.plugins.plugin import AnyPlugin, PluginSource

_PROVIDED: dict[str, PluginSource] = {}
"""SHA-256 -> the file that this process was given."""
_LOADED: dict[str, tuple[AnyPlugin, ...]] = {}
"""SHA-256 -> the plug-ins of a file that this process has loaded."""
_LOCK = RLock()


def provide_file(path: Path) -> PluginSource:
    """Read a file, and let this process use its plug-ins. The code of the file is not run yet.

    Raises:
        PluginError: the file cannot be read.
    """
    try:
        text = read_given_text(path)
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        raise PluginError("a plug-in file cannot be read", file=str(path), reason=reason) from err
    source = PluginSource(hashlib.sha256(text.encode()).hexdigest(), file=path.name, text=text)
    with _LOCK:
        _PROVIDED.pop(source.sha256, None)
        _PROVIDED[source.sha256] = source
    return source


def provided_files() -> tuple[PluginSource, ...]:
    """Return the files that this process was given, the latest first."""
    with _LOCK:
        return tuple(reversed(_PROVIDED.values()))


def withdraw_files() -> None:
    """Take back all files that this process was given."""
    with _LOCK:
        _PROVIDED.clear()


def file_plugins(source: PluginSource) -> tuple[AnyPlugin, ...]:
    """Return the plug-ins of a file: every plug-in object at the top level of the module. The code is run once.

    Args:
        source: with its text, or with the hash of a file that this process was given.
    Raises:
        PluginError: this process does not have the file, its code raises an error, or has no plug-in.
    """
    with _LOCK:
        if source.sha256 not in _LOADED:
            given = source if source.text is not None else _PROVIDED.get(source.sha256)
            if given is None:
                raise _not_provided(source)
            _LOADED[source.sha256] = _plugins_of(given)
        return _LOADED[source.sha256]


def _not_provided(source: PluginSource) -> PluginError:
    changed = [given for given in provided_files() if given.file == source.file]
    context = {"file": source.file, "expected": f"SHA-256 {source.sha256}", "next": source.advice}
    if changed:
        message = "a plug-in file has changed since it made this result"
        return PluginError(message, context, got=f"SHA-256 {changed[0].sha256}")
    return PluginError("a result needs a plug-in file that the command line does not allow", context)


def _plugins_of(source: PluginSource) -> tuple[AnyPlugin, ...]:
    """Run the code of a file as a module."""
    name = f"mlprune_plugin_{source.sha256[:16]}"
    module = ModuleType(name)
    module.__file__ = source.file
    sys.modules[name] = module  # dataclasses of the file look their module up
    try:
        exec(compile(source.text or "", source.file or name, "exec"), module.__dict__)  # noqa: S102 - the user allows it
    except (Exception, SystemExit) as err:  # whatever foreign code raises
        del sys.modules[name]
        reason = reason_of(err)
        raise PluginError("a plug-in file cannot be loaded", file=source.file, reason=reason) from err
    found = {id(value): value for value in vars(module).values() if isinstance(value, AnyPlugin)}
    if not found:
        expected = "a ScorePlugin, StructurePlugin, SchedulePlugin or RefinerPlugin at the top level"
        raise PluginError("a plug-in file has no plug-in", file=source.file, expected=expected)
    return tuple(found.values())


@dataclass(frozen=True)
class InstalledPlugin:
    """An entry point of a distribution."""

    group: str
    name: str
    value: str
    """Module and attribute, as in `my_scores.cubic:CUBIC`."""
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}"


def installed_plugins(group: str) -> tuple[InstalledPlugin, ...]:
    """List the entry points of a group, sorted; nothing is loaded."""
    return _installed(tuple(sys.path)).get(group, ())


@cache
def _installed(_path: tuple[str, ...]) -> dict[str, tuple[InstalledPlugin, ...]]:
    """Read the metadata of all distributions once; return group of plug-ins -> entry points."""
    points = entry_points()
    groups = sorted(group for group in points.groups if group.startswith("mlprune."))
    return {group: _sorted(points.select(group=group)) for group in groups}


def _sorted(points: Iterable[EntryPoint]) -> tuple[InstalledPlugin, ...]:
    found = {_described(point) for point in points}
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution, plugin.value)))


def _described(point: EntryPoint) -> InstalledPlugin:
    distribution = point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("unknown", "")
    return InstalledPlugin(point.group, point.name, point.value, name, version)


def source_of(plugin: InstalledPlugin) -> PluginSource:
    """Return the provenance of an installed plug-in. Its package is read and not imported.

    Raises:
        PluginError: the package cannot be found or read.
    """
    sha256 = _package_sha256(plugin.value.partition(":")[0], plugin.label, tuple(sys.path))
    return PluginSource(sha256, plugin.distribution, plugin.version)


@cache
def _package_sha256(module: str, label: str, _path: tuple[str, ...]) -> str:
    """Hash names and contents of the files of the outermost package of a module, in the order of their names.

    A module outside packages is a file of its own; a namespace package is not a package with files of its own. Once
    read, the hash stays that of the code in this process.
    """
    try:
        root = _root(module)
        files = sorted(_files(root), key=lambda path: path.relative_to(root.parent).as_posix())
        total = hashlib.sha256()
        for path in files:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(root.parent).as_posix()} {content}\n".encode())
    except (ImportError, OSError, ValueError, AttributeError) as err:
        message = "the package of a plug-in cannot be read"
        raise PluginError(message, plugin=label, module=module, reason=reason_of(err)) from err
    return total.hexdigest()


def _root(module: str) -> Path:
    """Return the folder of the outermost package of a module, or the file of a module outside packages."""
    parts = module.split(".")
    for n in range(1, len(parts) + 1):
        spec = find_spec(".".join(parts[:n]))
        if spec is None:
            raise ImportError(f"no module named {'.'.join(parts[:n])}")
        if spec.origin is not None and spec.has_location:
            path = Path(spec.origin)
            return path.parent if spec.submodule_search_locations is not None else path
    raise ImportError(f"{module} is not a file")


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def load_installed(plugin: InstalledPlugin) -> object:
    """Import the object that an entry point names.

    Raises:
        PluginError: its module raises an error, or lacks the object.
    """
    module, _, attribute = plugin.value.partition(":")
    try:
        value: object = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            value = getattr(value, part)
    except (Exception, SystemExit) as err:  # whatever a foreign module raises
        reason = reason_of(err)
        message = "a plug-in cannot be loaded"
        raise PluginError(message, plugin=plugin.name, source=plugin.label, value=plugin.value, reason=reason) from err
    return value
