"""The models of the Kinetics paper: its counts of parameters, and laws of accuracy fitted to its figures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from foretell.models.architecture import load_architecture
from foretell.models.kinetics import DecoderShape, shape_of, with_parameters
from foretell.models.kinetics_curves import Kept

SIZES = ("0.6B", "1.7B", "4B", "8B", "14B", "32B")


@dataclass(frozen=True, slots=True)
class PaperModel:
    """A model of the paper.

    Attributes:
        size: its name there.
        architecture: name of its record.
        parameters: P as the paper counts.
        pass_at_1: accuracy of whole answers (cut at 32,768 tokens) by task.
        half_tokens, spread: g50 and s of `truncated_accuracy` on AIME24.
        sparse_ceiling: A∞ of its top-k frontier on AIME24, above `pass_at_1` where the choice among budgets
            of every problem adds to it.

    """

    size: str
    architecture: str
    parameters: float
    pass_at_1: dict[str, float]
    half_tokens: float
    spread: float
    sparse_ceiling: float

    def shape(self, *, as_published: bool = True) -> DecoderShape:
        """Its shape, with the paper's P or with ours."""
        ours = shape_of(load_architecture(self.architecture))
        return with_parameters(ours, self.parameters) if as_published else ours

    def truncation(self, task: str = "aime24", *, sparse: bool = False) -> tuple[float, float, float]:
        """A, g50 and s; of tasks without a curve, g50 and s are AIME24's."""
        return self.sparse_ceiling if sparse else self.pass_at_1[task], self.half_tokens, self.spread


@cache
def paper_models() -> dict[str, PaperModel]:
    """The paper's models by size."""
    return {
        size: PaperModel(
            size=size,
            architecture=f"qwen3-{size.lower()}",
            parameters=record["parameters"],
            pass_at_1={task: record[task] for task in ("aime24", "aime25")},
            half_tokens=record["half_tokens"],
            spread=record["spread"],
            sparse_ceiling=record["sparse_ceiling"],
        )
        for size, record in _data()["models"].items()
    }


def prompt_tokens() -> int:
    """c: tokens of a prompt that the laws were fitted with."""
    return int(_data()["prompt_tokens"])


def paper_kept(*, blocks: bool = False) -> Kept:
    """The law of the KV budget that all models share, over the paper's budgets."""
    law = _data()["budget"]
    return Kept(law["scale"], law["shape"], blocks=blocks)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files("foretell.models") / "data" / "kinetics.toml").read_text(encoding="utf-8"))
