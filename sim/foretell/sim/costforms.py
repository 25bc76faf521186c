"""What a calibration may fit: which terms a step's time is made of, what is known of them, and their cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models import AffineCost, StepLoad
from foretell.models.architecture import Architecture
from foretell.models.efficiency import PERFECT
from foretell.models.hardware import Hardware
from foretell.models.parallelism import Parallelism
from foretell.models.precision import Precision
from foretell.models.pricing import scalable_cost
from foretell.models.roofline import RooflineCost
from foretell.sim.costspec import parse_step_cost
from foretell.sim.deployment import layout_of, subject_of
from foretell.sim.presets import load_preset
from foretell.sim.profile import AFFINE, reference_terms, with_coefficients
from foretell.sim.scenario import Pool

Floats = npt.NDArray[np.float64]

_OPERATOR_ERROR = 0.4
_OVERHEAD_ERROR = 1.0
_AFFINE_ERROR = 1.0
"""Standard errors of the logarithm before any data: loose, so that some dozen steps outweigh them."""
_ABOVE_PEAK = 1.5
"""What a term takes over its time at the peaks, before any data."""


@dataclass(frozen=True, slots=True)
class CostForm:
    """A sum of terms whose coefficients are sought.

    Attributes:
        kind: as in `Profile`.
        names: of the k coefficients.
        prior: (k,) medians, and `prior_log_error` (k,), inf where nothing is known.
        lower: (k,) below which a term would beat the hardware's peak; those of "terms" follow from the
            steps, see `bounds`.
        base: for "terms", the modelled cost.

    """

    kind: str
    names: tuple[str, ...]
    prior: Floats
    prior_log_error: Floats
    lower: Floats
    base: Any = field(default=None, repr=False)

    def terms(self, *load: Any) -> dict[str, Any]:
        """What each coefficient multiplies."""
        if self.kind == "affine":
            return affine_terms(*load)
        values: Mapping[str, Any] = self.base.terms(*load)
        return {name: values[name] for name in self.names}

    def features(self, load: StepLoad) -> Floats:
        """(n, k) of a log's steps."""
        n = np.shape(load.decode_seqs)
        return np.column_stack([np.broadcast_to(v, n) for v in self.terms(*load).values()])

    def cost(self, coefficients: Floats) -> Any:
        """The step cost with these coefficients."""
        return with_coefficients(
            self.kind, dict(zip(self.names, coefficients.tolist(), strict=True)), self.base
        )

    def bounds(self, load: StepLoad) -> Floats:
        """(k,) lower bounds: of a modelled term, its time at 100 % of the peaks over its modelled time.

        Both are summed over the steps; at every single load the modelled cost itself keeps to the peaks.
        """
        floors = getattr(self.base, "floors", None)
        if self.kind == "affine" or floors is None:
            return self.lower
        ideal = dataclasses.replace(self.base, tables=floors).terms(*load)
        real = self.base.terms(*load)
        least = [float(np.sum(ideal[n]) / max(np.sum(real[n]), 1e-300)) for n in self.names]
        overhead = [name in _overheads(self.base) for name in self.names]
        return np.where(overhead, 0.0, least)


def affine_terms(
    prefill_tokens: Any,
    prefill_pairs: Any,
    prefill_context: Any,
    prefill_seqs: Any,
    decode_seqs: Any,
    decode_context: Any,
    sampled: Any,
) -> dict[str, Any]:
    """What the coefficients of `AffineCost` multiply."""
    values = (
        np.ones(np.shape(decode_seqs)),
        prefill_tokens + decode_seqs,
        prefill_seqs + decode_seqs,
        decode_context,
        prefill_pairs,
    )
    return dict(zip(AFFINE, values, strict=True))


