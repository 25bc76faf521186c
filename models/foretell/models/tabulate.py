"""From an architecture on hardware to the tables of a `TabulatedCost`, by any operator timer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.architecture import Architecture
from foretell.models.communication import Transfer, step_transfers
from foretell.models.efficiency import PERFECT, Efficiency, load_efficiency
from foretell.models.grids import CONTEXTS, POINTS, QUERIES, SEQS
from foretell.models.hardware import Hardware
from foretell.models.layers import step_operators
from foretell.models.operator_time import Machine, OperatorTimer, roofline_time
from foretell.models.operators import Attend, Experts, Operator
from foretell.models.parallelism import Parallelism, validate_parallelism
from foretell.models.precision import Precision
from foretell.models.tabulated import BOUNDS, Tables, TabulatedCost

Array = npt.NDArray[np.float64]
TransferTimer = Callable[[Transfer, Any], Any]
"""Seconds of all of a step's transfers of one kind at x units of their driver."""

_PAST = 4.0
"""Past context, in query lengths, at which the pairs beyond whole prompts are priced."""


def tabulate(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    *,
    timer: OperatorTimer = roofline_time,
    transfer_timer: TransferTimer | None = None,
    efficiency: Efficiency | None = None,
    expert_skew: float = 0.0,
    scales: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> TabulatedCost:
    """Ask a timer for every operator on the grids, and add them up by term.

    Args:
        architecture, hardware, parallelism, precision: what runs on what, and how.
        timer: prices operators.
        transfer_timer: prices messages; by default their latency and bytes over links as `efficiency` has it.
        efficiency: what timer and messages find in `Machine`; by default the accelerator's.
        expert_skew: Zipf exponent of the experts' popularity where the timer has no measured skew.
        scales, errors, notes: of the cost.

    Raises:
        ValueError: the model cannot be spread so, or what the timer raises.

    """
    plan, formats = parallelism or Parallelism(), precision or Precision()
    validate_parallelism(architecture, hardware, plan)
    part = hardware.accelerator
    eff = efficiency or load_efficiency(part.name)
    operators = step_operators(architecture, plan, formats, part.peak_flops, expert_skew)
    transfers = step_transfers(architecture, hardware, plan)
    real = Machine(part.memory_Bps, part.peak_flops, eff, hardware.launch_s * eff.launch_scale)
    ideal = Machine(part.memory_Bps, part.peak_flops, PERFECT, 0.0)
    priced = transfer_timer or (lambda transfer, x: transfer.seconds(x, eff.link))
    return TabulatedCost(
        _tables(operators, transfers, lambda op, load: _by_bound(timer(op, load, real)), priced, len(BOUNDS)),
        _tables(
            operators,
            transfers,
            lambda op, load: _by_bound(roofline_time(op, load, ideal))[:2].sum(axis=0, keepdims=True),
            _fastest,
            1,
        ),
        architecture.num_layers,
        plan.pipeline_parallel_size,
        dict(scales or {}),
        dict(errors or {}),
        notes,
    )


def _tables(
    operators: tuple[Operator, ...],
    transfers: tuple[Transfer, ...],
    price: Callable[[Operator, tuple[Any, ...]], Array],
    priced: TransferTimer,
    bounds: int,
) -> Tables:
    """Sum the operators' seconds by driver and term; the first point of a line, no load, costs nothing."""
    lines: dict[str, dict[str, Array]] = {"tokens": {}, "sampled": {}}
    seqs, contexts = (axis.ravel() for axis in np.meshgrid(SEQS, CONTEXTS, indexing="ij"))
    many, queries = (axis.ravel() for axis in np.meshgrid(SEQS, QUERIES, indexing="ij"))
    tokens, past = many * queries, many * queries * _PAST
    pairs = tokens * (queries + 1.0) / 2.0
    decode = np.zeros((bounds, seqs.size))
    prefill = np.zeros((2, bounds, many.size))
    for op in operators:
        if isinstance(op, Attend) and op.phase == "decode":
            decode += op.layers * price(op, (seqs, seqs * contexts, seqs * contexts, seqs))
        elif isinstance(op, Attend):
            whole = op.layers * price(op, (tokens, pairs, tokens, many))
            longer = op.layers * price(op, (tokens, pairs + past * queries, tokens + past, many))
            prefill[0] += whole / tokens
            prefill[1] += np.maximum(longer - whole, 0.0) / (past * queries)
        else:
            _add(lines, op.driver, _term(op), op.layers * price(op, (POINTS[1:],)), bounds)
    for transfer in transfers:
        table = np.zeros((bounds, POINTS.size - 1))
        table[BOUNDS.index("communication") if bounds > 1 else 0] = priced(transfer, POINTS[1:])
        term = "head" if transfer.driver == "sampled" else "communication"
        _add(lines, transfer.driver, term, table, bounds)
    shape = (SEQS.size, QUERIES.size)
    return Tables(lines, decode.reshape(bounds, SEQS.size, CONTEXTS.size), prefill.reshape(2, bounds, *shape))


def _add(lines: dict[str, dict[str, Array]], driver: str, term: str, table: Array, bounds: int) -> None:
    of = lines.setdefault(driver, {})
    if term not in of:
        of[term] = np.zeros((bounds, POINTS.size))
    of[term][:, 1:] += table


def _term(operator: Operator) -> str:
    if operator.driver == "sampled":  # type: ignore[union-attr]
        return "head"
    if isinstance(operator, Experts):
        return "experts"
    return {"memory": "elementwise"}.get(operator.kind, "gemm")


def _by_bound(time: tuple[Any, Any, Any]) -> Array:
    """(bounds, n): what binds carries the time."""
    compute, memory, launch = np.broadcast_arrays(*time)
    busy = np.maximum(compute, memory)
    by_compute = compute >= memory
    return np.array([busy * by_compute, busy * ~by_compute, np.zeros_like(busy), launch])


def _fastest(transfer: Transfer, x: Any) -> Any:
    """A message's bytes at a link's whole bandwidth; switches that reduce need no more of an all-reduce."""
    group = transfer.group
    if group.nodes > 1:
        return 0.0 * x
    share = (group.ranks - 1) / group.ranks
    return transfer.count * x * transfer.bytes_per * share / group.intra.bandwidth_Bps
