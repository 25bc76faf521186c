"""One real vLLM run, recorded step by step: a script for an interpreter that has vLLM, not foretell.

    python vllm_recorder.py DIR      # DIR holds plan.json and trace.csv, see `foretell.validate.record`
    python vllm_recorder.py about    # machine and versions, as JSON

The engine runs in this process, driven by the trace's arrivals on the clock of the process's own CPU time;
where nothing is running, the clock skips to the next arrival. What else the machine does still shows, in its
caches, memory and cores: probes (a sum over 32 MB, a product of matrices) say how much, outside of the clock.
Times are seconds since the start. `RecordingScheduler` alone also serves an API server, on the wall clock:
`--scheduler-cls vllm_recorder.RecordingScheduler` with this folder on PYTHONPATH and a file to write to in
FORETELL_STEP_LOG (JSON lines).
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # no AMX, see below
}
if __name__ == "__main__":
    del sys.path[0]  # this file's folder, whose modules would hide others of their names
    os.environ.update(ENVIRONMENT)
    for name in ("torchvision", "torchaudio", "torchcodec"):  # builds for CUDA break vLLM's import
        sys.modules[name] = None  # type: ignore[assignment]

import torch  # noqa: E402
import vllm  # noqa: E402
from vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: E402
from vllm.v1.core.sched.scheduler import Scheduler  # noqa: E402

_WARM_UP = 2
_PROBED_STEPS = 50

# Some virtual machines announce AMX and then trap on it; without it, runs of more machines compare.
torch.cpu._is_amx_tile_supported = lambda: False


class RecordingScheduler(Scheduler):  # type: ignore[misc]  # vLLM is not there when this is type-checked
    """vLLM's own scheduler; every step that is not empty is added to `steps`.

    Attributes:
        clock: what gives the time [s].
        steps: a dict a step: times, the batch in its order, preemptions, queues and blocks.

    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock: Callable[[], float] = time.monotonic
        self.steps: list[dict[str, Any]] = []
        self._victims: list[str] = []
        self._step: dict[str, Any] | None = None
        self._reached: dict[str, float] = {}
        self._log = os.environ.get("FORETELL_STEP_LOG")
        if self._log:
            _stamp_requests(self._reached)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Schedule as vLLM does, and note what."""
        self._victims = []
        before = {"cpu": time.thread_time(), "wall": time.monotonic(), "waiting_before": len(self.waiting)}
        start = self.clock()
        output = super().schedule(*args, **kwargs)
        if output.total_num_scheduled_tokens:
            pool = self.kv_cache_manager.block_pool
            self._step = before | {
                "start": start,
                "scheduled": self.clock(),
                "batch": [self._entry(*item) for item in output.num_scheduled_tokens.items()],
                "preempted": self._victims,
                "running": len(self.running),
                "waiting": len(self.waiting),
                "blocks": pool.num_gpu_blocks - 1 - pool.get_num_free_blocks(),  # one is the null block
            }
        return output

    def _entry(self, request_id: str, scheduled: int) -> tuple[str, int, int, str, int]:
        """Id, tokens scheduled, tokens computed before, phase, whether a token is sampled."""
        request = self.requests[request_id]
        computed = request.num_computed_tokens - scheduled  # schedule() has advanced it
        decodes = computed >= request.num_prompt_tokens and computed == request.num_tokens - 1
        phase = "d" if decodes else "r" if request.num_preemptions else "p"
        return request_id, scheduled, computed, phase, int(not request.is_prefill_chunk)

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self._victims.append(request.request_id)
        return super()._preempt_request(request, *args, **kwargs)

    def update_from_output(self, *args: Any, **kwargs: Any) -> Any:
        """Take the step's tokens as vLLM does; the step ends here."""
        executed = self.clock()
        result = super().update_from_output(*args, **kwargs)
        if self._step is not None:
            step, self._step = self._step, None
            end = self.clock()
            cpu, wall = time.thread_time() - step["cpu"], time.monotonic() - step["wall"]
            self.steps.append(step | {"executed": executed, "end": end, "cpu": cpu, "wall": wall})
        if self._log and not (self.running or self.waiting):
            self._flush()
        return result

    def _flush(self) -> None:
        lines: list[dict[str, Any]] = [{"step": step} for step in self.steps]
        lines += [{"reached": [name, at]} for name, at in list(self._reached.items())]
        self.steps.clear()
        self._reached.clear()
        with Path(str(self._log)).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def _stamp_requests(reached: dict[str, float]) -> None:
    """Note when the engine's process takes a request off the wire, before it waits for the step to end."""
    from vllm.v1.engine.core import EngineCore

    original = EngineCore.preprocess_add_request

    def stamped(self: Any, request: Any) -> Any:
        reached[request.request_id] = time.monotonic()
        return original(self, request)

    EngineCore.preprocess_add_request = stamped


