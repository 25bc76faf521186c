"""The step cost of a model on hardware, operator by operator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from foretell.models.architecture import Architecture
from foretell.models.communication import Transfer, step_transfers
from foretell.models.eager import EAGER_LOG_ERROR, EAGER_NOTE, eager_seconds
from foretell.models.efficiency import Efficiency, load_efficiency
from foretell.models.hardware import Hardware
from foretell.models.kernels import (
    AttentionKernel,
    Expansion,
    attention_seconds,
    expansion,
    linear_attention,
    micro_batch,
    short_steps,
)
from foretell.models.layers import step_operators
from foretell.models.numeric import greatest
from foretell.models.operator_time import Machine, roofline_time
from foretell.models.operators import Attend, Experts, Linear
from foretell.models.parallelism import Parallelism, validate_parallelism
from foretell.models.precision import Precision, compute_precision, is_weight_only
from foretell.models.stepcost import StepLoad

_SCALAR_STEPS = 32
_CHUNK_STEPS = 512


@dataclass(frozen=True, slots=True)
class RooflineCost:
    """A `StepCost` from first principles: operators' max(compute, memory) + launch, and communication.

    It is the cost of ONE data-parallel engine's step; the other ranks, which share its experts, are assumed
    to step in time with a like load. Under pipeline parallelism the step is the time from the first stage to
    the last: decoding sequences are spread over as many micro-batches as there are stages, as vLLM keeps
    them in flight, so that a step costs Σ stages at a share of the decodes and gives every sequence one
    token (exact where stages are alike); prompts are not overlapped with each other, which understates the
    throughput of prefill by up to the number of stages. The host's work per step is hidden behind the
    accelerator's by `host_overlap`, but no step is shorter than it. (The bundled host times are what was left
    visible on servers of which many scheduled asynchronously, hence no overlap by default.)

    Args:
        architecture, hardware: what runs on what.
        parallelism, precision: how.
        efficiency: reached fractions of the peaks, from `load_efficiency`.
        host_overlap: share of the host's time that runs beside the accelerator's.
        expert_skew: Zipf exponent of the experts' popularity, 0 for balanced routing.
        enforce_eager: without CUDA graphs; no step is shorter than the host's launches, see `eager_seconds`.
        eager_factor: on them; drawn by `perturbed`.

    Raises:
        ValueError: the model cannot be spread so, or host_overlap or expert_skew is out of range.

    """

    architecture: Architecture
    hardware: Hardware
    parallelism: Parallelism
    precision: Precision
    efficiency: Efficiency
    host_overlap: float = 0.0
    expert_skew: float = 0.0
    enforce_eager: bool = False
    eager_factor: float = 1.0
    _machine: Machine = field(init=False, repr=False, compare=False)
    _linears: tuple[Linear | Experts, ...] = field(init=False, repr=False, compare=False)
    _attends: tuple[Attend, ...] = field(init=False, repr=False, compare=False)
    _transfers: tuple[Transfer, ...] = field(init=False, repr=False, compare=False)
    _prefill: tuple[AttentionKernel, ...] = field(init=False, repr=False, compare=False)
    _decode: tuple[AttentionKernel, ...] = field(init=False, repr=False, compare=False)
    _expansions: tuple[Expansion, ...] = field(init=False, repr=False, compare=False)
    _host: tuple[float, float, float] = field(init=False, repr=False, compare=False)
    _caches: dict[str, dict[float, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.host_overlap <= 1:
            raise ValueError(f"host_overlap: {self.host_overlap!r} is not between 0 and 1")
        if not 0 <= self.expert_skew < 10:
            raise ValueError(f"expert_skew: {self.expert_skew!r} is not between 0 and 10")
        validate_parallelism(self.architecture, self.hardware, self.parallelism)
        part, eff = self.hardware.accelerator, self.efficiency
        machine = Machine(part.memory_Bps, part.peak_flops, eff, self.hardware.launch_s * eff.launch_scale)
        operators = step_operators(
            self.architecture, self.parallelism, self.precision, part.peak_flops, self.expert_skew
        )
        attends = tuple(op for op in operators if isinstance(op, Attend))
        linears = tuple(op for op in operators if not isinstance(op, Attend))
        kernels = {
            phase: tuple(linear_attention(op, machine) for op in attends if op.phase == phase)
            for phase in ("prefill", "decode")
        }
        transfers = step_transfers(self.architecture, self.hardware, self.parallelism)
        eager_s = self.eager_factor * eager_seconds(operators, transfers) if self.enforce_eager else 0.0
        for name, value in {
            "_machine": machine,
            "_linears": linears,
            "_attends": attends,
            "_transfers": transfers,
            "_prefill": kernels["prefill"],
            "_decode": kernels["decode"],
            "_expansions": tuple(
                expansion(op, machine)
                for op in linears
                if isinstance(op, Linear) and op.driver == "prefill_context"
            ),
            "_host": (self.hardware.host_s * eff.host_scale, eff.host_per_sequence_s, eager_s),
            "_caches": {"tokens": {}, "sampled": {}, "decode_seqs": {}},
        }.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        names = [f.name for f in dataclasses.fields(self) if f.init]
        return type(self), tuple(getattr(self, name) for name in names)

    def __call__(
        self,
        prefill_tokens: Any,
        prefill_pairs: Any,
        prefill_context: Any,
        prefill_seqs: Any,
        decode_seqs: Any,
        decode_context: Any,
        sampled: Any,
    ) -> Any:
        """Seconds of a step."""
        entries = prefill_seqs + decode_seqs
        figures = entries + prefill_tokens + prefill_pairs + prefill_context + decode_context + sampled
        if isinstance(figures, np.ndarray):
            parts = self.breakdown(
                prefill_tokens,
                prefill_pairs,
                prefill_context,
                prefill_seqs,
                decode_seqs,
                decode_context,
                sampled,
            )
            return (
                parts["compute"] + parts["memory"] + parts["communication"] + parts["launch"] + parts["host"]
            )
        stages = self.parallelism.pipeline_parallel_size
        if stages > 1:
            decode_seqs, decode_context, sampled = micro_batch(stages, decode_seqs, decode_context, sampled)
        caches = self._caches
        try:
            seconds = caches["tokens"][prefill_tokens + decode_seqs]
        except KeyError:
            seconds = self._driven("tokens", prefill_tokens + decode_seqs)
        try:
            seconds += caches["sampled"][sampled]
        except KeyError:
            seconds += self._driven("sampled", sampled)
        if prefill_tokens:
            for layers, launch, per_flop, fixed, per_byte in self._expansions:
                seconds += layers * (
                    max(per_flop * prefill_context, fixed + per_byte * prefill_context) + launch
                )
            for kernel in self._prefill:
                seconds += attention_seconds(
                    kernel, prefill_tokens, prefill_pairs, prefill_context, prefill_seqs
                )
        if decode_seqs:
            if self._expansions:
                try:
                    seconds += caches["decode_seqs"][decode_seqs]
                except KeyError:
                    seconds += self._driven("decode_seqs", decode_seqs)
            for kernel in self._decode:
                seconds += attention_seconds(kernel, decode_seqs, decode_context, decode_context, decode_seqs)
        fixed, per_entry, eager_s = self._host
        host = fixed + per_entry * entries
        seconds += (1 - self.host_overlap) * host
        least = host if host >= eager_s else eager_s
        return seconds if seconds >= least else least

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by what bounds each operator, of communication and of the host; they sum to the step's."""
        at = StepLoad(*load)
        entries = at.prefill_seqs + at.decode_seqs
        stages = self.parallelism.pipeline_parallel_size
        if stages > 1:
            seqs, context, sampled = micro_batch(stages, at.decode_seqs, at.decode_context, at.sampled)
            at = at._replace(decode_seqs=seqs, decode_context=context, sampled=sampled)
        drivers = {
            "tokens": at.prefill_tokens + at.decode_seqs,
            "sampled": at.sampled,
            "decode_seqs": at.decode_seqs,
            "prefill_context": at.prefill_context,
        }
        shares: dict[str, Any] = {"compute": 0.0, "memory": 0.0, "communication": 0.0, "launch": 0.0}
        for op in (*self._linears, *self._attends):
            if isinstance(op, Attend):
                prefill = (at.prefill_tokens, at.prefill_pairs, at.prefill_context, at.prefill_seqs)
                decode = (at.decode_seqs, at.decode_context, at.decode_context, at.decode_seqs)
                figures: tuple[Any, ...] = prefill if op.phase == "prefill" else decode
            else:
                figures = (drivers[op.driver],)
            compute, memory, launch = roofline_time(op, figures, self._machine)
            by_compute = np.asarray(compute >= memory)
            shares["compute"] += op.layers * compute * by_compute
            shares["memory"] += op.layers * memory * ~by_compute
            shares["launch"] += op.layers * launch
        for transfer in self._transfers:
            shares["communication"] += transfer.seconds(drivers[transfer.driver], self.efficiency.link)
        busy = shares["compute"] + shares["memory"] + shares["communication"] + shares["launch"]
        shares["host"] = self._with_host(busy, entries) - busy
        shape = np.broadcast_shapes(*(np.shape(figure) for figure in load))
        if not shape:
            return {name: float(value) for name, value in shares.items()}
        return {name: np.broadcast_to(value, shape).astype(float) for name, value in shares.items()}

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive decode-only steps, bit for bit those of calling the cost."""
        seqs, sampled = decode_seqs, decode_seqs
        parts = min(self.parallelism.pipeline_parallel_size, decode_seqs)
        if parts > 1:
            seqs, _, sampled = micro_batch(parts, decode_seqs, 0, decode_seqs)
        fixed = self._driven("tokens", 0 + seqs) + self._driven("sampled", sampled)
        if self._expansions:
            fixed += self._driven("decode_seqs", seqs)
        yield from islice(
            short_steps(
                self._decode, fixed, self._host, self.host_overlap, seqs, parts, decode_seqs, decode_context
            ),
            _SCALAR_STEPS,
        )
        decode_context += decode_seqs * _SCALAR_STEPS
        while True:
            context = decode_context + decode_seqs * np.arange(_CHUNK_STEPS, dtype=np.int64)
            shared = context / parts if parts > 1 else context
            busy: Any = fixed
            for kernel in self._decode:
                busy = busy + attention_seconds(kernel, seqs, shared, shared, seqs)
            yield from self._with_host(busy + np.zeros(_CHUNK_STEPS), decode_seqs).tolist()
            decode_context += decode_seqs * _CHUNK_STEPS

    def perturbed(self, rng: np.random.Generator) -> RooflineCost:
        """The same cost with efficiencies drawn from their errors."""
        efficiency = self.efficiency.perturbed(rng)
        if not self.enforce_eager:
            return dataclasses.replace(self, efficiency=efficiency)
        factor = math.exp(EAGER_LOG_ERROR * rng.standard_normal())
        return dataclasses.replace(self, efficiency=efficiency, eager_factor=factor)

    def validity(self) -> list[str]:
        """Sentences on what lies outside the range that the figures were fitted in."""
        name = self.hardware.accelerator.name
        notes = layout_notes(
            self.architecture,
            self.hardware,
            self.parallelism,
            self.precision,
            enforce_eager=self.enforce_eager,
        )
        if not self.efficiency.measured:
            place = len(self.architecture.notes)
            notes.insert(place, f"{name}: no measured efficiency; the default fractions of peak are used")
        return notes

    def _driven(self, driver: str, x: Any) -> float:
        """Seconds of everything that depends on this one figure alone, remembered."""
        cache = self._caches[driver]
        if x in cache:
            return cache[x]
        seconds = 0.0
        for op in self._linears:
            if op.driver == driver:
                compute, memory, launch = roofline_time(op, (x,), self._machine)
                seconds += op.layers * (max(compute, memory) + launch)
        for transfer in self._transfers:
            if transfer.driver == driver:
                seconds += transfer.seconds(x, self.efficiency.link)
        cache[x] = float(seconds)
        return cache[x]

    def _with_host(self, busy: Any, entries: Any) -> Any:
        fixed, per_entry, eager_s = self._host
        host = fixed + per_entry * entries
        return greatest(busy + (1 - self.host_overlap) * host, greatest(host, eager_s))


def layout_notes(
    architecture: Architecture,
    hardware: Hardware,
    plan: Parallelism,
    precision: Precision,
    *,
    enforce_eager: bool = False,
) -> list[str]:
    """What is assumed of a model spread so, whatever its operators cost."""
    part = hardware.accelerator
    notes = list(architecture.notes)
    if is_weight_only(part.peak_flops, precision.weights, precision.activations):
        key = compute_precision(part.peak_flops, precision.weights, precision.activations)
        why = "activations are wider" if precision.activations == key else f"{part.name} has no such units"
        notes.append(f"{precision.weights} weights are only stored so and multiplied in {key}: {why}")
    if plan.pipeline_parallel_size > 1:
        notes.append("pipeline_parallel_size: prompts do not overlap between stages; prefill is pessimistic")
    if plan.data_parallel_size > 1 and architecture.is_moe:
        notes.append("data_parallel_size: other ranks are assumed to step with the same load")
    if plan.world_size > hardware.node.accelerators:
        notes.append("more than one node: links between nodes were not part of the fit")
    if any(group.attention.linear for group in architecture.layers):
        notes.append("linear attention was not part of the fit")
    if enforce_eager:
        notes.append(EAGER_NOTE)
    return notes


def roofline_cost(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    *,
    host_overlap: float = 0.0,
    expert_skew: float = 0.0,
    enforce_eager: bool = False,
) -> RooflineCost:
    """Build a `RooflineCost` with the bundled efficiencies of the accelerator.

    Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009, operator by operator
    (docs/cost_model.md); the efficiencies are fitted.

    Raises:
        ValueError: as `RooflineCost`.

    """
    efficiency = load_efficiency(hardware.accelerator.name)
    plan, formats = parallelism or Parallelism(), precision or Precision()
    return RooflineCost(
        architecture, hardware, plan, formats, efficiency, host_overlap, expert_skew, enforce_eager
    )
