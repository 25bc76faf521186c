"""The step cost of a model on hardware from the best operator times at hand.

Three sources, one form: tables measured operator by operator (the extra `silicon`), curves that were fitted
to those tables and come with foretell, and fractions of peaks (`roofline`). The first two are scaled by what
servers showed beyond their operators, see `residual`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from foretell.models.architecture import Architecture
from foretell.models.communication import Transfer
from foretell.models.efficiency import load_efficiency
from foretell.models.hardware import Hardware
from foretell.models.operator_time import Machine, OperatorTime
from foretell.models.operators import Operator
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.residual import load_residual, residual_keys
from foretell.models.roofline import RooflineCost, layout_notes, roofline_cost
from foretell.models.silicon_source import SYSTEMS, has_silicon
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import TabulatedCost

_SYNCHRONOUS = {"step": 1.7, "sequences": 46.0}
"""What steps take beyond on servers that schedule, sample and answer before the next step [ms; µs for every
entry]: fitted to 366 steady runs of 16 models on vLLM 0.11, H100 and B200, from 8 to 4,090 sequences
(ml-energy, 2025-12) by foretell.validate.energy.fit_synchronous. Without it steps come out too short; how far
they are off with it, each model left out of the fit, is in docs/energy.md."""


class OperatorTimer(Protocol):
    """What a source knows: operators, and collectives within a node."""

    def timer(self, operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        """Seconds of one layer's operator."""

    def all_reduce_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds of an all-reduce within a node."""

    def all_gather_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds to gather so many bytes in all onto every rank of a node."""


def resolve_times(operator_times: str, hardware: Hardware) -> str:
    """What "auto" stands for: measured operators where the extra has them, else curves; others as given.

    Processors and accelerators of other vendors than those that were measured keep their fractions of peaks.

    Raises:
        ValueError: a name that is not known, or measured operators that are not to be had.

    """
    part = hardware.accelerator
    if operator_times == "auto":
        if part.vendor.lower() != "nvidia":
            return "roofline"
        return "silicon" if part.name in SYSTEMS and has_silicon() else "curves"
    if operator_times not in ("silicon", "curves", "roofline"):
        raise ValueError(f"operator_times: {operator_times!r} is not one of auto, silicon, curves, roofline")
    if operator_times == "silicon" and part.name not in SYSTEMS:
        raise ValueError(
            f"operator_times: silicon has no tables of {part.name}, but of {', '.join(sorted(SYSTEMS))}; "
            "write curves or roofline"
        )
    if operator_times == "silicon" and not has_silicon():
        raise ValueError(
            "operator_times: silicon needs measured tables; pip install 'foretell[silicon]' brings them"
        )
    return operator_times


def step_cost(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    *,
    operator_times: str = "auto",
    engine_version: str | None = None,
    enforce_eager: bool = False,
    async_scheduling: bool = True,
) -> TabulatedCost | RooflineCost:
    """Seconds of a step, with their errors.

    Args:
        architecture, hardware, parallelism, precision: what runs on what, and how.
        operator_times: "silicon", "curves", "roofline", or "auto" for the best at hand.
        engine_version: vLLM's, for what its releases changed in overheads; None takes the newest.
        enforce_eager: without CUDA graphs: no step is shorter than the host's launches.
        async_scheduling: as the servers that scales were fitted on; else the accelerator waits for the host.

    Raises:
        ValueError: the model cannot be spread so, or the operator times are not to be had.

    """
    source = resolve_times(operator_times, hardware)
    plan, formats = parallelism or Parallelism(), precision or Precision()
    layout = (architecture, hardware, plan, formats)
    if source == "roofline":
        return roofline_cost(*layout, enforce_eager=enforce_eager)
    times = operator_timer(source, hardware)
    residual = load_residual(source)
    keys = residual_keys(architecture.name, hardware.accelerator.name, engine_version)
    cost = operator_cost(*layout, times=times, enforce_eager=enforce_eager)
    told = residual.errors[residual.known(keys)]
    unmeasured = _unmeasured_error(times, *layout)
    scales = residual.terms(keys)
    if not async_scheduling:
        scales |= {name: scales[name] + more for name, more in _SYNCHRONOUS.items()}
    notes = [
        *layout_notes(*layout, enforce_eager=enforce_eager),
        *_extrapolated(architecture, hardware, source, residual.known(keys), unmeasured),
    ]
    return dataclasses.replace(
        cost,
        scales=scales,
        errors={
            "compute": math.hypot(told["ttft"], unmeasured),
            "memory": math.hypot(told["tpot"], unmeasured),
        },
        notes=tuple(notes),
    )


