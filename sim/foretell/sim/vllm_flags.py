"""The flags of `vllm serve` (0.32): which of them a pool has, and why the others change no forecast.

Source: `vllm serve --help=all` of vLLM 0.32 and its documentation of engine arguments (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from foretell.sim.presets import EngineSettings

SHORT: Mapping[str, str] = {
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-dp": "data-parallel-size",
    "-ep": "enable-expert-parallel",
    "-q": "quantization",
    "-O": "optimization-level",
    "-cc": "compilation-config",
    "-sc": "speculative-config",
    "-ac": "attention-config",
    "-n": "nnodes",
    "-r": "node-rank",
    "-dpn": "data-parallel-rank",
    "-dpl": "data-parallel-size-local",
    "-dpa": "data-parallel-address",
    "-dpp": "data-parallel-rpc-port",
    "-dpb": "data-parallel-backend",
    "-dpr": "data-parallel-start-rank",
    "-dph": "data-parallel-hybrid-lb",
    "-dpe": "data-parallel-external-lb",
    "-pcp": "prefill-context-parallel-size",
    "-asc": "api-server-count",
    "-dcp": "decode-context-parallel-size",
    "-h": "help",
}
"""Short flags by what they stand for."""

_OWN = {
    "num-gpu-blocks-override": "num_gpu_blocks",
    "device-memory-utilization": "gpu_memory_utilization",  # an alias
}
_NOT_FLAGS = ("preset", "empty_step_s", "num_gpu_blocks")
ENGINE: Mapping[str, str] = {
    f.name.replace("_", "-"): f.name for f in fields(EngineSettings) if f.name not in _NOT_FLAGS
} | _OWN
"""Flags that are settings of the engine: flag → field."""
POOL: Mapping[str, str] = {
    flag: flag.replace("-", "_")
    for flag in (
        "tensor-parallel-size",
        "pipeline-parallel-size",
        "data-parallel-size",
        "enable-expert-parallel",
        "dtype",
        "quantization",
        "kv-cache-dtype",
    )
}
"""Flags that are fields of a pool: flag → field."""

_WHY: Mapping[str, str] = {  # reason → flags; a switch, which takes no value, ends in "!"
    "says how the server is reached or what it logs; the forecast is the engine's": (
        "host port uds api-key served-model-name root-path uvicorn-log-level disable-uvicorn-access-log! "
        "allow-credentials! allowed-origins allowed-methods allowed-headers ssl-keyfile ssl-certfile "
        "ssl-ca-certs enable-ssl-refresh! ssl-cert-reqs middleware headless! api-server-count "
        "enable-request-id-headers! disable-fastapi-docs! h11-max-incomplete-event-size "
        "h11-max-header-count log-config-file disable-log-requests! enable-log-requests! disable-log-stats! "
        "max-log-len enable-log-outputs! enable-log-deltas! log-error-stack! "
        "show-hidden-metrics-for-version otlp-traces-endpoint collect-detailed-traces kv-cache-metrics! "
        "cudagraph-metrics! enable-mfu-metrics! enable-server-load-tracking! enable-force-include-usage! "
        "enable-prompt-tokens-details! aggregate-engine-logging! enable-tokenizer-info-endpoint! help! "
        "shutdown-timeout grpc!"
    ),
    "says how answers are written or parsed, not when": (
        "chat-template chat-template-content-format trust-request-chat-template! "
        "default-chat-template-kwargs response-role enable-auto-tool-choice! "
        "exclude-tools-when-tool-choice-none! tool-call-parser tool-parser-plugin tool-server "
        "reasoning-parser reasoning-parser-plugin reasoning-config generation-config "
        "override-generation-config return-tokens-as-token-ids! max-logprobs logprobs-mode "
        "structured-outputs-config guided-decoding-backend logits-processors seed "
        "lora-modules prompt-adapters io-processor-plugin pooler-config logits-processor-pattern"
    ),
    "says how the model is loaded": (
        "tokenizer tokenizer-mode tokenizer-revision revision code-revision skip-tokenizer-init! "
        "trust-remote-code! download-dir load-format model-loader-extra-config ignore-patterns "
        "use-tqdm-on-load! pt-load-map-location safetensors-load-strategy safetensors-prefetch-num-threads "
        "hf-token hf-config-path config-format allowed-local-media-path allowed-media-domains "
        "enable-prompt-embeds! runner convert task model-impl disable-cascade-attn! quantization-config "
        "allow-deprecated-quantization! renderer-num-workers"
    ),
    "says where processes run, not how fast a step is here": (
        "distributed-executor-backend nnodes node-rank master-addr master-port data-parallel-rank "
        "data-parallel-start-rank data-parallel-size-local data-parallel-address data-parallel-rpc-port "
        "data-parallel-backend data-parallel-hybrid-lb! data-parallel-external-lb! device worker-cls "
        "worker-extension-cls ray-workers-use-nsight! distributed-timeout-seconds numa-bind! "
        "numa-bind-nodes scheduler-cls additional-config"
    ),
    "matters to a server, and is not modelled: the forecast is without it": (
        "speculative-config enable-lora! max-loras max-lora-rank max-cpu-loras lora-dtype "
        "lora-extra-vocab-size fully-sharded-loras! default-mm-loras cpu-offload-gb swap-space "
        "kv-offloading-size kv-offloading-backend enable-sleep-mode! enable-eplb! eplb-config "
        "num-redundant-experts enable-dbo! ubatch-size dbo-decode-token-threshold "
        "dbo-prefill-token-threshold all2all-backend moe-backend linear-backend attention-backend "
        "attention-config mamba-backend mamba-cache-dtype mamba-ssm-cache-dtype mamba-block-size "
        "mamba-cache-mode kv-sharing-fast-prefill! decode-context-parallel-size "
        "prefill-context-parallel-size dcp-comm-backend dcp-kv-cache-interleave-size "
        "cp-kv-cache-interleave-size max-parallel-loading-workers disable-custom-all-reduce! "
        "compilation-config optimization-level cudagraph-capture-sizes max-cudagraph-capture-size "
        "kernel-config ir-op-priority rope-scaling rope-theta hf-overrides kv-cache-memory-bytes "
        "kv-cache-dtype-skip-layers calculate-kv-scales! max-num-partial-prefills max-long-partial-prefills "
        "num-lookahead-slots disable-sliding-window! disable-hybrid-kv-cache-manager! limit-mm-per-prompt "
        "enable-mm-embeds! media-io-kwargs mm-processor-kwargs mm-processor-cache-gb "
        "mm-processor-cache-type mm-shm-cache-max-object-size-mb mm-encoder-only! mm-encoder-tp-mode "
        "mm-encoder-attn-backend mm-encoder-attn-dtype language-model-only! interleave-mm-strings! "
        "skip-mm-profiling! video-pruning-rate disable-chunked-mm-input! prefix-caching-hash-algo "
        "kv-events-config ec-transfer-config stream-interval enable-flashinfer-autotune! "
        "weight-transfer-config offload-backend max-num-scheduled-tokens prefill-schedule-interval "
        "max-num-active-seqs expert-placement-strategy spec-method spec-model spec-tokens dcp-q-replicate!"
    ),
    "names a file, which is not read here; paste its flags": "config",
    "says which side of prefill and decode this is: the strategy's business here": "kv-transfer-config",
}
IGNORED: Mapping[str, str] = {flag.rstrip("!"): why for why, flags in _WHY.items() for flag in flags.split()}
"""Flags without a field here: flag → why."""
SWITCHES = frozenset(
    {flag.rstrip("!") for flags in _WHY.values() for flag in flags.split() if flag.endswith("!")}
    | {"enable-expert-parallel"}
    | {f.name.replace("_", "-") for f in fields(EngineSettings) if "bool" in str(f.type)}
)
"""Flags that take no value; --no-... turns them off."""
