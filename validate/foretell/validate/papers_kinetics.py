"""Claims of "Kinetics: Rethinking Test-Time Scaling Laws", from the cost laws and our own outcome profiles.

`foretell validate kinetics` has all of it, and the paper's own points where they are at hand.
"""

from __future__ import annotations

from functools import cache, partial

from foretell.validate.kinetics_summary import Result, kinetics
from foretell.validate.papers import Claim, Found, Kind

LENGTHS = (
    "lengths of Qwen3's answers on AIME24 in our profiles come from a curve of the same paper; its costs, "
    "and how "
    "problems differ, do not"
)


@cache
def _result() -> Result:
    return kinetics(None)


def _check(name: str, by: str, scale: float, why: str, _: float) -> Found:
    found = [check for check in _result().checks if check.by == by and check.name.startswith(name)]
    if len(found) != 1 or found[0].ours is None:
        return Found(float("nan"), why=f"{len(found)} figures are called {name}")
    beside = {f"crossing {i + 1}": scale * x for i, x in enumerate(found[0].crossings)}
    return Found(scale * found[0].ours, why=why, beside=beside if len(beside) > 1 else None)


def _never_eight(_: float) -> Found:
    seen = _result().eight_on_frontier
    return Found(-1.0 if seen["profile"] else 1.0, beside={f"by {k}": float(v) for k, v in seen.items()})


def _row(
    claim: str,
    published: str,
    kind: Kind,
    figure: float,
    unit: str,
    name: str,
    *,
    by: str = "profile",
    scale: float = 1.0,
    why: str = LENGTHS,
    high: bool = True,
) -> Claim:
    return Claim(
        "Kinetics",
        claim,
        published,
        kind,
        figure,
        figure if high else None,
        unit,
        "Qwen3 on AIME24, the published cost law; accuracies from our outcome profiles"
        if by == "profile"
        else "Qwen3 on AIME24, the published cost law; accuracies from a law of truncation",
        "arXiv 2506.05333, abstract and the authors' page and figures (2025)",
        partial(_check, name, by, scale, why),
    )


_TOPK = (
    "how much accuracy a KV budget keeps is a law fitted to the paper's curves for four of the sizes, and "
    "taken to "
    "hold for all problems alike; small errors of it weigh much where curves are flat"
)
ROWS = [
    _row(
        "choosing a model by FLOPs costs up to this times more than by eFLOPs",
        "3x",
        "ratio",
        3.0,
        "x",
        "FLOPs-optimal over eFLOPs-optimal",
    ),
    _row(
        "accuracy from which 14B is better than 4B",
        "31%",
        "level",
        31.2,
        "%",
        "eFLOPs: 4B → 14B",
        scale=100.0,
        why="curves of 4B and 14B run close to each other and cross more than once; the last crossing is "
        "shown",
    ),
    _row(
        "accuracy from which 32B is better than 14B",
        "80%",
        "level",
        79.7,
        "%",
        "eFLOPs: 14B → 32B",
        scale=100.0,
    ),
    Claim(
        "Kinetics",
        "8B is never the best by eFLOPs",
        "never",
        "direction",
        None,
        None,
        "1 if so",
        "Qwen3 on AIME24, the published cost law; accuracies from our outcome profiles",
        "arXiv 2506.05333, the authors' figures (2025)",
        _never_eight,
    ),
    _row(
        "points that sparse attention gains in best of N at low cost (0.2 B200-s)",
        ">60, 65 in the figure",
        "points",
        65.0,
        "points",
        "top-k, best-of-N: points gained at 0.2",
        why=_TOPK,
    ),
    _row(
        "points that sparse attention gains in long thought at low cost (0.08 B200-s)",
        "47.5",
        "points",
        47.5,
        "points",
        "top-k, long CoT: points gained at 0.08",
        why=_TOPK,
    ),
    _row(
        "points that sparse attention gains at high cost",
        ">5",
        "points",
        5.0,
        "points",
        "top-k, long CoT: points gained at 4.4",
        why=_TOPK,
        high=False,
    ),
    _row(
        "times less cost of oracle top-k in long thought at equal accuracy",
        "11.21x",
        "ratio",
        11.21,
        "x",
        "top-k, long CoT: times less cost",
        why=_TOPK,
    ),
    _row(
        "times less cost of oracle top-k in best of N at equal accuracy",
        "10.67x",
        "ratio",
        10.67,
        "x",
        "top-k, best-of-N: times less cost",
        why=_TOPK,
    ),
    _row(
        "times less cost of block top-k at equal accuracy",
        "8.58x",
        "ratio",
        8.58,
        "x",
        "block top-k, long CoT: times less cost",
        why=_TOPK,
    ),
    _row(
        "tokens grow by this where the cost of best of N doubles",
        "1.74x",
        "ratio",
        1.74,
        "x",
        "best-of-N: tokens for twice the cost",
        by="law",
        why=_TOPK,
    ),
    _row(
        "KV budget grows by this where the cost of best of N doubles",
        "1.18x",
        "ratio",
        1.18,
        "x",
        "best-of-N: budget for twice the cost",
        by="law",
        why=_TOPK,
    ),
    Claim(
        "Kinetics",
        "attention over parameter compute at 4,096 tokens and more",
        "10-1000x",
        "ratio",
        10.0,
        1000.0,
        "x",
        "Qwen3-32B at 4,096 tokens, the least of the family; the published formula",
        "the authors' page (2025)",
        partial(
            _check,
            "Φ at 4096 tokens, 32B",
            "formula",
            1.0,
            "the published formula gives 88 for 0.6B down to 4.7 for 32B: the range holds for small models "
            "only",
        ),
    ),
]
