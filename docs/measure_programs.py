"""Print as JSON how far programs are from the closed forms of their accuracy.

    python docs/measure_programs.py

Takes minutes: 100,000 queries of each strategy. `python docs/figures.py --run programs` records it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from foretell.models.accuracy import profile as forms
from foretell.models.outcomes import Outcomes
from foretell.models.profiles import load_outcomes
from foretell.models.verifiers import Verifier
from foretell.sim.programs.llm import Judge, Program
from foretell.sim.programs.run import run_programs
from foretell.sim.programs.sampling import (
    best_of_n,
    budget_forcing,
    first_finish,
    self_consistency,
    sequential_until_accepted,
    single,
)
from foretell.sim.programs.servers import UnloadedPool

QUERIES = 100_000
SCORES, VERDICTS = Verifier(auc=0.8), Verifier(completeness=0.8, soundness=0.9)
CASES: Mapping[str, tuple[Program, Callable[[Outcomes], float]]] = {
    "single": (single(), lambda task: forms.single(task).accuracy),
    "best of 4, scores": (
        best_of_n(n=4, verifier=Judge(None, SCORES)),
        lambda task: forms.best_of_n(task, n=4, verifier=SCORES).accuracy,
    ),
    "best of 4, verdicts": (
        best_of_n(n=4, verifier=Judge(None, VERDICTS)),
        lambda task: forms.best_of_n(task, n=4, verifier=VERDICTS).accuracy,
    ),
    "vote of 5": (self_consistency(n=5), lambda task: forms.self_consistency(task, n=5).accuracy),
    "first of 4": (first_finish(n=4), lambda task: forms.first_finish(task, n=4).accuracy),
    "answer at 512 tokens": (
        budget_forcing(max_tokens=512),
        lambda task: forms.budget_forcing(task, max_tokens=512).accuracy,
    ),
    "until accepted, 6 at most": (
        sequential_until_accepted(n=6, verifier=Judge(None, VERDICTS)),
        lambda task: forms.sequential_until_accepted(task, n=6, verifier=VERDICTS).accuracy,
    ),
}


def compared(name: str, queries: int = QUERIES) -> dict[str, float]:
    """Accuracy of a strategy on MATH-500, by closed form and by its program, and the points between them."""
    task = load_outcomes("math-500", "llama-3.1-8b")
    program, form = CASES[name]
    pool = UnloadedPool(ttft_s=0.05, tpot_s=0.01)
    played = run_programs(program, {"": pool}, {"": task}, n_queries=queries, seed=7).accuracy
    told = form(task)
    return {"closed_form": told, "program": played, "off_points": 100 * abs(told - played)}


def main() -> int:
    """Run and print."""
    found: dict[str, Any] = {name: compared(name) for name in CASES}
    print(json.dumps({"queries": QUERIES, "strategies": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
