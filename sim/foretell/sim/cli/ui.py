"""`foretell ui`: the what-if page in the browser."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

import click

PORT = 8731


@click.command("ui")
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any free one."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def ui_command(scenario: Path | None, host: str, port: int, no_browser: bool) -> int:
    """Open the what-if page, with SCENARIO.yaml or an example: move sliders, see the forecast move.

    Only this machine can reach it, unless --host says otherwise; it reads no file but those you hand to it.
    Ctrl-C ends it.
    """
    try:
        import uvicorn

        from foretell.sim.ui.app import Desk, application
    except ImportError:
        raise click.UsageError("foretell ui needs the extra ui: pip install 'foretell[ui]'") from None
    desk = Desk()
    if scenario is not None:
        desk = _desk(scenario)
    with contextlib.closing(_listening(host, port)) as listener:
        address = listener.getsockname()
        url = _url(host, address[1])
        click.echo(f"{url}  {_promise(host)}. Ctrl-C ends it.")
        config = uvicorn.Config(
            application(desk, _names(host)),
            log_level="critical",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=0,
        )
        server = uvicorn.Server(config)
        if not no_browser and sys.stdout.isatty():
            threading.Timer(0.3, webbrowser.open, [url]).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def _desk(path: Path) -> Any:
    """What the server starts with, and what the file makes readable."""
    from foretell.sim.scenario import Scenario
    from foretell.sim.schema import load_values
    from foretell.sim.ui.app import Desk
    from foretell.sim.ui.questions import Handed, asked, handed_by

    Scenario.load(path)  # says what is wrong with it, with the file's name
    values = load_values(path.absolute())
    texts = handed_by(values)
    return Desk(asked(values, Handed(texts)).to_dict(), path.name, texts)


def _names(host: str) -> tuple[str, ...]:
    """Names besides loopback's by which the server may be called."""
    if _is_loopback(host):
        return ()
    return (host, *((socket.gethostname(), socket.getfqdn()) if host in ("0.0.0.0", "::") else ()))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ValueError: it cannot; one line.

    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ValueError(f"--host {host}: {error.strerror or error}") from None
    try:
        if sys.platform != "win32":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(f"--host {host}: no address of this machine") from None
        why = (
            "is in use; name another by --port, or --port 0 for any"
            if error.errno == errno.EADDRINUSE
            else str(error)
        )
        raise ValueError(f"--port {port}: {why}") from None
    return made


def _url(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def _promise(host: str) -> str:
    if _is_loopback(host):
        return "Only this machine can reach it; it reads no file but those you hand to it"
    return (
        f"Warning: whoever reaches {host} can use it, without a password, and sees the scenario and the "
        "traces that you hand to it; it reads no other file"
    )