def affine_form(lower: Floats | None = None, around: AffineCost | None = None) -> CostForm:
    """The five coefficients of `AffineCost`.

    Args:
        lower: bounds, from `affine_bounds`.
        around: where a prior is centred; coefficients of 0 there have none.

    """
    k = len(AFFINE)
    centre = np.zeros(k) if around is None else np.array([getattr(around, name) for name in AFFINE])
    known = centre > 0
    return CostForm(
        "affine",
        AFFINE,
        np.where(known, centre, 1.0),
        np.where(known, _AFFINE_ERROR, np.inf),
        np.zeros(k) if lower is None else lower,
    )


def affine_bounds(
    architecture: Architecture, hardware: Hardware, plan: Parallelism, precision: Precision
) -> Floats:
    """What no coefficient of `AffineCost` can be less than: the slopes of a step at 100 % of the peaks.

    The fixed time is at least that of reading the weights for one token; a token takes its FLOPs in a large
    step, a token of context its KV cache's bytes, a query-key pair its FLOPs.
    """
    ideal = RooflineCost(architecture, hardware, plan, precision, PERFECT)
    many, long = 2.0**18, 2.0**15
    pairs = 2048.0 * 2048.0
    base = ideal(0, 0, 0, 0, 1, 1, 1)
    token = (ideal(2 * many, 0, 0, 1, 0, 0, 0) - ideal(many, 0, 0, 1, 0, 0, 0)) / many
    context = (ideal(0, 0, 0, 0, 64, 128 * long, 64) - ideal(0, 0, 0, 0, 64, 64 * long, 64)) / (64 * long)
    pair = (ideal(2048, 16 * pairs, 2048, 1, 0, 0, 0) - ideal(2048, 8 * pairs, 2048, 1, 0, 0, 0)) / (
        8 * pairs
    )
    return np.maximum([base, token, 0.0, context, pair], 0.0)


def terms_form(cost: Any) -> CostForm:
    """The scales of a modelled cost's terms, around its own; terms that the model has not are left out.

    Args:
        cost: with `terms` and `scales`, as `TabulatedCost`.

    """
    at = reference_terms(cost.terms)
    overheads = _overheads(cost)
    # For one model, gaps of its layers are a fixed time of a step by another name.
    twice = {"layers"} if overheads and not cost.scales.get("layers") else set()
    names = tuple(name for name, value in at.items() if value > 0 and name not in twice)
    own = np.array([cost.scales.get(name, 0.0 if name in overheads else 1.0) for name in names])
    error = np.where([name in overheads for name in names], _OVERHEAD_ERROR, _OPERATOR_ERROR)
    return CostForm(
        "terms",
        names,
        np.where(own > 0, own, 1.0),
        np.where(own > 0, error, np.inf),
        np.zeros(len(names)),
        cost,
    )


def _overheads(cost: Any) -> frozenset[str]:
    """Terms that are no operators: a cost without peaks, such as a test's, has none."""
    from foretell.models.tabulated import OVERHEADS

    return frozenset(OVERHEADS) if hasattr(cost, "floors") else frozenset()


def form_of(pool: Pool | None, kind: str | None = None) -> tuple[CostForm, dict[str, str | int]]:
    """What to fit for a pool, and what a profile should say that it was fitted on.

    Args:
        pool: what ran; None if nothing is known, which leaves the affine cost without bounds.
        kind: "affine" or "terms"; by default terms where there is a model.

    Raises:
        ValueError: terms without a model, or what the pool's names lead to.

    """
    if pool is None or pool.model is None:
        if kind == "terms":
            raise ValueError("--form terms: scales a model's terms; give --model and --hardware")
        around = None if pool is None or pool.step_cost is None else parse_step_cost(pool.step_cost)
        return affine_form(around=around), {}
    layout = layout_of(pool, pool.groups[0])
    subject = subject_of(*layout)
    if kind == "affine":
        least = affine_bounds(*layout)
        return affine_form(least, AffineCost(*(_ABOVE_PEAK * least).tolist())), subject
    engine = pool.groups[0].engine
    version = None if engine is None else load_preset(engine.preset)["engine_version"]
    return terms_form(
        scalable_cost(*layout, operator_times=pool.operator_times, engine_version=version)
    ), subject
