"""A pool made concrete: step cost, engine settings, KV blocks, price and power of every engine in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foretell.models import StepCost
from foretell.models.architecture import Architecture, load_architecture
from foretell.models.energy import PeakWork, peak_work
from foretell.models.hardware import Hardware, load_hardware
from foretell.models.memory import Capacity, kv_capacity
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import scalable_cost, step_cost
from foretell.models.residual import FITTED_CONTEXT_TOKENS
from foretell.sim.config import EngineConfig
from foretell.sim.costspec import parse_step_cost
from foretell.sim.presets import EngineSettings, engine_config, load_preset, resolve_settings
from foretell.sim.profile import Profile, calibrated_cost, read_profile
from foretell.sim.routers import make_router
from foretell.sim.scenario import Pool, ReplicaGroup
from foretell.traces import Trace

if TYPE_CHECKING:
    from foretell.sim.simulation import Run

MAX_MODEL_LEN = 131_072
"""max_model_len where neither a model nor the user gives one."""
_WITHOUT_MODEL_BLOCKS = 2000

DTYPES = {
    "auto": "bf16",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float": "fp32",
    "float32": "fp32",
}
QUANTIZATION = {  # vLLM's name → formats of weights and of activations
    "fp8": ("fp8", "fp8"),
    "modelopt_fp4": ("nvfp4", "fp4"),
    "nvfp4": ("nvfp4", "fp4"),
    "mxfp4": ("mxfp4", "bf16"),
    "awq": ("int4", "bf16"),
    "awq_marlin": ("int4", "bf16"),
    "gptq": ("int4", "bf16"),
    "gptq_marlin": ("int4", "bf16"),
    "int8": ("int8", "int8"),
}
CONTAINERS = ("compressed-tensors", "modelopt")
"""Names that say how a checkpoint is stored, not in which format: the checkpoint itself says that."""
_SHIPPED_ACTIVATIONS = {"fp8": "fp8", "int8": "int8", "nvfp4": "fp4", "fp4": "fp4"}
KV_DTYPES = {"bfloat16": "bf16", "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "fp8_inc": "fp8"}


@dataclass(frozen=True, slots=True)
class EnginePart:
    """Like engines of a deployment.

    Attributes:
        count: engines (data-parallel ranks counted singly).
        accelerators: of one engine.
        cost: seconds of a step.
        config: the resolved settings.
        hardware: None with a step cost of the user's own.
        usd_per_h: rent of one accelerator, None where unknown.
        capacity: the KV estimate, None where num_gpu_blocks was given or nothing is known.
        work: what a step computes and moves, for its power; None with a step cost of the user's own.

    """

    count: int
    accelerators: int
    cost: StepCost
    config: EngineConfig
    hardware: Hardware | None
    usd_per_h: float | None
    capacity: Capacity | None
    work: PeakWork | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """All engines of a pool.

    Attributes:
        parts: groups of like engines.
        router: as in `Pool`.
        notes: what a reader of the forecast should know about it.

    """

    parts: tuple[EnginePart, ...]
    router: str
    notes: tuple[str, ...]

    @property
    def engines(self) -> tuple[EnginePart, ...]:
        """The part of every engine, in the router's order."""
        return tuple(part for part in self.parts for _ in range(part.count))

    @property
    def accelerators(self) -> int:
        """Accelerators in all."""
        return sum(part.count * part.accelerators for part in self.parts)

    @property
    def usd_per_h(self) -> float | None:
        """Rent of everything, None if a price is unknown."""
        total = 0.0
        for part in self.parts:
            if part.usd_per_h is None:
                return None
            total += part.count * part.accelerators * part.usd_per_h
        return total

    @property
    def routers(self) -> tuple[str, ...]:
        """Of every pool in it."""
        return (self.router,)

    def simulate(
        self,
        trace: Trace,
        parts: Mapping[int, EnginePart],
        seed: np.random.SeedSequence,
        progress: Callable[[int], None] | None,
        rng: np.random.Generator | None = None,
        loads: bool = False,
    ) -> Run:
        """Simulate with these, by `id` of the deployment's own, in place of its parts.

        Args:
            trace, parts: the workload, and who serves it.
            seed: of routing, and of what a strategy draws.
            progress: called now and then with the number of requests that have ended.
            rng: draws what else is not known for sure, where there is such a thing; None: nominally.
            loads: record what every step carried.

        """
        from foretell.sim.simulation import simulate

        engines = [parts[id(part)] for part in self.engines]
        return simulate(
            trace,
            [part.cost for part in engines],
            [part.config for part in engines],
            router=self.router,
            seed=seed,
            itl=True,
            loads=loads,
            progress=progress,
        )

    def figures(
        self, run: Run, figures: Mapping[str, float], limits: Mapping[str, float], warmup_s: float
    ) -> dict[str, float]:
        """Give figures of this kind of deployment, beside or in place of those of any run."""
        return {}


