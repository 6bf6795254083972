"""Files of plug-ins for a quick try: one Python module each, loaded from its text under a name made of its hash."""

import hashlib
import sys
from pathlib import Path
from threading import RLock
from types import ModuleType

from mlprune.errors import PluginError, reason_of
from mlprune.given_files import read_given_text
from mlprune.methods.plugins.plugin import AnyPlugin
from mlprune.methods.plugins.source import PluginSource

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
