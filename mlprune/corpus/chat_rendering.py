"""Render chat templates in a child process with limits: a template is a program of the person who made the model.

The library's sandbox keeps a template from files and code, but bounds neither its time nor its memory. The child
imports no torch, renders one chat after the other, and stays for the next one. Where the system limits no memory
(outside Linux), the time and the length of the text stay limited.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mlprune.processes.isolation import child_environment
from mlprune.processes.limited import Limits, TimeLimitError, end_of, is_memory_error, limit_memory, limit_time

MAX_TEMPLATE_LENGTH = 1 << 18
"""Characters of the longest template, and of the longest text that a template may add to the turns of a chat. Published
templates have at most 50,000 characters and add some thousand."""
RENDERING = Limits(processor_s=10, memory_bytes=512 << 20)
"""Limits of one chat, the first one with the import of the library."""


class RenderingError(Exception):
    """A chat cannot be rendered; the message says why."""


class RenderingLimitError(RenderingError):
    """A limit was exceeded."""


class ChatRenderer:
    """A child process that renders chats. All methods can be called from any thread."""

    def __init__(self, limits: Limits = RENDERING) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        """The process that started the child: a process forked from it starts a child of its own."""

    def render(self, template: str, messages: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> str:
        """Render a chat.

        Args:
            template: source of the template.
            messages: turns, each with `role` and `content`.
            settings: JSON values for the library's function, and variables of the template.
        Raises:
            RenderingError: the template refuses the chat.
            RenderingLimitError: it takes too long, needs too much memory, or its text is too long.
        """
        if len(template) > MAX_TEMPLATE_LENGTH:
            expected = f"at most {MAX_TEMPLATE_LENGTH:,} characters"
            raise RenderingLimitError(f"the template has {len(template):,} characters; {expected}")
        question = {"template": template, "messages": list(messages), "settings": dict(settings)}
        with self._lock:
            answer = self._exchange(json.dumps(question).encode() + b"\n")
        if "text" in answer:
            return str(answer["text"])
        raise (RenderingLimitError if answer["is_limit"] else RenderingError)(answer["reason"])

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None and self._owner == os.getpid():
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None or self._owner != os.getpid():
            limits = [str(self._limits.processor_s), str(self._limits.memory_bytes)]
            self._child = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-m", __name__, *limits],
                env={**child_environment(), "OMP_NUM_THREADS": "1", "USE_TORCH": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
        return self._child

    def _exchange(self, line: bytes) -> dict[str, Any]:
        child = self._started()
        assert child.stdin is not None, "the input is a pipe"
        assert child.stdout is not None, "the output is a pipe"
        answer = b""
        try:
            with suppress(OSError):  # it ended
                child.stdin.write(line)
                child.stdin.flush()
                answer = child.stdout.readline()
        except BaseException:
            self.close()
            raise
        if answer.endswith(b"\n"):
            parsed: dict[str, Any] = json.loads(answer)
            return parsed
        status = child.wait()
        self.close()
        if isinstance(end_of(status, self._limits), TimeLimitError):
            return _limit(f"rendering takes more than {self._limits.processor_s:g} s")
        return _memory_limit(self._limits)


def _limit(reason: str) -> dict[str, Any]:
    return {"reason": reason, "is_limit": True}


def _memory_limit(limits: Limits) -> dict[str, Any]:
    return _limit(f"rendering needs more than {limits.memory_bytes >> 20} MiB of memory")


RENDERER = ChatRenderer()
"""The child of this process, which starts with the first chat."""
atexit.register(RENDERER.close)


def _reply(question: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Render the chat of a question."""
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415 - the parent has it

    messages: list[dict[str, str]] = question["messages"]
    most = sum(len(message["content"]) for message in messages) + MAX_TEMPLATE_LENGTH
    try:
        (text,), _ = render_jinja_template(
            conversations=[messages], chat_template=question["template"], **question["settings"]
        )
        if len(text) > most:
            added = f"its turns and {MAX_TEMPLATE_LENGTH:,}"
            return _limit(f"the chat has {len(text):,} characters; at most {most:,}: {added}")
    except Exception as err:  # a template can raise anything
        if is_memory_error(err):
            return _memory_limit(limits)
        return {"reason": " ".join(f"{type(err).__name__}: {err}".split())[:1_000], "is_limit": False}
    return {"text": text}


def main() -> None:
    """Answer the questions of standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its child
    limits = Limits(processor_s=float(sys.argv[1]), memory_bytes=int(sys.argv[2]))
    import transformers.utils.chat_template_utils  # noqa: F401,PLC0415 - not a part of the limits

    limit_memory(limits.memory_bytes)
    for line in sys.stdin.buffer:
        limit_time(limits)
        answer = json.dumps(_reply(json.loads(line), limits)).encode()
        limit_time(None)
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
