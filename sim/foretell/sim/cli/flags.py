"""From `forecast`'s flags, and a scenario file if there is one, to a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from foretell.sim.cli.options import ENGINE
from foretell.sim.objectives import objective_from_flag
from foretell.sim.scenario import Scenario

_POOL = (
    "model",
    "hardware",
    "replicas",
    "router",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "enable_expert_parallel",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "step_cost",
    "calibration",
    "operator_times",
    "price_usd_per_h",
    "outcomes",
)
_ENGINE = ("preset", "gpu_memory_utilization", "enforce_eager", "performance_mode", *ENGINE)
_TRACE = ("trace", "format", "head", "start_s", "time_limit")
_DRAWN = ("request_rate", "burstiness", "num_prompts", "duration_s", "input_len", "output_len", "dataset")
_ASKED = ("lengths", "prefixes", "sessions", "priorities")
"""What a task says by itself."""
_SPELLING = {"start_s": "start", "duration_s": "duration", "format": "trace-format"}
_DEFAULT_REQUESTS = 1000  # as `vllm bench serve --num-prompts`
_DEFAULT_LENGTHS = "sharegpt"


def scenario_of(file: Path | None, flags: dict[str, Any]) -> Scenario:
    """Make the scenario; flags override what a file says.

    Raises:
        ValueError: bad input, in one line.
        click.UsageError: flags that contradict each other, or too few.

    """
    from foretell.sim.schema import load_values

    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    if file is None:
        _enough(given)
    values: dict[str, Any] = {} if file is None else load_values(file)
    values["workload"] = _workload(dict(values.get("workload") or {}), given)
    override_pool(values, given)
    for text in given.get("slo", ()):
        objective = objective_from_flag(text)
        values["objectives"] = dict(values.get("objectives") or {}) | {
            objective.name: text.rpartition(":")[2]
        }
    if "strategy" in given:
        values["strategy"] = _strategy(given["strategy"])
    if "goodput" in given:
        values["goodput"] = _limits(given["goodput"])
    for name in ("seed", "replications"):
        if name in given:
            values[name] = given[name]
    try:
        return Scenario.from_dict(values)
    except ValueError as error:
        raise ValueError(str(error) if file is None else f"{file}: {error}") from None


def _enough(given: dict[str, Any]) -> None:
    if not {"step_cost", "calibration"} & set(given):
        for name in ("model", "hardware"):
            if name not in given:
                raise click.UsageError(
                    f"--{name} is missing; give a scenario file, or --model and --hardware"
                )
    if not {"trace", "request_rate", "max_concurrency"} & set(given):
        raise click.UsageError("no load; give --trace FILE, --request-rate R or --max-concurrency N")


def override_pool(values: dict[str, Any], given: dict[str, Any]) -> None:
    """Lay flags over the one pool of a scenario's plain values.

    Raises:
        ValueError: there is not exactly one.

    """
    changes = {name: given[name] for name in _POOL if name in given}
    engine = {name: given[name] for name in _ENGINE if name in given}
    pools = dict(values.get("pools") or {"main": {}})
    values["pools"] = pools
    if not (changes or engine):
        return
    if len(pools) != 1 or not isinstance(pool := next(iter(pools.values())), dict):
        raise ValueError("pools: flags can only change a scenario with exactly one pool")
    pool = dict(pool)
    if "step_cost" in changes and "model" not in changes:
        pool.pop("model", None)
    if ("model" in changes or "calibration" in changes) and "step_cost" not in changes:
        pool.pop("step_cost", None)
    if "step_cost" in changes and "calibration" not in changes:
        pool.pop("calibration", None)
    old = pool.get("engine") or {}
    old = {"preset": old} if isinstance(old, str) else dict(old)
    for mine, other in (
        ("num_gpu_blocks", "gpu_memory_utilization"),
        ("gpu_memory_utilization", "num_gpu_blocks"),
    ):
        if mine in engine and other not in engine:
            old.pop(other, None)
    pool |= changes
    if old or engine:
        pool["engine"] = old | engine
    pools[next(iter(pools))] = pool


def _workload(old: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    drawn = [name for name in _DRAWN if name in given]
    if "trace" in given and drawn:
        wrong = ", ".join(_flag(name) for name in drawn)
        hint = "; --rate-scale makes a trace faster or slower" if "request_rate" in drawn else ""
        raise click.UsageError(f"--trace already says who asks what, when: drop it or {wrong}{hint}")
    if "num_prompts" in given and "duration_s" in given:
        raise click.UsageError("--num-prompts and --duration both say how much to draw: drop one")
    if "burstiness" in given and given.get("request_rate") == float("inf"):
        raise click.UsageError("--burstiness needs a finite --request-rate")
    if "dataset" in given and ("input_len" in given or "output_len" in given):
        raise click.UsageError("--dataset already gives lengths: drop it, or --input-len and --output-len")
    if "trace" in given:
        kept = ("rate_scale", "warmup_s", "concurrency")
        old = {name: value for name, value in old.items() if name in kept}
    sliced = [name for name in _TRACE if name in given]
    if sliced and "trace" not in given and "trace" not in old:
        raise click.UsageError(f"{_flag(sliced[0])} slices a trace: give --trace FILE, or drop it")
    if drawn and "trace" in old:
        wrong = ", ".join(_flag(name) for name in drawn)
        raise click.UsageError(
            f"the scenario has a trace, which already says who asks what, when: drop {wrong}"
        )
    if "task" in given and ("trace" in given or {"dataset", "input_len", "output_len"} & set(given)):
        raise click.UsageError(
            "--task says what is asked: drop --trace, --dataset, --input-len, --output-len"
        )
    return _with_trace(old, given) if "trace" in given or "trace" in old else _drawn(old, given)


def _with_trace(old: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    new = old | {name: given[name] for name in (*_TRACE[:-1], "rate_scale", "warmup_s") if name in given}
    if "time_limit" in given:
        new["end_s"] = float(new.get("start_s") or 0.0) + given["time_limit"]
    if "max_concurrency" in given:
        new["concurrency"] = given["max_concurrency"]
    return new


def _drawn(old: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    names = ("rate_scale", "warmup_s", "duration_s", "task", "deadline_s")
    new = old | {name: given[name] for name in names if name in given}
    if "task" in given:
        new = {name: value for name, value in new.items() if name not in _ASKED}
    if "max_concurrency" in given:
        new["concurrency"] = given["max_concurrency"]
    rate = given.get("request_rate")
    if rate is not None:
        new["arrivals"] = {"process": "poisson", "rate_per_s": rate}
    if "burstiness" in given:
        if not isinstance(new.get("arrivals"), dict):
            raise click.UsageError("--burstiness shapes arrivals: give --request-rate")
        rate = new["arrivals"].get("rate_per_s")
        new["arrivals"] = {"process": "gamma", "rate_per_s": rate, "burstiness": given["burstiness"]}
    if "dataset" in given:
        new["lengths"] = {"preset": given["dataset"]}
    elif "input_len" in given or "output_len" in given:
        old_lengths = new.get("lengths")
        lengths = dict(old_lengths) if isinstance(old_lengths, dict) else {}
        for name, flag in (("prompt", "input_len"), ("output", "output_len")):
            if flag in given:
                lengths[name] = given[flag]
            elif name not in lengths:
                raise click.UsageError(f"{_flag(flag)} is missing; prompts and answers both have lengths")
        new["lengths"] = {name: lengths[name] for name in ("prompt", "output")}
    elif "lengths" not in new and not old and "task" not in new:
        new["lengths"] = {"preset": _DEFAULT_LENGTHS}
    if "num_prompts" in given:
        new["num_requests"] = given["num_prompts"]
        new.pop("duration_s", None)
    elif "duration_s" in given:
        new.pop("num_requests", None)
    elif "num_requests" not in new and "duration_s" not in new:
        new["num_requests"] = _DEFAULT_REQUESTS
    return new


def _strategy(text: str) -> dict[str, Any]:
    """Read NAME or NAME:KEY=VALUE,...; values as in YAML."""
    import yaml

    name, _, rest = text.partition(":")
    if name and "=" not in rest.partition(",")[0] and rest:  # module:attr
        attribute, _, rest = rest.partition(",")
        name = f"{name}:{attribute}"
    strategy: dict[str, Any] = {"name": name}
    for pair in filter(None, rest.split(",")):
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise click.UsageError(f"--strategy {text}: write NAME:KEY=VALUE,..., as in best_of_n:n=8")
        strategy[key.strip()] = yaml.safe_load(value)
    return strategy


def _limits(texts: tuple[str, ...]) -> dict[str, str]:
    from foretell.sim.objectives import request_limits

    request_limits(texts)
    return {text.partition(":")[0]: text.partition(":")[2] for text in texts}


def _flag(name: str) -> str:
    return "--" + _SPELLING.get(name, name).replace("_", "-")
