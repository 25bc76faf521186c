"""What docs/cost_model.md says of shipped step costs, as JSON: they are asked, none is fitted again.

    python docs/measure_costs.py

`eager`: what a decode of Llama-3.1-8B on an H100 takes without CUDA graphs. `synchronous`: what synchronous
scheduling adds to a step. `scales`: the shipped ones of terms on measured tables, in `TabulatedCost`'s units.
"""

from __future__ import annotations

import json
from typing import Any

from foretell.models.architecture import load_architecture
from foretell.models.eager import EAGER_LAUNCH_S
from foretell.models.hardware import load_hardware
from foretell.models.pricing import step_cost
from foretell.models.residual import load_residual
from foretell.models.tabulated import TabulatedCost


def cost(**settings: Any) -> TabulatedCost:
    """Of Llama-3.1-8B on an H100, by the shipped curves, so that it is the same on every machine."""
    layout = load_architecture("llama-3.1-8b"), load_hardware("h100-sxm")
    found = step_cost(*layout, operator_times="curves", **settings)
    assert isinstance(found, TabulatedCost)
    return found


def measure() -> dict[str, Any]:
    """All of it."""
    usual, eager, synchronous = cost(), cost(enforce_eager=True), cost(async_scheduling=False)
    return {
        "eager": {
            "launch_s": EAGER_LAUNCH_S,
            "kernels": round(eager.eager_s / EAGER_LAUNCH_S),
            "decode_s": float(eager(0.0, 0.0, 0.0, 0.0, 1.0, 1000.0, 1.0)),
        },
        "synchronous": {
            "step_s": 1e-3 * (synchronous.scales["step"] - usual.scales["step"]),
            "entry_s": 1e-6 * (synchronous.scales["sequences"] - usual.scales["sequences"]),
        },
        "scales": dict(load_residual("silicon").scales),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
