"""Reading a `vllm serve` line into the fields of a pool: the inverse of `vllm_command`.

What a line leaves unsaid is the preset's; hardware, replicas and traffic are not in it.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from foretell.sim.presets import DEFAULT_PRESET
from foretell.sim.vllm_flags import ENGINE, POOL, flags, nearest, short_flags, whole_name

_CHOICES: Mapping[str, Sequence[str]] = {
    "scheduling_policy": ("fcfs", "priority"),
    "performance_mode": ("balanced", "throughput"),
}
_SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
_TEXTS = ("dtype", "quantization", "kv_cache_dtype")
_END = ("|", "||", "&", "&&", ";", ">", ">>", "2>&1", "2>", "&>", "<", "tee")
_IMAGE = re.compile(r"(?:^|/)vllm(?:-openai)?(?:[:@][\w.:-]+)?$|vllm/vllm-openai")
_HUMAN = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgGtT])$")
_DECIMAL, _BINARY = "kmgt", "KMGT"
_FORMATS = (  # in a checkpoint's name → how its weights are stored
    ("nvfp4", "nvfp4"),
    ("fp4", "nvfp4"),
    ("fp8", "fp8"),
    ("w8a8", "int8"),
    ("int8", "int8"),
    ("awq", "awq"),
    ("gptq", "gptq"),
    ("w4a16", "gptq"),
    ("int4", "gptq"),
)
_TRIMMED = re.compile(
    r"[-_.](?:instruct|chat|it|hf|base|thinking|bf16|fp16|awq|gptq|int[48]|w\da\d+|nvfp4|mxfp4|fp[48](?:-(?:dynamic|block|kv))?|"
    r"\d{4}|dynamic|quantized|marlin|turbo|v\d(?:\.\d)?)$"
)


@dataclass(frozen=True, slots=True)
class ServeLine:
    """What a line says.

    Attributes:
        pool: fields of a `Pool`, as in a scenario's file.
        understood: what was given and what became of it, as (flag, "field: value").
        left_out: what was given and is not in the pool though it may matter, as (flag, reason).
        harmless: what was given and does not bear on a forecast.

    """

    pool: Mapping[str, Any]
    understood: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    harmless: tuple[str, ...] = ()

    def laid_over(self, pool: Mapping[str, Any]) -> dict[str, Any]:
        """A pool's fields with those of the line, whose layout and engine settings alone count."""
        asked = pool.get("engine", {})
        preset = asked if isinstance(asked, str) else asked.get("preset", DEFAULT_PRESET)
        kept = {name: value for name, value in pool.items() if name not in _LAYOUT}
        if "model" in self.pool:
            kept.pop("step_cost", None)
        if "model" in self.pool and self.pool["model"] != pool.get("model"):
            kept.pop("outcomes", None)
            kept.pop("calibration", None)
        engine = dict(self.pool.get("engine", {}))
        if preset != DEFAULT_PRESET and str(preset).endswith("-server"):
            engine = {"preset": preset} | engine  # its version; that of an offline engine is not a server's
        rest = {name: value for name, value in self.pool.items() if name != "engine"}
        return kept | rest | ({"engine": engine} if engine else {})


_LAYOUT = (*_SIZES, *_TEXTS, "enable_expert_parallel", "engine")


def read_serve_line(text: str) -> ServeLine:
    r"""Read a line such as ``vllm serve Qwen/Qwen3-32B -tp 2 --quantization fp8``.

    Line ends after a backslash, variables before the command, ``python -m
    vllm.entrypoints.openai.api_server`` and ``docker run ... vllm/vllm-openai`` with ``--model`` are read.

    Raises:
        ValueError: not such a line, or a flag with a value that it cannot have; one line.

    """
    words = _words(text)
    pool: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    understood: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    harmless: list[str] = []
    model = ""
    for flag, value, shown in _flags(words):
        if flag in ("", "model"):
            if model:
                left_out.append((shown, "the model was named before"))
            model = model or str(value or "")
            continue
        place, why = _read(flag, value, pool, engine)
        if place or why:
            (left_out if why else understood).append((shown, why or place))
        else:
            harmless.append(shown)
    if not model:
        raise ValueError("command: names no model; expected vllm serve MODEL --flags")
    quantization, told = pool.get("quantization"), _told(model)
    if told is None:
        left_out.insert(0, (model, _unknown_model(model)))
    else:
        pool["model"], stored = told
        understood.insert(0, (model, f"model: {pool['model']}"))
        found = _stored(pool["model"], quantization, stored)
        if found != quantization:
            pool["quantization"] = found
            about = f"quantization: {found}"
            if quantization is not None:
                understood = [
                    (f, about if p == f"quantization: {quantization}" else p) for f, p in understood
                ]
            else:
                understood.insert(1, (model, about))
    given = pool | ({"engine": engine} if engine else {})
    return ServeLine(given, tuple(understood), tuple(left_out), tuple(harmless))


