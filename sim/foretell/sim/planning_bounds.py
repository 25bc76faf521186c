"""Bounds that cut a plan's space before any forecast: for every layout of a pool, the fewest replicas.

Over many steps that decode n requests each and compute u prompt tokens in the mean, steps take at least
c(n, 0) + u·m, with m the least that a prompt token adds to a step. As n/D requests end a step and as many
come, u = n·E[P]/D: an engine serves at most λ(n) = n/(D·c(n, 0) + n·E[P]·m) requests a second, and its tokens
are c(n, 0) + n·E[P]·m/D seconds apart. One request alone has the least TTFT and E2E there are.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from foretell.models.energy import power_model
from foretell.models.engine_memory import activation_bytes, engine_memory, runtime_bytes
from foretell.models.memory import kv_bytes_per_token, reserved_bytes, weights_bytes
from foretell.models.queueing import Lengths
from foretell.models.queueing.backlog import step_seconds
from foretell.sim.deployment import EnginePart, layout_of
from foretell.sim.planning_demand import Demand, Limit, Served
from foretell.sim.planning_known import Known
from foretell.sim.planning_rent import pool_accelerators, pool_rent
from foretell.sim.planning_space import PoolSpace
from foretell.sim.presets import load_preset, resolve_settings
from foretell.sim.scenario import Pool

Array = npt.NDArray[np.float64]
RATE_MARGIN = 0.08
"""So much more than the bound `analyse` may find that an engine carries (its steps are means on grids)."""
LATENCY_MARGIN = 0.15
"""So much less than the bound it may find latencies to be."""
_MANY_BLOCKS = 2**40
_TOKENS = np.geomspace(16, 65_536, 13)
_NODES = 28
SURE_PERCENTILE = 90.0
"""From this percentile on, times between tokens are no shorter than their mean."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the layouts of one chassis, in the order of the settings.

    Attributes:
        usd_per_h, accelerators: of one replica; an unknown price is infinite.
        replicas: the fewest that may do, shape (settings,).
        fault: why none can, "" where one may; one a setting.

    """

    usd_per_h: float
    accelerators: int
    replicas: npt.NDArray[np.int64]
    fault: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Settings:
    """Of every layout of a chassis: requests at once, tokens a step, KV tokens, and those of one request."""

    seqs: Array
    budget: Array
    kv_tokens: Array
    longest: Array


def bounds_of(space: PoolSpace, frame: int, demand: Demand, known: Known) -> Bounds:
    """Bound every layout of a chassis."""
    chassis, count = space.chassis[frame], len(space.settings)
    if chassis.pool is None:
        return _none(count, chassis.fault)
    if not isinstance(chassis.pool.replicas, int):
        return _given(space, frame, demand, known)
    try:
        part = known.one(_roomy(chassis.pool), demand.context_tokens).parts[0]
        settings = _settings(space, chassis.pool, part, demand)
    except ValueError as error:
        return _none(count, str(error))
    usd, accelerators = pool_rent(chassis.pool), pool_accelerators(chassis.pool)
    fewest = np.full(count, space.replicas[0], dtype=np.int64)
    fault = np.where(settings.kv_tokens < 2, "memory", "").astype(object)
    if demand.served:
        engines, slow = _engines(part, settings, demand)
        need = np.maximum(
            np.ceil(engines * (1 + demand.headroom) / part.count),
            demand.spare + np.maximum(np.ceil(engines / part.count), 1.0),
        )
        fewest = np.maximum(fewest, np.minimum(need, 2.0**40).astype(np.int64))
        fault = np.where(fault == "", slow, fault)
    allowed = np.asarray(space.replicas)
    place = np.searchsorted(allowed, fewest)
    fault = np.where((fault == "") & (place == len(allowed)), "replicas", fault)
    fewest = allowed[np.minimum(place, len(allowed) - 1)]
    fault = np.where((fault == "") & (fewest * usd > demand.most_usd_per_h), demand.money, fault)
    watts = _idle_W(part) * accelerators
    fault = np.where((fault == "") & (fewest * watts > demand.most_W), demand.energy, fault)
    return Bounds(usd, accelerators, fewest.astype(np.int64), tuple(map(str, fault)))


def _none(count: int, fault: str) -> Bounds:
    return Bounds(math.inf, 0, np.ones(count, dtype=np.int64), (reason_of(fault),) * count)


def _given(space: PoolSpace, frame: int, demand: Demand, known: Known) -> Bounds:
    """Groups of replicas as they are: nothing but what they cost is known beforehand."""
    try:
        pool = space.pool(frame * len(space.settings))
        known.one(pool, demand.context_tokens)
    except ValueError as error:
        return _none(len(space.settings), str(error))
    count = len(space.settings)
    return Bounds(pool_rent(pool), pool_accelerators(pool), np.ones(count, dtype=np.int64), ("",) * count)


def reason_of(message: str) -> str:
    """A fault in a word: the field that it begins with, or "memory"."""
    if "does not fit" in message or "do not fit" in message:
        return "memory"
    return message.partition(":")[0].removeprefix("pools.")


def _roomy(pool: Pool) -> Pool:
    """The pool with all the memory it may want, to see what its steps take."""
    engine = replace(pool.engine, max_num_seqs=None, max_num_batched_tokens=None)
    if pool.model is not None and engine.num_gpu_blocks is None:
        engine = replace(engine, num_gpu_blocks=_MANY_BLOCKS, gpu_memory_utilization=None)
    return replace(pool, engine=engine)


def _idle_W(part: EnginePart) -> float:
    if part.hardware is None or part.hardware.accelerator.tdp_W is None:
        return 0.0
    return power_model(part.hardware.accelerator).idle_W


def _settings(space: PoolSpace, pool: Pool, part: EnginePart, demand: Demand) -> _Settings:
    """What each layout allows at once."""
    given = resolve_settings(pool.engine, part.hardware.accelerator if part.hardware else None)
    config = part.config
    usual = {
        "max_num_seqs": config.max_num_seqs,
        "max_num_batched_tokens": config.max_num_batched_tokens,
    }

    def values(name: str) -> Array:
        own = getattr(pool.engine, name) or usual.get(name, given.get(name))
        return np.array([float(each.get(name) or own or math.nan) for each in space.settings])

    seqs, budget = values("max_num_seqs"), values("max_num_batched_tokens")
    block = part.config.block_size
    if pool.model is None or pool.engine.num_gpu_blocks is not None:
        kv_tokens = np.full(len(seqs), float((part.config.num_gpu_blocks - 1) * block))
    else:
        kv_tokens = _kv_tokens(pool, part, values("gpu_memory_utilization"), budget, seqs, demand)
    return _Settings(seqs, budget, kv_tokens, np.minimum(kv_tokens, part.config.max_model_len))


def _kv_tokens(
    pool: Pool, part: EnginePart, utilization: Array, budget: Array, seqs: Array, demand: Demand
) -> Array:
    """As `kv_capacity` has them, for all settings at once."""
    group = pool.groups[0]
    assert group.engine is not None
    architecture, hardware, plan, precision = layout_of(pool, group)
    preset = load_preset(group.engine.preset)
    engine = engine_memory(preset["engine_version"])
    if group.engine.enforce_eager:
        engine = replace(engine, graph_bytes_per_layer=0.0)
    weights = weights_bytes(architecture, plan, precision, hardware)
    per_token = kv_bytes_per_token(architecture, plan, precision, demand.context_tokens)
    pairs, back = np.unique(np.stack([budget, seqs]), axis=1, return_inverse=True)
    peaks = np.array([activation_bytes(architecture, plan, int(b), int(s), engine) for b, s in pairs.T])
    memory = (hardware.accelerator.memory_bytes - reserved_bytes(hardware.accelerator)) * utilization
    left = memory - weights - peaks[back.ravel()] - runtime_bytes(architecture, plan, engine)
    block = part.config.block_size
    blocks: Array = np.floor(left / (per_token * block))
    return np.where(blocks < 2, 0.0, (blocks - 1) * block)


def _engines(part: EnginePart, settings: _Settings, demand: Demand) -> tuple[Array, npt.NDArray[np.object_]]:
    """Engines that the traffic fills at least, not rounded; and the limit that a layout never meets.

    An engine that cannot hold the longest requests serves the others: at least those of the level below.
    """
    count = len(settings.seqs)
    engines, slow = np.zeros(count), np.full(count, "", dtype=object)
    level = np.searchsorted([each.tokens for each in demand.served], settings.longest, side="right") - 1
    for place in np.unique(level[level >= 0]):
        mine, served = level == place, demand.served[place]
        some = _Settings(*(values[mine] for values in dataclasses.astuple(settings)))
        rate, slow[mine] = _most_rate(part, some, served, demand)
        engines[mine] = demand.rate_per_s * served.kept / rate
    return engines, slow


def _most_rate(
    part: EnginePart, settings: _Settings, requests: Served, demand: Demand
) -> tuple[Array, npt.NDArray[np.object_]]:
    """The most requests a second that an engine may serve within the limits, and the limit it never meets."""
    count, law = len(settings.seqs), requests.law
    rate, slow = np.full(count, math.inf), np.full(count, "", dtype=object)
    held = law.held_tokens(1.0, 1)
    cap = np.minimum(settings.seqs, settings.kv_tokens / (min(law.context, held) or held))
    n = np.unique(np.concatenate([[0.0, 1.0], np.geomspace(1, max(float(cap.max()), 2.0), _NODES).round()]))
    bare_s, added_s = _prompt_price(part, law, n)
    alone_s = np.zeros_like(requests.prompt) if demand.computed else _alone(part, requests.prompt)
    steps = law.decode_steps
    for budget in np.unique(settings.budget):
        mine = settings.budget == budget
        prompts_s = _prompts_s(law, added_s, float(budget)) * (not demand.computed)
        full_s = bare_s + (n * prompts_s / steps if steps >= 1 else 0.0)
        if steps >= 1:
            served = np.maximum.accumulate(n / (steps * full_s))
            rate[mine] = np.interp(np.maximum(cap[mine], 1.0), n, served)
        else:
            rate[mine] = 1 / max(float(prompts_s[0]), 1e-12)
        for limit in demand.limits:
            gap_s = full_s if limit.mean or limit.percentile >= SURE_PERCENTILE else bare_s
            least_s = np.maximum.accumulate(_least(limit, alone_s, gap_s, requests.gaps))
            most_s = limit.seconds * (1 + LATENCY_MARGIN)
            if least_s[0] > most_s:
                slow[mine] = np.where(slow[mine] == "", limit.name, slow[mine])
            elif steps >= 1 and least_s[-1] > most_s:
                served = np.maximum.accumulate(n / (steps * gap_s))
                rate[mine] = np.minimum(rate[mine], np.interp(most_s, least_s, served))
    return rate * (1 + RATE_MARGIN), slow


def _prompt_price(part: EnginePart, law: Lengths, n: Array) -> tuple[Array, Array]:
    """Seconds of steps that decode n (a request sees at least itself), and the least a prompt token adds.

    Shapes (n,), (n, _TOKENS): in steps of so many prompt tokens or more.
    """
    room = np.full((len(n), 1), 2.0**30)
    decoding = np.maximum(n, 1.0)[:, None]
    tokens = np.concatenate([[0.0], _TOKENS])
    seconds = step_seconds(part.cost, law, np.concatenate([n[:1, None], decoding[1:]]), tokens[None, :], room)
    bare = step_seconds(part.cost, law, decoding, tokens[:1, None], room)[:, 0]
    start = np.where(n > 0, seconds[:, 0], 0.0)
    each = np.maximum(seconds[:, 1:] - start[:, None], 0.0) / _TOKENS
    least: Array = np.minimum.accumulate(each[:, ::-1], axis=1)[:, ::-1]
    return bare, least


def _prompts_s(law: Lengths, added: Array, budget: float) -> Array:
    """Least seconds that a request's prompt adds to steps, by n; the last chunk of a long one is free."""
    prompt = np.quantile(law.prompt, (np.arange(64) + 0.5) / 64)
    chunk = np.minimum(prompt, budget)
    charged = np.where(prompt > budget, np.floor(prompt / budget) * budget, prompt)
    place = np.searchsorted(_TOKENS, chunk, side="right") - 1
    price = np.where(place < 0, 0.0, added[:, np.maximum(place, 0)])
    seconds: Array = (charged * price).mean(1)
    return seconds


def _alone(part: EnginePart, prompt: Array) -> Array:
    """Seconds to the first token of requests that have an engine to themselves."""
    zero = np.zeros_like(prompt)
    load = (prompt, prompt * (prompt + 1) / 2, prompt, zero + 1, zero, zero, zero + 1)
    seconds: Array = np.asarray(part.cost(*load), dtype=np.float64)
    return seconds


def _least(limit: Limit, alone_s: Array, gap_s: Array, gaps: Array) -> Array:
    """The least that a latency may be where tokens are so far apart, shape as `gap_s`."""
    if limit.metric == "tpot":
        return gap_s
    if limit.metric == "ttft":
        return np.full(len(gap_s), limit.of(alone_s))
    return np.array([limit.of(alone_s + gaps * gap) for gap in gap_s])
