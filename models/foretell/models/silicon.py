"""Operators priced by measured tables: the extra `silicon`.

    silicon = load_silicon("h200")
    time = silicon.timer(operator, load, machine)

`timer` stands where roofline_time may stand. docs/silicon.md says what the tables hold, and their errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foretell.models import silicon_links as links
from foretell.models.operator_time import Machine, OperatorTime
from foretell.models.operators import Attend, Experts, Linear, Operator
from foretell.models.silicon_attention import price_attend, price_state
from foretell.models.silicon_experts import price_experts
from foretell.models.silicon_gemm import Peaks, Priced, price_gemm
from foretell.models.silicon_mla import ELEMENTWISE, price_latent
from foretell.models.silicon_source import BACKENDS, Source, data_folder, system_of
from foretell.models.utilisation import Estimate

ELEMENTWISE_ERROR = 0.2
"""Log-error of elementwise work, which is a fraction of the bandwidth."""


@dataclass(frozen=True, slots=True)
class Silicon:
    """Measured operators of one accelerator.

    Attributes:
        accelerator: whose tables.
        source: which tables come first.
        distribution: routing that the experts' tables were measured under, "balanced", "power_law_1.01" or
            "power_law_1.2".
        block_fp8: whether fp8 experts are quantised by blocks (DeepSeek, MiniMax, Qwen), else by tensor.

    """

    accelerator: str
    source: Source
    distribution: str = "power_law_1.01"
    block_fp8: bool = True

    def timer(self, operator: Operator, load: tuple[Any, ...], machine: Machine) -> OperatorTime:
        """Seconds of one layer, as operator_time.OperatorTimer wants them.

        The part that binds by the roofline carries the measured time, the other its roofline. A machine with
        other peaks than the accelerator's borrows its utilisation.

        Raises:
            ValueError: nothing measured is near enough to lend.

        """
        priced = self._price(operator, load, machine)
        bound = priced.compute_s > priced.memory_s
        launch: Any = 0.0 * priced.seconds
        if isinstance(operator, Linear) and operator.kind == "memory":
            launch = operator.launches * machine.launch_s * (priced.seconds > 0)
        return OperatorTime(
            np.where(bound, priced.seconds, priced.compute_s)[()],
            np.where(bound, priced.memory_s, priced.seconds)[()],
            launch,
        )

    def estimate(self, operator: Operator, load: tuple[Any, ...], machine: Peaks) -> Estimate:
        """Seconds of one layer and the standard error of their logarithm, without elementwise launches.

        Raises:
            ValueError: nothing measured is near enough to lend.

        """
        priced = self._price(operator, load, machine)
        return Estimate(priced.seconds, priced.log_error)

    def all_reduce_s(self, num_bytes: Any, ranks: int, fused: bool = True) -> Any:
        """Seconds of an all-reduce within a node; `fused` lets Blackwell use the one fused with the norm."""
        return self.all_reduce(num_bytes, ranks, fused).seconds[()]

    def all_reduce(self, num_bytes: Any, ranks: int, fused: bool = True) -> Estimate:
        """Like all_reduce_s, with the error."""
        return links.all_reduce(self.source, num_bytes, ranks, fused)

    def all_gather_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds to gather `num_bytes` in all onto every rank of a node; a reduce-scatter is like it."""
        return links.exchange(self.source, "all_gather", num_bytes, ranks).seconds[()]

    def all_to_all_s(self, num_bytes: Any, ranks: int) -> Any:
        """Seconds of an all-to-all in which each rank of a node holds `num_bytes`."""
        return links.exchange(self.source, "alltoall", num_bytes, ranks).seconds[()]

    def dispatch_s(
        self, tokens: Any, hidden_size: int, top_k: int, num_experts: int, ranks: int, mode: str = "ll"
    ) -> Any:
        """Seconds of DeepEP's dispatch and combine together; see silicon_links.dispatch."""
        return links.dispatch(self.source, tokens, hidden_size, top_k, num_experts, ranks, mode).seconds[()]

    def _price(self, operator: Operator, load: tuple[Any, ...], part: Peaks) -> Priced:
        if isinstance(operator, Experts):
            return price_experts(self.source, operator, load[0], part, self.distribution, self.block_fp8)
        if isinstance(operator, Attend):
            if operator.latent:
                return price_latent(self.source, operator, load, part)
            if operator.bytes_per_sequence:
                return price_state(self.source, operator, load, part)
            return price_attend(self.source, operator, load, part)
        if operator.rows:
            return price_gemm(self.source, operator, load[0], part)
        _, moved = operator.work(np.asarray(load[0], dtype=float))
        memory = moved / part.memory_Bps
        return Priced(memory / ELEMENTWISE, ELEMENTWISE_ERROR + 0.0 * memory, 0.0 * memory, memory)


def load_silicon(accelerator: str, backend: str = "vllm", version: str | None = None) -> Silicon:
    """Measured operators of an accelerator; tables are read when they are first asked for.

    Args:
        accelerator: a name of silicon_source.SYSTEMS.
        backend: whose kernels, "vllm", "sglang" or "trtllm"; what it lacks comes from the others.
        version: the back end's; the newest measured that is not newer, None for the newest.

    Raises:
        ValueError: the extra is not installed, or nobody measured the accelerator or the back end.

    """
    if backend not in BACKENDS:
        raise ValueError(f"silicon: no back end {backend!r}; there are {', '.join(BACKENDS)}")
    system = system_of(accelerator)
    data_folder()
    return Silicon(accelerator, Source(system, backend, version))
