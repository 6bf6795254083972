"""Requests to an ASGI application in this process, without a socket."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

HOST = "127.0.0.1:8123"
PATIENCE_S = 600.0
"""Timeout for a busy machine."""


@dataclass(frozen=True)
class Reply:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests with the headers of a page that has the cookie, unless a test gives others."""

    app: ASGIApp
    cookie: str = ""
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | Sequence[bytes] = b"",
    ) -> Reply:
        return self.runner.run(self.ask(method, target, headers=headers, body=body))

    def get(self, target: str, **headers: str) -> Reply:
        return self.request("GET", target, headers=self._with_own(headers))

    def post(self, target: str, body: Any, **headers: str) -> Reply:
        content = body if isinstance(body, bytes | list) else json.dumps(body).encode()
        return self.request("POST", target, headers=self._with_own(headers), body=content)

    def _with_own(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a page that has the cookie, and others, whose names are written with underscores."""
        own = {"Host": HOST, "Cookie": self.cookie}
        return own | {name.replace("_", "-"): text for name, text in headers.items()}

    async def ask(self, method: str, target: str, *, headers: Any = None, body: Any = b"") -> Reply:
        path, _, query = target.partition("?")
        headers = headers or self._with_own({})
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.lower().encode(), text.encode()) for name, text in pairs if text],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8123),
        }  # fmt: skip
        pieces = list(body) if isinstance(body, list | tuple) else [body]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                await asyncio.sleep(3600)
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        async with asyncio.timeout(PATIENCE_S):
            await self.app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        return Reply(start["status"], {name.decode(): text.decode() for name, text in start["headers"]}, content)
