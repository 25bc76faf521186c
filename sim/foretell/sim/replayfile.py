"""Replay files: one case and what vLLM did with it, complete in one JSON or YAML file.

`foretell validate scheduler` writes one for each mismatch, shrunk; `foretell replay` runs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretell.sim.case import Case, case_from_dict
from foretell.sim.watch import OUTCOME_FIELDS, STEP_FIELDS, Difference, Record

FORMAT = 1
KEY = "foretell_replay"
_ABOUT = (
    "What vLLM's scheduler did with these settings and requests. `foretell replay FILE --output DIR` shows "
    "what foretell does. vllm.steps: "
    + ", ".join(STEP_FIELDS)
    + "; vllm.requests: "
    + ", ".join(OUTCOME_FIELDS)
)


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """A case, and what vLLM did with it.

    Attributes:
        case: settings, step cost and requests.
        version: of vLLM, "" if it was not asked.
        vllm: its record, or None; without steps if it failed.
        note: how it came about.

    """

    case: Case
    version: str = ""
    vllm: Record | None = None
    note: str = ""

    def text(self) -> str:
        """As JSON, a line a request and a line a step, so that it can be read and compared."""
        content: dict[str, Any] = {KEY: FORMAT, "about": _ABOUT, "note": self.note, **self.case.as_dict()}
        if self.vllm is not None:
            content["vllm"] = {
                "version": self.version,
                "livelock": self.vllm.livelock,
                "steps": self.vllm.steps,
                "requests": self.vllm.requests,
            }
        return _lines(content) + "\n"


def _lines(value: Any, depth: int = 0) -> str:
    """JSON with line breaks down to the second level."""
    inner = ",\n" + " " * (depth + 1)
    if depth < 2 and isinstance(value, dict) and value:
        rows = (f"{json.dumps(key)}: {_lines(one, depth + 1)}" for key, one in value.items())
        return "{\n" + " " * (depth + 1) + inner.join(rows) + "\n" + " " * depth + "}"
    if depth in (1, 2) and isinstance(value, list) and value and isinstance(value[0], dict | list):
        rows = (json.dumps(one, allow_nan=False) for one in value)
        return "[\n" + " " * (depth + 1) + inner.join(rows) + "\n" + " " * depth + "]"
    return json.dumps(value, allow_nan=False)


def is_replay_file(path: Path) -> bool:
    """Whether a file is a replay file, told from its beginning."""
    if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as handle:
        return KEY in handle.read(4096)


def read_replay_file(path: Path) -> ReplayFile:
    """Read a replay file.

    Raises:
        ValueError: it is not one, or something in it is out of range.

    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    try:
        content = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: neither JSON nor YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, Mapping) or content.get(KEY) != FORMAT:
        raise ValueError(f"{path}: not a replay file of format {FORMAT}; it has no line {KEY}: {FORMAT}")
    try:
        case = case_from_dict(content)
        vllm = content.get("vllm")
        return ReplayFile(
            case=case,
            version=str(vllm["version"]) if vllm else "",
            vllm=Record(vllm["steps"], vllm["requests"], bool(vllm["livelock"])) if vllm else None,
            note=str(content.get("note", "")),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: vllm: {error} is missing or of the wrong kind") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def tell(difference: Difference, version: str) -> list[str]:
    """Lines that say what differs, in words."""
    names: tuple[str, ...] = STEP_FIELDS if difference.step is not None else OUTCOME_FIELDS
    if difference.fields == ("livelock",):
        names = ("livelock",)
    where = f"step {difference.step}" if difference.step is not None else difference.request or "the end"
    lines = [f"first difference: {where}, in {', '.join(difference.fields)}"]
    for who, what in ((f"vLLM {version}".rstrip(), difference.vllm), ("foretell", difference.foretell)):
        if what is None:
            lines.append(f"  {who}: has ended")
        else:
            values = (f"{name} {_short(value)}" for name, value in zip(names, what, strict=False))
            lines.append(f"  {who}: {', '.join(values)}")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(f"{id}: {n} after {before}" for id, n, before in value) + "]"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