def deploy(
    pool: Pool, mean_context_tokens: float | None = None, known: dict[Any, Any] | None = None
) -> Deployment:
    """Make a pool concrete.

    Args:
        pool: the pool.
        mean_context_tokens: of its requests, for layers with a sliding window.
        known: kept between calls of many alike: what they have in common is then made once.

    Raises:
        ValueError: unknown names, an impossible plan, a model that does not fit (by how much), or
            settings that contradict each other.

    """
    make_router(pool.router, np.random.default_rng(0))  # an unknown name is told before anything runs
    parts, notes = [], []
    for group in pool.groups:
        part, remarks = (
            _own_cost(pool, group)
            if group.step_cost is not None or pool.model is None
            else _modelled(pool, group, mean_context_tokens, {} if known is None else known)
        )
        parts.append(part)
        notes += remarks
    return Deployment(tuple(parts), pool.router, tuple(dict.fromkeys(notes)))


def precision_of(architecture: Architecture, dtype: str, quantization: str | None, kv: str) -> Precision:
    """Tell the formats of weights, activations and KV cache from vLLM's flags, or from the checkpoint.

    Raises:
        ValueError: a name that is not known (the known ones are listed).

    """
    base = _look_up("dtype", dtype, DTYPES)
    cache = _look_up("kv_cache_dtype", kv, {"auto": base, **KV_DTYPES})
    shipped = architecture.weight_dtype
    plain = shipped in ("bf16", "fp16", "fp32")
    if quantization is not None and not (quantization in CONTAINERS and not plain):
        if quantization in CONTAINERS:
            raise ValueError(
                f"quantization: {quantization} is how a checkpoint is stored, and {architecture.name} ships "
                f"in {shipped}; name the format, one of {', '.join(QUANTIZATION)}"
            )
        weights, activations = _look_up("quantization", quantization, QUANTIZATION)
        return Precision(weights, activations, cache)
    if plain:
        return Precision(base, base, cache)
    return Precision(shipped, _SHIPPED_ACTIVATIONS.get(shipped, base), cache)


def layout_of(pool: Pool, group: ReplicaGroup) -> tuple[Architecture, Hardware, Parallelism, Precision]:
    """Load what a modelled group runs on what, and how.

    Raises:
        ValueError: unknown names, files that cannot be read, formats that are not known.

    """
    assert pool.model is not None and group.hardware is not None
    architecture, hardware = load_architecture(pool.model), load_hardware(group.hardware)
    plan = Parallelism(
        group.tensor_parallel_size or 1,
        group.pipeline_parallel_size or 1,
        group.data_parallel_size or 1,
        bool(group.enable_expert_parallel),
    )
    precision = precision_of(architecture, pool.dtype, pool.quantization, pool.kv_cache_dtype)
    return architecture, hardware, plan, precision


def subject_of(
    architecture: Architecture, hardware: Hardware, plan: Parallelism, precision: Precision
) -> dict[str, str | int]:
    """What a profile says that it was fitted on."""
    return {
        "model": architecture.name,
        "hardware": hardware.name,
        "tensor_parallel_size": plan.tensor_parallel_size,
        "pipeline_parallel_size": plan.pipeline_parallel_size,
        "weights": precision.weights,
        "kv_cache": precision.kv_cache,
    }


def _own_cost(pool: Pool, group: ReplicaGroup) -> tuple[EnginePart, list[str]]:
    assert group.engine is not None
    cost: StepCost
    if group.step_cost is not None:
        cost = parse_step_cost(group.step_cost)
        notes = [f"step cost {group.step_cost}: given, without an error of its own"]
    else:
        assert group.calibration is not None
        cost, notes = calibrated_cost(read_profile(group.calibration))
    idle = {
        "quantization": pool.quantization is not None,
        "kv_cache_dtype": pool.kv_cache_dtype != "auto",
        "dtype": pool.dtype != "auto",
        "enable_expert_parallel": bool(group.enable_expert_parallel),
        "gpu_memory_utilization": group.engine.gpu_memory_utilization is not None,
        "enforce_eager": bool(group.engine.enforce_eager),
        "operator_times": pool.operator_times != "auto",
    }
    for name, given in idle.items():
        if given and pool.model is None:
            what = "step_cost" if group.step_cost is not None else "calibration and no model"
            raise ValueError(f"{name}: has no effect with {what}, which says how long a step takes; drop it")
    hardware = None if group.hardware is None else load_hardware(group.hardware)
    world = (group.tensor_parallel_size or 1) * (group.pipeline_parallel_size or 1)
    settings = resolve_settings(group.engine, hardware.accelerator if hardware else None, world)
    blocks = settings.get("num_gpu_blocks")
    if blocks is None:
        blocks = _WITHOUT_MODEL_BLOCKS
        notes.append(f"num_gpu_blocks: {blocks} assumed; a step cost says nothing about memory")
    config = engine_config(
        settings, num_gpu_blocks=blocks, max_model_len=settings.get("max_model_len", MAX_MODEL_LEN)
    )
    count = group.count * (group.data_parallel_size or 1)
    return EnginePart(count, world, cost, config, hardware, _price(pool, hardware), None), notes


