"""The server of the what-if page: routes, and who may ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from foretell.sim.ui.gate import ENDING, REPORT_POLICY, Gate
from foretell.sim.ui.jobs import Job, Jobs
from foretell.sim.ui.questions import Handed
from foretell.sim.ui.uploads import BODY_BYTES, TRACE_BYTES, Uploads
from foretell.sim.ui.work import RefusedError
from foretell.sim.ui.workers import EndingError, SupersededError, TooLongError, Workers

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
        uploads: traces loaded into the page.
        jobs: simulations.

    """

    scenario: Mapping[str, Any] | None = None
    file: str | None = None
    texts: frozenset[str] = frozenset()
    workers: Workers = field(default_factory=Workers)
    uploads: Uploads = field(default_factory=Uploads)
    jobs: Jobs = field(default_factory=Jobs)

    @property
    def handed(self) -> Handed:
        """What questions may bring up."""
        return Handed(self.texts, dict(self.uploads.paths))

    def ask(self, kind: str, given: Mapping[str, Any], page: str = "") -> str:
        """Have a question answered, in JSON; blocks."""
        try:
            return self.uploads.without_folders(self.workers.ask(kind, given, page))
        except RefusedError as error:
            text = self.uploads.without_folders(error.message)
            raise RefusedError(text, error.field, error.simulate) from None

    def stop(self) -> None:
        """End all that runs, and remove what was uploaded."""
        self.jobs.stop()
        self.workers.stop()
        self.uploads.remove()


class StatusError(Exception):
    """A request that is answered by another status than 200."""

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
        desk.workers.start()
        try:
            yield
        finally:
            desk.stop()

    async def page(_: Request) -> Response:
        return _static("page.html")

    async def static(request: Request) -> Response:
        return _static(request.path_params["name"])

    async def choices(_: Request) -> Response:
        return _json(
            await run_in_threadpool(desk.ask, "choices", {"values": desk.scenario, "file": desk.file})
        )

    def question(kind: str, *names: str) -> Callable[[Request], Awaitable[Response]]:
        """A route that hands these fields of its body to a worker."""

        async def answered(request: Request) -> Response:
            body = await body_of(request)
            given = {name: body.get(name) for name in names} | {"handed": desk.handed}
            return _json(await run_in_threadpool(desk.ask, kind, given, _page_of(body)))

        return answered

    async def trace(request: Request) -> Response:
        path = await run_in_threadpool(desk.uploads.place, request.query_params.get("name", "trace"))
        try:
            await _received(request, path)
            about = json.loads(await run_in_threadpool(desk.ask, "trace", {"path": path}))
        except BaseException:
            await run_in_threadpool(desk.uploads.drop, path)
            raise
        return JSONResponse(about | {"trace": f"upload:{desk.uploads.keep(path)}"})

    routes = [
        Route("/", page),
        Route("/static/{name}", static),
        Route("/choices", choices),
        Route("/answer", question("answer", "scenario", "intervals"), methods=["POST"]),
        Route("/frontier", question("frontier", "scenario"), methods=["POST"]),
        Route("/read", question("read", "yaml"), methods=["POST"]),
        Route("/write", question("write", "scenario"), methods=["POST"]),
        Route("/vllm", question("vllm", "scenario", "command", "pool"), methods=["POST"]),
        Route("/trace", trace, methods=["POST"]),
        *simulation_routes(desk),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            RefusedError: _refused,
            SupersededError: _superseded,
            TooLongError: _too_long,
            EndingError: _ending,
            StatusError: _status,
            404: _not_found,
            405: _not_found,
        },
    )
    return Gate(app, hosts)


def simulation_routes(desk: Desk) -> list[Route]:
    """What concerns simulations."""

    async def begin(request: Request) -> Response:
        body = await body_of(request)
        await run_in_threadpool(desk.ask, "write", {"scenario": body.get("scenario"), "handed": desk.handed})
        job = await run_in_threadpool(desk.jobs.begin, body.get("scenario"), desk.handed)
        if job is None:
            raise StatusError(
                429, f"{desk.jobs.most} simulations are running; cancel one, or wait for its end"
            )
        return JSONResponse({"job": job.id})

    def found(request: Request) -> Job:
        job = desk.jobs.find(request.path_params["job"])
        if job is None:
            raise StatusError(404, "there is no such simulation any more")
        return job

    async def events(request: Request) -> Response:
        stream = told(found(request), desk.uploads.without_folders)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def cancel(request: Request) -> Response:
        await run_in_threadpool(found(request).end, "cancelled")
        return JSONResponse({"cancelled": True})

    async def report(request: Request) -> Response:
        job = found(request)
        if not job.report:
            raise StatusError(404, "this simulation has no report")
        text = desk.uploads.without_folders(job.report)
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    return [
        Route("/simulate", begin, methods=["POST"]),
        Route("/simulate/{job}", cancel, methods=["DELETE"]),
        Route("/simulate/{job}/events", events),
        Route("/simulate/{job}/report", report),
    ]


async def told(job: Job, plain: Callable[[str], str]) -> AsyncIterator[str]:
    """A job's events, until it has ended."""
    job.readers += 1
    last: tuple[int, int] | None = None
    beat = 0
    try:
        while job.state == "running":
            if (job.done, job.total) != last or beat >= 10:
                last, beat = (job.done, job.total), 0
                now = {"done": job.done, "total": job.total, "seconds": round(job.seconds, 2)}
                yield _event("progress", json.dumps(now))
            beat += 1
            await asyncio.sleep(0.1)
        if job.state == "done":
            answer = json.loads(plain(job.answer)) | {"report": f"/simulate/{job.id}/report"}
            yield _event("done", json.dumps(answer))
        elif job.error is not None:
            error = {"error": plain(job.error.message), "field": job.error.field, "simulate": False}
            yield _event("failed", json.dumps(error))
        else:
            yield _event("cancelled", "{}")
    finally:
        job.readers -= 1


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


async def _received(request: Request, path: Path) -> None:
    """Write what is uploaded to a file."""
    size = 0
    with path.open("wb") as file:
        async for part in request.stream():
            size += len(part)
            if size > TRACE_BYTES:
                raise StatusError(
                    413, f"a trace has at most {TRACE_BYTES // 2**20} MiB; give only its first requests"
                )
            file.write(part)
    if not size:
        raise StatusError(400, "the file is empty")


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _error(status: int, message: str, field: str | None = None, simulate: bool = False) -> Response:
    return JSONResponse({"error": message, "field": field, "simulate": simulate}, status)


def _refused(_: Request, error: Any) -> Response:
    return _error(422, error.message, error.field, error.simulate)


def _superseded(_: Request, error: Any) -> Response:
    return _error(409, "a newer question of the same page came in between")


def _too_long(request: Request, error: Any) -> Response:
    if request.url.path in ("/answer", "/frontier"):
        told = "this takes too long to answer at once; ask for less, or simulate it"
        return _error(503, told, simulate=True)
    return _error(503, "this takes too long; give less of it")


def _ending(_: Request, error: Any) -> Response:
    return _error(503, ENDING)


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


async def body_of(request: Request) -> dict[str, Any]:
    """The fields of a question."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BODY_BYTES:
            raise StatusError(413, f"a question has at most {BODY_BYTES // 1024:,} KiB")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise StatusError(400, "not a question in JSON") from None
    if not isinstance(values, dict):
        raise StatusError(400, "not a question: expected a table of fields")
    return values


def _page_of(body: Mapping[str, Any]) -> str:
    page = body.get("page")
    return page[:64] if isinstance(page, str) else ""
