"""Names of a process of this machine that has ended, in claims and in the names of files."""

from mlprune.processes.process_identity import file_tag, this_process


def ended_process() -> str:
    """The name of a process of this machine that has ended."""
    namespace, pid, start = str(this_process()).split("/")
    return f"{namespace}/{pid}/{int(start) + 1}"


def ended_tag() -> str:
    """The part of a file name that such a process leaves."""
    namespace, pid, start = file_tag().split("-")
    return f"{namespace}-{pid}-{int(start) + 1}"
