"""A model hub on loopback: it speaks the parts of the hub's protocol that fetching a snapshot takes.

What a reference is, what a commit holds, and the bytes of a file. The real client library talks to it over HTTP.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest

Files = dict[str, bytes]


class Hub:
    """Data sets by name, each with commits, and references that point at them."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], Files] = {}
        self.references: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []
        """Method and path of every request."""
        self.url = ""

    def push(self, name: str, files: Files, *, revision: str = "main") -> str:
        """Let a reference point at a new commit with these files; returns the commit."""
        text = json.dumps({path: hashlib.sha256(data).hexdigest() for path, data in files.items()})
        commit = hashlib.sha1(f"{name} {text}".encode()).hexdigest()
        self.commits[name, commit] = files
        self.references[name, revision] = commit
        return commit

    def fetched(self) -> list[str]:
        """Paths of the files whose content was asked for."""
        return [
            one.partition("/resolve/")[2].partition("/")[2] for one in self.asked if one.startswith("GET /datasets")
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        status, headers, body = self._found(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/api/datasets/"):
            owner, name, verb, revision = path.removeprefix("/api/datasets/").split("/", 3)
            return self._described(f"{owner}/{name}", verb, revision)
        if not path.startswith("/datasets/"):
            return 404, {}, b""
        owner, name, _, commit, file = path.removeprefix("/datasets/").split("/", 4)
        data = self.hub.commits.get((f"{owner}/{name}", commit), {}).get(file)
        if data is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}, data

    def _described(self, name: str, verb: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        if not any(name == known for known, _ in self.hub.references):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        commit = self.hub.references.get((name, revision), revision)
        files = self.hub.commits.get((name, commit))
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if verb == "revision":
            value: Any = {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        else:
            value = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
        return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers while the context lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(patch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Have the client library of this process talk to a hub, as HF_ENDPOINT and HF_HUB_CACHE do when it starts."""
    constants = huggingface_hub.constants
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """Rows as the file of a data set."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
