"""A client of the what-if page's server, in this process, for tests."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the what-if page needs the extra ui")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of newer versions, about the successor of httpx
    from starlette.testclient import TestClient

from foretell.sim.ui.app import Desk, application
from foretell.sim.ui.starts import STARTS
from foretell.sim.ui.workers import Workers

HERE = "http://127.0.0.1:8731"
CHAT: Mapping[str, Any] = STARTS[0].scenario


@contextlib.contextmanager
def served(desk: Desk | None = None, hosts: tuple[str, ...] = ()) -> Iterator[TestClient]:
    """The server, answering in the thread that asks unless the desk has workers."""
    desk = Desk(workers=Workers(0)) if desk is None else desk
    with TestClient(application(desk, hosts), base_url=HERE, headers={"origin": HERE}) as client:
        yield client


def changed(**paths: Any) -> dict[str, Any]:
    """The first example with other fields, pools__chat__model=... for a path."""
    values: dict[str, Any] = json.loads(json.dumps(CHAT))
    for path, value in paths.items():
        *parents, leaf = path.split("__")
        at = values
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = value
    return values