def _words(text: str) -> list[str]:
    """The words after the command itself."""
    joined = re.sub(r"[\\^`]\s*\r?\n", " ", text).strip()
    try:
        words = shlex.split(joined.removeprefix("$ "), comments=True)
    except ValueError as error:
        raise ValueError(f"command: {str(error).lower()}; quotes must be closed") from None
    for index, word in enumerate(words):
        name = re.split(r"[/\\]", word)[-1].removesuffix(".exe")
        if name == "vllm" and words[index + 1 : index + 2] == ["serve"]:
            return _own(words[index + 2 :])
        if word.startswith("vllm.entrypoints.") and word.endswith("api_server"):
            return _own(words[index + 1 :])
        if _IMAGE.search(word) and {"docker", "podman"} & {each.rpartition("/")[2] for each in words[:index]}:
            rest = words[index + 1 :]
            return _own(rest[1:] if rest[:1] == ["serve"] else rest)
    raise ValueError("command: not a server's start; expected vllm serve MODEL --flags")


def _own(words: Sequence[str]) -> list[str]:
    """The words up to what the shell takes for itself."""
    found = []
    for word in words:
        if word in _END:
            break
        found.append(word.removesuffix(";"))
        if word.endswith(";"):
            break
    return found


def _flags(words: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Every flag ("" for a bare word) with its value, True or False of switches, and as it was given."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-") or word == "-":
            yield "", word, word
            continue
        name, equals, value = word.partition("=")
        joined = _joined(name)
        if joined is not None:
            yield *joined, word
            continue
        flag = short_flags().get(name) or whole_name(name.lstrip("-").replace("_", "-"))
        bare = flag.removeprefix("no-")
        off = flag not in flags() and _kind(bare) == "switch"
        flag, kind = (bare, "switch") if off else (flag, _kind(flag))
        if kind in ("switch", "on"):
            given, shown = (value or None), word
            if not equals and waiting and waiting[0].lower() in ("true", "false"):
                given = waiting.pop(0)
                shown = f"{word} {given}"
            yield flag, _turned(given, off), shown
        elif equals:
            yield flag, value, word
        elif kind == "list":
            values = []
            while waiting and not _is_flag(waiting[0]):
                values.append(waiting.pop(0))
            yield flag, " ".join(values) or None, shlex.join([word, *values])
        elif waiting and not _is_flag(waiting[0]):
            value = waiting.pop(0)
            yield flag, value, f"{word} {shlex.quote(value)}"
        else:
            yield flag, None, word


def _is_flag(word: str) -> bool:
    return re.match(r"-{1,2}[A-Za-z]", word) is not None


def _kind(flag: str) -> str:
    known = flags().get(flag)
    return "" if known is None else known.kind


def _joined(name: str) -> tuple[str, str] | None:
    """A short flag and the number that follows it at once: -O3, and -tp2, which 0.32 wants apart."""
    found = re.fullmatch(r"(-[A-Za-z]+)(\d+)", name)
    if found is None or found[1] not in short_flags():
        return None
    return short_flags()[found[1]], found[2]


def _turned(given: str | None, off: bool) -> bool | str:
    """A switch: on, or off by its --no- form; true and false after it are taken too."""
    if given is None or given.lower() in ("true", "false"):
        return (given is None or given.lower() == "true") != off
    return given


def _read(flag: str, value: Any, pool: dict[str, Any], engine: dict[str, Any]) -> tuple[str, str]:
    """Put a flag's value in its place: (the place and value, "") or ("", why not); both empty: harmless."""
    if flag not in POOL and flag not in ENGINE:
        return "", _left_out(flag, value)
    if value is None:
        raise ValueError(f"command: --{flag} has no value")
    field = POOL.get(flag) or ENGINE[flag]
    if field in (*_TEXTS, *_CHOICES):
        known = _CHOICES.get(field) or _known(field)
        if value not in known:
            return "", f"{value} is not modelled; known: {', '.join(sorted(known))}"
    if field == "max_model_len" and str(value).lower() in ("auto", "-1"):
        return "max_model_len: what the KV cache holds", ""
    place = pool if flag in POOL else engine
    place[field] = _value(flag, value)
    return f"{'' if flag in POOL else 'engine.'}{field}: {_plain(place[field])}", ""


