"""What engines of pools run, priced by measured operators: rules by back end and layout.

Three things differ from what a back end's own tables would say (aiconfigurator-core's, of 2026):

- Experts behind data-parallel attention. Wide engines balance them (EPLB, redundant experts), so the tables'
  balanced routing holds, not its power law. On Blackwell only TensorRT-LLM's tables time a rank's share of
  it: those of FlashInfer's kernel (vLLM, SGLang) send every token to the rank's own experts, as one sees from
  2 ranks taking as long as 1 for any number of tokens.
- TensorRT-LLM's experts behind tensor parallelism on Blackwell. Its recipes choose the kernels "TRTLLM",
  which are FlashInfer's as SGLang's tables have them; TensorRT-LLM's own hold CUTLASS and DeepGEMM.
- The exchange of tokens with data-parallel ranks: to the ranks that their experts are on, not to all.

Servers of one pool are priced by their own back end's tables: TensorRT-LLM's scripts for them choose kernels
otherwise. But its matrices there (`TunedMatrices`) are the faster of its own tables' and vLLM's: both call
the same libraries, and its tables in NVFP4 and FP8 were taken without its autotuner, it seems, as they are up
to 1.4 times slower. That was seen in the errors of these rows, which no fit looks at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.models.architecture import Architecture
from foretell.models.communication import Transfer
from foretell.models.efficiency import load_efficiency
from foretell.models.hardware import Hardware
from foretell.models.operator_time import Machine, OperatorTime
from foretell.models.operators import Experts, Linear, Operator
from foretell.models.parallelism import Parallelism
from foretell.models.pricing import OperatorTimer
from foretell.models.silicon import Silicon, load_silicon
from foretell.models.silicon_source import BLACKWELL, system_of
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import TabulatedCost
from foretell.validate.server_runs import ServerRun

_EXCHANGE_S = 4e-6
"""Of a dispatch or a combination however small: an assumption, of the order of a one-shot all-reduce."""
_SENT, _RETURNED = 1.0, 2.0
"""Bytes of an element on its way to an expert (FP8 or less) and back (bf16)."""


@dataclass(frozen=True, slots=True)
class TunedMatrices:
    """A back end's operators, with the faster of two sources' matrices.

    Attributes:
        own: for everything.
        other: for matrices alone.

    """

    own: OperatorTimer
    other: OperatorTimer

    def timer(self, operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        """Seconds of one layer's operator."""
        time = self.own.timer(operator, load, machine)
        if not (isinstance(operator, Linear) and operator.rows):
            return time
        other = self.other.timer(operator, load, machine)
        compute, memory = (np.minimum(a, b) for a, b in zip(time[:2], other[:2], strict=True))
        return OperatorTime(compute, memory, time.launch)

    def all_reduce_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds of an all-reduce within a node."""
        return self.own.all_reduce_s(num_bytes, ranks)

    def all_gather_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds of an all-gather within a node."""
        return self.own.all_gather_s(num_bytes, ranks)


def backend_cost(
    run: ServerRun,
    parallelism: Parallelism,
    architecture: Architecture,
    hardware: Hardware,
    scales: Mapping[str, float] | None = None,
) -> TabulatedCost:
    """Seconds of a step of one engine of a run's back end, by the extra `silicon`.

    Args:
        run: its back end, accelerator and precision.
        parallelism: of the engine, which in a pool is not the run's.
        architecture, hardware: of the run.
        scales: of the cost.

    Raises:
        ValueError: the extra is missing or lacks the accelerator, or the model cannot be spread so.

    """
    own = load_silicon(run.accelerator, run.backend)
    experts = _experts(own, run, parallelism)
    link = load_efficiency(hardware.accelerator.name).link

    def timer(operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        return (experts if isinstance(operator, Experts) else own).timer(operator, load, machine)

    def send(transfer: Transfer, x: Any) -> Any:
        if transfer.name == "expert_exchange":
            latency = transfer.count * _EXCHANGE_S * (x > 0)
            return latency + exchange_s(transfer, x, architecture, parallelism, link)
        if transfer.operation == "all_reduce" and transfer.group.nodes == 1:
            return transfer.count * own.all_reduce_s(x * transfer.bytes_per, transfer.group.ranks)
        return transfer.seconds(x, link)

    cost = tabulate(
        architecture,
        hardware,
        parallelism,
        run.precision,
        timer=timer,
        transfer_timer=send,
        scales=scales,
    )
    if parallelism.data_parallel_size == 1:
        return cost
    # a floor of the least that the dispatch sends, instead of every token to every rank
    lines = {driver: dict(terms) for driver, terms in cost.floors.lines.items()}
    if "communication" in lines["tokens"]:
        lines["tokens"]["communication"] = 0.0 * lines["tokens"]["communication"]
    return dataclasses.replace(cost, floors=cost.floors._replace(lines=lines))


def exchange_s(
    transfer: Transfer, x: Any, architecture: Architecture, parallelism: Parallelism, efficiency: float
) -> Any:
    """Seconds in which a rank's links send x tokens to the ranks of their experts, and get them back.

    With k experts a token on n ranks, n·(1 − (1 − 1/n)^k) ranks get it, of which one in n is its own.
    """
    group = transfer.group
    ranks = group.ranks
    top_k = max(layers.mlp.top_k for layers in architecture.layers)
    reached = ranks * (1.0 - (1.0 - 1.0 / ranks) ** top_k) * (1.0 - 1.0 / ranks)
    num_bytes = (
        x * reached * architecture.hidden_size * (_SENT + _RETURNED) / parallelism.tensor_parallel_size
    )
    link = group.intra if group.nodes == 1 else group.inter
    return transfer.count / 2 * num_bytes / (link.bandwidth_Bps * efficiency)


def _experts(own: Silicon, run: ServerRun, parallelism: Parallelism) -> Silicon:
    """Whose tables price the experts, and under which routing."""
    blackwell = system_of(run.accelerator) in BLACKWELL
    if parallelism.data_parallel_size > 1 and parallelism.enable_expert_parallel:
        tables = load_silicon(run.accelerator, "trtllm") if blackwell else own
        return dataclasses.replace(tables, distribution="balanced")
    if run.backend == "trtllm" and blackwell:
        return load_silicon(run.accelerator, "sglang")
    return own
