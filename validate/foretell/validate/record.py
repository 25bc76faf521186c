"""Recording real vLLM runs: from a scenario to a folder that holds the run, made by another interpreter.

A scenario of a recording has fields `model` (a Hugging Face config.json as a table, or its path), `engine`
(settings under vLLM's names), `workload` (as in a forecast's scenario), `seed` and `limit_s`. Weights are
made up, prompts are random ids, answers as long as the workload says.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.sim.schema import naming, read_mapping
from foretell.traces import Trace
from foretell.validate.record_tables import quiet, summary, write_probes, write_requests, write_steps

RUN_FILES = (
    "config.json",
    "trace.csv",
    "requests.csv",
    "itls.jsonl",
    "steps.csv",
    "batch.csv.gz",
    "probes.csv",
)
"""What the folder of a run holds."""
TRACE_COLUMNS = (
    *("id", "arrival_s", "prompt_tokens", "output_tokens"),
    *("prefix_group", "prefix_tokens", "priority"),
)
FIXED = {
    "load_format": "dummy",
    "skip_tokenizer_init": True,
    "disable_log_stats": True,
    "async_scheduling": False,
}
"""Settings that are the recorder's."""
DEFAULTS = {
    "dtype": "bfloat16",
    "block_size": 32,
    "max_model_len": 2048,
    "enforce_eager": True,
    "enable_prefix_caching": False,
}
"""Settings that are not vLLM's defaults here unless given."""
_FIELDS = ("model", "engine", "workload", "seed", "limit_s")
_SCRIPT = Path(__file__).with_name("vllm_recorder.py")
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record.

    Attributes:
        name: of the run.
        model: contents of its config.json.
        engine: settings under vLLM's names, those of DEFAULTS and FIXED included.
        trace: requests, with at most one shared prefix each and no sessions.
        workload: what the trace was drawn from.
        seed: of trace and prompts.
        limit_s: seconds of the run's clock after which it is given up.

    """

    name: str
    model: Mapping[str, Any]
    engine: Mapping[str, Any]
    trace: Trace
    workload: Mapping[str, Any]
    seed: int = 0
    limit_s: float = 300.0


def load_recording(path: Path) -> Recording:
    """Read what to record from a YAML, TOML or JSON file; paths in it start there.

    Raises:
        ValueError: one line that names the file and the field.

    """
    values = read_mapping(path)
    with naming(path):
        return _recording(path, values)


def _recording(path: Path, values: Mapping[str, Any]) -> Recording:
    unknown = [name for name in values if name not in _FIELDS]
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown field; known: {', '.join(_FIELDS)}")
    for name in ("model", "workload"):
        if name not in values:
            raise ValueError(f"{name}: missing")
    settings, seed, limit_s = engine_settings(values), whole_seed(values), values.get("limit_s", 300.0)
    if isinstance(limit_s, bool) or not isinstance(limit_s, int | float) or not 0 < limit_s < 1e6:
        raise ValueError(f"limit_s: {limit_s!r} is not a number of seconds > 0")
    trace = _trace(path.parent, values["workload"], seed)
    _fits(trace, settings["max_model_len"])
    model = model_config(path.parent, values["model"])
    return Recording(path.stem, model, settings, trace, values["workload"], seed, float(limit_s))


def engine_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The field `engine` with DEFAULTS and FIXED.

    Raises:
        ValueError: it is no table, or chooses what is the recorder's.

    """
    engine = values.get("engine") or {}
    if not isinstance(engine, dict):
        raise ValueError(f"engine: {engine!r} is not a table of vLLM's settings")
    for name, reason in {**FIXED, "model": "the field beside", "scheduler_cls": "the recorder's own"}.items():
        if name in engine:
            raise ValueError(f"engine.{name}: cannot be chosen here; it is {reason}")
    return DEFAULTS | engine | FIXED


def whole_seed(values: Mapping[str, Any]) -> int:
    """The field `seed`, 0 if it is not there."""
    seed = values.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed: {seed!r} is not a whole number >= 0")
    return seed


def model_config(folder: Path, given: Any) -> dict[str, Any]:
    """The field `model`: a config.json's fields, or its path from `folder`.

    Raises:
        ValueError: a field is missing or not known.

    """
    values = read_mapping(folder / given) if isinstance(given, str) else given
    if not isinstance(values, dict):
        raise ValueError(f"model: {given!r} is neither a config.json's fields nor the path of one")
    kind = values.get("model_type")
    if not isinstance(kind, str) or ("architectures" not in values and kind not in _ARCHITECTURES):
        known = ", ".join(_ARCHITECTURES)
        raise ValueError(f"model.model_type: {kind!r} is not one of {known}; or give architectures too")
    vocab = values.get("vocab_size")
    if not isinstance(vocab, int) or vocab < 10:
        raise ValueError(f"model.vocab_size: {vocab!r} is not a whole number >= 10")
    return {"architectures": [_ARCHITECTURES.get(kind)], "torch_dtype": "bfloat16"} | values


