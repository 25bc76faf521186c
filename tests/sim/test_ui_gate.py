"""Who may ask the what-if page's server: other sites and other names stay out, nothing outside is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from foretell.sim.ui.app import Desk
from foretell.sim.ui.gate import Gate
from foretell.sim.ui.uploads import BODY_BYTES
from foretell.sim.ui.workers import EndingError, TooLongError, Workers
from ui_client import CHAT, HERE, served


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served() as found:
        yield found


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8731", "127.0.0.1.evil.example", "10.0.0.1:8731", "0.0.0.0", ""]
)
def test_other_names_stay_out(client: Any, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/choices"), ("POST", "/answer"), ("GET", "/static/ui.js")):
        reply = client.request(method, path, headers={"host": host, "origin": f"http://{host}"})
        assert reply.status_code == 403
        assert reply.json()["error"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8731", "localhost:8731", "LOCALHOST", "[::1]:8731", "127.0.0.1", "127.0.0.2:1"]
)
def test_loopback_by_any_name_comes_in(client: Any, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200
    reply = client.post(
        "/write", json={"scenario": dict(CHAT)}, headers={"host": host, "origin": f"http://{host}"}
    )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8731", "", None]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/write"), ("POST", "/trace"), ("DELETE", "/simulate/x")]
)
def test_other_origins_change_nothing(client: Any, method: str, path: str, origin: str | None) -> None:
    request = client.build_request(method, path, json={"scenario": dict(CHAT)})
    del request.headers["origin"]
    if origin is not None:
        request.headers["origin"] = origin
    assert client.send(request).status_code == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),  # a link to the page
        ("cross-site", "no-cors", 403),  # <script src=...>
        ("same-site", "cors", 403),  # another port of this machine
        ("cross-site", None, 403),
        (None, None, 200),  # curl
    ],
)
def test_other_sites_get_nothing_but_links(
    client: Any, site: str | None, mode: str | None, status: int
) -> None:
    given = {"sec-fetch-site": site, "sec-fetch-mode": mode}
    headers = {name: value for name, value in given.items() if value is not None}
    for path in ("/", "/choices", "/static/ui.js"):
        assert client.get(path, headers=headers).status_code == status


def test_a_host_that_is_named_comes_in() -> None:
    with served(hosts=("box.lan",)) as client:
        assert client.get("/", headers={"host": "box.lan:80"}).status_code == 200
        assert client.get("/", headers={"host": "other.lan"}).status_code == 403
        assert client.get("/", headers={"host": "10.0.0.7"}).status_code == 403
    with served(hosts=("0.0.0.0",)) as client:  # every address of this machine, but no name of others
        assert client.get("/", headers={"host": "10.0.0.7:8731"}).status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 403


def test_every_answer_forbids_what_a_page_does_not_need(client: Any) -> None:
    for reply in (
        client.get("/"),
        client.get("/choices"),
        client.get("/nothing"),
        client.get("/", headers={"host": "x"}),
    ):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in reply.headers
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "app.py",
        "%2fetc%2fpasswd",
        "page.css%00",
        "ui/ui.js",
        "",
    ],
)
def test_static_serves_only_its_own(client: Any, path: str) -> None:
    reply = client.get(f"/static/{path}")
    assert reply.status_code == 404
    assert "import" not in reply.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'{"scenario": NaN}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"scenario": 1' + b"0" * 5000 + b"}",
    ],
)
def test_what_is_no_question_is_told_so(client: Any, body: bytes) -> None:
    for path in ("/answer", "/frontier", "/read", "/write", "/vllm", "/simulate"):
        reply = client.post(path, content=body)
        assert reply.status_code in (400, 422)
        assert reply.json()["error"]


def test_bodies_are_bounded() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 4 * BODY_BYTES:
            sent += 2**16
            yield b" " * 2**16

    with served() as client:
        assert client.post("/answer", content=b" " * (BODY_BYTES + 1)).status_code == 413
        assert client.post("/answer", content=endless()).status_code == 413


def test_failures_of_our_own_are_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from foretell.sim.ui import work

    def broken(**given: Any) -> str:
        raise KeyError("a\nb")

    monkeypatch.setitem(work.WORK, "answer", broken)
    with served(Desk(workers=Workers(0))) as client:
        reply = client.post("/answer", json={"scenario": dict(CHAT)})
    assert reply.status_code == 422
    assert "\n" not in reply.json()["error"]
    assert json.loads(reply.text)["field"] is None


def test_there_is_nothing_elsewhere(client: Any) -> None:
    for method, path in (
        ("GET", "/answer"),
        ("PUT", "/"),
        ("GET", "/docs"),
        ("POST", "/choices"),
        ("GET", "//"),
    ):
        assert client.request(method, f"{HERE}{path}").status_code == 404


@pytest.mark.parametrize("path", ["/answer", "/frontier", "/read", "/vllm", "/trace"])
def test_what_takes_too_long_offers_a_simulation_of_questions_only(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*given: Any) -> str:
        raise TooLongError

    monkeypatch.setattr(Workers, "ask", slow)
    with served(Desk(workers=Workers(0))) as client:
        reply = client.post(path, json={"scenario": dict(CHAT)})
    assert reply.status_code == 503
    asks = path in ("/answer", "/frontier")
    assert (reply.json()["simulate"], "simulate" in reply.json()["error"]) == (asks, asks)


def test_a_question_to_a_server_that_is_ending_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*given: Any) -> str:
        raise EndingError

    monkeypatch.setattr(Workers, "ask", ended)
    with served(Desk(workers=Workers(0))) as client:
        reply = client.post("/answer", json={"scenario": dict(CHAT)})
    told = {"error": "the server is ending", "field": None, "simulate": False}
    assert (reply.status_code, reply.json()) == (503, told)


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_cut_off_by_the_end_is_told_so(begun: bool) -> None:
    """uvicorn cancels what runs when it ends."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    async def cut_off() -> None:
        scope = {"type": "http", "method": "GET", "headers": [(b"host", b"127.0.0.1")]}
        task = asyncio.create_task(Gate(app)(scope, None, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == begun

    asyncio.run(cut_off())
    assert sent[0]["status"] == (200 if begun else 503)
    if not begun:
        assert json.loads(sent[1]["body"])["error"] == "the server is ending"
