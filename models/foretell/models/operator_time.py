"""Seconds of one operator: the roofline's answer, in a shape that a measured table can replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from foretell.models.efficiency import Efficiency
from foretell.models.operators import Operator


class OperatorTime(NamedTuple):
    """Seconds of one layer's operator: the greater of compute and memory, plus the launch of its kernels."""

    compute: Any
    memory: Any
    launch: Any


@dataclass(frozen=True, slots=True)
class Machine:
    """What an operator runs on.

    Attributes:
        memory_Bps: peak memory bandwidth.
        peak_flops: dense peaks by precision.
        efficiency: reached fractions of them.
        launch_s: what a kernel takes besides its work.

    """

    memory_Bps: float
    peak_flops: Mapping[str, float] = field(hash=False)
    efficiency: Efficiency
    launch_s: float


OperatorTimer = Callable[[Operator, tuple[Any, ...], Machine], OperatorTime]
"""timer(operator, load, machine): any pure function may stand here; `load` is what `operator.work(*load)`
takes, scalars or arrays."""


def roofline_time(operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
    """FLOPs over the reached peak, bytes over the reached bandwidth, and the launch of its kernels.

    S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009. It never beats the peaks, as
    efficiencies are at most 1. A kernel's start and drain overlap with neither, so that its launch is added,
    which is a floor as well: on the runs that data/efficiency.toml names, adding it leaves 7.9 % of error
    where taking the greatest of the three leaves 9.0 %.
    """
    flops, num_bytes = operator.work(*load)
    return OperatorTime(
        flops * seconds_per_flop(operator, machine),
        num_bytes * seconds_per_byte(operator, machine),
        operator.launches * machine.launch_s * (num_bytes > 0),
    )


def seconds_per_flop(operator: Operator, machine: Machine) -> float:
    """Of the reached peak."""
    return 1.0 / (machine.peak_flops[operator.precision] * machine.efficiency.compute_of(operator.kind))


def seconds_per_byte(operator: Operator, machine: Machine) -> float:
    """Of the reached bandwidth."""
    return 1.0 / (machine.memory_Bps * machine.efficiency.memory_of(operator.kind))
