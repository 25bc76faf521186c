"""Calibration profiles: fitted coefficients with their posterior, saved as TOML, and the cost they make."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foretell.models import AffineCost, StepCost, StepLoad

AFFINE = tuple(f.name for f in dataclasses.fields(AffineCost))
"""Coefficients of the kind "affine"; those of "terms" are scales of a modelled cost's terms."""
KINDS = ("affine", "terms")
REFERENCE = StepLoad(
    *np.array([[1024, 1024 * 512.5, 1024, 1, 64, 64 * 1024, 65], [0, 0, 0, 0, 4, 2048, 4]]).T
)
"""A large step, bound by compute, and a small one, bound by memory: at both together, a modelled cost's terms
are compared with those that a profile was fitted on."""
_DRAWS = 100
_SAME = 0.02
_KEYS = ("kind", "created", "version", "log_error", "run_log_error", "client_s", "warnings", "fitted_on",
         "coefficients", "identified", "reference", "names", "draws")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """What a calibration found.

    Attributes:
        kind: "affine" (the coefficients of `AffineCost`) or "terms" (scales of a modelled cost's terms).
        coefficients: by name.
        draws: from their posterior, in the coefficients' order.
        log_error: standard deviation of the logarithm of one step (or latency) around the fit.
        run_log_error: of the logarithm of a whole run's time that the fit did not see; 0 if unknown.
        identified: by name, whether the data determine it.
        fitted_on: what it was fitted on: observations, model, hardware and the like.
        reference: seconds of the modelled terms in the steps REFERENCE, to tell another model by.
        client_s: seconds of a request outside of the engine, if the data hold them; forecasts leave it out.
        warnings: sentences.
        created: ISO date.
        version: of foretell.

    Raises:
        ValueError: figures that do not go together, or are out of range.

    """

    kind: str
    coefficients: Mapping[str, float]
    draws: tuple[tuple[float, ...], ...]
    log_error: float
    run_log_error: float
    identified: Mapping[str, bool]
    fitted_on: Mapping[str, str | int] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    client_s: float = 0.0
    warnings: tuple[str, ...] = ()
    created: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is not one of {', '.join(KINDS)}")
        if not self.coefficients:
            raise ValueError("coefficients: none")
        unknown = [n for n in self.coefficients if self.kind == "affine" and n not in AFFINE]
        if unknown:
            raise ValueError(f"coefficients.{unknown[0]}: not one of {', '.join(AFFINE)}")
        for name, value in self.coefficients.items():
            _number(f"coefficients.{name}", value)
        for name in ("log_error", "run_log_error", "client_s"):
            _number(name, getattr(self, name))
        for row, draw in enumerate(self.draws):
            if len(draw) != len(self.coefficients):
                raise ValueError(
                    f"draws: row {row} has {len(draw)} values for {len(self.coefficients)} coefficients"
                )
            for value in draw:
                _number(f"draws: row {row}", value)
        if set(self.identified) != set(self.coefficients):
            raise ValueError("identified: its names are not those of the coefficients")

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Equal-tailed interval of each coefficient; empty without draws."""
        if not self.draws:
            return {}
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return dict(zip(self.coefficients, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    def to_toml(self) -> str:
        """The file's text; numbers to six digits, and at most 100 draws."""
        lines = [
            "# Written by foretell calibrate; a pool's `calibration` or `forecast --calibration` reads it.",
            f"kind = {_toml(self.kind)}",
            *(
                f"{name} = {_toml(getattr(self, name))}"
                for name in ("created", "version")
                if getattr(self, name)
            ),
            *(f"{n} = {_toml(getattr(self, n))}" for n in ("log_error", "run_log_error", "client_s")),
            f"warnings = {_toml(list(self.warnings))}",
        ]
        for name in ("fitted_on", "coefficients", "identified", "reference"):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(v)}" for key, v in getattr(self, name).items())]
        step = -(-len(self.draws) // _DRAWS) or 1
        rows = [f"  {_toml(list(draw))}," for draw in self.draws[::step]]
        lines += ["", "[posterior]", f"names = {_toml(list(self.coefficients))}", "draws = [", *rows, "]"]
        return "\n".join(lines) + "\n"


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile, whole or not at all.

    Raises:
        ValueError: it cannot be written.

    """
    from foretell.sim.records import write_text

    write_text(path, profile.to_toml())


def read_profile(path: str | Path) -> Profile:
    """Read a profile.

    Raises:
        ValueError: one line with the file and the field.

    """
    file = Path(path).expanduser()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"calibration {file}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"calibration {file}: malformed: {' '.join(str(error).split())}") from None
    values |= values.pop("posterior", None) or {}
    try:
        return _profile(values)
    except ValueError as error:
        raise ValueError(f"calibration {file}: {error}") from None


def _profile(values: dict[str, Any]) -> Profile:
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown field")
    for name, kind in (("coefficients", dict), ("draws", list), ("names", list), ("identified", dict)):
        if not isinstance(values.get(name), kind):
            raise ValueError(f"{name}: missing; `foretell calibrate` writes it")
    for name in ("kind", "log_error", "run_log_error"):
        if name not in values:
            raise ValueError(f"{name}: missing; `foretell calibrate` writes it")
    if values.pop("names") != list(values["coefficients"]):
        raise ValueError("posterior.names: not the names of the coefficients, in their order")
    if not all(isinstance(draw, list) for draw in values["draws"]):
        raise ValueError("posterior.draws: not a list of lists of numbers")
    values["draws"] = tuple(tuple(draw) for draw in values["draws"])
    values["warnings"] = tuple(values.get("warnings", ()))
    values["created"] = str(values.get("created", ""))
    return Profile(**values)


@dataclass(frozen=True, slots=True)
class CalibratedCost:
    """A `StepCost` from a profile: the fitted one, and in `perturbed` one from its posterior.

    Attributes:
        cost: the fitted one.
        profile: what it was fitted with.

    """

    cost: Any
    profile: Profile = field(repr=False)

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
        return self.cost(
            prefill_tokens, prefill_pairs, prefill_context, prefill_seqs, decode_seqs, decode_context, sampled
        )

    def breakdown(self, *load: Any) -> dict[str, Any]:
        """Seconds by what bounds them."""
        parts: dict[str, Any] = self.cost.breakdown(*load)
        return parts

    def decode_steps(self, decode_seqs: int, decode_context: int) -> Iterator[float]:
        """Seconds of successive decode-only steps."""
        steps: Iterator[float] = self.cost.decode_steps(decode_seqs, decode_context)
        return steps

    def perturbed(self, rng: np.random.Generator) -> StepCost:
        """Draw coefficients from the posterior, and how far a run is from the average run."""
        factor = math.exp(self.profile.run_log_error * rng.standard_normal())
        row = rng.integers(max(len(self.profile.draws), 1))
        values = self.profile.draws[row] if self.profile.draws else tuple(self.profile.coefficients.values())
        drawn = {n: v * factor for n, v in zip(self.profile.coefficients, values, strict=True)}
        return with_coefficients(self.profile.kind, drawn, self.cost)

    def validity(self) -> list[str]:
        """Sentences on what the profile does not tell."""
        profile = self.profile
        by = {n: v for n, v in profile.fitted_on.items() if n in ("model", "hardware") and v}
        subject = " on ".join(str(v) for v in by.values())
        notes = [f"step times calibrated{f' for {subject}' if subject else ''}: {_error_of(profile)}"]
        unsure = [name for name, known in profile.identified.items() if not known]
        if unsure:
            notes.append(f"calibration: the data did not determine {', '.join(unsure)}")
        return notes


def calibrated_cost(profile: Profile, base: Any = None) -> tuple[CalibratedCost, list[str]]:
    """Make the cost of a profile, and say what a reader should know.

    Args:
        profile: of either kind.
        base: for kind "terms", the modelled cost whose terms are scaled (with `terms` and `scaled`).

    Raises:
        ValueError: scales without terms to scale, or of terms that the model has not.

    """
    if profile.kind == "terms" and base is None:
        raise ValueError("calibration: its coefficients scale a model's terms; give model and hardware too")
    cost = with_coefficients(profile.kind, profile.coefficients, base)
    calibrated = CalibratedCost(cost, profile)
    notes = calibrated.validity()
    if profile.kind == "terms":
        now = reference_terms(base.terms)
        other = [
            name
            for name, then in profile.reference.items()
            if abs(now.get(name, 0.0) - then) > _SAME * max(then, now.get(name, 0.0))
        ]
        if other:
            notes.append(
                f"calibration: fitted on another model, hardware, layout or operator times "
                f"({', '.join(other)} differ); its scales are carried over"
            )
    return calibrated, notes


def reference_terms(terms: Callable[..., Mapping[str, Any]]) -> dict[str, float]:
    """Sum each term over the steps of REFERENCE."""
    return {name: float(np.sum(value)) for name, value in terms(*REFERENCE).items()}


def with_coefficients(kind: str, coefficients: Mapping[str, float], base: Any) -> StepCost:
    """The cost of these coefficients: affine, or `base` with these scales and no errors of its own."""
    if kind == "affine":
        return AffineCost(**{"base_s": 0.0, **coefficients})
    scaled: StepCost = base.scaled(coefficients, errors={})
    return scaled


def _error_of(profile: Profile) -> str:
    if profile.run_log_error:
        return (
            f"runs that it did not see differ from it by {profile.run_log_error * 100:.1f} % (standard error)"
        )
    return "from one run; how other runs differ is not known"


def _number(name: str, value: Any) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not (good and math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: {value!r} is not a finite number >= 0")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, float):
        return f"{value:.6g}" if value else "0.0"
    return json.dumps(value, ensure_ascii=False)  # the same in TOML for text and whole numbers
