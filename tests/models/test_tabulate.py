"""From a timer to tables: which term carries what, who is asked, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.architecture import load_architecture
from foretell.models.communication import Transfer
from foretell.models.grids import CONTEXTS, POINTS, QUERIES, SEQS
from foretell.models.hardware import load_hardware
from foretell.models.operator_time import Machine, OperatorTime, roofline_time
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.parallelism import Parallelism
from foretell.models.tabulate import tabulate
from foretell.models.tabulated import BOUNDS, OVERHEADS, TERMS, TabulatedCost

LLAMA, MINIMAX, H100 = (
    load_architecture("llama-3.1-8b"),
    load_architecture("minimax-m2.5"),
    load_hardware("h100-sxm"),
)
DECODE = (0, 0, 0, 0, 16, 16_000, 16)
PREFILL = (2048, 2048 * 2049 / 2, 2048, 1, 0, 0, 1)


def second(operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
    """A timer that takes one second for every operator that has work, in memory."""
    return OperatorTime(0.0 * load[0], 1.0 * (load[0] > 0), 0.0 * load[0])


def test_a_timer_of_seconds_counts_operators() -> None:
    cost = tabulate(LLAMA, H100, timer=second)
    terms = cost.terms(*DECODE)
    assert terms["decode_attention"] == 32.0
    assert terms["prefill_attention"] == 0.0
    assert terms["gemm"] == 32.0 * 4  # qkv, o, gate and up, down
    assert terms["head"] == 2.0  # the last norm, and the head
    assert terms["communication"] == terms["experts"] == terms["launches"] == 0.0
    assert cost.terms(*PREFILL)["prefill_attention"] == pytest.approx(32.0)


def test_what_binds_and_launches_are_terms_of_their_own() -> None:
    terms = [tabulate(LLAMA, H100).terms(*load) for load in (DECODE, PREFILL)]
    assert terms[0]["gemm"] > 0.0 == terms[0]["gemm_compute"]
    assert terms[1]["gemm_compute"] > 0.0 == terms[1]["gemm"]

    def launching(operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        return roofline_time(operator, load, machine)._replace(launch=1.0 * (load[0] > 0))

    cost = tabulate(LLAMA, H100, timer=launching)
    assert cost.terms(*DECODE)["launches"] == pytest.approx(cost.breakdown(*DECODE)["launch"] - 32.0)
    assert cost.terms(*DECODE)["decode_attention"] > 32.0  # attention keeps its own


def test_the_timer_is_asked_on_the_grids_only() -> None:
    asked: list[tuple[type, int]] = []

    def spy(operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        asked.append((type(operator), load[0].size))
        return roofline_time(operator, load, machine)

    tabulate(MINIMAX, H100, Parallelism(8), timer=spy)
    sizes = {
        Linear: {POINTS.size - 1},
        Experts: {POINTS.size - 1},
        Attend: {SEQS.size * CONTEXTS.size, SEQS.size * QUERIES.size},
    }
    assert {kind: {size for other, size in asked if other is kind} for kind in sizes} == sizes


def test_messages_by_another_timer() -> None:
    def send(transfer: Transfer, x: Any) -> Any:
        return np.where(x > 0, 1.0, 0.0)

    cost = tabulate(MINIMAX, H100, Parallelism(8), transfer_timer=send)
    # all-reduces, those of the norms, and the gather of logits, which is the head's
    assert cost.terms(*DECODE)["communication"] == 2.0
    assert tabulate(LLAMA, H100, transfer_timer=send).terms(*DECODE)["communication"] == 0.0


def test_experts_behind_data_parallel_ranks_see_the_tokens_of_all() -> None:
    def experts(ranks: int) -> float:
        plan = Parallelism(1, data_parallel_size=ranks, enable_expert_parallel=True)
        terms = tabulate(MINIMAX, load_hardware("b200"), plan).terms(*PREFILL)
        return float(terms["experts"] + terms["experts_compute"])

    # each rank has 1/8 of the experts and serves 8 ranks' tokens
    assert experts(8) == pytest.approx(experts(4), rel=0.05)


def test_what_is_passed_through() -> None:
    cost = tabulate(LLAMA, H100, scales={"step": 1.0}, errors={"memory": 0.1}, notes=("so",))
    assert isinstance(cost, TabulatedCost)
    assert (cost.num_layers, cost.stages, cost.validity()) == (32, 1, ["so"])
    assert cost(*DECODE) == pytest.approx(tabulate(LLAMA, H100)(*DECODE) + 1e-3)
    assert set(cost.breakdown(*DECODE)) == {*BOUNDS, "host"}
    assert set(OVERHEADS) < set(TERMS)


def test_skewed_experts_are_fewer_to_read() -> None:
    def experts(skew: float, plan: Parallelism) -> float:
        return float(tabulate(MINIMAX, H100, plan, expert_skew=skew).terms(*DECODE)["experts"])

    # popular experts are read once for many tokens, so that fewer are read in all
    assert experts(1.0, Parallelism(8)) < 0.9 * experts(0.0, Parallelism(8))


def test_a_plan_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="tensor_parallel_size"):
        tabulate(LLAMA, H100, Parallelism(3))
