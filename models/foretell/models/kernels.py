"""Operators of a step as linear functions of its load, for the path that a simulator calls often."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from foretell.models.operator_time import Machine, seconds_per_byte, seconds_per_flop
from foretell.models.operators import Attend, Linear


class AttentionKernel(NamedTuple):
    """Seconds of an `Attend` under the roofline as linear functions: what the scalar path needs."""

    layers: int
    launch: float
    window: int | None
    per_pair: float
    per_query_compute: float
    per_key: float
    per_query: float
    per_sequence: float


class Expansion(NamedTuple):
    """Seconds of a `Linear` over the prefill's context as linear functions (MLA expands its latents)."""

    layers: int
    launch: float
    per_flop: float
    fixed: float
    per_byte: float


def micro_batch(stages: int, seqs: Any, context: Any, sampled: Any) -> tuple[Any, Any, Any]:
    """One micro-batch's decodes when they are spread over the pipeline: (sequences, context, sampled)."""
    if isinstance(seqs, np.ndarray) or isinstance(context, np.ndarray) or isinstance(sampled, np.ndarray):
        parts = np.clip(seqs, 1, stages)
        spare = np.maximum(sampled - seqs, 0)
        return seqs / parts, context / parts, np.minimum(sampled, spare + seqs / parts)
    part = min(max(seqs, 1), stages)
    return seqs / part, context / part, min(sampled, max(sampled - seqs, 0) + seqs / part)


def expansion(op: Linear, machine: Machine) -> Expansion:
    """The linear functions of an operator that is driven by the prefill's context."""
    flop, byte = seconds_per_flop(op, machine), seconds_per_byte(op, machine)
    launch = op.launches * machine.launch_s
    return Expansion(op.layers, launch, op.flops_per * flop, op.weight_bytes * byte, op.bytes_per * byte)


def linear_attention(op: Attend, machine: Machine) -> AttentionKernel:
    """The linear functions of an attention operator."""
    flop, byte = seconds_per_flop(op, machine), seconds_per_byte(op, machine)
    return AttentionKernel(
        op.layers,
        op.launches * machine.launch_s,
        op.window,
        op.flops_per_pair * flop,
        op.flops_per_query * flop,
        op.bytes_per_key * byte,
        op.bytes_per_query * byte,
        op.bytes_per_sequence * byte,
    )


def attention_seconds(kernel: AttentionKernel, queries: Any, pairs: Any, context: Any, sequences: Any) -> Any:
    """Seconds of an attention kernel in all its layers, of scalars or arrays."""
    layers, launch, window, per_pair, per_query_compute, per_key, per_query, per_sequence = kernel
    array = isinstance(context, np.ndarray)
    if window is not None:
        limit, reach = queries * window, sequences * (window - 1) + queries
        if array:
            pairs, context = np.minimum(pairs, limit), np.minimum(context, reach)
        else:
            pairs = pairs if pairs < limit else limit
            context = context if context < reach else reach
    compute = per_pair * pairs + per_query_compute * queries
    memory = per_key * context + per_query * queries + per_sequence * sequences
    if array:
        return layers * (np.maximum(compute, memory) + launch)
    return layers * ((compute if compute > memory else memory) + launch)


def short_steps(
    kernels: Sequence[AttentionKernel],
    fixed: float,
    host: tuple[float, float, float],
    overlap: float,
    seqs: Any,
    parts: int,
    decode_seqs: int,
    context: int,
) -> Iterator[float]:
    """Seconds of successive decode-only steps, in plain Python.

    Args:
        kernels: the attention kernels of a decode.
        fixed: seconds of all that does not depend on the context.
        host: the host's fixed seconds, those of each entry, and the least of any step.
        overlap: share of the host's time that runs beside the accelerator's.
        seqs: sequences of one micro-batch.
        parts: micro-batches.
        decode_seqs: sequences of the step.
        context: KV tokens that its first step reads.
    """
    host_s = host[0] + host[1] * decode_seqs
    visible, least = (1 - overlap) * host_s, max(host_s, host[2])
    terms = [
        (
            k.layers,
            k.launch,
            math.inf if k.window is None else seqs * k.window,
            math.inf if k.window is None else seqs * (k.window - 1) + seqs,
            k.per_pair,
            k.per_query_compute * seqs,
            k.per_key,
            k.per_query * seqs,
            k.per_sequence * seqs,
        )
        for k in kernels
    ]
    while True:
        shared = context / parts if parts > 1 else context
        seconds = fixed
        for layers, launch, limit, reach, per_pair, queries, per_key, query_bytes, sequences in terms:
            compute = per_pair * (shared if shared < limit else limit) + queries
            memory = per_key * (shared if shared < reach else reach) + query_bytes + sequences
            seconds += layers * ((compute if compute > memory else memory) + launch)
        seconds += visible
        yield seconds if seconds >= least else least
        context += decode_seqs
