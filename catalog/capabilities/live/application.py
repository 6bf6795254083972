"""The application of the live page: a few fixed addresses, which the guard protects. It has no address of a file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from catalog.capabilities.live.access import Guard, Token
from catalog.capabilities.live.query_answers import FILE_FORMATS, NAME_LENGTH, editable_query
from catalog.capabilities.live.query_child import QueryChildren
from catalog.capabilities.live.watcher import LiveState, Watcher
from catalog.report.exhibits import page_script, style_sheet
from catalog.results import visible
from catalog.sql_files import list_queries
from catalog.store.live_catalog import LiveCatalog
from mlprune.errors import QueryError
from mlprune.json_values import as_object, as_str, parse_json
from mlprune.timestamps import timestamp

Answer = TypeVar("Answer")

MAX_BODY_BYTES = 100_000
"""Maximum size of a request: the longest SQL that is read."""
MAX_WAIT_S = 25.0
"""Maximum time for which a request waits for news."""
N_QUERIES, MAX_WAITING_QUERIES = 2, 8
"""Queries that run at once, and that wait for their turn."""
CATALOG_WAIT_S = 10.0
"""Maximum time for which a request waits while the catalog is read."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Live:
    """What the application shows."""

    store_uri: str
    catalog: LiveCatalog
    queries: QueryChildren
    state: LiveState
    watcher: Watcher


class Pages:
    """The answers of the application, one method for each address."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._threads = ThreadPoolExecutor(N_QUERIES, thread_name_prefix="serve-query")
        self._n_queries = 0

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Follow the store as long as the server runs."""
        task = asyncio.create_task(self._live.watcher.run())
        yield
        await self._live.state.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def page(self, _: Request) -> Response:
        """Return the page, which loads everything else."""
        return Response(self._page, media_type="text/html; charset=utf-8")

    @cached_property
    def _page(self) -> str:
        return (_FOLDER / "live.html").read_text("utf-8")

    async def style(self, _: Request) -> Response:
        """Return the style sheet of the report and of the live page."""
        return Response(style_sheet() + (_FOLDER / "live.css").read_text("utf-8"), media_type="text/css")

    async def script(self, _: Request) -> Response:
        """Return the script of the filters and of the live page."""
        text = f"{page_script()}\n{(_FOLDER / 'live.js').read_text('utf-8')}"
        return Response(text, media_type="text/javascript; charset=utf-8")

    async def news(self, request: Request) -> Response:
        """Return the state, or 304 if it is still the version that the page has.

        With `wait`, a request whose version is current is answered at the next change, or after `wait` seconds.
        """
        self._live.watcher.note_request()
        known = request.headers.get("if-none-match", "").strip().removeprefix("W/").strip('"')
        if known and known == self._live.state.version:
            seconds = min(MAX_WAIT_S, _seconds(request.query_params.get("wait", "")))
            await self._live.state.wait_for_change(known, seconds=seconds)
        headers = {"ETag": f'"{self._live.state.version}"'}
        if known and known == self._live.state.version:
            return Response(status_code=304, headers=headers)
        content = {"store": visible(self._live.store_uri), "now": timestamp(datetime.now(UTC))}
        return JSONResponse({**content, **self._live.state.content}, headers=headers)

    async def report(self, request: Request) -> Response:
        """Return the newest report; 204 if there is none yet."""
        page = self._live.watcher.report
        if page is None:
            return Response(status_code=204)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response("This address needs a client that accepts gzip.\n", 406, media_type="text/plain")
        headers = {"ETag": f'"{page.version}"', "Content-Encoding": "gzip"}
        return Response(page.compressed, media_type="text/html; charset=utf-8", headers=headers)

    async def query_names(self, _: Request) -> Response:
        """Return the names of the built-in queries with the meaning of one row."""
        return JSONResponse([{"name": query.name, "summary": query.summary} for query in list_queries()])

    async def named_query(self, request: Request) -> Response:
        """Return the SQL of a built-in query."""
        name = request.path_params["name"]
        return await self._answer(
            lambda: JSONResponse(
                {"sql": self._live.catalog.use(lambda catalog: editable_query(catalog, name), wait_s=CATALOG_WAIT_S)}
            )
        )

    async def query(self, request: Request) -> Response:
        """Answer SQL: with a table, or with a file if the body asks for a format."""
        try:
            body = as_object(parse_json(await request.body()))
            text, file_format = as_str(body.get("sql")), as_str(body.get("format", ""))
        except (ValueError, TypeError):
            return _error('the body has to be JSON such as {"sql": "SELECT 1", "format": "csv"}', 400)
        if not file_format:
            return await self._answer(lambda: Response(self._live.queries.answer(text), media_type="application/json"))
        return await self._answer(lambda: self._file(text, file_format))

    def _file(self, text: str, file_format: str) -> Response:
        content = self._live.queries.answer(text, file_format)
        headers = {"Content-Disposition": f'attachment; filename="query.{file_format}"'}
        return Response(content, media_type=FILE_FORMATS[file_format].media_type, headers=headers)

    async def _answer(self, work: Callable[[], Response]) -> Response:
        """Wait for a query in a thread; errors become one line, and too many queries are refused."""
        if self._n_queries >= N_QUERIES + MAX_WAITING_QUERIES:
            return _error("too many queries are running; try again soon", 503)
        self._n_queries += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except QueryError as err:
            return _error(str(err), 422)
        finally:
            self._n_queries -= 1


def _seconds(text: str) -> float:
    """Return a number of seconds; 0 if the text is not one."""
    return float(text) if text.isdecimal() and len(text) <= NAME_LENGTH else 0.0


def _error(message: str, status: int) -> JSONResponse:
    return JSONResponse({"error": visible(message)}, status)


def create_application(live: Live, token: Token) -> ASGIApp:
    """Return the application of a live page, with its guard."""
    pages = Pages(live)
    application = Starlette(
        routes=[
            Route("/", pages.page),
            Route("/live.css", pages.style),
            Route("/live.js", pages.script),
            Route("/news", pages.news),
            Route("/report", pages.report),
            Route("/queries", pages.query_names),
            Route("/queries/{name}", pages.named_query),
            Route("/query", pages.query, methods=["POST"]),
        ],
        lifespan=pages.lifespan,
        max_body_size=MAX_BODY_BYTES,
    )
    return Guard(application, token)
