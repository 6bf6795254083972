"""Access to the page: only with the token, only under a name of this machine's loopback, and only to read.

A browser sends the cookie with the requests of any page, so a request that another site starts is refused. A site whose
name was changed to point to 127.0.0.1 (DNS rebinding) has its own name in `Host`, which is refused.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Names of loopback, with any port: a tunnel may have another port than the server."""
CONNECTION = "connection"
"""Key of a request's state with the connection, whose `has_token` is set by a request that has it."""
MAX_REQUESTS = 100
"""Maximum number of requests with the token that are answered at once."""
MAX_FIELDS = 20
"""Maximum number of parameters of an address."""
METHODS = ("GET", "HEAD", "POST")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The figures of the report have style attributes; scripts and style sheets are files of this server."""
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""
DENIED = "Open the address that mlprune status --web printed, with its token. Each start of it has a new token.\n"


class Token:
    """The secret of one server."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text or secrets.token_urlsafe(32)
        self._digest = _digest(self.text)
        self.cookie = f"mlprune-{self._digest.hex()[:8]}"
        """Name of the cookie: servers that share the name localhost have cookies of their own."""

    def matches(self, text: str) -> bool:
        """Compare in a time that does not depend on the texts."""
        return hmac.compare_digest(_digest(text), self._digest)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


class Guard:
    """Middleware that refuses requests without the token, and adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app = app
        self._token = token
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a closed connection; web sockets do not occur
        sets_cookie = self._token.matches(_query_token(scope))
        refusal = self._refusal(scope, has_token=sets_cookie)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if refusal is not None:
                    headers["Connection"] = "close"
                if sets_cookie and refusal is None:
                    cookie = f"{self._token.cookie}={self._token.text}; Path=/; HttpOnly; SameSite=Strict"
                    headers.append("Set-Cookie", cookie)
            await send(message)

        if refusal is None:
            refusal = self._admit(scope)
        self._n_requests += 1
        try:
            await (refusal or self._app)(scope, receive, send_with_headers)
        finally:
            self._n_requests -= 1

    def _admit(self, scope: Scope) -> PlainTextResponse | None:
        """Note that a connection has the token; return the answer if too many requests have it, otherwise None."""
        connection = scope.get("state", {}).get(CONNECTION)
        if connection is not None:
            connection.has_token = True
        is_full = self._n_requests >= MAX_REQUESTS
        return PlainTextResponse("Too many requests; try again soon.\n", 503) if is_full else None

    def _refusal(self, scope: Scope, *, has_token: bool) -> PlainTextResponse | None:
        """Return the answer to a request that is refused; None for any other request."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not _is_loopback(host):
            return PlainTextResponse(f"This name is not served; use one of {', '.join(HOSTS)}.\n", 421)
        if not (has_token or self._token.matches(_cookie(headers, self._token.cookie))):
            return PlainTextResponse(DENIED, 403)
        if scope["method"] not in METHODS:
            return PlainTextResponse("Method not allowed.\n", 405, {"Allow": ", ".join(METHODS)})
        if scope["method"] == "POST" and not _is_same_site(headers, host):
            return PlainTextResponse("Requests of other sites are refused.\n", 403)
        return None


def _is_loopback(host: str) -> bool:
    """Whether the header `Host` has a name of loopback, with or without a port."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name if colon else host).lower() in HOSTS and (not colon or port.isdecimal())


def _is_same_site(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this server, or from a program that is not a browser."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    return origin in (None, f"http://{host}") and site in (None, "same-origin")


def _query_token(scope: Scope) -> str:
    """Return the token in the address; empty if there is none, or several."""
    try:
        values = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=MAX_FIELDS)
    except ValueError:
        return ""
    tokens = values.get("token", [])
    return tokens[0] if len(tokens) == 1 else ""


def _cookie(headers: Headers, name: str) -> str:
    for line in headers.getlist("cookie"):
        try:
            cookies = SimpleCookie(line)
        except CookieError:
            continue
        if name in cookies:
            return cookies[name].value
    return ""
