"""Answer SQL in a child process, which the system ends when a query takes too long or needs too much memory.

DuckDB can neither interrupt the planning of a statement nor limit all of its memory. A child can be killed whatever it
does: an alarm ends it after `MAX_SECONDS`, and its address space is limited. It stays for the next query, so only a
query after a killed one waits for the start of a new child.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from catalog.capabilities.live.query_answers import INTERRUPT_AFTER_S, answer_file, answer_table
from catalog.store import Catalog
from catalog.store.connections import LIMITED_SETTINGS, QueryLimitError
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import QueryError, reason_of
from mlprune.processes.isolation import child_environment
from mlprune.processes.limited import limit_memory
from mlprune.store.store import Store

MAX_SECONDS = INTERRUPT_AFTER_S + 1
"""Time after which a child is killed."""
MEMORY_BYTES = 3 << 30
"""Address space that a query may use in addition to that of a child that has started: DuckDB's limit of 1 GB, the
result as Python objects and as text, and what libraries reserve for threads."""
MESSAGE_LENGTH = 500


class QueryChildren:
    """The children that answer SQL on a live catalog, one for each query that runs at once.

    All methods can be called from any thread.
    """

    def __init__(self, catalog: LiveCatalog, store_uri: str, *, seconds: float = MAX_SECONDS) -> None:
        self._catalog, self._store_uri, self._seconds = catalog, store_uri, seconds
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[bytes]] = set()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._is_closed = False

    def answer(self, text: str, file_format: str = "") -> bytes:
        """Run a query in a child and return its table as JSON, or a file.

        Args:
            file_format: a key of `FILE_FORMATS`, or nothing for the table.
        Raises:
            QueryError: the query is refused or cannot be answered.
            QueryLimitError: it takes too long, needs too much memory, or its result is too large.
        """
        question = {"store": self._store_uri, "sql": text, "format": file_format, "seconds": self._seconds}

        def ask(catalog: Catalog) -> bytes:
            child = self._take()
            try:
                content = self._exchange(child, {**question, "catalog": str(catalog.path)})
            except QueryError:
                self._give_back(child)
                raise
            except BaseException:
                self._remove(child)
                raise
            self._give_back(child)
            return content

        return self._catalog.use(ask, wait_s=MAX_SECONDS)

    def close(self) -> None:
        """End all children, whatever they do; later queries are refused."""
        with self._lock:
            self._is_closed = True
            children = list(self._children)
        for child in children:
            self._remove(child)

    def _take(self) -> subprocess.Popen[bytes]:
        """Return a child that waits for a query; start one if there is none."""
        with self._lock:
            if self._is_closed:
                raise QueryLimitError("the server is stopping")
            if self._idle:
                return self._idle.pop()
            command = [sys.executable, "-m", __name__]
            child = subprocess.Popen(  # noqa: S603 - this interpreter
                command,
                env={**child_environment(), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._children.add(child)
            return child

    def _give_back(self, child: subprocess.Popen[bytes]) -> None:
        """Keep a child for the next query, unless it has ended."""
        if child.poll() is not None:
            self._remove(child)
            return
        with self._lock:
            self._idle.append(child)

    def _remove(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        with self._lock:
            self._children.discard(child)
            with suppress(ValueError):
                self._idle.remove(child)
        for stream in (child.stdin, child.stdout):
            with suppress(OSError):
                if stream is not None and not self._is_closed:  # on closing, another thread may be reading it
                    stream.close()

    def _exchange(self, child: subprocess.Popen[bytes], question: Mapping[str, Any]) -> bytes:
        """Send a question to a child and return the content of its answer.

        Raises:
            QueryError: it answers with an error, or has ended.
        """
        if child.stdin is None or child.stdout is None:
            raise ValueError("a child has no pipes")
        header: dict[str, Any] = {}
        content = b""
        with suppress(OSError, ValueError):  # it ended; ValueError: half a line
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
            header = json.loads(child.stdout.readline())
            content = child.stdout.read(header["n_bytes"])
        if not header or len(content) < header["n_bytes"]:
            raise self._end_of(child)
        if "error" in header:
            kind = QueryLimitError if header["is_limit"] else QueryError
            raise kind(header["error"], header["context"])
        return content

    def _end_of(self, child: subprocess.Popen[bytes]) -> QueryLimitError:
        """Return the error of a query whose child has ended."""
        child.kill()
        code = child.wait()
        if self._is_closed:
            return QueryLimitError("the server is stopping")
        if code == -signal.SIGALRM:
            return QueryLimitError("the query took too long", expected=f"at most {self._seconds:g} s")
        return _memory_error()


def _memory_error() -> QueryLimitError:
    return QueryLimitError("the query needs too much memory", next="add LIMIT, or use mlprune query")


def _reply(question: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Answer a question; return the header of the answer, and its content."""
    try:
        path = Path(question["catalog"])
        with closing(Catalog.as_folded(Store(question["store"]), path, settings=LIMITED_SETTINGS)) as catalog:
            if question["format"]:
                content = answer_file(catalog, question["sql"], question["format"])
            else:
                content = json.dumps(answer_table(catalog, question["sql"])).encode()
    except MemoryError:
        return _error(_memory_error()), b""
    except QueryError as err:
        return _error(err), b""
    except Exception as err:
        return _error(QueryError("the query cannot be answered", reason=reason_of(err)[:MESSAGE_LENGTH])), b""
    return {"n_bytes": len(content)}, content


def _error(err: QueryError) -> dict[str, Any]:
    is_limit = isinstance(err, QueryLimitError)
    return {"error": err.message, "context": err.context, "is_limit": is_limit, "n_bytes": 0}


def main() -> None:
    """Answer the questions of standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its children
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_memory(MEMORY_BYTES)
    for line in sys.stdin.buffer:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, question["seconds"])
        header, content = _reply(question)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.buffer.write(json.dumps(header, default=str).encode() + b"\n" + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
