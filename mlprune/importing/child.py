"""The process that reads the files of a source and writes the weights.

It has no network and starts no programs, see `mlprune.processes.isolation`. Its first line of input is the job. It ends
when its input ends, which happens when the importing process is killed.
"""

import os
import sys
import threading

from mlprune.errors import BadInputError
from mlprune.importing.child_messages import job_from_line, message_line
from mlprune.importing.conversion import convert
from mlprune.processes.isolation import refuse_sockets_and_programs


def main(*, has_network: bool) -> None:
    """Run the job on standard input; messages go to standard output.

    Args:
        has_network: whether the process could not leave the network.
    """
    line = sys.stdin.readline()
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like a message
    threading.Thread(target=_exit_with_parent, daemon=True).start()

    def send(kind: str, value: object) -> None:
        messages.write(message_line(kind, value))
        messages.flush()

    refuse_sockets_and_programs()
    try:
        result = convert(job_from_line(line), send, has_network=has_network)
        send("result", vars(result))
    except BadInputError as err:
        send("error", {"message": err.message, "context": err.context})
    except OSError as err:
        reason = err.strerror or str(err)
        context = {"path": str(err.filename), "reason": reason}
        send("error", {"message": "a file cannot be read or written", "context": context})


def _exit_with_parent() -> None:
    """End this process when its input ends."""
    sys.stdin.read()
    os._exit(1)
