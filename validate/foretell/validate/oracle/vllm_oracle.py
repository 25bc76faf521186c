"""Step vLLM's own Scheduler and KVCacheManager on a virtual clock: a script for an interpreter with vllm.

It imports the standard library and vllm, never foretell. The first line it prints is a greeting,
{"vllm": version, "unknown": [settings that this version does not know]}. Then every line on stdin is a
scenario and is answered by one line. Nothing is computed by a model: a step takes what the scenario's
affine cost says, answers are as long as the scenario says, drafts are accepted as it says.

A scenario: {"settings": {...}, "step_cost": [base, per_token, per_seq, per_context_token, per_pair],
"requests": [{"id", "arrival_s", "prompt_tokens", "output_tokens", and if there is one "priority",
"segments", "stop_token", "cancel_s", "accepted"}]}, with "steps": false to leave out the steps.

An answer: {"steps": [[start_s, end_s, [[id, tokens, computed before], ...] in scheduling order, KV blocks
used after scheduling, preemptions since the step before]], "requests": {id: [status, first_token_s,
finish_s, preemptions, cached tokens]}, "livelock": bool, "evictions", "accepted", "rejected" (drafts),
"cpu_s": in making requests (which
hashes their prompts), add, schedule and update}; or {"error": what}.

The loop is that of vllm/v1/engine/core.py (0.32): `step` with one batch in flight, and
`step_with_batch_queue` with two under asynchronous scheduling.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections import deque
from typing import Any

for name, value in {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(name, value)
for absent in ("torchvision", "torchaudio", "torchcodec"):
    sys.modules[absent] = None  # type: ignore[assignment]  # their registry builds need CUDA and break the import

ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what vllm prints goes to stderr, answers alone to stdout

import vllm_build as build  # type: ignore[import-not-found]  # noqa: E402  (beside this script)
from vllm.sampling_params import SamplingParams  # noqa: E402
from vllm.v1.outputs import DraftTokenIds, ModelRunnerOutput  # noqa: E402
from vllm.v1.request import Request, RequestStatus  # noqa: E402


class Livelock(Exception):
    """Requests preempt each other for ever."""


class Streams:
    """Token ids of segment chains: one number a token, equal exactly where chains agree."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def _tokens(self, key: Any, n: int) -> list[int]:
        base = 16 + (self.numbers.setdefault(key, len(self.numbers)) << 24)
        return list(range(base, base + n))

    def of(self, name: str, segments: Any, total: int) -> list[int]:
        """The `total` tokens of a request with this chain."""
        tokens: list[int] = []
        chain: tuple[Any, ...] = ()
        for stream, n in segments:
            tokens += self._tokens((chain, stream), n)
            chain += ((stream, n),)
        del tokens[total:]
        return tokens + self._tokens(("own", name), total - len(tokens))


class Call:
    """One request of a scenario, its tokens, and what became of it."""

    def __init__(self, row: Any, settings: Any, streams: Streams, hasher: Any) -> None:
        most = settings["max_model_len"]
        prompt, answer = row["prompt_tokens"], row["output_tokens"]
        self.id = row["id"]
        self.arrival_s = row["arrival_s"]
        self.cancel_s = row.get("cancel_s")
        self.accepted = deque(row.get("accepted") or ())
        self.total = min(prompt + answer, most)
        self.tokens = streams.of(self.id, row.get("segments") or (), self.total)
        self.status = "coming"
        self.first_s: float | None = None
        self.finish_s: float | None = None
        self.cached: int | None = None
        stops = bool(row.get("stop_token"))
        began = time.process_time()
        self.request = Request(
            request_id=self.id,
            prompt_token_ids=self.tokens[:prompt],
            sampling_params=SamplingParams(
                max_tokens=most if stops else answer,
                stop_token_ids=[self.tokens[-1]] if stops and prompt + answer <= most else None,
                ignore_eos=True,
                temperature=0.0,
            ),
            pooling_params=None,
            arrival_time=self.arrival_s,
            priority=row.get("priority", 0),
            block_hasher=hasher,
        )
        self.cpu_s = time.process_time() - began

    def sample(self, drafts: int, padded: bool) -> list[int]:
        """Tokens that a step delivers: the accepted drafts and one more, up to the end of the answer."""
        known = self.request.num_tokens
        accepted = 0
        if drafts and not padded:
            accepted = min(self.accepted.popleft() if self.accepted else 0, drafts)
            accepted = min(accepted, self.total - known - 1)
        return self.tokens[known : known + accepted + 1]