def _modelled(
    pool: Pool, group: ReplicaGroup, mean_context_tokens: float | None, known: dict[Any, Any]
) -> tuple[EnginePart, list[str]]:
    assert group.engine is not None
    bare = replace(pool, engine=EngineSettings(), replicas=(replace(group, count=1, engine=None),))
    if bare not in known:
        layout = layout_of(pool, group)
        known[bare] = layout, peak_work(*layout)
    layout, work = known[bare]
    architecture, hardware, plan, precision = layout
    world = plan.tensor_parallel_size * plan.pipeline_parallel_size
    settings = resolve_settings(group.engine, hardware.accelerator, world)
    eager = bool(settings.get("enforce_eager"))
    version = load_preset(group.engine.preset)["engine_version"]
    cost: StepCost
    if group.calibration is None:
        steps = bare, version, eager, bool(settings.get("async_scheduling"))
        if steps not in known:
            known[steps] = step_cost(
                *layout,
                operator_times=pool.operator_times,
                engine_version=version,
                enforce_eager=eager,
                async_scheduling=steps[-1],
            )
        cost = known[steps]
        notes = known[steps].validity()
    elif eager:
        raise ValueError("enforce_eager: a calibration holds for the server as it ran; drop one of the two")
    else:
        profile = read_profile(group.calibration)
        if profile.kind == "affine" and pool.operator_times != "auto":
            raise ValueError("operator_times: has no effect with an affine calibration; drop one of the two")
        base = scalable_cost(*layout, operator_times=pool.operator_times, engine_version=version)
        cost, notes = calibrated_cost(profile, base)
        notes += _carried_over(profile, layout)
    if group.calibration is None and (mean_context_tokens or 0) > FITTED_CONTEXT_TOKENS:
        notes.append(
            f"contexts of {mean_context_tokens:,.0f} tokens on average: the servers that scales were "
            f"fitted on had at most {FITTED_CONTEXT_TOKENS:,}"
        )
    notes += [
        f"{architecture.name}: field {f} of its configuration is not known"
        for f in architecture.unknown_fields
    ]
    capacity, blocks = None, settings.get("num_gpu_blocks")
    if blocks is None:
        capacity = kv_capacity(
            architecture,
            hardware,
            plan,
            precision,
            gpu_memory_utilization=settings["gpu_memory_utilization"],
            block_size=settings["block_size"],
            max_num_batched_tokens=settings.get("max_num_batched_tokens", MAX_MODEL_LEN),
            max_num_seqs=settings["max_num_seqs"],
            mean_context_tokens=mean_context_tokens,
            engine_version=version,
            enforce_eager=eager,
        )
        blocks = capacity.num_gpu_blocks
        notes.append(
            f"{hardware.name}: {blocks:,} KV blocks estimated, {capacity.low:,} to {capacity.high:,}; "
            "num_gpu_blocks takes the number that vLLM logs"
        )
        notes += capacity.notes[1:]
    length, remark = _model_len(architecture, settings, blocks)
    notes += remark
    config = engine_config(settings, num_gpu_blocks=blocks, max_model_len=length)
    count = group.count * plan.data_parallel_size
    return EnginePart(count, world, cost, config, hardware, _price(pool, hardware), capacity, work), notes


def _carried_over(
    profile: Profile, layout: tuple[Architecture, Hardware, Parallelism, Precision]
) -> list[str]:
    now = subject_of(*layout)
    other = [name for name, value in profile.fitted_on.items() if name in now and now[name] != value]
    if not other:
        return []
    was = ", ".join(f"{name} {profile.fitted_on[name]}" for name in other)
    return [f"calibration: fitted on {was}, which this is not; it is carried over"]


def _model_len(architecture: Architecture, settings: Mapping[str, Any], blocks: int) -> tuple[int, list[str]]:
    """max_model_len: as given, else the model's, cut to what the KV cache holds."""
    held = (blocks - 1) * settings["block_size"]
    given = settings.get("max_model_len")
    own = architecture.max_position_embeddings or MAX_MODEL_LEN
    if given is not None:
        if given > held:
            raise ValueError(
                f"max_model_len: {given:,} tokens do not fit the KV cache of {held:,} tokens "
                f"({blocks:,} blocks of {settings['block_size']}); lower it, or give more memory"
            )
        return given, []
    if own <= held:
        return own, []
    return held, [
        f"max_model_len: cut from the model's {own:,} to the {held:,} tokens that the KV cache holds; "
        f"vllm serve needs --max-model-len {held}"
    ]


def _price(pool: Pool, hardware: Hardware | None) -> float | None:
    if pool.price_usd_per_h is not None:
        return pool.price_usd_per_h
    return None if hardware is None else hardware.accelerator.price_usd_per_h


def _look_up(flag: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise ValueError(f"{flag}: {name!r} is not one of {', '.join(sorted(known))}")
    return known[name]
