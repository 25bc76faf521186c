"""The server of the what-if page: routes, and who may ask."""

from __future__ import annotations

import contextlib
import json
import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from foretell.sim.ui.gate import Gate
from foretell.sim.ui.questions import Handed
from foretell.sim.ui.work import RefusedError
from foretell.sim.ui.workers import SupersededError, TooLongError, Workers

BODY_BYTES = 2**20
"""Of a question at most."""
_REPORT_STYLES = ("colours.css", "page.css", "chart.css")
_SERVED = (".js", ".css", ".svg")


@dataclass(slots=True)
class Desk:
    """What a server has at hand.

    Attributes:
        scenario: to start with, None for the first example.
        file: what it was read from.
        texts: what that file names (`questions.handed_by`).
        workers: who answers.

    """

    scenario: Mapping[str, Any] | None = None
    file: str | None = None
    texts: frozenset[str] = frozenset()
    workers: Workers = field(default_factory=Workers)

    @property
    def handed(self) -> Handed:
        """What questions may bring up."""
        return Handed(self.texts)


class _StatusError(Exception):
    """A request that is answered by a status other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


def application(desk: Desk, hosts: tuple[str, ...] = ()) -> Any:
    """The ASGI application.

    Args:
        desk: what it answers from.
        hosts: names besides loopback's by which it may be called.

    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(desk.workers.start)
        try:
            yield
        finally:
            desk.workers.stop()

    async def page(_: Request) -> Response:
        return _static("page.html")

    async def static(request: Request) -> Response:
        return _static(request.path_params["name"])

    async def choices(_: Request) -> Response:
        given = {"values": desk.scenario, "file": desk.file}
        return _json(await run_in_threadpool(desk.workers.ask, "choices", given))

    async def answer(request: Request) -> Response:
        body = await _body(request)
        given = {
            "scenario": body.get("scenario"),
            "handed": desk.handed,
            "intervals": body.get("intervals") is True,
        }
        return _json(await run_in_threadpool(desk.workers.ask, "answer", given, _page_of(body)))

    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/choices", choices),
        Route("/answer", answer, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            RefusedError: _refused,
            SupersededError: _superseded,
            TooLongError: _too_long,
            _StatusError: _status,
            404: _not_found,
            405: _not_found,
        },
    )
    return Gate(app, hosts)


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _error(status: int, message: str, field: str | None = None, simulate: bool = False) -> Response:
    return JSONResponse({"error": message, "field": field, "simulate": simulate}, status)


def _refused(_: Request, error: Any) -> Response:
    return _error(422, error.message, error.field, error.simulate)


def _superseded(_: Request, error: Any) -> Response:
    return _error(409, "a newer question of the same page came in between")


def _too_long(_: Request, error: Any) -> Response:
    return _error(503, "this takes too long to answer at once; ask for less, or simulate it", simulate=True)


def _status(_: Request, error: Any) -> Response:
    return _error(error.status, error.message)


def _not_found(request: Request, _: Any) -> Response:
    return _error(404, f"{request.method} {request.url.path}: there is nothing here")


def _static(name: str) -> Response:
    """A file of the page, or a style of the reports; `name` is one name, without folders."""
    package = "foretell.sim.report" if name in _REPORT_STYLES else "foretell.sim.ui"
    folder = files(package)
    known = {entry.name for entry in folder.iterdir()}
    if name not in known or not (name.endswith(_SERVED) or name == "page.html"):
        return _error(404, f"{name[:60]!r}: there is no such file")
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return Response((folder / name).read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})


async def _body(request: Request) -> dict[str, Any]:
    """The fields of a question."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BODY_BYTES:
            raise _StatusError(413, f"a question has at most {BODY_BYTES // 1024:,} KiB")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise _StatusError(400, "not a question in JSON") from None
    if not isinstance(values, dict):
        raise _StatusError(400, "not a question: expected a table of fields")
    return values


def _page_of(body: Mapping[str, Any]) -> str:
    page = body.get("page")
    return page[:64] if isinstance(page, str) else ""
