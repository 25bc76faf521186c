"""What measured servers say beyond measured operators: a scale for every term of a step, and what moves it.

A scale is a global figure times a factor for every key that a deployment has: its model, its model on its
generation of accelerators, the generation, the accelerator and the engine's release. Factors were learnt
together, each drawn to 1 by a prior (partial pooling), so that a model or an accelerator that nobody measured
gets what the others have in common. docs/validation.md has the equations and the errors.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from foretell.models.tabulated import TERMS

CLIENT = ("client", "client_1k", "client_stream")
"""Beside TERMS, the way from a client to the engine and back, of which a forecast at the engine has nothing:
milliseconds of a request, milliseconds of every 1,000 prompt tokens that are tokenised one prompt after
another, and microseconds for every stream that the server keeps open."""
GENERATIONS: Mapping[str, tuple[str, ...]] = {
    "hopper": ("h100-sxm", "h100-pcie", "h100-nvl", "h200", "gh200", "h20", "h800"),
    "blackwell": ("b200", "b300", "gb200", "gb300"),
}
FITTED_CONTEXT_TOKENS = 10_000
"""Most tokens of a request, about, in the runs that the shipped scales were fitted on."""
_RELEASES = (("0.11", 11), ("0.17", 17))
"""(last of a period, its minor version): overheads and kernels of vLLM changed most in between."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Scales by term, and factors on them by key.

    Attributes:
        scales: by term of TERMS and CLIENT, in the units of `TabulatedCost.scales`.
        effects: by key (see `residual_keys`) and term: factors.
        errors: standard errors of the logarithm of the time to first token ("ttft") and per output token
            ("tpot") by what was left out of the fit: "pair" (the model on the accelerator), "model",
            "accelerator", "both" (all runs with either), and "sample" where nothing was.
        source: where all this comes from.

    """

    scales: Mapping[str, float] = field(default_factory=dict)
    effects: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""

    def at(self, keys: Iterable[str]) -> dict[str, float]:
        """The scale of every term for a deployment with these keys; unknown keys have no effect."""
        found = dict(self.scales)
        for key in keys:
            for term, factor in self.effects.get(key, {}).items():
                found[term] = found[term] * factor
        return found

    def terms(self, keys: Iterable[str]) -> dict[str, float]:
        """The same of TERMS alone, for a `TabulatedCost`."""
        return {term: scale for term, scale in self.at(keys).items() if term in TERMS}

    def known(self, keys: Iterable[str]) -> str:
        """Which of `errors` holds: what of these keys the fit had not seen.

        At best it is "pair": a server of a known pair is not one of those measured, but another release,
        number format or setting.
        """
        seen = {key.partition(":")[0] for key in keys if key in self.effects}
        if "model" in seen and "accelerator" in seen:
            return "pair"
        return "accelerator" if "model" in seen else "model" if "accelerator" in seen else "both"


def residual_keys(model: str, accelerator: str, engine_version: str | None = None) -> tuple[str, ...]:
    """What a deployment's scales depend on; a version that cannot be read is taken for the newest."""
    generation = next((name for name, parts in GENERATIONS.items() if accelerator in parts), None)
    keys = [f"model:{model}"]
    if generation:
        keys += [f"model on generation:{model}, {generation}", f"generation:{generation}"]
    return (
        *keys,
        f"accelerator:{accelerator}",
        f"release:{release(engine_version)}",
        f"pair:{model}, {accelerator}",
    )


def release(engine_version: str | None) -> str:
    """The period of vLLM's releases that a version belongs to."""
    found = re.match(r"v?0\.(\d+)", engine_version or "")
    minor = math.inf if found is None else int(found[1])
    return next((f"to {last}" for last, until in _RELEASES if minor <= until), "since 0.18")


def load_residual(operator_times: str) -> Residual:
    """Load the shipped residual of one source of operator times, "silicon" or "curves"."""
    return Residual(**_shipped()[operator_times])


@cache
def _shipped() -> dict[str, Any]:
    text = (files("foretell.models") / "data" / "residual.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
