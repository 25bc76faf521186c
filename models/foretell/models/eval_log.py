"""Per-sample records of an evaluation: CSV or JSON lines, under any of the usual column names."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foretell.models.outcomes import FloatArray

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "problem_id": ("problem", "question_id", "task_id", "doc_id", "instance_id", "prompt_id", "id", "idx"),
    "output_tokens": (
        "completion_tokens",
        "generated_tokens",
        "response_tokens",
        "num_tokens",
        "tokens",
        "length",
    ),
    "correct": ("is_correct", "passed", "resolved", "exact_match", "acc", "score", "reward"),
    "answer": ("final_answer", "extracted_answer", "prediction", "pred"),
    "confidence": ("mean_logprob", "certainty"),
    "finish_reason": ("stop_reason",),
    "prompt_tokens": ("input_tokens",),
}
"""Columns that are read, the first three required, and what else they may be called, the likeliest first."""

_REQUIRED = ("problem_id", "output_tokens", "correct")
_TRUE, _FALSE = (
    ("true", "yes", "1", "1.0", "correct", "pass"),
    ("false", "no", "0", "0.0", "incorrect", "fail"),
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of a model on a task, an entry each.

    Attributes:
        problem: index of the problem, 0, 1, ...
        tokens: output tokens.
        correct: whether the answer is right.
        answer: as text, None where there is none; None as a whole where the log has no answers.
        confidence: the model's own, in any unit; None where the log has none.
        stopped: whether it was cut at max_tokens, where the log says so; else None.
        prompt_tokens: mean over samples, or None.

    """

    problem: npt.NDArray[np.int64]
    tokens: FloatArray
    correct: npt.NDArray[np.bool_]
    answer: tuple[str | None, ...] | None = None
    confidence: FloatArray | None = None
    stopped: npt.NDArray[np.bool_] | None = None
    prompt_tokens: float | None = None


def read_samples(path: Path) -> Samples:
    """Read a log: .jsonl (an object a line), .json (a list of objects), or else CSV with a header.

    Raises:
        ValueError: the file cannot be read, a required column is missing, or a value is not what its column
            needs; the message names the line and the field.

    """
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path}: no records")
    found = _columns(path, rows[0][1])
    table = {name: _column(path, rows, name, column) for name, column in found.items()}
    ids: dict[Any, int] = {}
    problem = np.array([ids.setdefault(key, len(ids)) for key in table["problem_id"]], dtype=np.int64)
    reasons = table.get("finish_reason")
    prompts = table.get("prompt_tokens")
    return Samples(
        problem,
        np.array(table["output_tokens"], dtype=np.float64),
        np.array(table["correct"], dtype=np.bool_),
        tuple(table["answer"]) if "answer" in table else None,
        np.array(table["confidence"], dtype=np.float64) if "confidence" in table else None,
        np.array([reason in ("length", "max_tokens") for reason in reasons]) if reasons else None,
        float(np.mean(prompts)) if prompts else None,
    )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, record) of every record."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file") from None
    if path.suffix == ".json":
        records = _json(path, 1, text)
        if not isinstance(records, list):
            raise ValueError(f"{path}: not a list of records; one record a line goes into a .jsonl file")
        numbered: Any = enumerate(records, 1)
    elif path.suffix == ".jsonl":
        lines = enumerate(text.splitlines(), 1)
        numbered = ((line, _json(path, line, row)) for line, row in lines if row.strip())
    else:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        numbered = ((reader.line_num, row) for row in reader)
    for line, row in numbered:
        if not isinstance(row, Mapping):
            raise ValueError(f"{path}, line {line}: not a record of named fields")
        yield line, row


def _json(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {line + error.lineno - 1}: not valid JSON: {error.msg}") from None


def _columns(path: Path, row: Mapping[str, Any]) -> dict[str, str]:
    """Which column of the log holds which field."""
    lowered = {str(key).strip().lower(): key for key in row if key is not None}
    found = {}
    for name, others in SYNONYMS.items():
        held = next((lowered[each] for each in (name, *others) if each in lowered), None)
        if held is not None:
            found[name] = held
        elif name in _REQUIRED:
            raise ValueError(
                f"{path}: no column {name} (nor {', '.join(others)}); it has {', '.join(map(str, row))}"
            )
    return found


def _column(path: Path, rows: list[tuple[int, Mapping[str, Any]]], name: str, column: str) -> list[Any]:
    values = []
    for line, row in rows:
        try:
            values.append(_PARSE[name](row.get(column)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {line}: {column} {row.get(column)!r} {error}") from None
    return values


def _id(value: Any) -> Any:
    if value is None or value == "":
        raise ValueError("names no problem")
    return str(value)


def _tokens(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("is not a number of tokens") from None
    if isinstance(value, bool) or not 0 < number < 1e9:
        raise ValueError("is not a number of tokens above 0")
    return number


def _correct(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE + _FALSE:
        raise ValueError("is neither true nor false (1 nor 0)")
    return text in _TRUE


def _answer(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("is not a number") from None
    if not np.isfinite(number):
        raise ValueError("is not a finite number")
    return number


_PARSE: Mapping[str, Callable[[Any], Any]] = {
    "problem_id": _id,
    "output_tokens": _tokens,
    "correct": _correct,
    "answer": _answer,
    "confidence": _number,
    "finish_reason": lambda value: str(value or "").lower(),
    "prompt_tokens": _tokens,
}
