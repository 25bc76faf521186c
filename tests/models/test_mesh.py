"""Direct wires between accelerators: a group has only its own."""

from __future__ import annotations

import pytest

from foretell.models.collectives import make_group, point_to_point_s
from foretell.models.hardware import load_link, load_node

GB = 10**9


def test_a_group_on_a_mesh_has_its_own_wires_only() -> None:
    """MI300X: 7 wires of 64 GB/s each way, one to each other accelerator of the node."""
    node = load_node("mi300x-platform")
    assert node.intra.mesh
    for ranks in (2, 4, 8):
        group = make_group(ranks, 1, node)
        assert group.intra.bandwidth_Bps == pytest.approx((ranks - 1) * 64 * GB)
    hop = make_group(2, 4, node)  # pipeline stages four apart
    seconds = point_to_point_s(64 * GB, hop.intra)
    assert seconds == pytest.approx(1, rel=1e-3)


def test_a_switch_gives_any_group_all_of_it() -> None:
    link = load_link("nvlink4")
    assert not link.mesh
