"""Textbook queues played by ciw, a simulator of queueing networks that is not ours: ciw.readthedocs.io."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from foretell.models.queueing import Station, ggc, mg1, mgc, mmc, mxg1, tandem
from foretell.validate.theory_players import Array
from foretell.validate.theory_textbook import BATCHES, SERVERS, VARIED, WAITED, Model, Rng


def available() -> bool:
    """Whether ciw is installed."""
    return find_spec("ciw") is not None


def ciw_models() -> tuple[Model, ...]:
    """Queues with a mean service of one second, as ciw takes them; it must be installed."""
    import ciw

    law = ciw.dists
    varied = law.Empirical((np.array(VARIED.values) / VARIED.mean).tolist())
    sizes = law.Empirical(list(BATCHES.values))

    def model(name: str, kind: Any, theory: Any, spread: float, **network: Any) -> Model:
        def play(rho: float, rng: Rng, count: int) -> Array:
            return _played(rho, rng, count, network)

        return Model(name, kind, "ciw", theory, play, spread, loads=WAITED if "servers" in network else None)

    one = law.Exponential(1.0)
    return (
        model("M/M/1", "exact", lambda rho: mmc(rho, 1.0).wait_s, 2.0, services=[one]),
        model(
            "M/M/8", "exact", lambda rho: mmc(rho * 8, 1.0, 8).wait_s, 2.0, services=[one], servers=SERVERS
        ),
        model(
            "M/D/1", "exact", lambda rho: mg1(rho, 1.0, 0.0).wait_s, 1.0, services=[law.Deterministic(1.0)]
        ),
        model(
            "M/G/1, log-normal",
            "exact",
            lambda rho: mg1(rho, 1.0, VARIED.scv).wait_s,
            1 + VARIED.scv,
            services=[varied],
        ),
        model(
            "M^[X]/M/1",
            "exact",
            lambda rho: mxg1(rho / BATCHES.mean, BATCHES.mean, 11.0, 1.0, 1.0).wait_s,
            5.0,
            services=[one],
            sizes=sizes,
        ),
        model(
            "M/M/1 after M/M/1",
            "exact",
            lambda rho: tandem(rho, (Station(1, 1.0, 1.0),) * 2)[1].wait_s,
            2.0,
            services=[one, one],
        ),
        model(
            "M/G/8, log-normal, Kimura",
            "approximation",
            lambda rho: mgc(rho * 8, 1.0, VARIED.scv, 8).wait_s,
            1 + VARIED.scv,
            services=[varied],
            servers=SERVERS,
        ),
        model(
            "GI/M/8, gaps of CV 2, Allen–Cunneen",
            "approximation",
            lambda rho: ggc(rho * 8, 4.0, 1.0, 1.0, 8).wait_s,
            5.0,
            services=[one],
            servers=SERVERS,
            gap_scv=4.0,
        ),
    )


def _played(rho: float, rng: Rng, count: int, network: Mapping[str, Any]) -> Array:
    """Waits at the last node, in order of arrival there."""
    import ciw

    nodes = len(network["services"])
    servers, sizes = network.get("servers", 1), network.get("sizes")
    gap_s = (BATCHES.mean if sizes else 1.0) / (rho * servers)
    scv = network.get("gap_scv", 1.0)
    gaps = ciw.dists.Gamma(1 / scv, scv * gap_s)
    more: dict[str, Any] = {}
    if sizes is not None:
        more["batching_distributions"] = [sizes]
    if nodes > 1:
        more["routing"] = [[float(j == i + 1) for j in range(nodes)] for i in range(nodes)]
    ciw.seed(int(rng.integers(2**31)))
    simulation = ciw.Simulation(
        ciw.create_network(
            arrival_distributions=[gaps, *[None] * (nodes - 1)],
            service_distributions=list(network["services"]),
            number_of_servers=[servers] * nodes,
            **more,
        )
    )
    simulation.simulate_until_max_time(count / (rho * servers))
    records = [r for r in simulation.get_all_records() if r.node == nodes and r.record_type == "service"]
    records.sort(key=lambda r: r.arrival_date)
    return np.array([r.waiting_time for r in records])