class Entry:
    """What a step does for one request."""

    def __init__(self, call: Call, n: int, drafts: int, padded: bool) -> None:
        request = call.request
        self.call, self.n, self.drafts, self.padded = call, n, drafts, padded
        self.before: int = request.num_computed_tokens - n
        self.samples = not build.is_prefill_chunk(request)
        self.decodes = self.samples and n == 1 and self.before >= request.num_prompt_tokens


def seconds(cost: list[float], batch: list[Entry]) -> float:
    """The step time: foretell's affine cost, summed in its order."""
    prefills = [entry for entry in batch if not entry.decodes]
    decodes = [entry for entry in batch if entry.decodes]
    return (
        cost[0]
        + cost[1] * (sum(e.n for e in prefills) + sum(e.n for e in decodes))
        + cost[2] * (len(prefills) + len(decodes))
        + cost[3] * sum(e.before + e.n for e in decodes)
        + cost[4] * sum(e.n * (e.before + (e.n + 1) / 2) for e in prefills)
    )


class Drive:
    """One scenario through one scheduler."""

    def __init__(self, scenario: Any) -> None:
        self.settings = scenario["settings"]
        self.cost = scenario["step_cost"]
        self.record = scenario.get("steps", True)
        self.scheduler, hasher, self.drafts = build.scheduler(self.settings)
        self.pool = self.scheduler.kv_cache_manager.block_pool
        streams = Streams()
        self.calls = {row["id"]: Call(row, self.settings, streams, hasher) for row in scenario["requests"]}
        self.asynchronous = self.settings.get("async_scheduling", False)
        self.steps: list[list[Any]] = []
        self.preempted = self.fruitless = 0
        self.cpu_s = sum(call.cpu_s for call in self.calls.values())
        self.accepted = self.rejected = self.evictions = 0
        preempt, evict = self.scheduler._preempt_request, self.pool._maybe_evict_cached_block

        def preempting(*args: Any, **kwargs: Any) -> Any:
            self.preempted += 1
            return preempt(*args, **kwargs)

        def evicting(block: Any) -> Any:
            evicted = evict(block)
            self.evictions += bool(evicted)
            return evicted

        self.scheduler._preempt_request = preempting
        self.pool._maybe_evict_cached_block = evicting

    def run(self) -> None:
        """Serve all calls.

        Raises:
            Livelock: no token came for far more steps than all the calls need.
        """
        scheduler = self.scheduler
        coming = deque(sorted(self.calls.values(), key=lambda call: call.arrival_s))
        leaving = deque(sorted((c for c in coming if c.cancel_s is not None), key=lambda c: c.cancel_s))
        patience = 1000 + 10 * sum(call.total for call in coming)
        in_flight: deque[tuple[float, Any, list[Entry]]] = deque()
        now = free_at = 0.0
        while True:
            while coming and coming[0].arrival_s <= now:
                self._add(coming.popleft())
            self._cancel(leaving, now)
            unfinished = scheduler.has_unfinished_requests()
            if not unfinished and not in_flight:
                if scheduler.has_finished_requests():
                    scheduler.schedule()  # the engine's idle step, which tells workers who has finished
                if not coming:
                    return
                now = max(now, coming[0].arrival_s)
                continue
            output = batch = None
            if unfinished or scheduler.has_finished_requests():
                output, batch = self._schedule()
            self.fruitless += 1
            if self.fruitless > patience:
                raise Livelock(f"no token in the last {patience} steps, at {now}")
            if batch:
                start = max(now, free_at)
                free_at = start + seconds(self.cost, batch)
                if self.record:
                    rows = [[entry.call.id, entry.n, entry.before] for entry in batch]
                    used = self.settings["num_gpu_blocks"] - 1 - self.pool.get_num_free_blocks()
                    self.steps.append([start, free_at, rows, used, self.preempted])
                    self.preempted = 0
                in_flight.append((free_at, output, batch))
                if self.asynchronous and len(in_flight) < 2:
                    continue
            elif unfinished and not in_flight and not self.preempted and not coming:
                raise Livelock(f"no step is possible at {now}")
            if in_flight:
                now, output, done = in_flight.popleft()
                self._cancel(leaving, now)
                self._update(output, done, now)
            if not batch and scheduler.has_unfinished_requests():
                now += self.settings.get("empty_step_s", 0.0)

    def _add(self, call: Call) -> None:
        if call.cancel_s is not None and call.cancel_s <= call.arrival_s:
            call.status = "cancelled"
            return
        call.status = "waiting"
        began = time.process_time()
        self.scheduler.add_request(call.request)
        self.cpu_s += time.process_time() - began

    def _cancel(self, leaving: deque[Call], now: float) -> None:
        early: list[Call] = []
        while leaving and leaving[0].cancel_s <= now:
            call = leaving.popleft()
            if call.status == "coming":
                early.append(call)  # its abort follows it through the input queue
            elif call.id in self.scheduler.requests and not call.request.is_finished():
                self.scheduler.finish_requests(call.id, RequestStatus.FINISHED_ABORTED)
                call.status = "cancelled"
        leaving.extendleft(reversed(early))

    def _schedule(self) -> tuple[Any, list[Entry]]:
        began = time.process_time()
        output = self.scheduler.schedule()
        self.cpu_s += time.process_time() - began
        drafts = output.scheduled_spec_decode_tokens
        admitted = {new.req_id for new in output.scheduled_new_reqs} | set(
            output.scheduled_cached_reqs.resumed_req_ids
        )
        batch = []
        for id, n in output.num_scheduled_tokens.items():
            call = self.calls[id]
            k = len(drafts.get(id) or ())
            # An admission padded with drafts has none that anybody has made.
            entry = Entry(call, n, k, padded=id in admitted)
            if call.cached is None:
                call.cached = entry.before
            batch.append(entry)
        return output, batch

    def _update(self, output: Any, batch: list[Entry], now: float) -> None:
        sampled: list[list[int]] = []
        for entry in batch:
            gone = entry.call.request.is_finished()
            tokens = [] if gone or not entry.samples else entry.call.sample(entry.drafts, entry.padded)
            sampled.append(tokens)
            if tokens and entry.drafts:
                self.accepted += len(tokens) - 1
                self.rejected += entry.drafts - len(tokens) + 1
        ids = [entry.call.id for entry in batch]
        result = build.fill(
            ModelRunnerOutput,
            req_ids=ids,
            req_id_to_index={id: i for i, id in enumerate(ids)},
            sampled_token_ids=sampled,
        )
        began = time.process_time()
        outputs = self.scheduler.update_from_output(output, result)
        if self.drafts and not self.asynchronous:
            made = [[1] * self.drafts if tokens else [] for tokens in sampled]
            self.scheduler.update_draft_token_ids(DraftTokenIds(ids, made))
        self.cpu_s += time.process_time() - began
        for told in outputs.values():
            for one in told.outputs:
                call = self.calls[one.request_id]
                if one.new_token_ids:
                    self.fruitless = 0
                    if call.first_s is None:
                        call.first_s = now
                if one.finish_reason is not None:
                    call.status, call.finish_s = "finished", now


def answer(scenario: Any) -> dict[str, Any]:
    """Run one scenario and say what happened."""
    drive = Drive(scenario)
    livelock = False
    try:
        drive.run()
    except Livelock:
        livelock = True
    return {
        "steps": drive.steps,
        "requests": {
            id: [call.status, call.first_s, call.finish_s, call.request.num_preemptions, call.cached or 0]
            for id, call in drive.calls.items()
        },
        "livelock": livelock,
        "evictions": drive.evictions,
        "accepted": drive.accepted,
        "rejected": drive.rejected,
        "cpu_s": drive.cpu_s,
    }


def main() -> None:
    """Greet, then answer line by line."""
    tell({"vllm": build.VERSION, "unknown": build.unknown_settings()})
    for line in sys.stdin:
        try:
            told = answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            told = {"error": f"{type(error).__name__}: {error}"}
        tell(told)


def tell(value: Any) -> None:
    """Print one line of JSON."""
    ANSWERS.write(json.dumps(value, separators=(",", ":")) + "\n")
    ANSWERS.flush()


if __name__ == "__main__":
    main()
