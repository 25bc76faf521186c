"""How a query is served by the pools: the strategies that a scenario may name, and their settings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foretell.sim.programs.catalogue import Chosen

EFFICIENCY = 0.8
"""As `foretell.models.transfer.EFFICIENCY`, which an import of numpy is too dear for."""
FIRST_TOKEN = ("prefill", "decode")


@dataclass(frozen=True, slots=True)
class Single:
    """One call a query, all of it on one engine of the only pool.

    Attributes:
        pool: the pool.

    """

    pool: str


@dataclass(frozen=True, slots=True)
class KVLink:
    """What carries KV caches from prefill to decode engines.

    Attributes:
        link: name of a bundled link, or a path to a .toml; what joins the nodes of the slower pool when None.
        links_per_engine: links of an engine; one for each of its accelerators when None.
        efficiency: share of the bandwidth that is reached; the default is an assumption.
        latency_s: time of a transfer besides its bytes [s]; the link's when None.
        layerwise: whether layers are sent while later ones are computed.
        shared: whether transfers of an engine wait for each other; else each has the links to itself.
        bytes_per_token: of the KV cache, for pools with a step cost and no model.

    Raises:
        ValueError: a figure out of range.

    """

    link: str | None = None
    links_per_engine: int | None = None
    efficiency: float = EFFICIENCY
    latency_s: float | None = None
    layerwise: bool = False
    shared: bool = True
    bytes_per_token: float | None = None

    def __post_init__(self) -> None:
        if self.link is not None and not isinstance(self.link, str):
            raise ValueError(f"link: {self.link!r} is not the name of a link (`foretell list links`)")
        links = self.links_per_engine
        if links is not None and (isinstance(links, bool) or not isinstance(links, int) or links < 1):
            raise ValueError(f"links_per_engine: {links!r} is not a whole number >= 1")
        if not (_is_number(self.efficiency) and 0 < self.efficiency <= 1):
            raise ValueError(f"efficiency: {self.efficiency!r} is not a number in (0, 1]")
        for name in ("latency_s", "bytes_per_token"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value >= 0):
                raise ValueError(f"{name}: {value!r} is not a finite number >= 0")
        for name in ("layerwise", "shared"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: {getattr(self, name)!r} is not true or false")


@dataclass(frozen=True, slots=True)
class Disaggregated:
    """Prompts are computed in one pool and answers in another; the KV cache goes from one to the other.

    Attributes:
        prefill, decode: names of the pools.
        kv_transfer: what carries the KV caches.
        first_token: who delivers the first token: "prefill", as the prompt ends there (SGLang, TensorRT-LLM,
            Dynamo), or "decode", by its first step (vLLM's proxies).

    Raises:
        ValueError: `first_token` is neither, or the two pools are one.

    """

    prefill: str = "prefill"
    decode: str = "decode"
    kv_transfer: KVLink = field(default_factory=KVLink)
    first_token: str = "prefill"

    def __post_init__(self) -> None:
        if self.first_token not in FIRST_TOKEN:
            raise ValueError(f"first_token: {self.first_token!r} is not {' or '.join(FIRST_TOKEN)}")
        if self.prefill == self.decode:
            raise ValueError(f"decode: {self.decode!r} is the prefill pool too; name another pool")


if TYPE_CHECKING:
    Strategy = Single | Disaggregated | Chosen
STRATEGIES = ("single", "disaggregated")
"""Strategies that a scenario without a task may name."""


def strategy_from_mapping(
    values: Mapping[str, Any], pools: Collection[str], task: str | None = None
) -> Strategy:
    """Read a scenario's strategy, as in {"name": "disaggregated", "prefill": "p", "decode": "d"}.

    Args:
        values: the name and the fields of the strategy.
        pools: names of the scenario's pools, all of which must be used.
        task: what the queries are about; the strategy is then a program.

    Raises:
        ValueError: one line that names the field and what would be right.

    """
    name = values.get("name")
    given = {key: value for key, value in values.items() if key != "name"}
    if task is not None:
        return _program(values, pools)
    if name == "single":
        if len(pools) != 1:
            named = f"{len(pools)} ({', '.join(pools)})" if pools else "none"
            raise ValueError(f"pools: strategy single takes exactly one, found {named}")
        if given:
            raise ValueError(f"strategy.{min(given)}: strategy single takes no parameters; drop it")
        return Single(next(iter(pools)))
    if name != "disaggregated":
        raise ValueError(f"strategy.name: {name!r} is not supported without a task; {_hint(name)}")
    transfer = given.pop("kv_transfer", {})
    if not isinstance(transfer, Mapping):
        raise ValueError(f"strategy.kv_transfer: {transfer!r} is not a table of fields")
    link = _made(KVLink, transfer, "strategy.kv_transfer")
    _check_names(Disaggregated, given, "strategy")
    strategy: Disaggregated = _made(Disaggregated, {**given, "kv_transfer": link}, "strategy")
    for side in ("prefill", "decode"):
        pool = getattr(strategy, side)
        if pool not in pools:
            known = ", ".join(pools) or "none"
            raise ValueError(f"strategy.{side}: {pool!r} is no pool; the pools are {known}")
    for pool in pools:
        if pool not in (strategy.prefill, strategy.decode):
            raise ValueError(f"pools.{pool}: strategy disaggregated does not use it; drop it")
    return strategy


def _program(values: Mapping[str, Any], pools: Collection[str]) -> Chosen:
    from foretell.sim.programs.catalogue import choose

    if values.get("name") == "disaggregated":
        raise ValueError("strategy.name: disaggregated takes no task yet; drop one of the two")
    chosen = choose(values, pools)
    for pool in pools:
        if pool not in chosen.pools:
            raise ValueError(f"pools.{pool}: strategy {chosen.name} does not call it; drop it")
    return chosen


def _hint(name: object) -> str:
    from foretell.sim.programs.catalogue import PROGRAMS

    if not isinstance(name, str):
        return f"known: {', '.join(STRATEGIES)}"
    if name in PROGRAMS or ":" in str(name):
        return "it is a program: give workload.task, which says what is asked and how often answers are right"
    near = difflib.get_close_matches(str(name), [*STRATEGIES, *PROGRAMS], n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"use {' or '.join(STRATEGIES)}"


def _made(spec: type[Any], values: Mapping[str, Any], where: str) -> Any:
    _check_names(spec, values, where)
    try:
        return spec(**values)
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from None


def _check_names(spec: type[Any], values: Mapping[str, Any], where: str) -> None:
    known = [f.name for f in fields(spec)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{where}.{name}: unknown field; {hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
