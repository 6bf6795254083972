"""Installed plug-ins: entry points of other distributions, listed from metadata without loading them."""

import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from mlprune.errors import PluginError, reason_of
from mlprune.methods.plugins.source import PluginSource


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
