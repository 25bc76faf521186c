"""From an architecture on hardware to the tables of a `TabulatedCost`, by any operator timer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.architecture import Architecture
from foretell.models.communication import Transfer, step_transfers
from foretell.models.eager import EAGER_NOTE, eager_seconds
from foretell.models.efficiency import PERFECT, Efficiency, load_efficiency
from foretell.models.grids import CONTEXTS, POINTS, QUERIES, SEQS
from foretell.models.hardware import Hardware
from foretell.models.layers import step_operators
from foretell.models.operator_time import Machine, OperatorTime, OperatorTimer, roofline_time
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.parallelism import Parallelism, validate_parallelism
from foretell.models.precision import Precision
from foretell.models.tabulated import BOUNDS, Tables, TabulatedCost

Array = npt.NDArray[np.float64]
TransferTimer = Callable[[Transfer, Any], Any]
"""Seconds of all of a step's transfers of one kind at x units of their driver."""

_PAST, _LEAST_PAST = 4.0, 16384.0
"""Past context, in query lengths and at least in tokens, at which pairs beyond whole prompts are priced:
after short pasts the difference of two tables is noise."""
LEAST_SKEW = 1.01
"""Zipf exponent of the routing that floors allow for: skewed tokens reach fewer experts than even ones."""


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
    enforce_eager: bool = False,
) -> TabulatedCost:
    """Ask a timer for every operator on the grids, and add them up by term.

    Args:
        architecture, hardware, parallelism, precision: what runs on what, and how.
        timer: prices operators.
        transfer_timer: prices messages; by default their latency and bytes over links as `efficiency` has it.
        efficiency: what timer and messages find in `Machine`; by default the accelerator's.
        expert_skew: Zipf exponent of the experts' popularity where the timer has no measured skew.
        scales, errors, notes: of the cost.
        enforce_eager: without CUDA graphs; no step is shorter than the host's launches, see `eager_seconds`.

    Raises:
        ValueError: the model cannot be spread so, or what the timer raises.

    """
    plan, formats = parallelism or Parallelism(), precision or Precision()
    validate_parallelism(architecture, hardware, plan)
    part = hardware.accelerator
    eff = efficiency or load_efficiency(part.name)
    operators, skewed = (
        step_operators(architecture, plan, formats, part.peak_flops, skew)
        for skew in (expert_skew, max(expert_skew, LEAST_SKEW))
    )
    least = dict(zip(operators, skewed, strict=True))
    transfers = step_transfers(architecture, hardware, plan)
    real = Machine(part.memory_Bps, part.peak_flops, eff, hardware.launch_s * eff.launch_scale)
    ideal = Machine(part.memory_Bps, part.peak_flops, PERFECT, 0.0)

    def price(op: Operator, load: tuple[Any, ...]) -> Array:
        return _by_bound(timer(op, load, real), roofline_time(least[op], load, ideal))

    def send(transfer: Transfer, x: Any) -> Array:
        seconds = transfer_timer(transfer, x) if transfer_timer else transfer.seconds(x, eff.link)
        both = np.zeros((2, len(BOUNDS), x.size))
        both[:, BOUNDS.index("communication")] = seconds, _fastest(transfer, x)
        return both

    tables, floors = _tables(operators, transfers, price, send)
    return TabulatedCost(
        tables,
        floors,
        architecture.num_layers,
        plan.pipeline_parallel_size,
        dict(scales or {}),
        dict(errors or {}),
        (*notes, EAGER_NOTE) if enforce_eager else notes,
        eager_s=eager_seconds(operators, transfers) if enforce_eager else 0.0,
    )


