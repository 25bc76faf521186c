"""Which replica a call goes to.

A router is any callable `(request, fleet) -> index`. It is asked when the request arrives and sees
the fleet as it is at that moment; it must not change anything in it. Its own memory, if it needs
one, lives in the closure. `ROUTERS` names the bundled ones ("power_of_d:3" is one with its d); a user
passes "module:attr", a factory like those below, which is called with the random generator of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.sim.request import Request

if TYPE_CHECKING:
    from foretell.sim.engines import AnyEngine


@dataclass(slots=True)
class Fleet:
    """What a router sees: read, never written.

    Attributes:
        outstanding: requests sent to each replica and not ended.
        engines: the replicas; `engine.pool.free` and `engine.n_waiting` are as of the last change.
        time_s: now.
    """

    outstanding: list[int]
    engines: Sequence[AnyEngine]
    time_s: float = 0.0


Router = Callable[[Request, Fleet], int]


def round_robin(rng: np.random.Generator) -> Router:
    """Each replica in turn."""
    turn = -1

    def route(request: Request, fleet: Fleet) -> int:
        nonlocal turn
        turn = (turn + 1) % len(fleet.outstanding)
        return turn

    return route


def random(rng: np.random.Generator) -> Router:
    """Any replica, each as likely."""
    draw = _Draws(rng)

    def route(request: Request, fleet: Fleet) -> int:
        return int(draw() * len(fleet.outstanding))

    return route


def least_outstanding(rng: np.random.Generator) -> Router:
    """The replica with the fewest requests that have not ended; the first among equals."""

    def route(request: Request, fleet: Fleet) -> int:
        outstanding = fleet.outstanding
        return outstanding.index(min(outstanding))

    return route


def power_of_two(rng: np.random.Generator) -> Router:
    """The less loaded of two replicas drawn at random (Mitzenmacher, IEEE TPDS 12(10), 2001)."""
    draw = _Draws(rng)

    def route(request: Request, fleet: Fleet) -> int:
        outstanding = fleet.outstanding
        n = len(outstanding)
        if n == 1:
            return 0
        i = int(draw() * n)
        j = int(draw() * (n - 1))
        if j >= i:
            j += 1
        return j if outstanding[j] < outstanding[i] else i

    return route


def power_of_d(rng: np.random.Generator, choices: int = 2) -> Router:
    """The least loaded of d replicas drawn at random, written "power_of_d:3" (Mitzenmacher, 2001)."""
    draw = _Draws(rng)
    least = least_outstanding(rng)

    def route(request: Request, fleet: Fleet) -> int:
        outstanding = fleet.outstanding
        n = len(outstanding)
        if choices >= n:
            return least(request, fleet)
        best = int(draw() * n)
        drawn = {best}
        while len(drawn) < choices:
            other = int(draw() * n)
            if other not in drawn:
                drawn.add(other)
                if outstanding[other] < outstanding[best]:
                    best = other
        return best

    return route


def session_affinity(rng: np.random.Generator) -> Router:
    """All turns of a session go where its first went; who has no session goes to the least loaded."""
    homes: dict[str, int] = {}
    fresh = least_outstanding(rng)

    def route(request: Request, fleet: Fleet) -> int:
        if not request.session:
            return fresh(request, fleet)
        home = homes.get(request.session)
        if home is None:
            home = homes[request.session] = fresh(request, fleet)
        return home

    return route


def prefix_affinity(rng: np.random.Generator) -> Router:
    """Where the longest known prefix went last, unless that replica is overloaded.

    Overloaded means more than twice the mean of outstanding requests and 8; the request then goes to
    the least loaded replica, as does one with no known prefix. The router remembers links of prefix
    chains, not what the replicas still cache, as a router outside of the engines would.
    """
    homes: dict[Any, int] = {}
    fresh = least_outstanding(rng)

    def route(request: Request, fleet: Fleet) -> int:
        outstanding = fleet.outstanding
        keys: list[Any] = []
        key: Any = 0
        home = -1
        for link in request.segments:
            key = hash((key, link[0]))
            keys.append(key)
            known = homes.get(key, -1)
            if known >= 0:
                home = known
        if home < 0 or outstanding[home] > 8 + 2 * sum(outstanding) / len(outstanding):
            home = fresh(request, fleet)
        for key in keys:
            homes[key] = home
        return home

    return route


ROUTERS: dict[str, Callable[[np.random.Generator], Router]] = {
    "round_robin": round_robin,
    "random": random,
    "least_outstanding": least_outstanding,
    "power_of_two": power_of_two,
    "power_of_d": power_of_d,
    "prefix_affinity": prefix_affinity,
    "session_affinity": session_affinity,
}


def choices_of(router: str) -> float | None:
    """How many replicas a bundled router compares for a request: 1 at random, infinity for all of them.

    None for a router that goes by something else than the requests outstanding.

    Raises:
        ValueError: "power_of_d:" without a whole number >= 1 after it.
    """
    name, colon, number = router.partition(":")
    if name == "power_of_d" and colon:
        if not (number.isascii() and number.isdigit() and int(number) >= 1):
            raise ValueError(f"router: {router!r} has no whole number >= 1 after the colon, as power_of_d:3")
        return int(number)
    known = {"random": 1, "power_of_two": 2, "power_of_d": 2, "least_outstanding": math.inf}
    return known.get(router)


def make_router(name: str | Callable[[np.random.Generator], Router], rng: np.random.Generator) -> Router:
    """The router of this name, or "module:attr" of a factory, or a factory itself.

    Raises:
        ValueError: there is no such router (names the nearest), or no such d.
    """
    if callable(name):
        return name(rng)
    if name in ROUTERS:
        return ROUTERS[name](rng)
    if name.startswith("power_of_d:"):
        return power_of_d(rng, int(choices_of(name) or 0))
    if ":" in name:
        import importlib

        module, _, attribute = name.partition(":")
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"router: cannot load {name!r}: {error}") from None
        try:
            router: Router = factory(rng)
        except TypeError as error:
            raise ValueError(f"router: {name!r} makes no router of a random generator: {error}") from None
        if not callable(router):
            raise ValueError(f"router: {name!r} made {router!r}; it must make a callable")
        return router
    import difflib

    near = difflib.get_close_matches(name, ROUTERS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ROUTERS)}"
    raise ValueError(f"router: {name!r} is unknown; {hint}")


def check_router(factory: Callable[[np.random.Generator], Router], replicas: int = 3) -> None:
    """Try a router on an empty fleet and tell what rule it breaks.

    Raises:
        ValueError: it returns no index of a replica, changes what it is shown, or decides
            differently when run again with the same random numbers.
    """
    answers = []
    for _ in range(2):
        route = factory(np.random.default_rng(0))
        fleet = Fleet([0] * replicas, ())
        chosen = []
        for i in range(4 * replicas):
            request = Request(f"r{i}", float(i), 10, 10, segments=((i % 2, 5),))
            before = list(fleet.outstanding)
            index = route(request, fleet)
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < replicas:
                raise ValueError(f"router: returned {index!r}; it must be an int from 0 to {replicas - 1}")
            if fleet.outstanding != before:
                raise ValueError("router: changed fleet.outstanding; it may only read the fleet")
            fleet.outstanding[index] += 1
            chosen.append(index)
        answers.append(chosen)
    if answers[0] != answers[1]:
        raise ValueError("router: two runs with the same random numbers differ; draw only from the one given")


class _Draws:
    """Uniform draws in [0, 1), taken from numpy in batches."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.buffer: list[float] = []

    def __call__(self) -> float:
        if not self.buffer:
            self.buffer = self.rng.random(1024).tolist()
        return self.buffer.pop()