def _trace(folder: Path, given: Any, seed: int) -> Trace:
    from foretell.sim.schema import scenario_from_dict
    from foretell.sim.workload import drawn_trace, fixed_trace

    if isinstance(given, dict) and isinstance(given.get("trace"), str):
        given = given | {"trace": str(folder / given["trace"])}
    pools = {"recorded": {"step_cost": "constant:1"}}  # what is checked here is the workload
    workload = scenario_from_dict({"workload": given, "pools": pools}).workload
    trace = fixed_trace(workload)
    if trace is None:
        trace = drawn_trace(workload, np.random.SeedSequence(seed))
    for field, wrong in (
        ("concurrency", trace.concurrency is not None),
        ("sessions", trace.session is not None or trace.think_s is not None),
    ):
        if wrong:
            raise ValueError(f"workload.{field}: a recording takes arrivals at given times only")
    if any(len(chain) > 1 for chain in trace.segments or ()):
        raise ValueError("workload.trace: a recording takes one shared prefix a request (prefix_group)")
    return trace


def _fits(trace: Trace, max_model_len: Any) -> None:
    longest = int(np.max(trace.prompt_tokens + trace.output_tokens))
    if isinstance(max_model_len, int) and longest > max_model_len:
        raise ValueError(
            f"workload: a request has {longest} tokens in all; raise engine.max_model_len, {max_model_len}"
        )


def vllm_python(given: str | os.PathLike[str] | None) -> Path:
    """The interpreter that has vLLM: the one given, $FORETELL_VLLM_PYTHON, or this one.

    Raises:
        ValueError: there is none.

    """
    asked = given or os.environ.get("FORETELL_VLLM_PYTHON")
    if asked:
        if not Path(asked).is_file():
            raise ValueError(f"--vllm-python: {asked} is not a file; give an interpreter that has vLLM")
        return Path(asked)
    if importlib.util.find_spec("vllm") is None:
        raise ValueError("--vllm-python: vLLM is not installed here; give an interpreter that has it")
    return Path(sys.executable)


def record(recording: Recording, folder: Path, python: Path) -> dict[str, Any]:
    """Make the run and write RUN_FILES into `folder`, all or none of them; returns config.json's content.

    Raises:
        ValueError: the folder cannot be written, or vLLM refuses or fails; its last line says why.

    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".recording", dir=folder.parent) as beside:
        place = Path(beside)
        rows = trace_rows(recording.trace)
        with (place / "trace.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, TRACE_COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        plan = {
            "name": recording.name,
            "seed": recording.seed,
            "limit_s": recording.limit_s,
            "workload": dict(recording.workload),
            "engine_args": dict(recording.engine),
            "model_config": dict(recording.model),
        }
        (place / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        (place / "model").mkdir()
        (place / "model" / "config.json").write_text(json.dumps(recording.model), encoding="utf-8")
        _run(python, place)
        raw = json.loads((place / "raw.json").read_text(encoding="utf-8"))
        write_steps(place, raw["steps"], raw["about"]["scheduler_meta"]["num_gpu_blocks"] - 1)
        write_requests(place, rows, raw["added"], raw["tokens"], raw["steps"])
        write_probes(place, raw["probes"])
        found = summary(rows, raw["tokens"], raw["steps"]) | raw["times"] | quiet(raw["probes"])
        config: dict[str, Any] = plan | raw["about"] | {"summary": found}
        (place / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for name in RUN_FILES:
            shutil.move(place / name, folder / name)
    return config


def trace_rows(trace: Trace) -> list[dict[str, str]]:
    """The trace as trace.csv has it; names are r0000, r0001, ..."""
    width = max(4, len(str(len(trace))))
    groups: dict[Any, int] = {}
    chains = trace.segments if trace.segments is not None else [()] * len(trace)
    priority = trace.priority if trace.priority is not None else np.zeros(len(trace), dtype=int)
    rows = []
    for i, chain in enumerate(chains):
        shared = min(chain[0][1], int(trace.prompt_tokens[i])) if chain else 0
        group = groups.setdefault(chain[0][0], len(groups)) if chain else -1
        values = (f"{trace.arrival_s[i]:.6f}", trace.prompt_tokens[i], trace.output_tokens[i], group, shared)
        cells = (f"r{i:0{width}d}", *map(str, values), str(priority[i]))
        rows.append(dict(zip(TRACE_COLUMNS, cells, strict=True)))
    return rows


def _run(python: Path, place: Path) -> None:
    """Let the other interpreter do it; its last line of error output becomes ours."""
    keep = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FORETELL_STEP_LOG")}
    command = [str(python), str(_SCRIPT), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, env=keep, check=False)
    if done.returncode < 0:
        raise ValueError(f"vLLM: ended by signal {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ValueError(f"vLLM: {lines[-1].strip() if lines else f'exit code {done.returncode}'}")