def _tables(
    operators: tuple[Operator, ...],
    transfers: tuple[Transfer, ...],
    price: Callable[[Operator, tuple[Any, ...]], Array],
    send: Callable[[Transfer, Any], Array],
) -> tuple[Tables, Tables]:
    """Sum seconds and floors by driver and term; the first point of a line, no load, costs nothing."""
    lines: dict[str, dict[str, Array]] = {"tokens": {}, "sampled": {}}
    seqs, contexts = (axis.ravel() for axis in np.meshgrid(SEQS, CONTEXTS, indexing="ij"))
    many, queries = (axis.ravel() for axis in np.meshgrid(SEQS, QUERIES, indexing="ij"))
    tokens, past = many * queries, many * np.maximum(queries * _PAST, _LEAST_PAST)
    pairs = tokens * (queries + 1.0) / 2.0
    decode = np.zeros((2, len(BOUNDS), seqs.size))
    prefill = np.zeros((2, 2, len(BOUNDS), many.size))
    for op in operators:
        if isinstance(op, Attend) and op.phase == "decode":
            decode += op.layers * price(op, (seqs, seqs * contexts, seqs * contexts, seqs))
        elif isinstance(op, Attend):
            whole = op.layers * price(op, (tokens, pairs, tokens, many))
            longer = op.layers * price(op, (tokens, pairs + past * queries, tokens + past, many))
            prefill[:, 0] += whole / tokens
            prefill[:, 1] += np.maximum(longer - whole, 0.0) / (past * queries)
        else:
            _add(lines, op, op.layers * price(op, (POINTS[1:],)))
    for transfer in transfers:
        _add(lines, transfer, send(transfer, POINTS[1:]))
    by_seqs, by_query = (
        (2, len(BOUNDS), SEQS.size, CONTEXTS.size),
        (2, 2, len(BOUNDS), SEQS.size, QUERIES.size),
    )
    decode, prefill = decode.reshape(by_seqs), prefill.reshape(by_query)
    both = [
        Tables({d: {t: v[i] for t, v in of.items()} for d, of in lines.items()}, decode[i], prefill[i])
        for i in range(2)
    ]
    return both[0], both[1]


def _add(lines: dict[str, dict[str, Array]], what: Linear | Experts | Transfer, both: Array) -> None:
    """Add (2, bounds, points) to a driver's terms: what multiplies and launches of kernels are their own."""
    term = _term(what)
    alone = {"launches": "launch"} | ({f"{term}_compute": "compute"} if term in ("gemm", "experts") else {})
    rest, parts = both.copy(), {}
    for name, bound in alone.items():
        row = BOUNDS.index(bound)
        parts[name] = np.zeros_like(both)
        parts[name][:, row], rest[:, row] = both[:, row], 0.0
    parts[term] = rest
    of = lines.setdefault(what.driver, {})
    for name, values in parts.items():
        if name not in of:
            of[name] = np.zeros((2, len(BOUNDS), POINTS.size))
        of[name][:, :, 1:] += values


def _term(what: Linear | Experts | Transfer) -> str:
    if what.driver == "sampled":
        return "head"
    if isinstance(what, Transfer):
        return "communication"
    return {"moe": "experts", "memory": "elementwise"}.get(what.kind, "gemm")


def _by_bound(time: OperatorTime, least: OperatorTime) -> Array:
    """(2, bounds, n): seconds and floors; what binds carries the time."""
    compute, memory, launch = np.broadcast_arrays(*time)
    floor = np.maximum(*np.broadcast_arrays(least.compute, least.memory))
    by_compute = compute >= memory
    busy, none = np.maximum(compute, memory), np.zeros(compute.shape)
    return np.array(
        [
            [busy * by_compute, busy * ~by_compute, none, launch],
            [floor * by_compute, floor * ~by_compute, none, none],
        ]
    )


def _fastest(transfer: Transfer, x: Any) -> Any:
    """A message's bytes at a link's whole bandwidth; switches that reduce need no more of an all-reduce."""
    group = transfer.group
    if group.nodes > 1:
        return 0.0 * x
    share = (group.ranks - 1) / group.ranks
    return transfer.count * x * transfer.bytes_per * share / group.intra.bandwidth_Bps
