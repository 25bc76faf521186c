"""Times of collective operations: latency plus bytes over the link, for rings and trees.

Every function takes the bytes of the whole message on one rank and returns seconds. α is a link's latency a
hop, α₀ its base latency, and β its bandwidth in one direction, reached in full (efficiencies are the
caller's). With one rank they cost 0; with no bytes nothing is sent.

Sources: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH",
IJHPCA 19(1), 2005 (costs of the ring, recursive doubling and pairwise exchange); S. Jeaugey, "Massively Scale
Your Deep Learning Training with NCCL 2.4", NVIDIA, 2019-02 (double binary trees); S. Rabenseifner, 2004 (the
hierarchical reduce-scatter, all-reduce, all-gather).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from foretell.models.hardware import Link, Node
from foretell.models.numeric import greatest, least


def ring_all_reduce_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    """α₀ + 2(n − 1)·α + 2(n − 1)/n · B/β: a reduce-scatter, then an all-gather (Thakur 2005, §4)."""
    steps = 2 * (ranks - 1)
    return _latency(num_bytes, steps, link) + steps * num_bytes / (ranks * link.bandwidth_Bps)


def tree_all_reduce_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    """α₀ + 2·⌈log₂ n⌉·α + 2·B/β: up and down a double binary tree, pipelined (NCCL 2.4)."""
    if ranks == 1:
        return 0.0 * num_bytes
    depth = math.ceil(math.log2(ranks))
    return _latency(num_bytes, 2 * depth, link) + 2 * num_bytes / link.bandwidth_Bps


def one_shot_all_reduce_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    """α₀ + α + (n − 1)·B/β: every rank reads all others' messages at once, as vLLM's own does."""
    if ranks == 1:
        return 0.0 * num_bytes
    return _latency(num_bytes, 1, link) + (ranks - 1) * num_bytes / link.bandwidth_Bps


def ring_all_gather_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    """α₀ + (n − 1)·α + (n − 1)/n · B/β, B the gathered bytes; a reduce-scatter costs as much."""
    steps = ranks - 1
    return _latency(num_bytes, steps, link) + steps * num_bytes / (ranks * link.bandwidth_Bps)


def all_to_all_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    """Pairwise exchange of B bytes a rank: α₀ + (n − 1)·α + (n − 1)/n · B/β (Thakur 2005, §5)."""
    steps = ranks - 1
    return _latency(num_bytes, steps, link) + steps * num_bytes / (ranks * link.bandwidth_Bps)


def point_to_point_s(num_bytes: Any, link: Link) -> Any:
    """α₀ + α + B/β."""
    return _latency(num_bytes, 1, link) + num_bytes / link.bandwidth_Bps


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that talk to each other.

    Attributes:
        ranks: how many.
        per_node: how many of them share a node, which divides `ranks`.
        intra: the link within a node.
        inter: the link between nodes.

    """

    ranks: int
    per_node: int
    intra: Link
    inter: Link

    @property
    def nodes(self) -> int:
        """Nodes that the group spans."""
        return self.ranks // self.per_node


def make_group(ranks: int, stride: int, node: Node) -> Group:
    """Find the links of `ranks` ranks `stride` apart in vLLM's order: tensor, then pipeline, then data.

    Where the node size does not divide evenly the group is counted as one rank a node: the slow case.
    """
    fit = max(1, min(ranks, node.accelerators // stride))
    per_node = fit if ranks % fit == 0 else 1
    intra = node.intra
    if intra.mesh and 1 < per_node < node.accelerators:
        share = (per_node - 1) / (node.accelerators - 1)
        intra = replace(intra, bandwidth_Bps=intra.bandwidth_Bps * share)
    return Group(ranks, per_node, intra, node.inter)


def all_reduce_s(num_bytes: Any, group: Group) -> Any:
    """The fastest algorithm's time; across nodes reduce-scatter within, all-reduce between, gather within."""
    if group.ranks == 1:
        return 0.0 * num_bytes
    if group.nodes == 1:
        flat = _flat_all_reduce_s(num_bytes, group.ranks, group.intra)
        return least(flat, one_shot_all_reduce_s(num_bytes, group.ranks, group.intra))
    within = 2 * ring_all_gather_s(num_bytes, group.per_node, group.intra)
    return within + _flat_all_reduce_s(num_bytes / group.per_node, group.nodes, group.inter)


def all_gather_s(num_bytes: Any, group: Group) -> Any:
    """Gather `num_bytes` in all onto every rank; across nodes each rank's slice goes between nodes first.

    A reduce-scatter of as many bytes costs the same.
    """
    if group.nodes == 1:
        return ring_all_gather_s(num_bytes, group.ranks, group.intra)
    between = ring_all_gather_s(num_bytes / group.per_node, group.nodes, group.inter)
    return between + ring_all_gather_s(num_bytes, group.per_node, group.intra)


def dispatch_s(num_bytes: Any, group: Group) -> Any:
    """All-to-all of `num_bytes` a rank; other nodes' share takes the slow link meanwhile."""
    if group.nodes == 1:
        return all_to_all_s(num_bytes, group.ranks, group.intra)
    inside = group.per_node / group.ranks
    near = all_to_all_s(num_bytes * inside, group.per_node, group.intra)
    latency = _latency(num_bytes, group.ranks - group.per_node, group.inter)
    return greatest(near, latency + num_bytes * (1 - inside) / group.inter.bandwidth_Bps)


def _latency(num_bytes: Any, hops: int, link: Link) -> Any:
    base = link.base_latency_s if hops else 0.0
    return (base + hops * link.latency_s) * (num_bytes > 0)


def _flat_all_reduce_s(num_bytes: Any, ranks: int, link: Link) -> Any:
    return least(ring_all_reduce_s(num_bytes, ranks, link), tree_all_reduce_s(num_bytes, ranks, link))
