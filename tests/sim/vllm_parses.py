"""What vLLM's own parser makes of `vllm serve` lines: a script for an interpreter that has vllm.

stdin: {"lines": [...], "names": [...]}. stdout: {"version", "parsed": [{name: value} a line], "flags": {flag:
[the same flag's names, what it takes as foretell.sim.vllm_flags calls it]}}. Nothing of foretell is imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import sys

os.environ |= {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
for absent in ("torchvision", "torchaudio", "torchcodec"):
    sys.modules[absent] = None  # type: ignore[assignment]  # their registry builds need CUDA
OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def found(*places: str) -> object:
    """The first of these names, module:attribute, that this version has."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise ImportError(places)


import vllm  # noqa: E402

make_arg_parser = found(
    "vllm.entrypoints.launchers.cli_args:make_arg_parser", "vllm.entrypoints.openai.cli_args:make_arg_parser"
)
Parser = found("vllm.utils.argparse_utils:FlexibleArgumentParser", "vllm.utils:FlexibleArgumentParser")
asked = json.load(sys.stdin)
parsed = []
for line in asked["lines"]:
    vllm_word, serve, *rest = shlex.split(line)
    assert (vllm_word, serve) == ("vllm", "serve")
    given = vars(make_arg_parser(Parser()).parse_args(rest))  # type: ignore[operator]
    row = {name: given[name] for name in asked["names"] if name in given}
    transfer = given.get("kv_transfer_config")
    role = None if transfer is None else [transfer.kv_connector, transfer.kv_role]
    parsed.append({"model": given["model_tag"], "kv_transfer": role, **row})


def takes(action: argparse.Action, text: str) -> bool:
    """Whether an argument's type takes this text."""
    try:
        (action.type or str)(text)  # type: ignore[operator]
    except Exception:  # whatever a parser's types raise
        return False
    return True


def kind(action: argparse.Action) -> str:
    """What an argument takes, found by trying it."""
    if type(action).__name__ == "BooleanOptionalAction":
        return "switch"
    if action.nargs is not None:
        return {"0": "on", "?": "maybe"}.get(str(action.nargs), "list")
    if not takes(action, "1") or takes(action, "x") or takes(action, "[]"):
        return "text"
    if takes(action, "1k"):
        return "tokens"
    return "number" if takes(action, "1.5") else "whole"


flags: dict[str, list[object]] = {}
for action in make_arg_parser(Parser())._actions:  # type: ignore[operator]
    flags |= {name: [action.option_strings, kind(action)] for name in action.option_strings}
json.dump({"version": vllm.__version__, "parsed": parsed, "flags": flags}, OUT)
OUT.flush()
