"""Accelerators, the links between them, and the nodes that hold them: frozen specs of SI figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foretell.models.catalogue import check_keys, list_records, read_record

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp6", "fp4", "int4")
"""Keys that `Accelerator.peak_flops` may have."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way for accelerators to talk.

    Attributes:
        name: its name in the catalogue.
        bandwidth_Bps: peak bytes a second of one accelerator in ONE direction.
        latency_s: time that one hop adds to a collective, however small the message.
        base_latency_s: time of a collective besides its hops, however small and whatever the ranks.
        mesh: whether it is a wire to each other accelerator of the node, so that a group of some of
            them has only that share of the bandwidth; else a switch gives any group all of it.
        sources: source and date of each field.

    """

    name: str
    bandwidth_Bps: float
    latency_s: float
    base_latency_s: float = 0.0
    mesh: bool = False
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _positive("link", self.name, bandwidth_Bps=self.bandwidth_Bps, latency_s=self.latency_s)
        if not (_is_number(self.base_latency_s) and self.base_latency_s >= 0):
            raise ValueError(
                f"link {self.name}: base_latency_s: {self.base_latency_s!r} is not a finite number >= 0"
            )


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: how many accelerators share its inner link, and what joins it to others.

    Attributes:
        name: its name in the catalogue.
        accelerators: how many accelerators the inner link joins (a whole NVLink domain counts as a node).
        intra: the link between accelerators of the node.
        inter: the link between nodes, per accelerator.
        sources: source and date of each field.

    """

    name: str
    accelerators: int
    intra: Link
    inter: Link
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if (
            isinstance(self.accelerators, bool)
            or not isinstance(self.accelerators, int)
            or self.accelerators < 1
        ):
            raise ValueError(f"node {self.name}: accelerators: {self.accelerators!r} is not an integer >= 1")


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU, TPU or CPU as its datasheet gives it.

    Attributes:
        name: its name in the catalogue.
        vendor: who makes it.
        memory_bytes: the memory a driver reports, or where the record says so, the marketed one.
        memory_Bps: peak memory bandwidth.
        peak_flops: dense peak by precision (a subset of PRECISIONS), multiply-add = 2, never with sparsity.
        link: name of the link inside its usual node.
        node: name of its usual node.
        tdp_W: the board's maximum power, None where nobody published it.
        idle_W: power at idle, None where nobody published it.
        price_usd_per_h: rent of one accelerator, None where unknown; its date is in `sources`.
        sources: source and date of each field.

    """

    name: str
    vendor: str
    memory_bytes: float
    memory_Bps: float
    peak_flops: Mapping[str, float] = field(hash=False)
    link: str
    node: str
    tdp_W: float | None = None
    idle_W: float | None = None
    price_usd_per_h: float | None = None
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _positive("hardware", self.name, memory_bytes=self.memory_bytes, memory_Bps=self.memory_Bps)
        if not self.peak_flops:
            raise ValueError(f"hardware {self.name}: peak_flops is empty; give at least bf16 or fp32")
        for precision, flops in self.peak_flops.items():
            if precision not in PRECISIONS:
                raise ValueError(
                    f"hardware {self.name}: peak_flops.{precision}: not one of {', '.join(PRECISIONS)}"
                )
            _positive("hardware", self.name, **{f"peak_flops.{precision}": flops})
        for name, watts in (("tdp_W", self.tdp_W), ("idle_W", self.idle_W)):
            if watts is not None:
                _positive("hardware", self.name, **{name: watts})
        if self.idle_W is not None and self.tdp_W is not None and self.idle_W > self.tdp_W:
            raise ValueError(f"hardware {self.name}: idle_W {self.idle_W:g} exceeds tdp_W {self.tdp_W:g}")
        if self.price_usd_per_h is not None and not (
            _is_number(self.price_usd_per_h) and self.price_usd_per_h >= 0
        ):
            raise ValueError(
                f"hardware {self.name}: price_usd_per_h: {self.price_usd_per_h!r} is not a finite number >= 0"
            )


@dataclass(frozen=True, slots=True)
class Hardware:
    """An accelerator in its node, with the floors that software adds.

    Attributes:
        accelerator: the accelerator.
        node: the node that holds it.
        launch_s: the least time of one kernel inside a step (graph-launched).
        host_s: the least time that the host spends on one engine step.

    """

    accelerator: Accelerator
    node: Node
    launch_s: float = 0.0
    host_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("launch_s", "host_s"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                where = f"hardware {self.accelerator.name}: {name}"
                raise ValueError(f"{where}: {value!r} is not a finite number of seconds >= 0")

    @property
    def name(self) -> str:
        """The accelerator's name."""
        return self.accelerator.name


def list_hardware() -> list[str]:
    """Names of the bundled accelerators."""
    return list(list_records("hardware"))


def load_link(name: str) -> Link:
    """Load a link by name, or from a path to a TOML file.

    Raises:
        ValueError: unknown name, or a record that is malformed.

    """
    record = read_record("links", name)
    optional = ["base_latency_s", "mesh", "sources"]
    check_keys(record, ["name", "bandwidth_Bps", "latency_s"], optional, f"link {name}")
    return Link(**record)


def load_node(name: str) -> Node:
    """Load a node with its links, by name or from a path to a TOML file.

    Raises:
        ValueError: unknown name, or a record that is malformed.

    """
    record = read_record("nodes", name)
    check_keys(record, ["name", "accelerators", "intra", "inter"], ["sources"], f"node {name}")
    return Node(**record | {"intra": load_link(record["intra"]), "inter": load_link(record["inter"])})


def load_hardware(name: str, node: str | None = None) -> Hardware:
    """Load an accelerator in its usual node (or in `node`) by name or from a path to a TOML file.

    Raises:
        ValueError: unknown name (the nearest are suggested), or a record that is malformed.

    """
    record = read_record("hardware", name)
    required = ["name", "vendor", "memory_bytes", "memory_Bps", "peak_flops", "link", "node"]
    optional = ["tdp_W", "idle_W", "price_usd_per_h", "launch_s", "host_s", "sources"]
    check_keys(record, required, optional, f"hardware {name}")
    if not isinstance(record["peak_flops"], dict):
        raise ValueError(
            f"hardware {name}: peak_flops: expected a table of precisions, as in [peak_flops] bf16 = 989e12"
        )
    floors: dict[str, Any] = {key: record.pop(key) for key in ("launch_s", "host_s") if key in record}
    return Hardware(Accelerator(**record), load_node(node or record["node"]), **floors)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(kind: str, name: str, **figures: object) -> None:
    for key, value in figures.items():
        if not (_is_number(value) and value > 0):  # type: ignore[operator]
            raise ValueError(f"{kind} {name}: {key}: {value!r} is not a finite number > 0")