def _left_out(flag: str, value: Any) -> str:
    """Why a flag without a field is left out; empty where it does not bear on a forecast."""
    known = flags().get(flag.partition(".")[0])  # --speculative-config.method
    if known is None:
        near = nearest(flag)
        return "unknown flag" + ("" if near is None else f", did you mean --{near}?")
    if known.stands == "older":
        return "a flag of an older version: vLLM 0.32 does not have it"
    try:
        _check(flag, value)
    except ValueError as error:
        return f"vLLM would refuse it: {str(error).partition(': ')[2]}"
    return f"not forecast: {known.about}" if known.stands == "not_forecast" else ""


def _check(flag: str, value: Any) -> None:
    """Raise if the flag does not take this value; what a shell would fill in is not known."""
    if value is None and _kind(flag) != "maybe":
        raise ValueError(f"command: --{flag} has no value")
    if isinstance(value, str) and not value.startswith("$") and value != "None":
        _value(flag, value)


def _value(flag: str, value: Any) -> Any:
    """A value as its flag takes it."""
    kind = _kind(flag)
    if kind in ("switch", "on"):
        if not isinstance(value, bool):
            raise ValueError(f"command: --{flag}: {value!r} is not true or false")
        return value
    if kind == "number":
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"command: --{flag}: {value!r} is not a number") from None
    return _whole(flag, value) if kind in ("whole", "tokens") else value


def _whole(flag: str, value: str) -> int:
    """A whole number; where vLLM takes it so, 8k is 8,000 and 8K is 8,192."""
    if re.fullmatch(r"-?\d+", value):
        return int(value)
    found = _HUMAN.match(value)
    if found is None or _kind(flag) != "tokens":
        raise ValueError(f"command: --{flag}: {value!r} is not a whole number")
    unit = found[2]
    if unit in _DECIMAL:
        return int(float(found[1]) * 10 ** (3 * _DECIMAL.index(unit) + 3))
    if "." in found[1]:
        raise ValueError(f"command: --{flag}: {value!r}: of {unit} only whole ones; write {value.lower()}")
    return int(found[1]) << (10 * _BINARY.index(unit) + 10)


def _known(field: str) -> frozenset[str]:
    from foretell.sim.deployment import CONTAINERS, DTYPES, KV_DTYPES, QUANTIZATION

    known = {
        "dtype": DTYPES,
        "quantization": (*QUANTIZATION, *CONTAINERS),
        "kv_cache_dtype": ("auto", *KV_DTYPES),
    }
    return frozenset(known[field])


@cache
def _models() -> Mapping[str, str]:
    """Bundled models by their names on Hugging Face, and by the last part of those, in lower case."""
    from foretell.models.architecture import list_architectures
    from foretell.sim.vllm_command import model_id

    found: dict[str, str] = {}
    for name in list_architectures():
        known = model_id(name).lower()
        found.setdefault(known, name)
        found.setdefault(known.rpartition("/")[2], name)
    return found | {name: name for name in list_architectures()}


def _told(model: str) -> tuple[str, str | None] | None:
    """The bundled model of this name, and the format that the name says its weights are stored in."""
    known, name = _models(), model.lower().rstrip("/")
    if name in known:
        return known[name], None
    last = re.split(r"[/\\]", name)[-1]
    stored = next((form for word, form in _FORMATS if word in last), None)
    for start in dict.fromkeys((last, last.removeprefix("meta-"))):
        rest = start
        while True:
            if rest in known:
                return known[rest], stored
            shorter = _TRIMMED.sub("", rest)
            if shorter == rest:
                break
            rest = shorter
    return None


def _stored(model: str, quantization: str | None, stored: str | None) -> str | None:
    """The format of the weights: as the flag says, or as the checkpoint's name does.

    vLLM's "compressed-tensors" and "modelopt" say how a checkpoint is stored and not in which format; where
    the name does not tell either, they are taken as the formats that `vllm_command` writes by them.
    """
    from foretell.models.architecture import load_architecture

    if quantization not in (None, "compressed-tensors", "modelopt"):
        return quantization
    if load_architecture(model).weight_dtype not in ("bf16", "fp16", "fp32"):
        return quantization
    if stored is not None or quantization is None:
        return stored
    return "int8" if quantization == "compressed-tensors" else "fp8"


def _unknown_model(model: str) -> str:
    near = difflib.get_close_matches(model.lower().rpartition("/")[2], _models(), n=1, cutoff=0.5)
    hint = f"; the nearest is {_models()[near[0]]}" if near else ""
    return f"no such model is bundled, so that the pool keeps its own{hint}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
