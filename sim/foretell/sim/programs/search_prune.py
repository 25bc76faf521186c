"""Which nodes of a tree's last level are worth the KV that they hold: ETS's objective, and its maximum."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from foretell.sim.programs.search import Node


def retained(
    nodes: Sequence[Node],
    weights: Sequence[float],
    clusters: Sequence[Hashable],
    cost: float,
    diversity: float,
) -> list[int]:
    """Places in `nodes` of those kept, to make `objective` as great as can be; at least one.

    Given which node stands for a cluster the best choice is exact and takes one pass from the leaves to
    the root: a subtree is kept if what it brings outweighs its nodes. A cluster is first stood for by its
    heaviest node; then, as long as that helps, by the heaviest of its nodes that is kept, and again. So the
    whole is a local optimum of an integer program that its authors give to a solver (exact for diversity 0).
    """
    order = sorted(range(len(nodes)), key=lambda i: (weights[i], nodes[i].tie), reverse=True)
    paths = [list(node.path()) for node in nodes]
    price = cost / len({step for path in paths for step in path})
    share = 1 / sum(weights)
    bonus = diversity / len(set(clusters))
    best, value = order[:1], -1e300
    eager = order
    for _ in range(8):
        spokesman: dict[Hashable, int] = {}
        for i in eager:
            spokesman.setdefault(clusters[i], i)
        worth = [
            weight * share + (bonus if spokesman[cluster] == i else 0.0)
            for i, (weight, cluster) in enumerate(zip(weights, clusters, strict=True))
        ]
        kept = _worthwhile(paths, worth, price)
        now = objective(nodes, weights, clusters, cost, diversity, kept)
        if not kept or now <= value:
            break
        best, value = kept, now
        inside = set(kept)
        eager = [i for i in order if i in inside] + [i for i in order if i not in inside]
    return best


def objective(
    nodes: Sequence[Node],
    weights: Sequence[float],
    clusters: Sequence[Hashable],
    cost: float,
    diversity: float,
    kept: Iterable[int],
) -> float:
    """ETS's objective: share of weight − cost·share of the tree's nodes + diversity·share of clusters.

    A kept node needs all nodes on its path, its own included, the root left out; shares are of what all
    `nodes` come to (Hooper et al., arXiv:2502.13575, eq. 3).
    """
    kept = list(kept)
    whole = {step for node in nodes for step in node.path()}
    held = {step for i in kept for step in nodes[i].path()}
    weight = sum(weights[i] for i in kept) / sum(weights)
    covered = len({clusters[i] for i in kept}) / len(set(clusters))
    return weight - cost * len(held) / len(whole) + diversity * covered


def _worthwhile(paths: Sequence[Sequence[Node]], worth: Sequence[float], price: float) -> list[int]:
    """The places whose paths are kept by the best closed subtree, leaves at one depth worth `worth`."""
    gain: dict[Node, float] = {}
    for path, value in zip(paths, worth, strict=True):
        gain[path[0]] = value - price
    level = {path[0]: path[0].parent for path in paths}
    while True:
        above: dict[Node, float] = {}
        for node, parent in level.items():
            if parent is not None and parent.parent is not None:
                above[parent] = above.get(parent, -price) + max(gain[node], 0.0)
        if not above:
            break
        gain.update(above)
        level = {node: node.parent for node in above}
    return [i for i, path in enumerate(paths) if all(gain[step] > 0 for step in path)]