def prompt_token_ids(row: dict[str, str], index: int, vocab: int, seed: int) -> list[int]:
    """Random ids, the same for like arguments; prefix groups share the ids of their stream."""
    shared = int(row["prefix_tokens"])
    own = np.random.default_rng([seed, 1, index]).integers(3, vocab, int(row["prompt_tokens"]) - shared)
    if not shared:
        return [int(i) for i in own]
    prefix = np.random.default_rng([seed, 2, int(row["prefix_group"])]).integers(3, vocab, shared)
    return [int(i) for i in np.concatenate([prefix, own])]


def sampling(tokens: int) -> Any:
    """So many tokens, whatever they are."""
    return SamplingParams(
        max_tokens=tokens,
        min_tokens=tokens,
        ignore_eos=True,
        temperature=0.0,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


class Clock:
    """CPU seconds of this process since the start, and what was skipped while nothing ran."""

    def __init__(self) -> None:
        self.skipped_s = 0.0
        self._zero = time.process_time()

    def __call__(self) -> float:
        """The time [s]."""
        return time.process_time() - self._zero + self.skipped_s

    def leave_out(self, since_s: float) -> float:
        """Take out what has passed since a reading; returns it."""
        passed = self() - since_s
        self._zero += passed
        return passed

    def skip_to(self, at_s: float) -> None:
        """Let idle time pass."""
        self.skipped_s += max(0.0, at_s - self())


def drive(
    engine: Any, clock: Clock, rows: list[dict[str, str]], prompts: list[list[int]], limit_s: float
) -> tuple[list[float], list[list[float]], list[tuple[float, float, float]]]:
    """Run a trace: when each request was added, when each of its tokens came, when a probe took how long."""
    memory, square = np.ones(2**23, dtype=np.float32), np.ones((512, 512), dtype=np.float32)
    probes, steps = [], 0
    index = {row["id"]: i for i, row in enumerate(rows)}
    added: list[float] = []
    tokens: list[list[float]] = [[] for _ in rows]
    while len(added) < len(rows) or engine.has_unfinished_requests():
        now = clock()
        while len(added) < len(rows) and float(rows[len(added)]["arrival_s"]) <= now:
            row = rows[len(added)]
            engine.add_request(
                row["id"],
                {"prompt_token_ids": prompts[len(added)]},
                sampling(int(row["output_tokens"])),
                arrival_time=float(row["arrival_s"]) + 1e6,  # 0 would be taken for none
                priority=int(row["priority"]),
            )
            added.append(clock())
        if not engine.has_unfinished_requests():
            clock.skip_to(float(rows[len(added)]["arrival_s"]))
            continue
        if steps % _PROBED_STEPS == 0:
            at = clock()
            memory.sum()
            half = clock()
            square @ square
            compute_s = clock() - half
            probes.append((at, clock.leave_out(at) - compute_s, compute_s))
        steps += 1
        outputs = engine.step()
        now = clock()
        for output in outputs:
            tokens[index[output.request_id]] += [now] * len(output.outputs[0].token_ids)
        if now > limit_s:
            raise SystemExit(f"limit_s: {limit_s:g} s were not enough; raise it, or ask for less")
    return added, tokens, probes


def warm_up(engine: Any, vocab: int, room: int) -> None:
    """Serve a few requests whose tokens are no trace's."""
    rng = np.random.default_rng(99)
    for round_ in range(_WARM_UP):
        for i in range(8):
            ids = rng.integers(3, vocab, min(40 + 60 * i, room)).tolist()
            engine.add_request(f"warm{round_}{i}", {"prompt_token_ids": ids}, sampling(12))
        while engine.has_unfinished_requests():
            engine.step()
    engine.reset_prefix_cache()


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """What the scheduler really ran with."""
    config = scheduler.scheduler_config
    return {
        "num_gpu_blocks": scheduler.kv_cache_manager.block_pool.num_gpu_blocks,
        "block_size": scheduler.block_size,
        "max_num_running_reqs": scheduler.max_num_running_reqs,
        "max_num_scheduled_tokens": scheduler.max_num_scheduled_tokens,
        "long_prefill_token_threshold": config.long_prefill_token_threshold,
        "reserve_full_isl": scheduler.scheduler_reserve_full_isl,
        "policy": str(scheduler.policy),
        "max_model_len": scheduler.max_model_len,
        "prefix_caching": bool(scheduler.cache_config.enable_prefix_caching),
        "chunked": bool(config.enable_chunked_prefill),
        "watermark": config.watermark,
        "async_scheduling": bool(config.async_scheduling),
        "base": Scheduler.__module__,
    }


def machine() -> dict[str, Any]:
    """What this runs on, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or "unknown"
    return {"cpu": name, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def record(folder: Path) -> None:
    """Make the run that `folder` plans, and leave in raw.json what came of it."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    with (folder / "trace.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    vocab = plan["model_config"]["vocab_size"]
    prompts = [prompt_token_ids(row, i, vocab, plan["seed"]) for i, row in enumerate(rows)]
    arguments = plan["engine_args"] | {"model": str(folder / "model"), "scheduler_cls": RecordingScheduler}
    known = {field.name for field in dataclasses.fields(vllm.EngineArgs)}
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SystemExit(f"engine.{name}: no setting of vLLM {vllm.__version__}{hint}")
    engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**arguments))
    scheduler = engine.engine_core.engine_core.scheduler
    warm_up(engine, vocab, scheduler.max_model_len - 12)
    scheduler.steps.clear()
    date, wall, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    scheduler.clock = clock = Clock()
    added, tokens, probes = drive(engine, clock, rows, prompts, plan["limit_s"])
    span, wall = clock(), time.monotonic() - wall
    raw = {
        "steps": scheduler.steps,
        "added": added,
        "tokens": tokens,
        "probes": probes,
        "about": {
            "date": date.isoformat(timespec="seconds"),
            "clock": "cpu",
            "mode": "in-process LLMEngine",
            "machine": machine(),
            "versions": versions(),
            "environment": ENVIRONMENT,
            "scheduler_meta": scheduler_settings(scheduler),
        },
        "times": {
            "wall_s": round(span, 3),
            "cpu_s": round(span - clock.skipped_s, 3),
            "idle_skipped_s": round(clock.skipped_s, 3),
            "real_wall_s": round(wall, 3),
            "wall_per_cpu": round(wall / (span - clock.skipped_s), 4),
            "loadavg": [load, os.getloadavg()[0]],
        },
    }
    (folder / "raw.json").write_text(json.dumps(raw), encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {"vllm": vllm.__version__, "torch": torch.__version__, "python": platform.python_version()}


if __name__ == "__main__":
    if sys.argv[1] == "about":
        print(json.dumps({"machine": machine(), "versions": versions()}))
        sys.exit()
    try:
        record(Path(sys.argv[1]))
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
        sys.exit(" ".join([f"{type(error).__name__}:", *lines])[:400])