def scalable_cost(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    *,
    operator_times: str = "auto",
    engine_version: str | None = None,
) -> TabulatedCost:
    """The same by terms that a calibration can scale, whatever the source.

    Raises:
        ValueError: as `step_cost`.

    """
    layout = (architecture, hardware, parallelism, precision)
    cost = step_cost(*layout, operator_times=operator_times, engine_version=engine_version)
    return cost if isinstance(cost, TabulatedCost) else tabulate(*layout)


def operator_cost(
    architecture: Architecture,
    hardware: Hardware,
    parallelism: Parallelism | None = None,
    precision: Precision | None = None,
    *,
    times: OperatorTimer,
    scales: Mapping[str, float] | None = None,
    enforce_eager: bool = False,
) -> TabulatedCost:
    """Operators and messages alone, as a source has them.

    Args:
        architecture, hardware, parallelism, precision: what runs on what, and how.
        times: from `operator_timer`.
        scales: of the cost; operators' are 1 and overheads' 0 if left out.
        enforce_eager: as in `step_cost`.

    Raises:
        ValueError: as `step_cost`.

    """
    link = load_efficiency(hardware.accelerator.name).link

    def send(transfer: Transfer, x: Any) -> Any:
        num_bytes, ranks = x * transfer.bytes_per, transfer.group.ranks
        if transfer.group.nodes == 1 and transfer.operation == "all_reduce":
            return transfer.count * times.all_reduce_s(num_bytes, ranks)
        if transfer.group.nodes == 1 and transfer.operation == "all_gather":
            return transfer.count * times.all_gather_s(num_bytes, ranks)
        return transfer.seconds(x, link)

    return tabulate(
        architecture,
        hardware,
        parallelism,
        precision,
        timer=times.timer,
        transfer_timer=send,
        scales=scales,
        enforce_eager=enforce_eager,
    )


def operator_timer(
    operator_times: str, hardware: Hardware, backend: str = "vllm", version: str | None = None
) -> OperatorTimer:
    """The timer of a source.

    Args:
        operator_times: "silicon" or "curves".
        hardware: whose accelerator, and whose links.
        backend, version: whose tables come first; see `load_silicon`.

    Raises:
        ValueError: the extra is missing, or nobody measured the accelerator.

    """
    if operator_times == "silicon":
        from foretell.models.silicon import load_silicon

        return load_silicon(hardware.accelerator.name, backend, version)
    from foretell.models.curves import load_curves

    return load_curves(hardware.accelerator.name, hardware.node.intra)


def _unmeasured_error(
    times: OperatorTimer,
    architecture: Architecture,
    hardware: Hardware,
    plan: Parallelism,
    formats: Precision,
) -> float:
    """What operators that nobody timed, on this accelerator or at all, add to the error of a step."""
    from foretell.models.curves import Curves
    from foretell.models.silicon import Silicon
    from foretell.models.silicon_error import borrowed_error

    if isinstance(times, Silicon):
        return borrowed_error(times, architecture, hardware, plan, formats)
    return times.error("gemm") if isinstance(times, Curves) and not times.measured else 0.0


def _extrapolated(
    architecture: Architecture, hardware: Hardware, source: str, known: str, unmeasured: float
) -> list[str]:
    name, model = hardware.accelerator.name, architecture.name
    if source == "silicon":
        notes = [f"{name}: operators as measured (aiconfigurator-core)"]
        if unmeasured:
            notes[0] += f", some lent by other shapes, formats or accelerators ({unmeasured:.0%} more error)"
    elif unmeasured:
        notes = [f"{name}: nobody timed its operators; curves of other accelerators, with wider errors"]
    else:
        notes = [f"{name}: operators by shipped curves"]
        if name in SYSTEMS and not has_silicon():
            notes[0] += "; the extra silicon has the measurements themselves"
    unseen = {"model": model, "accelerator": name, "both": f"{model}, {name}"}.get(known)
    if unseen:
        notes.append(f"{unseen}: not among the servers that the scales were fitted on; errors are wider")
    return notes
