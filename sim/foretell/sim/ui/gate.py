"""Who may ask: the gate before every route. Names of other sites, other origins and framing stay out.

A page of another site can make a browser send requests to loopback, also under a name that it points there
(DNS rebinding): the Host header then has that name, and what changes anything has that Origin.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any

ENDING = "the server is ending"
_ANY = ("0.0.0.0", "::")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Gate:
    """ASGI middleware that lets in who calls us by our own name, and adds headers to every answer.

    Args:
        app: what is behind it.
        hosts: names besides loopback's by which it may be called; "0.0.0.0" and "::" stand for any address.

    """

    def __init__(self, app: Any, hosts: Sequence[str] = ()) -> None:
        self.app, self.hosts = app, tuple(host.lower() for host in hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 403, or pass on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        why = self.refusal(scope)
        if why is not None:
            await _told(_with_headers(send), 403, why)
            return
        begun = False

        async def sent(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, _with_headers(sent))
        except asyncio.CancelledError:  # how uvicorn ends what runs
            if begun:
                raise
            await _told(_with_headers(send), 503, ENDING)

    def refusal(self, scope: Any) -> str | None:
        """Why a request stays out; None where it may come in."""
        told: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            told.setdefault(name.lower(), []).append(value.decode("latin-1"))
        hosts = told.get(b"host", [])
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return "host: this server answers only to its own name"
        if scope["method"] in ("GET", "HEAD"):
            return _refusal_of_site(told)
        origins = told.get(b"origin", [])
        if len(origins) != 1 or origins[0].lower().partition("://")[2] != hosts[0].lower():
            return "origin: only this server's own page may ask this"
        return None

    def _ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
        if name == "localhost" or name in self.hosts:
            return True
        try:  # an address is no name that another site could point here
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or bool(set(self.hosts) & set(_ANY))


def _refusal_of_site(told: Mapping[bytes, list[str]]) -> str | None:
    """Why another site may not have this by GET; None for links, ourselves, and who does not say (curl)."""
    sites, modes = told.get(b"sec-fetch-site", []), told.get(b"sec-fetch-mode", [])
    if {site.lower() for site in sites} <= {"same-origin", "none"} or modes == ["navigate"]:
        return None
    return "sec-fetch-site: only this server's own page may ask this"


async def _told(send: Any, status: int, why: str) -> None:
    """Answer with an error."""
    body = json.dumps({"error": why, "field": None, "simulate": False}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Any) -> Any:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [
                *_HEADERS,
                (b"content-security-policy", _POLICY.encode()),
                (b"cache-control", b"no-store"),
            ]
            headers = [*message["headers"], *((name, value) for name, value in more if name not in own)]
            message = message | {"headers": headers}
        await send(message)

    return sent
