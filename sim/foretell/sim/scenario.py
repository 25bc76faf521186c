"""Scenarios: workload, pools, strategy and objectives, as frozen specs. `schema` reads them from files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from foretell.sim.client import Client
from foretell.sim.presets import EngineSettings
from foretell.sim.strategies import Disaggregated, KVLink, strategy_from_mapping

if TYPE_CHECKING:
    from foretell.sim.strategies import Strategy

__all__ = ["Disaggregated", "KVLink", "Pool", "ReplicaGroup", "Scenario", "Workload"]


@dataclass(frozen=True, slots=True)
class Workload:
    """Who asks what, when: a trace file, or a description that requests are drawn from.

    Attributes:
        trace: path of a trace file (any format that `foretell.traces.read_trace` knows).
        format: the file's format, told from its content when None.
        head: keep only the trace's first requests.
        start_s, end_s: keep only what is asked in this stretch of the trace [s].
        rate_scale: the trace's arrivals come so many times as fast.
        arrivals, lengths, prefixes, sessions, priorities: the parts of a description, as
            `foretell.traces.trace_from_spec` takes them; `lengths` may name a preset.
        num_requests, duration_s: how much to draw: one of the two.
        concurrency: a closed loop with at most so many requests in flight.
        task: what the queries are about: prompts, lengths and outcomes come from the profiles of the task
            (`foretell list tasks`), and the strategy is a program that answers each query.
        deadline_s: with a task: so long after its arrival a query answers with what it has [s].
        warmup_s: what arrives before is served but left out of latencies and rates [s].

    Raises:
        ValueError: a figure out of range, or a trace and a description at once.

    """

    trace: str | None = None
    format: str | None = None
    head: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    rate_scale: float = 1.0
    arrivals: Mapping[str, Any] | None = None
    lengths: Mapping[str, Any] | str | None = None
    prefixes: Mapping[str, Any] | None = None
    sessions: Mapping[str, Any] | None = None
    priorities: Mapping[str, Any] | None = None
    num_requests: int | None = None
    duration_s: float | None = None
    concurrency: int | None = None
    task: str | None = None
    deadline_s: float | None = None
    warmup_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("head", "num_requests", "concurrency"):
            _at_least(name, getattr(self, name), 1)
        for name in ("start_s", "end_s", "warmup_s"):
            _finite(name, getattr(self, name), "a finite number of seconds >= 0")
        for name in ("rate_scale", "duration_s", "deadline_s"):
            _finite(name, getattr(self, name), "a finite number > 0", above=0)
        described = [name for name in _DESCRIPTION if getattr(self, name) is not None]
        if self.trace is not None and described:
            raise ValueError(
                f"trace: {self.trace} already says who asks what, when; drop it or {' and '.join(described)}"
                + (" (rate_scale makes a trace faster or slower)" if "arrivals" in described else "")
            )
        if self.trace is None:
            for name in ("format", "head", "start_s", "end_s"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: only a trace can be sliced; give trace, or drop {name}")
            if self.lengths is None and self.task is None:
                raise ValueError("lengths: missing; give trace: FILE, or arrivals and lengths")
            if self.arrivals is None and self.concurrency is None:
                raise ValueError("arrivals: missing; give arrivals, or concurrency for a closed loop")
            if self.num_requests is not None and self.duration_s is not None:
                raise ValueError("num_requests: contradicts duration_s; drop one")
        if self.task is not None:
            for name in ("trace", "lengths", "prefixes", "sessions", "priorities"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: task {self.task} says what is asked; drop one of the two")
        elif self.deadline_s is not None:
            raise ValueError("deadline_s: only the queries of a task have deadlines; give task, or drop it")
        if self.start_s is not None and self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s: {self.end_s} is not after start_s {self.start_s}")


_DESCRIPTION = ("arrivals", "lengths", "prefixes", "sessions", "priorities", "num_requests", "duration_s")


@dataclass(frozen=True, slots=True)
class ReplicaGroup:
    """Like replicas of a pool; what is None is the pool's.

    Attributes:
        count: how many.
        hardware, tensor_parallel_size, pipeline_parallel_size, data_parallel_size,
        enable_expert_parallel, engine, step_cost, calibration: as in `Pool`.

    """

    count: int = 1
    hardware: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    enable_expert_parallel: bool | None = None
    engine: EngineSettings | None = None
    step_cost: str | None = None
    calibration: str | None = None

    def __post_init__(self) -> None:
        _at_least("count", self.count, 1)
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            _at_least(name, getattr(self, name), 1)


@dataclass(frozen=True, slots=True)
class Pool:
    """A fleet of replicas of one model behind a router.

    Attributes:
        model: name of a bundled architecture, or a path to a config.json or .toml.
        hardware: name of a bundled accelerator, or a path to a .toml.
        replicas: how many, or groups of like ones.
        router: name of a bundled router ("power_of_d:3" among them), or "module:attr" of a callable.
        tensor_parallel_size, pipeline_parallel_size, data_parallel_size, enable_expert_parallel: vLLM's.
        dtype, quantization, kv_cache_dtype: vLLM's; "auto" and None take what the checkpoint ships.
        step_cost: "affine:BASE,PER_TOKEN,..." or "constant:SECONDS" instead of model and hardware.
        calibration: path of a profile that `foretell calibrate` wrote; it says how long steps take.
        operator_times: "silicon" (measured operators, an extra), "curves" (shipped), "roofline" (fractions of
            peaks), or "auto": the first of these that is to be had, on other vendors' than NVIDIA the last.
        price_usd_per_h: rent of one accelerator, instead of the catalogue's.
        outcomes: with a task: whose outcome profile its answers have: a bundled model, or a profile
            that `foretell fit-profile` wrote (a path); the model's own when None.
        engine: settings of each engine.

    Raises:
        ValueError: a figure out of range, something missing, or a step cost and a model at once.

    """

    model: str | None = None
    hardware: str | None = None
    replicas: int | tuple[ReplicaGroup, ...] = 1
    router: str = "round_robin"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    step_cost: str | None = None
    calibration: str | None = None
    operator_times: str = "auto"
    price_usd_per_h: float | None = None
    outcomes: str | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            _at_least(name, getattr(self, name), 1)
        if isinstance(self.replicas, int):
            _at_least("replicas", self.replicas, 1)
        elif not self.replicas:
            raise ValueError("replicas: the list is empty; give a number, or at least one group")
        _finite("price_usd_per_h", self.price_usd_per_h, "a finite number >= 0")
        groups = self.groups
        if any(group.step_cost is not None and group.calibration is not None for group in groups):
            raise ValueError("calibration: says how long a step takes, and so does step_cost; drop one")
        own_cost = all(
            g.step_cost is not None or (self.model is None and g.calibration is not None) for g in groups
        )
        if own_cost and self.model is not None:
            raise ValueError(
                f"step_cost: says how long a step takes, and so does model {self.model}; drop one"
            )
        if not own_cost and self.model is None:
            raise ValueError("model: missing; give model and hardware, or step_cost or calibration")
        if not own_cost and any(group.hardware is None and group.step_cost is None for group in groups):
            raise ValueError("hardware: missing; give the accelerator that the model runs on")

    @property
    def groups(self) -> tuple[ReplicaGroup, ...]:
        """The replicas as groups in which nothing is left to the pool."""
        groups = (ReplicaGroup(self.replicas),) if isinstance(self.replicas, int) else self.replicas
        names = [f.name for f in fields(ReplicaGroup) if f.name != "count"]
        full = []
        for group in groups:
            own = {name: getattr(group, name) for name in names}
            filled = {n: getattr(self, n) if value is None else value for n, value in own.items()}
            if group.engine is not None:
                # Laid over the pool's settings, field by field.
                filled["engine"] = replace(self.engine, **_changed(group.engine))
            for mine, other in (("step_cost", "calibration"), ("calibration", "step_cost")):
                if getattr(group, mine) is not None and getattr(group, other) is None:
                    filled[other] = None
                elif group.hardware is not None and getattr(group, mine) is None:
                    filled[mine] = None  # a group that names hardware is priced by it
            full.append(ReplicaGroup(group.count, **filled))
        return tuple(full)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a forecast is made of.

    Attributes:
        workload: who asks what, when.
        pools: fleets by name, those that the strategy uses.
        strategy: {"name": "single"}, one call a query on the only pool; or "disaggregated", see
            `Disaggregated`; with a task, any of `foretell list strategies` with its parameters.
        objectives: limits by metric, as in {"ttft_p99": "<= 1 s"}; see `foretell.sim.objectives`.
        goodput: per-request limits, as in {"ttft": "500 ms"}; the objectives' own when empty.
        client: the way to the engine and back; latencies, rates and goodput are then the client's.
        compare: field path → values: the grid of `foretell compare`.
        sweep: field path → values, or a range to draw from: the points of `foretell sweep`.
        plan: what `foretell plan` may choose: field path → values, and what it must hold out.
        seed: of all randomness.
        replications: runs with seeds of their own, from which intervals are made.

    Raises:
        ValueError: one line that names the field and what would be right.

    """

    workload: Workload
    pools: Mapping[str, Pool]
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"name": "single"})
    objectives: Mapping[str, str] = field(default_factory=dict)
    goodput: Mapping[str, str] = field(default_factory=dict)
    client: Client | None = None
    compare: Mapping[str, Any] = field(default_factory=dict)
    sweep: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    replications: int = 8

    def __post_init__(self) -> None:
        from foretell.sim.objectives import objectives_from_mapping, request_limits

        _at_least("replications", self.replications, 1)
        _at_least("seed", self.seed, 0)
        self._check_strategy()
        objectives_from_mapping(self.objectives)
        request_limits(f"{metric}:{limit}" for metric, limit in self.goodput.items())

    def _check_strategy(self) -> None:
        """A comparison, a sweep or a plan has pools that some of its strategies do not use."""
        if not (self.compare or self.sweep or self.plan):
            strategy_from_mapping(self.strategy, self.pools, self.workload.task)
        if self.workload.task is not None and self.client is not None:
            raise ValueError("client: the queries of a task end with their program; drop client")

    @property
    def parsed_strategy(self) -> Strategy:
        """The strategy with its settings."""
        return strategy_from_mapping(self.strategy, self.pools, self.workload.task)

    @property
    def pool(self) -> Pool:
        """The first pool, the only one unless the strategy takes more."""
        return next(iter(self.pools.values()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Scenario:
        """Read a scenario from a YAML (or TOML, or JSON) file; a relative trace path starts at the file.

        Raises:
            ValueError: the file cannot be read, is malformed, or its content is; one line that says where.

        """
        from foretell.sim.schema import load_scenario

        return load_scenario(path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scenario:
        """Make a scenario of plain dicts and lists, as a file holds them.

        Raises:
            ValueError: one line that names the field.

        """
        from foretell.sim.schema import scenario_from_dict

        return scenario_from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists, without what is at its default; `from_dict` reads them back."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def replace(self, **changes: Any) -> Scenario:
        """Make the scenario with other fields; plain dicts will do.

        A field replaces the old one whole. A path with dots, given as a key of an unpacked dict,
        changes one leaf: ``scenario.replace(**{"pools.main.replicas": 4})``.

        Raises:
            ValueError: an unknown field, or what `from_dict` raises.

        """
        values = self.to_dict()
        for path, change in changes.items():
            *parents, leaf = path.split(".")
            at = values
            for parent in parents:
                at = at.setdefault(parent, {})
                if not isinstance(at, dict):
                    raise ValueError(f"{path}: {parent} is not a table of fields")
            at[leaf] = _plain(change)
        return Scenario.from_dict(values)


def _changed(settings: EngineSettings) -> dict[str, Any]:
    """The fields that are not at their defaults."""
    values = {f.name: (getattr(settings, f.name), f.default) for f in fields(settings)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kept = {}
        for f in fields(value):
            own = getattr(value, f.name)
            default = f.default_factory() if callable(f.default_factory) else f.default
            if own != default:
                kept[f.name] = _plain(own)
        return kept
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf"  # JSON has none
    return value


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ValueError(f"{name}: {value!r} is not a whole number >= {least}")


def _finite(name: str, value: float | None, wanted: str, above: float | None = None) -> None:
    if value is None:
        return
    if not math.isfinite(value) or value < 0 or (above is not None and value <= above):
        raise ValueError(f"{name}: {value!r} is not {wanted}")
