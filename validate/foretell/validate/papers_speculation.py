"""Claims of papers on speculative decoding: what a batch's verification costs, and drafting beside it."""

from __future__ import annotations

from functools import cache

from foretell.models.architecture import load_architecture
from foretell.models.hardware import load_hardware
from foretell.models.parallelism import Parallelism
from foretell.models.pricing import step_cost
from foretell.models.stepcost import StepLoad
from foretell.validate.papers import Claim, Found
from foretell.validate.papers_hardware import decode_load

BUDGET, ACCEPTANCE = 512, 0.8
MEASURED = (
    "fractions of peaks price the verification; measured operators, which foretell would take by itself, "
    "have no "
    "kernel for a few tokens behind a long context, price it as a prompt's at two to six decode steps, and "
    "find no gain"
)


def accepted(rate: float, drafts: int) -> float:
    """Tokens of a cycle, (1 − α^{γ+1})/(1 − α) (Leviathan et al. 2022)."""
    return (1 - rate ** (drafts + 1)) / (1 - rate)


@cache
def sparse_draft_speedup(
    model: str, hardware: str, ranks: int, batch: int, context: int, times: str = "roofline"
) -> float:
    """Speed-up of a model that drafts for itself over 512 KV tokens, by the best number of drafts.

    (tokens of a cycle) / ((γ·T_draft + T_verify)/T_decode), as in MagicDec's analysis; verification is a step
    with γ + 1 tokens a sequence.
    """
    cost = step_cost(
        load_architecture(model), load_hardware(hardware), Parallelism(ranks), operator_times=times
    )
    plain = float(cost(*decode_load(batch, context)))
    draft = float(cost(*decode_load(batch, BUDGET)))
    best = 1.0
    for drafts in range(1, 9):
        n = drafts + 1
        verify = StepLoad(
            prefill_tokens=batch * n,
            prefill_pairs=batch * n * (context + (n + 1) / 2),
            prefill_context=batch * (context + n),
            prefill_seqs=batch,
            sampled=batch * n,
        )
        cycle = drafts * draft + float(cost(*verify))
        best = max(best, accepted(ACCEPTANCE, drafts) * plain / cycle)
    return best


def _magicdec_growth(_: float) -> Found:
    by_batch = {b: sparse_draft_speedup("llama-3.1-8b", "h100-sxm", 8, b, 32_000) for b in (16, 32, 64)}
    return Found(
        by_batch[64] / by_batch[32], why=MEASURED, beside={f"batch {b}": s for b, s in by_batch.items()}
    )


def _magicdec_h100(_: float) -> Found:
    arguments = ("llama-3.1-8b", "h100-sxm", 8, 64, 32_000)
    measured = sparse_draft_speedup(*arguments, times="curves")
    return Found(sparse_draft_speedup(*arguments), why=MEASURED, beside={"measured operators": measured})


def _magicdec_multihead(_: float) -> Found:
    return _largest("llama-2-7b", (8, 16, 32))


def _magicdec_grouped(_: float) -> Found:
    return _largest("llama-3.1-8b", (32, 64, 128))


def _largest(model: str, batches: tuple[int, ...]) -> Found:
    speedups = {f"batch {b}": sparse_draft_speedup(model, "a100-80gb-sxm", 8, b, 32_000) for b in batches}
    return Found(max(speedups.values()), why=MEASURED, beside=speedups)


def si_seconds(rate: float, draft_s: float, lookahead: int) -> float:
    """Seconds a token of ordinary speculation, the target's forward pass taking 1."""
    return (lookahead * draft_s + 1) / accepted(rate, lookahead)


def dsi_seconds(rate: float, draft_s: float) -> float:
    """Seconds a token where drafting goes on beside enough verifying servers.

    An accepted token costs its draft alone, for its verification is off the path; a rejected one costs the
    target's pass that found it out (arXiv 2405.14105, section 3).
    """
    return rate * draft_s + (1 - rate) * 1.0


def _dsi(_: float) -> Found:
    gains = {}
    for rate in (0.6, 0.7, 0.8, 0.9, 0.95):
        for draft_s in (0.1, 0.2, 0.4, 0.6):
            plain = min(si_seconds(rate, draft_s, k) for k in (1, 5, 10))
            gains[f"acceptance {rate:g}, drafter {draft_s:g}"] = plain / dsi_seconds(rate, draft_s)
    ranked = sorted(gains.values())
    return Found(
        ranked[len(ranked) // 2],
        beside={"least": ranked[0], "most": ranked[-1]} | gains,
    )


ROWS = [
    Claim(
        "MagicDec",
        "speed-up grows with the batch at long context: from 32 to 64 sequences",
        "1.23x to 1.43x, thus by 1.16x",
        "ratio",
        1.43 / 1.23,
        1.43 / 1.23,
        "x",
        "Llama-3.1-8B, 32K context, 8 H100 in one tensor-parallel group, drafts over 512 KV tokens, "
        "acceptance "
        "assumed 0.8, the best of 1 to 8 drafts",
        "the authors' page (2024)",
        _magicdec_growth,
    ),
    Claim(
        "MagicDec",
        "speed-up of 64 sequences of 32K tokens",
        "1.43x",
        "ratio",
        1.43,
        1.43,
        "x",
        "as above",
        "the authors' page (2024)",
        _magicdec_h100,
    ),
    Claim(
        "MagicDec",
        "largest speed-up, multi-head attention",
        "up to 2x",
        "ratio",
        2.0,
        2.0,
        "x",
        "Llama-2-7B with 32K context on 8 A100, batches of 8 to 32, acceptance assumed 0.8",
        "arXiv 2408.11049, abstract (2024)",
        _magicdec_multihead,
    ),
    Claim(
        "MagicDec",
        "largest speed-up, grouped-query attention",
        "up to 1.84x",
        "ratio",
        1.84,
        1.84,
        "x",
        "Llama-3.1-8B with 32K context on 8 A100, batches of 32 to 128, acceptance assumed 0.8",
        "arXiv 2408.11049, abstract (2024)",
        _magicdec_grouped,
    ),
    Claim(
        "Distributed Speculative Inference (DSI)",
        "faster than speculation on one server",
        "1.29-1.92x",
        "ratio",
        1.29,
        1.92,
        "x",
        "acceptance 0.6 to 0.95, drafter 0.1 to 0.6 of the target's pass, ordinary speculation at the best "
        "of "
        "1, 5 and 10 drafts; the median of the grid",
        "arXiv 2405.14105, abstract (2024)",
        _dsi,
    ),
]
