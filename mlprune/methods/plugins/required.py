"""Plug-ins that a machine needs before it gets work: found and compared by their metadata and source, not imported."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlprune.methods.plugins.installed import InstalledPlugin
from mlprune.methods.plugins.lookup import LOOKUPS
from mlprune.methods.plugins.plugin import PluginKind
from mlprune.methods.plugins.source import PluginSource

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
