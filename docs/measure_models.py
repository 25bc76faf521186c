"""Print as JSON how far parameter counts of the bundled models are from published ones.

    python docs/measure_models.py

`python docs/figures.py --run models` records it.
"""

from __future__ import annotations

import json
import sys

from foretell.models.architecture import list_architectures, load_architecture


def counted() -> dict[str, float]:
    """Our count over the published total less one, by model; models whose makers give a total."""
    known = {name: load_architecture(name) for name in list_architectures()}
    return {
        name: model.parameters() / model.published_parameters - 1
        for name, model in known.items()
        if model.published_parameters
    }


def main() -> int:
    """Count and print."""
    found = counted()
    worst = max(found, key=lambda name: abs(found[name]))
    figures = {"models": len(found), "worst": worst, "worst_off": abs(found[worst])}
    print(json.dumps(figures | {"off": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
