"""Provenance of a plug-in: the distribution or file it comes from, and a hash of its source."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonValue


@dataclass(frozen=True)
class PluginSource:
    """Identity of the source of a plug-in; part of the ids of everything it makes."""

    sha256: str
    """Of the file; of a distribution, over all files of the package that has the module."""
    distribution: str | None = None
    """Name of the distribution; None for a file."""
    version: str | None = None
    """Version of the distribution."""
    file: str | None = None
    """Name of the file, without folders; None for a distribution."""
    text: str | None = field(default=None, compare=False, repr=False)
    """Content of the file. It travels with a job, and is neither part of an id nor in a record."""

    @property
    def label(self) -> str:
        """The distribution with its version, or the file."""
        return self.file or f"{self.distribution} {self.version}"

    @property
    def advice(self) -> str:
        """How to provide this source."""
        if self.file:
            return f"name the file in the recipe (plugins: [{self.file}]) and with --allow-plugins {self.file}"
        return f"pip install '{self.distribution}=={self.version}' in the environment of the command and of every node"

    @property
    def columns(self) -> dict[str, JsonValue]:
        """Values for the catalog."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, values: object) -> "PluginSource | None":
        """Build the provenance from the parameters of a record; None if there is none."""
        if isinstance(values, PluginSource) or not isinstance(values, Mapping):
            return values if isinstance(values, PluginSource) else None
        return with_defaults(cls, values)
