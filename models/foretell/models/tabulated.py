"""A step cost on grids: what an operator timer says, asked once and interpolated ever after."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from foretell.models.eager import EAGER_LOG_ERROR
from foretell.models.grids import POINTS, Line, Surface
from foretell.models.kernels import micro_batch
from foretell.models.stepcost import StepLoad

Array = npt.NDArray[np.float64]

BOUNDS = ("compute", "memory", "communication", "launch")
"""What an operator's time is bound by: the leading axis of every table."""
OPERATORS = (
    "gemm",
    "gemm_compute",
    "experts",
    "experts_compute",
    "prefill_attention",
    "decode_attention",
    "elementwise",
    "launches",
    "communication",
    "head",
)
"""Classes of operators. Matrix multiplications and experts are two classes each, by what binds them: "gemm"
and "experts" where they read their weights, "..._compute" where they multiply. "launches" is what kernels
take besides their work, where the timer tells it apart."""
OVERHEADS: Mapping[str, float] = {"layers": 1e-6, "prefill_layers": 1e-6, "step": 1e-3, "sequences": 1e-6}
"""Terms beside the operators, and the unit of their scales [s]: gaps between kernels for every layer of a
step, and once more where the step holds a prompt; the host's visible time for a step, and for every entry
of its batch."""
TERMS = (*OPERATORS, *OVERHEADS)
_SCALAR_STEPS = 32
_CHUNK_STEPS = 512


class Tables(NamedTuple):
    """Seconds of a step's operators, or the least that the hardware's peaks allow: of all layers, not scaled.

    Attributes:
        lines: by driver ("tokens", "sampled", "decode_seqs", "prefill_context") and term: (bounds, POINTS).
        decode: (bounds, SEQS, CONTEXTS), decoding attention.
        prefill: (2, bounds, SEQS, QUERIES), other attention: seconds for every query token of whole
            prompts, and for every query-key pair beyond theirs.

    """

    lines: Mapping[str, Mapping[str, Array]]
    decode: Array
    prefill: Array


class _Compiled(NamedTuple):
    """Tables after scaling: by bound, and summed for the path that a simulator calls."""

    tables: Mapping[str, Array]
    lines: Mapping[str, Line]
    decode: Surface
    prefill: tuple[Surface, Surface]


