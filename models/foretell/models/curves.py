"""Operators priced by small shipped curves, where the measured tables are not installed.

    curves = load_curves("h200")
    time = curves.timer(operator, load, machine)

`timer` stands where roofline_time may stand. A curve has a few figures for an accelerator, a family of
kernels and a number format, fitted on the tables by foretell.validate.fit_curves; docs/curves.md says how,
and how far off they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from foretell.models.catalogue import list_records
from foretell.models.curve_forms import (
    COLLECTIVES,
    FAMILIES,
    Curve,
    LinkCurve,
    Work,
    attention_work,
    experts_work,
    family_of,
    gemm_work,
)
from foretell.models.hardware import Link, load_hardware
from foretell.models.operator_time import Machine, OperatorTime
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.silicon import ELEMENTWISE_ERROR
from foretell.models.silicon_experts import distinct_experts, expert_tables, experts_roofline
from foretell.models.silicon_gemm import BORROWED_FORMAT, BORROWED_MACHINE, FORMATS, Format
from foretell.models.silicon_mla import ELEMENTWISE
from foretell.models.silicon_source import SYSTEMS, Source

ROUTING = "power_law_1.01"
"""Routing of the tables that the experts' curves were fitted on: what they stand for."""
_GEMM_TABLES: Mapping[str, tuple[str, ...]] = {
    "fp8": ("fp8",),
    "nvfp4": ("nvfp4",),
    "fp4": ("nvfp4",),
    "mxfp4": ("nvfp4",),
    "int8": ("sq", "int8_wo"),
    "int4": ("int4_wo",),
}
SAME_CHIP: Mapping[str, str] = {
    "a100-40gb-sxm": "a100-80gb-sxm",
    "a100-80gb-pcie": "a100-80gb-sxm",
    "h100-pcie": "h100-sxm",
    "rtx-pro-6000": "rtx-pro-6000-server",
}
"""Accelerators that nobody measured, with the chip of one that somebody did: they take its fractions."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of one accelerator.

    Attributes:
        accelerator: whose.
        measured: whether its own kernels were timed; else the curves are those of its chip on another board,
            or of all measured accelerators together.
        kernels: curves by "family/format", families as in FAMILIES, formats as the tables call them.
        links: collectives by (operation, ranks), operations as in COLLECTIVES.
        link: between the accelerators of a node, None where nobody knows it.
        block_fp8: whether fp8 experts are quantised by blocks (DeepSeek, MiniMax, Qwen), else by tensor.

    """

    accelerator: str
    measured: bool
    kernels: Mapping[str, Curve]
    links: Mapping[tuple[str, int], LinkCurve]
    link: Link | None = None
    block_fp8: bool = True

    def timer(self, operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        """Seconds of one layer, as operator_time.OperatorTimer wants them.

        As Silicon.timer: the part that binds by the roofline carries the time, the other its roofline.
        """
        if isinstance(operator, Linear) and not operator.rows:
            _, moved = operator.work(np.asarray(load[0], dtype=float))
            memory = moved / (machine.memory_Bps * ELEMENTWISE)
            launch = operator.launches * machine.launch_s * (memory > 0)
            return OperatorTime(0.0 * memory, memory, launch)
        curve, work = self._ask(operator, load, machine)
        seconds, bound = curve.seconds(work), work.compute_s > work.memory_s
        return OperatorTime(
            np.where(bound, seconds, work.compute_s)[()],
            np.where(bound, work.memory_s, seconds)[()],
            0.0 * seconds[()],
        )

    def log_error(self, operator: Operator) -> float:
        """Standard error of the logarithm of an operator's seconds, wider where another format lends."""
        if isinstance(operator, Linear) and not operator.rows:
            return ELEMENTWISE_ERROR
        return self._curve(operator)[0].error

    def error(self, family: str) -> float:
        """Root mean square, over formats or ranks, of the log-errors of a family or collective.

        Raises:
            ValueError: an unknown family.

        """
        if family == "elementwise":
            return ELEMENTWISE_ERROR
        found = [curve.error for key, curve in self.kernels.items() if key.partition("/")[0] == family]
        found += [curve.error for (name, _), curve in self.links.items() if name == family]
        if not found:
            known = ", ".join((*FAMILIES, "elementwise", *COLLECTIVES))
            raise ValueError(f"curves: {family!r} is not one of {known}")
        return float(np.sqrt(np.mean(np.square(found))))

    def all_reduce_s(self, num_bytes: Any, ranks: int, fused: bool = True) -> Any:
        """Seconds of an all-reduce within a node; `fused` lets Blackwell use the one fused with the norm.

        Raises:
            ValueError: nobody knows the accelerator's link.

        """
        own = fused and any(name == "all_reduce_fused" for name, _ in self.links)
        return self._collective("all_reduce_fused" if own else "all_reduce", num_bytes, ranks, 1.0)

    def all_gather_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds to gather `num_bytes` in all onto every rank of a node; a reduce-scatter is like it.

        Raises:
            ValueError: nobody knows the accelerator's link.

        """
        return self._collective("all_gather", num_bytes, ranks, (ranks - 1.0) / ranks)

    def _collective(self, operation: str, num_bytes: Any, ranks: int, share: float) -> Any:
        """Ranks that nobody measured take the curve of the nearest number of them."""
        size = np.asarray(num_bytes, dtype=float)
        if ranks == 1:
            return (0.0 * size)[()]
        if self.link is None:
            raise ValueError(f"curves: no link of {self.accelerator!r} is known; give load_curves a link")
        there = sorted(known for name, known in self.links if name == operation)
        near = min(there, key=lambda known: abs(np.log2(known / ranks)))
        return self.links[operation, near].seconds(share * size / self.link.bandwidth_Bps)[()]

    def _curve(self, operator: Operator) -> tuple[Curve, str]:
        """The curve that prices an operator, and its format.

        Raises:
            ValueError: nobody measured the family.

        """
        family, (names, wanted) = family_of(operator), self._formats(operator)
        for name in names:
            curve = self.kernels.get(f"{family}/{name}")
            if curve is not None:
                lent = BORROWED_FORMAT * (name not in wanted)
                return replace(curve, error=float(np.hypot(curve.error, lent))), name
        raise ValueError(f"curves: nobody measured {family} on {self.accelerator}")

    def _formats(self, operator: Operator) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Formats of the tables in the order they are asked, and those that are the operator's own."""
        if isinstance(operator, Attend):
            if operator.bytes_per_sequence and not operator.latent:
                return ("bfloat16",), ("bfloat16",)
            names = ("fp8", "bfloat16") if operator.element_bytes < 2.0 else ("bfloat16", "fp8")
            return names, names[:1]
        if isinstance(operator, Experts):
            source = Source(SYSTEMS.get(self.accelerator, ""))
            own = expert_tables(source, operator, self.block_fp8)
            own = own if operator.weights == "bf16" else own[:-1]
        else:
            own = _GEMM_TABLES.get(operator.weights, ("bfloat16",))
        # a part without narrow arithmetic only stores narrow weights; MXFP4's tables choose for themselves
        if isinstance(operator, Linear) or operator.weights in ("fp8", "nvfp4", "fp4"):
            own = tuple(name for name in own if FORMATS[name].peak in _alike(operator.precision))
        return (*own, "bfloat16"), own

    def _ask(self, operator: Operator, load: tuple[Any, ...], machine: Machine) -> tuple[Curve, Work]:
        curve, name = self._curve(operator)
        figures = tuple(np.asarray(figure, dtype=float) for figure in load)
        if isinstance(operator, Experts):
            return curve, routed_work(operator, figures[0], machine, name)
        flops, moved = operator.work(*figures)
        compute, memory = flops / machine.peak_flops[operator.precision], moved / machine.memory_Bps
        if isinstance(operator, Attend):
            heads = (
                operator.num_heads,
                operator.num_kv_heads,
                operator.head_dim,
                operator.window or np.inf,
                operator.element_bytes,
            )
            queries, _, context, sequences = figures
            batch = np.where(sequences > 0, sequences, 1.0)
            family = family_of(operator)
            return curve, attention_work(family, compute, memory, heads, batch, context / batch, queries)
        if operator.weights == "fp32":  # CUDA cores take smaller tiles than tensor cores, whose curve this is
            return curve, gemm_work(compute, memory, np.inf, np.inf, np.inf)
        return curve, gemm_work(compute, memory, figures[0], operator.rows, operator.columns)


def _alike(precision: str) -> tuple[str, ...]:
    return ("bf16", "fp16") if precision in ("bf16", "fp16") else (precision,)


def routed_work(operator: Experts, x: Any, machine: Machine, table: str) -> Work:
    """Work of routed experts in a table's format, under the tables' routing or the operator's own."""
    width, ranks = operator.intermediate_size, operator.expert_ranks
    if operator.popularity:
        flops, moved = operator.work(x)
        distinct = (moved - operator.bytes_per * flops / operator.flops_per) / operator.expert_bytes
        peak = machine.peak_flops[operator.precision]
        # it has the fullest rank's load already
        return experts_work(flops / peak, moved / machine.memory_Bps, distinct, width, 1.0)
    held = operator.hidden_size * width
    form = FORMATS[table]
    if table == "bfloat16" and operator.weights != "bf16":
        form = Format(operator.expert_bytes / (operator.flops_per / 2.0), 2.0, operator.precision)
    tokens = x * operator.tokens_per_token
    shape = (operator.hidden_size, width, operator.top_k, operator.num_experts, ranks)
    compute, memory = experts_roofline(
        tokens, shape, form, machine, ROUTING, operator.flops_per / (2.0 * held)
    )
    distinct = distinct_experts(tokens, operator.num_experts, operator.top_k, ROUTING) / ranks
    return experts_work(compute, memory, distinct, width, ranks)


def load_curves(accelerator: str, link: Link | None = None) -> Curves:
    """Load the shipped curves of an accelerator; for one that nobody measured, its chip's or pooled ones.

    Args:
        accelerator: its name.
        link: between the accelerators of a node; by default that of the usual node of a known accelerator.

    """
    record = _record()
    if link is None and accelerator in list_records("hardware"):
        link = load_hardware(accelerator).node.intra
    pooled, known = record["pooled"], record["accelerators"]
    measured = accelerator in known
    own = known.get(SAME_CHIP.get(accelerator, accelerator), {"kernels": {}})
    wires = "pcie" if link is not None and "pcie" in link.name else "nvlink"
    links = own["links"] if measured else pooled[wires]
    # families that were not measured on this accelerator come from the others
    families = pooled["kernels"] | own["kernels"]
    return Curves(
        accelerator,
        measured,
        {
            f"{family}/{name}": read_curve(
                figures, 0.0 if measured or family not in own["kernels"] else BORROWED_MACHINE
            )
            for family, formats in families.items()
            for name, figures in formats.items()
        },
        {
            (operation, int(ranks)): LinkCurve(**{key: figures[key] for key in _LINK})
            for operation, by_ranks in links.items()
            for ranks, figures in by_ranks.items()
        },
        link,
    )


_LINK = ("latency_s", "bandwidth", "half_s", "error")


def read_curve(figures: Mapping[str, Any], borrowed: float = 0.0) -> Curve:
    """Make a kernel's curve of its record; `borrowed` is a log-error besides its own."""
    return Curve(
        figures["launch_s"],
        figures["compute"],
        figures["memory"],
        figures["p"],
        tuple(figures.get("h", ())),
        tuple(figures.get("g", ())),
        float(np.hypot(figures["error"], borrowed)),
    )


@cache
def _record() -> dict[str, Any]:
    path = files("foretell.models") / "data" / "curves.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
