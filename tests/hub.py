"""A model hub on loopback that implements the part of the hub protocol needed to fetch a snapshot.

It resolves a reference to a commit, lists the files of a commit and serves their bytes. Tests use the real client
library over HTTP.
"""

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest

from tests.served import answering

Files = dict[str, bytes]


class Hub:
    """Models and data sets with their commits and the references that point to commits."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], Files] = {}
        self.references: dict[tuple[str, str], str] = {}
        self.requests: list[str] = []
        """Method and path of every request."""
        self.url = ""

    def push(self, name: str, files: Files, *, revision: str = "main") -> str:
        """Add a commit with these files, point a reference to it, and return the commit."""
        text = json.dumps({path: hashlib.sha256(data).hexdigest() for path, data in files.items()})
        commit = hashlib.sha1(f"{name} {text}".encode()).hexdigest()
        self.commits[name, commit] = files
        self.references[name, revision] = commit
        return commit

    def fetched(self) -> list[str]:
        """Paths of the files that were downloaded."""
        return [
            request.partition("/resolve/")[2].partition("/")[2]
            for request in self.requests
            if request.startswith("GET ") and "/resolve/" in request
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        """Suppress logging."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        status, headers, body = self._response(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _response(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for kind in ("datasets", "models"):
            if path.startswith(f"/api/{kind}/"):
                owner, name, verb, revision = path.removeprefix(f"/api/{kind}/").split("/", 3)
                return self._repository_info(f"{owner}/{name}", verb, revision)
        if "/resolve/" not in path:
            return 404, {}, b""
        owner, name, _, commit, file = path.removeprefix("/datasets").removeprefix("/").split("/", 4)
        data = self.hub.commits.get((f"{owner}/{name}", commit), {}).get(file)
        if data is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}, data

    def _repository_info(self, name: str, verb: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        if not any(name == data_set for data_set, _ in self.hub.references):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        commit = self.hub.references.get((name, revision), revision)
        files = self.hub.commits.get((name, commit))
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if verb == "revision":
            value: Any = {
                "id": name,
                "sha": commit,
                "siblings": [{"rfilename": path, "size": len(data)} for path, data in files.items()],
            }
        else:
            value = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub for the duration of the context."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    with answering(server):
        yield hub


def use_hub(patch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Point the client library of this process to a hub, as HF_ENDPOINT and HF_HUB_CACHE do at start-up."""
    constants = huggingface_hub.constants
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """Encode rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@contextmanager
def silent_address() -> Iterator[int]:
    """A port of this machine that does not answer, as with a firewall: the queue of a listening socket is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = int(listening.getsockname()[1])
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def folder_files(folder: Path) -> Files:
    """Read the files of a folder, to push them to a hub."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def use_hub_in_processes(patch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Point the client library of this process and of new processes to a hub."""
    use_hub(patch, url, cache)
    patch.setenv("HF_ENDPOINT", url)
    patch.setenv("HF_HUB_CACHE", str(cache))
