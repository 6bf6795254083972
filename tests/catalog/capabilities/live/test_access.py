"""The guard of the live page: the token, the names of loopback, and requests of other sites."""

import asyncio
from typing import Any

import pytest

from catalog.capabilities.live.access import HEADERS, Guard, Token
from tests.catalog.capabilities.live.asgi import HOST, Client


def test_the_page_is_shown_with_the_token_and_sets_a_cookie_that_is_enough_afterwards(
    client: Client, token: Token
) -> None:
    first = client.request("GET", f"/?token={token.text}", headers={"Host": HOST})
    assert first.status == 200
    assert first.headers["set-cookie"] == f"{token.cookie}={token.text}; Path=/; HttpOnly; SameSite=Strict"
    later = client.get("/")
    assert later.status == 200
    assert "set-cookie" not in later.headers


@pytest.mark.parametrize("address", ["/", "/?token=", "/?token=wrong", "/news", "/report", "/live.js", "/nothing"])
def test_nothing_is_answered_without_the_token(client: Client, address: str) -> None:
    for cookie in ("", f"{client.cookie[:-1]}", "other=1"):
        reply = client.request("GET", address, headers={"Host": HOST, "Cookie": cookie})
        assert reply.status == 403
        assert "set-cookie" not in reply.headers
        assert b"mlprune status --web" in reply.body


def test_two_tokens_in_an_address_are_refused(client: Client, token: Token) -> None:
    assert client.request("GET", f"/?token=x&token={token.text}", headers={"Host": HOST}).status == 403
    many = "&".join(["token=x"] * 1000)
    assert client.request("GET", f"/?{many}", headers={"Host": HOST}).status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:80", "[::1]", "LOCALHOST:1"])
def test_every_name_of_loopback_is_served_under_any_port(client: Client, host: str) -> None:
    assert client.get("/", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "localhost.evil.example", "localhost@evil", "",
     "127.0.0.1:80x", "0.0.0.0", "[::1", ":8123", "localhost:80:80"],
)  # fmt: skip
def test_other_names_are_refused_even_with_the_token(client: Client, token: Token, host: str) -> None:
    headers = [("Host", host), ("Cookie", client.cookie)]
    assert client.request("GET", f"/?token={token.text}", headers=headers).status == 421
    twice = [("Host", HOST), ("Host", "evil.example"), ("Cookie", client.cookie)]
    assert client.request("GET", "/", headers=twice).status == 421


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:8123"},
     {"Origin": "http://127.0.0.1:9999"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}],
)  # fmt: skip
def test_a_query_that_another_site_sends_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert client.post("/query", {"sql": "SELECT 1"}, **headers).status == 403


@pytest.mark.thorough("serves a live page")
def test_a_query_of_the_page_itself_is_answered(client: Client) -> None:
    headers = {"Origin": f"http://{HOST}", "Sec_Fetch_Site": "same-origin"}
    assert client.post("/query", {"sql": "SELECT 1 AS one"}, **headers).json["rows"] == [["1"]]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    reply = client.request(method, "/query", headers={"Host": HOST, "Cookie": client.cookie})
    assert reply.status == 405


@pytest.mark.parametrize(
    ("method", "address"), [("POST", "/"), ("GET", "/query"), ("POST", "/report"), ("POST", "/news")]
)
def test_an_address_answers_its_own_method_only(client: Client, method: str, address: str) -> None:
    assert client.request(method, address, headers={"Host": HOST, "Cookie": client.cookie}).status == 405


@pytest.mark.parametrize(
    "address",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/live.html", "/static/live.js", "/report/../catalog.duckdb",
     "/catalog.duckdb", "//etc/passwd", "/queries/../live.js", "/live.js/", "/%00"],
)  # fmt: skip
def test_no_address_leads_to_a_file(client: Client, address: str) -> None:
    assert client.get(address).status in (404, 307)


def test_every_answer_has_the_headers_that_protect_it(client: Client) -> None:
    replies = [client.get("/"), client.get("/nothing"), client.request("GET", "/", headers={"Host": "evil"}),
               client.request("GET", "/", headers={"Host": HOST}), client.post("/query", b"{")]  # fmt: skip
    assert [reply.status for reply in replies] == [200, 404, 421, 403, 400]
    for reply in replies:
        assert {name: reply.headers[name.lower()] for name in HEADERS} == dict(HEADERS)
    assert "script-src 'self';" in HEADERS["Content-Security-Policy"]
    assert "unsafe-inline" not in HEADERS["Content-Security-Policy"].replace("style-src-attr 'unsafe-inline'", "")


def test_servers_have_different_tokens_and_cookies() -> None:
    tokens = [Token() for _ in range(3)]
    assert len({token.text for token in tokens}) == len({token.cookie for token in tokens}) == 3
    assert all(len(token.text) >= 43 for token in tokens)
    assert tokens[0].matches(tokens[0].text)
    assert not tokens[0].matches(tokens[1].text)
    assert not tokens[0].matches("\udcff")


def test_a_web_socket_is_not_accepted(token: Token) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError

    asyncio.run(Guard(never, token)({"type": "websocket"}, never, never))
