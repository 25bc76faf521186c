"""Made-up measured frontiers, and foretell's of the same configurations, a factor of speed apart."""

from __future__ import annotations

from foretell.validate.frontier_rows import Configuration, Group
from foretell.validate.frontier_summary import summarise


def group(
    model: str, speed: float, *, judged: bool = True, backend: str = "vllm", bend: float = 20.0
) -> Group:
    """A server whose step takes 1 + n/bend of its least with n in flight; ours is `speed` times faster."""
    configurations = []
    for concurrency in (4, 8, 16, 32, 64):
        user = 200.0 / (1 + concurrency / bend)
        rate = user * concurrency / 8
        configurations.append(
            Configuration(
                f"TP 8, {concurrency} in flight",
                concurrency,
                (user, rate),
                (speed * user, speed * rate),
                1,
            )
        )
    formats, lengths = ("fp8", "fp8"), (1024, 1024)
    return Group(model, "h100-sxm", backend, "agg", *formats, *lengths, judged, tuple(configurations))


GROUPS = [group("one", 1.05), group("two", 0.9), group("three", 1.02, judged=False, backend="sglang")]
FRONTIER = summarise(GROUPS, GROUPS[:2]) | {
    "source": "made up",
    "rows": 16,
    "rows_predicted": 15,
    "rows_set_aside": 1,
    "not_predicted": {"no room": 1},
    "left_out": {"vllm agg: speculation": 3},
}
"""What `foretell validate frontier --json` prints of them."""
