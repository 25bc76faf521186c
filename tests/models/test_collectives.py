"""Collectives against their closed forms in round numbers."""

from __future__ import annotations

import numpy as np
import pytest

from foretell.models import collectives
from foretell.models.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    dispatch_s,
    make_group,
    one_shot_all_reduce_s,
    point_to_point_s,
    ring_all_gather_s,
    ring_all_reduce_s,
    tree_all_reduce_s,
)
from foretell.models.hardware import Link, Node

FAST = Link("fast", 1e11, 1e-6, 5e-6)
SLOW = Link("slow", 1e10, 1e-5)
NODE = Node("node", 8, FAST, SLOW)
MEGABYTES = 8e6


def test_closed_forms() -> None:
    # 8 MB over 8 ranks at 100 GB/s: a ring moves 7/8 of it twice (140 us), a tree all of it twice (160 us)
    assert ring_all_reduce_s(MEGABYTES, 8, FAST) == pytest.approx(5e-6 + 14e-6 + 140e-6)
    assert tree_all_reduce_s(MEGABYTES, 8, FAST) == pytest.approx(5e-6 + 6e-6 + 160e-6)
    assert one_shot_all_reduce_s(MEGABYTES, 8, FAST) == pytest.approx(5e-6 + 1e-6 + 560e-6)
    assert ring_all_gather_s(MEGABYTES, 8, FAST) == pytest.approx(5e-6 + 7e-6 + 70e-6)
    assert all_to_all_s(MEGABYTES, 8, FAST) == pytest.approx(5e-6 + 7e-6 + 70e-6)
    assert point_to_point_s(MEGABYTES, SLOW) == pytest.approx(1e-5 + 8e-4)


def test_all_reduce_takes_the_fastest() -> None:
    group = make_group(8, 1, NODE)
    assert all_reduce_s(MEGABYTES, group) == pytest.approx(159e-6)
    assert all_reduce_s(8.0, group) == pytest.approx(6e-6, rel=1e-3)


@pytest.mark.systems(191)
def test_hierarchical_all_reduce_over_two_nodes() -> None:
    group = make_group(16, 1, NODE)
    assert (group.per_node, group.nodes) == (8, 2)
    within = 2 * (5e-6 + 7e-6 + 70e-6)
    between = 2e-5 + 1e6 / 1e10  # 1 MB a rank, two ranks: ring and tree both take two hops
    assert all_reduce_s(MEGABYTES, group) == pytest.approx(within + between, rel=1e-9)
    assert all_gather_s(MEGABYTES, group) == pytest.approx(82e-6 + 1e-5 + 0.5 * 1e6 / 1e10)
    assert dispatch_s(MEGABYTES, group) == pytest.approx(8e-5 + 0.5 * MEGABYTES / 1e10)


def test_groups_follow_rank_order() -> None:
    assert make_group(2, 8, NODE).nodes == 2  # pipeline stages of eight ranks each sit in different nodes
    assert make_group(4, 2, NODE).nodes == 1
    assert make_group(8, 2, NODE).per_node == 4


@pytest.mark.parametrize("operation", [all_reduce_s, all_gather_s, dispatch_s])
@pytest.mark.parametrize("ranks", [1, 2, 8, 16])
def test_nothing_sent_or_nobody_to_send_to_costs_nothing(operation: object, ranks: int) -> None:
    assert callable(operation)
    group = make_group(ranks, 1, NODE)
    assert operation(0, group) == 0
    sizes = np.array([0.0, 1.0, 1e6])
    times = operation(sizes, group)
    assert times[0] == 0
    assert (times > 0).sum() == (0 if ranks == 1 else 2)
    assert [operation(float(size), group) for size in sizes] == pytest.approx(times.tolist(), rel=1e-12)


def test_every_public_function_is_described() -> None:
    assert "Thakur" in (collectives.__doc__ or "")
