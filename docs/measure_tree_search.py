"""Print as JSON what docs/tree_search.md says of closed forms: python docs/measure_tree_search.py (seconds).

`python docs/figures.py --run tree_search` records it and brings the page up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from foretell.models.accuracy import search
from foretell.models.accuracy.search import SearchForecast
from foretell.models.outcomes import Outcomes
from foretell.models.profiles import load_outcomes
from foretell.models.verifiers import Verifier

JUDGE = Verifier(auc=0.8)
COMMON = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
ROWS: Mapping[str, Callable[[Outcomes, Verifier], SearchForecast]] = {
    "best of 16": lambda task, judge: search.best_of_n(task, judge, 16),
    "best of 64": lambda task, judge: search.best_of_n(task, judge, 64),
    "beam of 16, branching 4": lambda task, judge: search.beam_search(task, judge, 16, 4),
    "DVTS of 16, branching 4": lambda task, judge: search.dvts(task, judge, 16, 4),
    "REBASE of 16": lambda task, judge: search.rebase(task, judge, 16),
    "8 particles": lambda task, judge: search.particle_filtering(task, judge, 8),
    "16 particles": lambda task, judge: search.particle_filtering(task, judge, 16),
}


def accuracies(task: Outcomes, common: tuple[float, ...] = COMMON) -> dict[str, dict[str, float]]:
    """Accuracy by search and by the share of the judge's errors that steps have in common."""
    return {
        name: {f"{share:g}": of(task, replace(JUDGE, common=share)).accuracy for share in common}
        for name, of in ROWS.items()
    }


def main() -> int:
    """Calculate and print."""
    task = load_outcomes("math-500", "llama-3.1-8b")
    alone = search.particle_filtering(task, JUDGE, 1)
    found: dict[str, Any] = {
        "single": alone.accuracy,
        "steps": alone.judge_calls,
        "step_tokens": task.step_tokens,
        "accuracy": accuracies(task),
    }
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