@dataclass(frozen=True, slots=True)
class TabulatedCost:
    """A `StepCost` that adds up terms: operators' seconds times a scale each, and overheads.

    `tabulate` makes the tables. Between grid points it is linear: in tokens, in (sequences, mean context) of
    the decoding entries, and in (sequences, mean query length) of the others, whose pairs beyond those of
    equal whole prompts are added. However scaled, no term goes below what the hardware's peaks allow.
    Pipelines are stepped through as in `RooflineCost`.

    Args:
        tables: of the operators.
        floors: the same at 100 % of the peaks.
        num_layers: of the model.
        stages: of the pipeline.
        scales: by term of TERMS; left out they are 1 for operators and 0 for overheads, whose units are
            those of OVERHEADS.
        errors: standard errors of the logarithm of the time that compute and links bind ("compute") and of
            the rest ("memory"), which `perturbed` draws from.
        notes: sentences for `validity`.
        factors: on the two kinds of time; drawn by `perturbed`.
        eager_s: least seconds of any step, see `eager_seconds`; 0 with CUDA graphs.

    Raises:
        ValueError: an unknown term, or a scale that is negative or not finite.

    """

    tables: Tables = field(repr=False)
    floors: Tables = field(repr=False)
    num_layers: int
    stages: int = 1
    scales: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    factors: tuple[float, float] = (1.0, 1.0)
    eager_s: float = 0.0
    _compiled: _Compiled = field(init=False, repr=False, compare=False)
    _overheads: tuple[float, float, float] = field(init=False, repr=False, compare=False)
    _cache: dict[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in self.scales.items():
            if name not in TERMS:
                raise ValueError(f"scales: {name!r} is not one of {', '.join(TERMS)}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"scales.{name}: {value!r} is not a finite number >= 0")
        unit = {name: self.scales.get(name, 0.0) * each * self.factors[1] for name, each in OVERHEADS.items()}
        overheads = (
            unit["step"] + unit["layers"] * self.num_layers,
            unit["prefill_layers"] * self.num_layers,
            unit["sequences"],
        )
        object.__setattr__(self, "_compiled", self._compile())
        object.__setattr__(self, "_overheads", overheads)
        object.__setattr__(self, "_cache", {})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f.name) for f in dataclasses.fields(self) if f.init)

    def __call__(
        self,
        prefill_tokens: Any,
        prefill_pairs: Any,
        prefill_context: Any,
        prefill_seqs: Any,
        decode_seqs: Any,
        decode_context: Any,
        sampled: Any,
    ) -> Any:
        """Seconds of a step."""
        load = (
            prefill_tokens,
            prefill_pairs,
            prefill_context,
            prefill_seqs,
            decode_seqs,
            decode_context,
            sampled,
        )
        if np.ndarray in map(type, load):
            return self._over(StepLoad(*load))
        entries = prefill_seqs + decode_seqs
        if self.stages > 1:
            decode_seqs, decode_context, sampled = micro_batch(
                self.stages, decode_seqs, decode_context, sampled
            )
        compiled = self._compiled
        seconds = self._linear(prefill_tokens + decode_seqs, sampled, decode_seqs)
        fixed, prompt, per_entry = self._overheads
        if prefill_tokens:
            mean = prefill_tokens / prefill_seqs
            whole, beyond = compiled.prefill
            seconds += prefill_tokens * whole.at(prefill_seqs, mean)
            seconds += (prefill_pairs - 0.5 * prefill_tokens * (mean + 1.0)) * beyond.at(prefill_seqs, mean)
            if "prefill_context" in compiled.lines:
                seconds += compiled.lines["prefill_context"].at(prefill_context)
            seconds += prompt
        if decode_seqs:
            seconds += compiled.decode.at(decode_seqs, decode_context / decode_seqs)
        seconds += fixed + per_entry * entries
        return seconds if seconds >= self.eager_s else self.eager_s

    def _over(self, load: StepLoad) -> Array:
        """Seconds of many steps, from the same sums as a single one's."""
        at = self._staged(load)
        drivers, compiled = _drivers(at), self._compiled
        fixed, prompt, per_entry = self._overheads
        seconds = fixed + per_entry * np.asarray(load.prefill_seqs + load.decode_seqs, dtype=float)
        for driver, line in compiled.lines.items():
            seconds = seconds + line.over(drivers[driver])
        seconds = seconds + _decoding(compiled.decode, at) + _prefilling(list(compiled.prefill), at)
        return np.maximum(seconds + prompt * (np.asarray(load.prefill_tokens) > 0), self.eager_s)

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by what bounds each operator, of communication and of the host; they sum to the step's."""
        at = self._staged(StepLoad(*load))
        shape = np.broadcast_shapes(*(np.shape(figure) for figure in load))
        shares = np.zeros((len(BOUNDS), *shape))
        drivers = _drivers(at)
        for driver in self._compiled.lines:
            for bound, values in enumerate(self._compiled.tables[driver]):
                shares[bound] += Line(POINTS, values).over(drivers[driver])
        for bound in range(len(BOUNDS)):
            shares[bound] += _decoding(Surface(self._compiled.tables["decode"][bound]), at)
            shares[bound] += _prefilling([Surface(t[bound]) for t in self._prefill_tables()], at)
        fixed, prompt, per_entry = self._overheads
        raw = StepLoad(*load)
        parts: dict[str, Any] = dict(zip(BOUNDS, shares, strict=True))
        step = 1e-3 * self.scales.get("step", 0.0) * self.factors[1]
        gaps = fixed - step + prompt * (np.asarray(raw.prefill_tokens) > 0)
        parts["launch"] = parts["launch"] + gaps
        parts["host"] = step + per_entry * (raw.prefill_seqs + raw.decode_seqs) + np.zeros(shape)
        parts["host"] = parts["host"] + np.maximum(self.eager_s - sum(parts.values()), 0.0)
        if not shape:
            return {name: float(value) for name, value in parts.items()}
        return parts

    def terms(self, *load: Any) -> dict[str, Any]:
        """Seconds by term of TERMS before any scaling (an overhead's: its unit times how often).

        They are what the accelerator and its gaps take: `eager_s` is none of them.
        """
        raw = StepLoad(*load)
        at = self._staged(raw)
        shape = np.broadcast_shapes(*(np.shape(figure) for figure in load))
        values: dict[str, Any] = {term: np.zeros(shape) for term in TERMS}
        drivers = _drivers(at)
        for driver, of in self.tables.lines.items():
            for term, table in of.items():
                values[term] = values[term] + Line(POINTS, table.sum(axis=0)).over(drivers[driver])
        values["decode_attention"] = _decoding(Surface(self.tables.decode.sum(axis=0)), at)
        values["prefill_attention"] = _prefilling([Surface(t.sum(axis=0)) for t in self.tables.prefill], at)
        often: dict[str, Any] = {
            "layers": self.num_layers,
            "prefill_layers": self.num_layers * (np.asarray(raw.prefill_tokens) > 0),
            "step": 1.0,
            "sequences": raw.prefill_seqs + raw.decode_seqs,
        }
        values |= {name: often[name] * unit + np.zeros(shape) for name, unit in OVERHEADS.items()}
        return values if shape else {name: float(value) for name, value in values.items()}

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive decode-only steps, bit for bit those of calling the cost."""
        parts = min(self.stages, decode_seqs)
        seqs: Any = decode_seqs if parts == 1 else decode_seqs / parts
        sampled = seqs if parts == 1 else micro_batch(self.stages, decode_seqs, 0, decode_seqs)[2]
        linear = self._linear(0 + seqs, sampled, seqs)
        fixed, _, per_entry = self._overheads
        late = fixed + per_entry * (0 + decode_seqs)
        surface = self._compiled.decode
        contexts = count(decode_context, decode_seqs)
        first = (context / parts / seqs if parts > 1 else context / seqs for context in contexts)
        for seconds in surface.along(seqs, islice(first, _SCALAR_STEPS)):
            total = linear + seconds + late
            yield total if total >= self.eager_s else self.eager_s
        decode_context += decode_seqs * _SCALAR_STEPS
        while True:
            chunk = decode_context + decode_seqs * np.arange(_CHUNK_STEPS, dtype=np.int64)
            means = chunk / parts / seqs if parts > 1 else chunk / seqs
            totals = linear + surface.over(float(seqs), means) + late
            yield from np.maximum(totals, self.eager_s).tolist()
            decode_context += decode_seqs * _CHUNK_STEPS

    def scaled(self, scales: Mapping[str, float], **changes: Any) -> TabulatedCost:
        """The same cost with these scales instead of its own, where they are given."""
        return dataclasses.replace(self, scales={**self.scales, **scales}, **changes)

    def perturbed(self, rng: np.random.Generator) -> TabulatedCost:
        """The same cost with its two kinds of time drawn from their errors.

        Terms of a kind move together: what is left over where a model or a GPU was left out is off by one
        factor for all steps of a phase, and drawing each term by itself would average that away.
        """
        draws = rng.standard_normal(2)
        compute = math.exp(self.errors.get("compute", 0.0) * draws[0])
        memory = math.exp(self.errors.get("memory", 0.0) * draws[1])
        if not self.eager_s:
            return dataclasses.replace(self, factors=(compute, memory))
        eager_s = self.eager_s * math.exp(EAGER_LOG_ERROR * rng.standard_normal())
        return dataclasses.replace(self, factors=(compute, memory), eager_s=eager_s)

    def validity(self) -> list[str]:
        """Sentences on what lies outside the range that the figures were fitted in."""
        return list(self.notes)

    def _linear(self, tokens: Any, sampled: Any, decode_seqs: Any) -> float:
        """Seconds of all that depends on tokens, sampled sequences and decoding ones alone."""
        lines, cache = self._compiled.lines, self._cache
        try:
            seconds = cache[tokens]
        except KeyError:
            seconds = cache[tokens] = lines["tokens"].at(tokens)
        if sampled:
            seconds += lines["sampled"].at(sampled)
        if "decode_seqs" in lines:
            seconds += lines["decode_seqs"].at(decode_seqs)
        return seconds

    def _staged(self, at: StepLoad) -> StepLoad:
        if self.stages == 1:
            return at
        seqs, context, sampled = micro_batch(self.stages, at.decode_seqs, at.decode_context, at.sampled)
        return at._replace(decode_seqs=seqs, decode_context=context, sampled=sampled)

    def _prefill_tables(self) -> tuple[Array, Array]:
        return self._compiled.tables["whole"], self._compiled.tables["beyond"]

    def _compile(self) -> _Compiled:
        tables: dict[str, Array] = {}
        for driver, of in self.tables.lines.items():
            tables[driver] = np.sum(
                [self._scale(term, table, self.floors.lines[driver][term]) for term, table in of.items()],
                axis=0,
            )
        tables["decode"] = self._scale("decode_attention", self.tables.decode, self.floors.decode)
        for name, table, floor in zip(
            ("whole", "beyond"), self.tables.prefill, self.floors.prefill, strict=True
        ):
            tables[name] = self._scale("prefill_attention", table, floor)
        lines = {driver: Line(POINTS, tables[driver].sum(axis=0)) for driver in self.tables.lines}
        surfaces = [Surface(tables[name].sum(axis=0)) for name in ("decode", "whole", "beyond")]
        return _Compiled(tables, lines, surfaces[0], (surfaces[1], surfaces[2]))

    def _scale(self, term: str, table: Array, floor: Array) -> Array:
        """A table by bound after scaling, raised in proportion where it would beat the peaks."""
        compute, other = self.factors
        by_bound = np.array([compute, other, compute, other]).reshape(-1, *[1] * (table.ndim - 1))
        scaled = table * (self.scales.get(term, 1.0) * by_bound)
        total = scaled.sum(axis=0)
        raised = np.maximum(total, floor.sum(axis=0))
        even = np.divide(raised, total, out=np.ones_like(total), where=total > 0)
        return np.where(total > 0, scaled * even, floor)


def _drivers(at: StepLoad) -> dict[str, Any]:
    return {
        "tokens": at.prefill_tokens + at.decode_seqs,
        "sampled": at.sampled,
        "decode_seqs": at.decode_seqs,
        "prefill_context": at.prefill_context,
    }


def _decoding(surface: Surface, at: StepLoad) -> Array:
    seqs = np.asarray(at.decode_seqs, dtype=float)
    some = seqs > 0
    mean = np.divide(
        at.decode_context, seqs, out=np.ones(np.broadcast(at.decode_context, seqs).shape), where=some
    )
    return np.asarray(surface.over(seqs, mean) * some, dtype=float)


def _prefilling(surfaces: list[Surface], at: StepLoad) -> Array:
    tokens, seqs = np.asarray(at.prefill_tokens, dtype=float), np.asarray(at.prefill_seqs, dtype=float)
    mean = np.divide(tokens, seqs, out=np.zeros(np.broadcast(tokens, seqs).shape), where=seqs > 0)
    beyond = at.prefill_pairs - 0.5 * tokens * (mean + 1.0)
    return np.asarray(
        tokens * surfaces[0].over(seqs, mean) + beyond * surfaces[1].over(seqs, mean), dtype=float
    )
