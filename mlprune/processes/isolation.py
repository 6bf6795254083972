"""Processes of this project's modules: their environment, and isolation from the network.

Isolation of a process that reads foreign files: no network, no other programs.

`python -m mlprune.processes.isolation MODULE` runs the function `main` of a module without network: on Linux the
process moves to a network namespace of its own, which has no interfaces, if the system permits it. In every case the
module can install an audit hook that refuses sockets and new programs which Python code asks for.
"""

import ctypes
import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Folder of the project's packages; a submitted working directory is not installed."""
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
REFUSED_EVENTS = frozenset(
    {"os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn"}
)


def child_environment() -> dict[str, str]:
    """Return the environment of this process, in which Python also finds the project's packages."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


class IsolationError(Exception):
    """Code of this process tried to open a socket or to start a program."""


def leave_network() -> bool:
    """Move this process to a network namespace without interfaces. Call it before the process has threads.

    Returns: whether the system permits it.
    """
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)
    if sys.platform != "linux" or unshare is None:
        return False
    user, group = os.getuid(), os.getgid()
    if unshare(_CLONE_NEWNET) == 0:
        return True
    if unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            Path("/proc/self", name).write_text(text, encoding="ascii")
        except OSError:  # files stay accessible without the map
            continue
    return True


def refuse_sockets_and_programs() -> None:
    """Refuse sockets and new programs for the rest of this process; it cannot be undone."""
    sys.addaudithook(_refuse)


def _refuse(event: str, _arguments: tuple[object, ...]) -> None:
    if event in REFUSED_EVENTS or event.startswith("socket."):
        raise IsolationError(f"refused while importing: {event}")


if __name__ == "__main__":
    has_network = not leave_network()  # the module is imported after this, because libraries start threads
    importlib.import_module(sys.argv[1]).main(has_network=has_network)
