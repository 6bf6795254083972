"""Addresses of the live page."""

import asyncio
import gzip
import json

import pytest

from catalog.capabilities.live import application
from catalog.capabilities.live.access import Token
from catalog.capabilities.live.application import MAX_BODY_BYTES, Live, create_application
from catalog.capabilities.live.watcher import ReportPage
from catalog.sql_files import list_queries
from tests.catalog.capabilities.live.asgi import HOST, PATIENCE_S, Client


def test_the_page_loads_only_its_own_files(client: Client) -> None:
    page = client.get("/").body.decode()
    assert "http" not in page.replace('http-equiv="', "")
    for name, kind in (("live.css", "text/css"), ("live.js", "text/javascript")):
        assert f'"{name}"' in page
        reply = client.get(f"/{name}")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith(kind)
        assert b"http" not in reply.body


def test_the_script_inserts_text_only(client: Client) -> None:
    script = client.get("/live.js").body.decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "import("):
        assert word not in script


def test_news_are_sent_once_and_have_a_version(client: Client, live: Live) -> None:
    client.runner.run(live.state.put("runs", [{"name": "study"}]))
    first = client.get("/news")
    assert first.status == 200
    assert first.json["runs"] == [{"name": "study"}]
    assert first.json["store"] == live.store_uri
    assert client.get("/news", If_None_Match=first.headers["etag"]).status == 304
    assert client.get("/news", If_None_Match='"other"').status == 200
    for wait in ("x", "-1", "1e9", "9" * 500, "0"):
        assert client.get(f"/news?wait={wait}", If_None_Match='"other"').status == 200


def test_a_request_is_answered_as_soon_as_there_are_news(client: Client, live: Live) -> None:
    async def check() -> None:
        await live.state.put("runs", 1)
        headers = [("Host", HOST), ("Cookie", client.cookie), ("If-None-Match", f'"{live.state.version}"')]
        waiting = asyncio.create_task(client.ask("GET", "/news?wait=20", headers=headers))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await live.state.put("runs", 2)
        assert (await asyncio.wait_for(waiting, 15)).json["runs"] == 2

    client.runner.run(check())


def test_the_report_is_sent_compressed_once_there_is_one(client: Client, live: Live) -> None:
    assert client.get("/report", Accept_Encoding="gzip").status == 204
    live.watcher.report = ReportPage("v1", gzip.compress(b"<main></main>"))
    reply = client.get("/report", Accept_Encoding="gzip, br")
    assert reply.headers["etag"] == '"v1"'
    assert gzip.decompress(reply.body) == b"<main></main>"
    assert client.get("/report").status == 406


def test_built_in_queries_are_listed_and_can_be_copied(client: Client) -> None:
    names = [query["name"] for query in client.get("/queries").json]
    assert names == [query.name for query in list_queries()]
    assert client.get("/queries/failures").json["sql"].startswith("-- failures:")
    unknown = client.get("/queries/%3Cscript%3E" + "x" * 2000)
    assert unknown.status in (404, 422)


@pytest.mark.thorough("serves a live page")
def test_a_file_is_an_attachment_with_a_fixed_name(client: Client) -> None:
    reply = client.post("/query", {"sql": "SELECT 1 AS one", "format": "csv"})
    assert reply.body == b"one\n1\n"
    assert reply.headers["content-disposition"] == 'attachment; filename="query.csv"'
    assert client.post("/query", {"sql": "SELECT 1", "format": "../x"}).status == 422


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"SELECT 1"', b"{}", b'{"sql": 1}', b'{"sql": "SELECT 1", "format": []}', b"[" * 50_000]
)
def test_a_body_that_is_not_a_query_is_refused(client: Client, body: bytes) -> None:
    reply = client.post("/query", body)
    assert reply.status == 400
    assert list(reply.json) == ["error"]


def test_a_huge_body_is_refused_before_it_is_read(client: Client) -> None:
    assert client.post("/query", b"x", Content_Length=str(10**12)).status == 413
    assert client.post("/query", [b"x" * 50_000] * 4).status == 413
    text = json.dumps({"sql": f"SELECT 1 AS one -- {'x' * (MAX_BODY_BYTES - 100)}"}).encode()
    assert client.post("/query", text).json["rows"] == [["1"]]


def test_names_in_errors_are_text_without_control_characters(client: Client) -> None:
    reply = client.post("/query", {"sql": 'SELECT "<img src=x>\u202e" FROM metrics'})
    assert reply.status == 422
    assert reply.headers["content-type"] == "application/json"
    assert "<img src=x>\\u202e" in reply.json["error"]


@pytest.mark.thorough("serves a live page")
def test_too_many_queries_at_once_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MAX_WAITING_QUERIES", 1)

    async def ask(sql: str) -> int:
        body = json.dumps({"sql": sql}).encode()
        reply = await client.ask("POST", "/query", headers=[("Host", HOST), ("Cookie", client.cookie)], body=body)
        return reply.status

    async def check() -> list[int]:
        slow = "SELECT count(*) FROM range(3000) AS a, range(3000) AS b"
        return sorted(await asyncio.gather(*(ask(slow) for _ in range(6))))

    assert client.runner.run(check()) == [200, 200, 200, 503, 503, 503]


def test_the_store_is_followed_as_long_as_the_application_runs(live: Live, client: Client, token: Token) -> None:
    async def check() -> None:
        app = create_application(live, token)
        steps: asyncio.Queue[str] = asyncio.Queue()
        done: list[str] = []

        async def receive() -> dict[str, str]:
            return {"type": await steps.get()}

        async def send(message: dict[str, str]) -> None:
            done.append(message["type"])

        task = asyncio.create_task(app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send))  # type: ignore[arg-type]
        await steps.put("lifespan.startup")
        live.watcher.note_request()
        async with asyncio.timeout(PATIENCE_S):
            while "best" not in live.state.content:
                assert not task.done()
                await asyncio.sleep(0.02)
            await steps.put("lifespan.shutdown")
            await task
        assert done == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    client.runner.run(check())
