"""Option types, the engine's options under vLLM's names, and the files that answers go to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _FloatType = click.ParamType[float]
else:
    _FloatType = click.ParamType  # generic in newer clicks only


class Number(_FloatType):
    """A finite number within bounds; `inf` only where it is allowed."""

    name = "number"

    def __init__(
        self, *, above: float | None = None, least: float | None = None, infinite: bool = False
    ) -> None:
        self.above, self.least, self.infinite = above, least, infinite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse and check."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number.", param, ctx)
        good = not math.isnan(number) and (math.isfinite(number) or (self.infinite and number > 0))
        if self.above is not None:
            good &= number > self.above
        if self.least is not None:
            good &= number >= self.least
        if not good:
            bound = f" > {self.above:g}" if self.above is not None else ""
            bound = f" >= {self.least:g}" if self.least is not None else bound
            self.fail(f"{value} is not a finite number{bound}.", param, ctx)
        return number


COUNT = click.IntRange(min=1)
WHOLE = click.IntRange(min=0)
POSITIVE = Number(above=0)
SECONDS = Number(least=0)

ENGINE: dict[str, tuple[str, Any, str]] = {  # field → (flag, type, help)
    "max_num_seqs": ("--max-num-seqs", COUNT, "Requests that may run at once."),
    "max_num_batched_tokens": ("--max-num-batched-tokens", COUNT, "Tokens that a step may schedule."),
    "max_model_len": ("--max-model-len", click.IntRange(min=2), "Prompt and answer tokens at most."),
    "num_gpu_blocks": ("--num-gpu-blocks", click.IntRange(min=2), "KV blocks, as vLLM logs them."),
    "block_size": ("--block-size", COUNT, "Tokens of a KV block."),
    "enable_prefix_caching": (
        "--enable-prefix-caching/--no-enable-prefix-caching",
        None,
        "Share the KV of equal prefixes.",
    ),
    "enable_chunked_prefill": (
        "--enable-chunked-prefill/--no-enable-chunked-prefill",
        None,
        "Split prompts to fit a step's token budget.",
    ),
    "scheduling_policy": ("--scheduling-policy", click.Choice(["fcfs", "priority"]), "Order of the queue."),
    "long_prefill_token_threshold": (
        "--long-prefill-token-threshold",
        WHOLE,
        "Most tokens of one prompt in a step; 0 is no limit.",
    ),
    "long_prefill_token_threshold_adaptive": (
        "--long-prefill-token-threshold-adaptive/--no-long-prefill-token-threshold-adaptive",
        None,
        "Raise that limit to a fair share of the budget.",
    ),
    "scheduler_reserve_full_isl": (
        "--scheduler-reserve-full-isl/--no-scheduler-reserve-full-isl",
        None,
        "Admit a request only if its whole prompt fits now.",
    ),
    "watermark": ("--watermark", Number(least=0), "Share of KV blocks an admission leaves free."),
    "async_scheduling": (
        "--async-scheduling/--no-async-scheduling",
        None,
        "Schedule a step while the one before runs.",
    ),
}


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the engine's options; what is not given is None."""
    for name, (flag, kind, text) in reversed(ENGINE.items()):
        options: dict[str, Any] = {"default": None, "help": text}
        if kind is not None:
            options["type"] = kind
        function = click.option(flag, name, **options)(function)
    return function


json_option = click.option(
    "--json",
    "json_to",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="JSON to FILE, or instead of the tables.",
)

html_option = click.option(
    "--html", "html_to", metavar="FILE", help="A report to FILE: one page that needs no network."
)


def json_target(json_to: str | None) -> Path | None:
    """The file that --json names, None for standard output; refused where it cannot be written."""
    if json_to is None or json_to == "-":
        return None
    return _target("--json", json_to, "; put it before the flags, or write --json=-")


def html_target(html_to: str | None, others: Mapping[str, Path | None] | None = None) -> Path | None:
    """The file that --html names, None without one; refused where it cannot be written.

    Args:
        html_to: as given.
        others: what else the command reads or writes, by what to call it; None is not a file.

    Raises:
        click.UsageError: it looks like a scenario, or is one of the others.
        ValueError: it cannot be written.

    """
    if html_to is None:
        return None
    if html_to == "-":
        raise click.UsageError("--html -: a page is for a file; name one, as in --html report.html")
    target = _target("--html", html_to, "; name a page, as in --html report.html")
    for name, other in (others or {}).items():
        if other is not None and other.resolve() == target.resolve():
            raise click.UsageError(f"--html {html_to}: is the file of {name} too; name another")
    return target


def _target(option: str, text: str, hint: str) -> Path:
    target = Path(text)
    if target.suffix in (".yaml", ".yml", ".toml"):
        raise click.UsageError(f"{option} {text}: looks like a scenario{hint}")
    if not target.parent.is_dir():
        raise ValueError(f"output {target}: cannot be written (no such folder)")
    if target.is_dir():
        raise ValueError(f"output {target}: cannot be written (it is a folder)")
    return target
