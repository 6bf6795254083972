"""Isolation of the process that reads foreign files, each check in a process of its own."""

import subprocess
import sys

import pytest

ATTEMPTS = {
    "socket": "import socket; socket.socket()",
    "name": "import socket; socket.getaddrinfo('localhost', 80)",
    "shell": "import os; os.system('echo started')",
    "program": "import subprocess; subprocess.run(['echo', 'started'])",
    "spawn": "import os; os.posix_spawn('/bin/echo', ['echo', 'started'], {})",
    "exec": "import os; os.execv('/bin/echo', ['echo', 'started'])",
    "fork": "import os; os.fork()",
}


def run_python(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_sockets_and_programs_are_refused(attempt: str) -> None:
    program = f"from mlprune.processes.isolation import *; refuse_sockets_and_programs(); {ATTEMPTS[attempt]}"
    done = run_python(program)
    assert done.returncode == 1
    assert "IsolationError" in done.stderr
    assert "started" not in done.stdout


def test_a_process_without_network_still_reads_and_writes_files_but_reaches_no_address(tmp_path: object) -> None:
    program = f"""
import socket, threading, pathlib
from mlprune.processes.isolation import leave_network
server = socket.create_server(("127.0.0.1", 0))
if not leave_network():
    print("not permitted")
    raise SystemExit
path = pathlib.Path({str(tmp_path)!r}, "file")
path.write_text("written")
assert path.read_text() == "written"
try:
    socket.create_connection(server.getsockname(), timeout=60)
except OSError:
    print("unreachable")
"""
    done = run_python(program)
    assert done.stdout.strip() in ("unreachable", "not permitted"), done.stderr
