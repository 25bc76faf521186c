"""What vLLM's own EngineArgs come to: a script for an interpreter that has vllm. Imports nothing of foretell.

stdin: {"devices": {name: memory in bytes}, "given": [arguments of EngineArgs, ...]}. stdout: {"version",
"cpu": {server or offline: [settings for each of given]}, "devices": {server or offline: {name: [token
budget, max_num_seqs]}}, "knows": [names that EngineArgs takes]}.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

os.environ |= {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
for absent in ("torchvision", "torchaudio", "torchcodec"):
    sys.modules[absent] = None  # type: ignore[assignment]  # their registry builds need CUDA
OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

import vllm  # noqa: E402
from vllm.engine import arg_utils  # noqa: E402
from vllm.usage.usage_lib import UsageContext  # noqa: E402

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 1000,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
KINDS = {"server": UsageContext.OPENAI_API_SERVER, "offline": UsageContext.LLM_CLASS}
asked = json.load(sys.stdin)
found = {"version": vllm.__version__, "cpu": {}, "devices": {}}
found["knows"] = sorted(arg_utils.EngineArgs.__dataclass_fields__)
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    for kind, context in KINDS.items():
        rows = found["cpu"][kind] = []
        for given in asked["given"]:
            args = arg_utils.EngineArgs(model=folder, skip_tokenizer_init=True, **given)
            config = args.create_engine_config(context)
            scheduler, cache = config.scheduler_config, config.cache_config
            rows.append(
                {name: getattr(scheduler, name) for name in asked["scheduler"] if hasattr(scheduler, name)}
                | {name: getattr(cache, name) for name in asked["cache"]}
                | {"scheduling_policy": scheduler.policy}
            )
for kind, context in KINDS.items():
    of_kind = found["devices"][kind] = {}
    for name, memory in asked["devices"].items():
        arg_utils.current_platform = SimpleNamespace(
            get_device_total_memory=lambda device_id=0, memory=memory: memory,
            get_device_name=lambda device_id=0, name=name: name,
            is_tpu=lambda: False,
            is_cpu=lambda: False,
        )
        tokens, seqs = arg_utils.EngineArgs.get_batch_defaults(1)
        of_kind[name] = [tokens[context], seqs[context]]
json.dump(found, OUT)
OUT.flush()
