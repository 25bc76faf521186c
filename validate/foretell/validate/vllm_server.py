"""vLLM's OpenAI server and its benchmark client, for an interpreter that has vLLM.

    python vllm_server.py tokenizer FOLDER VOCAB     # train one, as the model is made up
    python vllm_server.py serve ARGUMENTS            # of python -m vllm.entrypoints.openai.api_server
    python vllm_server.py bench ARGUMENTS            # of vllm bench serve

`vllm serve` itself looks for a distribution named vllm, which the build for CPUs is not.
"""

from __future__ import annotations

import argparse
import gc
import os
import runpy
import sys
from pathlib import Path

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # no AMX, see vllm_recorder.py
}
os.environ.update(ENVIRONMENT)
if __name__ == "__main__":
    del sys.path[0]  # this file's folder, whose modules would hide others of their names
for name in ("torchvision", "torchaudio", "torchcodec"):  # builds for CUDA break vLLM's import
    sys.modules[name] = None  # type: ignore[assignment]

import torch  # noqa: E402

# At the top, since the engine's process imports this file again.
torch.cpu._is_amx_tile_supported = lambda: False


def train_tokenizer(folder: Path, vocab: int) -> None:
    """Byte-level BPE of Python's own help texts: real merges, so that tokenising costs what it does."""
    from pydoc_data.topics import topics

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(topics.values(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}\n'
    )


def bench(arguments: list[str]) -> None:
    """Run vLLM's load generator without its collector, which pauses for some 0.3 s among all the imports."""
    from vllm.benchmarks.serve import add_cli_args, main

    parser = argparse.ArgumentParser()
    add_cli_args(parser)
    gc.disable()
    main(parser.parse_args(arguments))


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "tokenizer":
        train_tokenizer(Path(rest[0]), int(rest[1]))
    elif command == "serve":
        sys.argv = ["api_server", *rest]
        runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
    else:
        bench(rest)
