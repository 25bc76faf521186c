"""What a host needs to launch a step's kernels one by one, as vLLM's enforce_eager makes it do.

A CUDA graph is launched once. Without graphs every kernel is a call from Python through PyTorch's dispatcher
to the driver, and a step takes at least as long as all these calls: the time per token no longer depends on
the batch until the accelerator's own work is longer. Published times per token of eager decoding, over the
kernels that `step_operators` and `step_transfers` count:

| server | a step | kernels | each |
|---|---|---|---|
| Qwen3-30B-A3B, TP 4, RTX 4090D, 8 at once (vllm issue 45709, 2026-06) | 33.9 ms | 774 | 44 µs |
| Qwen2.5-Omni-7B, A800, vLLM 0.29, a shared host (vllm-omni issue 7960, 2026-09) | 22.5 ms | 285 | 79 µs |
| Llama-2-7B, 5 at once, vLLM 0.2 (vllm pull request 1440, 2023-10) | 12 ms | 325 | 37 µs |

With graphs they took 10.0, 13 and 10.5 ms. (torch.compile without graphs did not help the first: 35.2 ms.)
The time of a launch is a host's, not an accelerator's: expect factors of 1.5 between servers.
"""

from __future__ import annotations

from collections.abc import Sequence

from foretell.models.communication import Transfer
from foretell.models.operators import Attend, Operator

EAGER_LAUNCH_S = 50e-6
"""Seconds of the host for a kernel: the geometric mean of the table above."""
EAGER_LOG_ERROR = 0.4
"""Standard deviation of its logarithm between servers, as in that table."""
EAGER_NOTE = (
    "enforce_eager: a step takes the host at least 50 µs for each kernel, with a standard error of a factor "
    "of 1.5, from three published servers"
)


def eager_seconds(operators: Sequence[Operator], transfers: Sequence[Transfer]) -> float:
    """Least seconds of an eager step: its decoding kernels and messages times the host's launch."""
    kernels = sum(op.layers * op.launches for op in operators if not _of_prompts(op))
    return EAGER_LAUNCH_S * (kernels + sum(transfer.count for transfer in transfers))


def _of_prompts(operator: Operator) -> bool:
    """Whether only steps with a prompt run it; their kernels are long enough to hide their launches."""
    if isinstance(operator, Attend):
        return operator.phase == "prefill"
    return operator.driver == "prefill_context"
