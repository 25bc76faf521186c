"""Systems of docs/systems.csv that schedule, speculate or lay out engines in ways that settings express."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from foretell.models.stepcost import AffineCost
from foretell.sim import Scenario, forecast
from foretell.sim.config import EngineConfig
from foretell.sim.disaggregated import EnginePool
from foretell.sim.programs.run import run_programs
from foretell.sim.programs.sampling import self_consistency
from foretell.sim.simulation import Run, simulate
from foretell.traces import Trace

COST = AffineCost(0.01, 2e-5, 2e-5, 2e-8)


def trace(arrivals: Any, prompts: Any, outputs: Any, **more: Any) -> Trace:
    n = len(arrivals)
    full = (np.broadcast_to(np.asarray(x), n).copy() for x in (prompts, outputs))
    prompt, output = full
    return Trace(np.asarray(arrivals, dtype=float), prompt_tokens=prompt, output_tokens=output, **more)


@pytest.mark.systems(212)
@pytest.mark.parametrize("cap", [None, 150])
def test_one_slot_is_an_m_g_1_queue_with_clipped_answers(cap: int | None) -> None:
    """Pollaczek and Khinchine: the mean wait is λ·E[S²]/2(1 − ρ), of answers as long as they may be."""
    rng = np.random.default_rng(4)
    n, rate = 40_000, 0.5
    outputs = np.minimum(rng.geometric(1 / 100, n), cap or 10**9)
    arrivals = np.cumsum(rng.exponential(1 / rate, n))
    run = simulate(trace(arrivals, 10, outputs), AffineCost(0.01), EngineConfig(max_num_seqs=1))
    service = outputs * 0.01
    wait = run.finish_s - run.arrival_s - service
    load = rate * service.mean()
    expected = rate * (service**2).mean() / (2 * (1 - load))
    assert wait.mean() == pytest.approx(expected, rel=0.12)


@pytest.mark.systems(377)
def test_a_request_alone_takes_its_prompt_and_its_tokens() -> None:
    run = simulate(trace([0.0], 1000, 200), AffineCost(0.01, 2e-5), EngineConfig())
    assert run.finish_s[0] == pytest.approx(0.01 + 2e-5 * 1000 + 199 * (0.01 + 2e-5))
    busy = simulate(trace(np.zeros(32), 1000, 200), AffineCost(0.01, 2e-5), EngineConfig())
    assert busy.finish_s.max() > 2 * run.finish_s[0]  # what contention adds


@pytest.mark.systems(258)
def test_apart_decodes_do_not_wait_for_prompts_that_come_in_chunks() -> None:
    def run(pools: dict[str, Any], **more: Any) -> dict[str, float]:
        scenario = {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 14},
                "lengths": {"prompt": 1500, "output": 200},
                "num_requests": 400,
            },
            "pools": pools,
            "replications": 2,
            "objectives": {"tpot_p99": "<= 1 s"},
        }
        found = forecast(Scenario.from_dict(scenario | more)).summary
        return {name: value.value for name, value in found.items()}

    one = {"model": "llama-3.1-8b", "hardware": "h100-sxm"}
    engine = {"max_num_batched_tokens": 512}
    together = run({"all": one | {"replicas": 2}})
    apart = run(
        {"p": one | {"engine": engine}, "d": one},
        strategy={"name": "disaggregated", "prefill": "p", "decode": "d"},
    )
    assert apart["tpot_p99_s"] < 0.9 * together["tpot_p99_s"]


def accepting(per_step: int, drafts: int, outputs: int = 240) -> Run:
    """Eight requests of which each verification accepts `per_step` of `drafts`."""
    config = EngineConfig(num_speculative_tokens=drafts) if drafts else EngineConfig()
    counts = [(per_step,) * outputs] * 8 if drafts else None
    return simulate(trace(np.zeros(8), 100, outputs, accepted=counts), COST, config)


@pytest.mark.systems(126)
def test_drafts_that_cost_nothing_pay_by_what_is_accepted() -> None:
    plain = accepting(0, 0).finish_s.max()
    found = [plain / accepting(n, 3).finish_s.max() for n in (0, 1, 2, 3)]
    assert found[0] < 1.0  # all rejected: a step verifies more and gives one token as before
    assert (np.diff(found) > 0.5).all()
    assert found[3] == pytest.approx(4, rel=0.1)


@pytest.mark.systems(196)
def test_a_larger_batch_pays_less_for_the_same_acceptance() -> None:
    def speedup(batch: int) -> float:
        cost = AffineCost(0.01, 2e-4)  # tokens of a large batch are no longer free
        asked = [(2,) * 60] * batch
        plain = simulate(trace(np.zeros(batch), 10, 60), cost, EngineConfig())
        drafted = simulate(
            trace(np.zeros(batch), 10, 60, accepted=asked), cost, EngineConfig(num_speculative_tokens=3)
        )
        return float(plain.finish_s.max() / drafted.finish_s.max())

    found = [speedup(batch) for batch in (1, 8, 64)]
    assert found[0] > found[1] > found[2]
    assert found[0] > 2.5


@pytest.mark.systems(217)
def test_tasks_packed_into_one_call_share_their_prompt() -> None:
    tasks, instruction, answer = 3, 900, 40
    apart = simulate(trace(np.zeros(tasks), instruction + 50, answer), COST, EngineConfig(max_num_seqs=1))
    packed = simulate(
        trace([0.0], instruction + 50 * tasks, answer * tasks), COST, EngineConfig(max_num_seqs=1)
    )
    assert packed.finish_s.max() < apart.finish_s.max()
    busy = [sum(engine.prefill_tokens for engine in run.engines) for run in (packed, apart)]
    assert busy[0] < 0.4 * busy[1]


@pytest.mark.systems(173)
def test_a_mix_of_accelerators_is_chosen_by_price_within_a_limit() -> None:
    def forecast_of(groups: list[dict[str, Any]]) -> tuple[float, float]:
        scenario = {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 9},
                "lengths": {"prompt": 400, "output": 150},
                "num_requests": 250,
            },
            "pools": {"main": {"model": "llama-3.1-8b", "replicas": groups, "router": "least_outstanding"}},
            "objectives": {"e2e_p90": "<= 12 s"},
            "replications": 2,
        }
        result = forecast(Scenario.from_dict(scenario))
        assert result.deployment.usd_per_h is not None
        return result.deployment.usd_per_h, result.summary["e2e_p90_s"].value

    mixes: dict[str, list[dict[str, Any]]] = {
        "two large": [{"count": 2, "hardware": "h100-sxm"}],
        "one large": [{"count": 1, "hardware": "h100-sxm"}],
        "one large, two small": [{"hardware": "h100-sxm"}, {"count": 2, "hardware": "l4"}],
        "two small": [{"count": 2, "hardware": "l4"}],
    }
    found = {name: forecast_of(mixes[name]) for name in mixes}
    met = {name: price for name, (price, p90_s) in found.items() if p90_s <= 12}
    assert "two small" not in met
    assert "two large" in met
    assert found[min(met, key=lambda name: met[name])][0] < found["two large"][0]


@pytest.mark.systems(286)
def test_a_search_with_the_simulator_inside_finds_a_better_router() -> None:
    rng = np.random.default_rng(3)
    n = 600
    arrivals = np.cumsum(rng.exponential(1 / 5.0, n))
    work = trace(arrivals, rng.integers(20, 2000, n), rng.geometric(1 / 150, n))

    def mean_s(router: Any) -> float:
        run = simulate(work, COST, EngineConfig(max_num_seqs=8), replicas=4, router=router)
        return float((run.finish_s - run.arrival_s).mean())

    def shortest(keep: float) -> Any:
        """A router of the user's own: the least loaded engine, but for a share `keep` of engines."""
        return lambda rng: (
            lambda request, fleet: min(
                range(max(1, round(keep * len(fleet.outstanding)))), key=lambda i: fleet.outstanding[i]
            )
        )

    tried = {share: mean_s(shortest(share)) for share in (0.25, 0.5, 0.75, 1.0)}
    best = min(tried, key=lambda share: tried[share])
    assert best == 1.0
    assert tried[best] < mean_s("round_robin")


@pytest.mark.systems(16)
def test_several_tokens_a_step_without_verification() -> None:
    """What is emitted together counts as accepted drafts that are never rejected."""
    plain, smashed = accepting(0, 0), accepting(2, 2)
    steps = [run.engines[0].steps for run in (smashed, plain)]
    assert steps[0] == pytest.approx(steps[1] / 3, rel=0.02)
    assert smashed.finish_s.max() < 0.45 * plain.finish_s.max()


@pytest.mark.systems(46, 278)
@pytest.mark.parametrize("factor", [1.0, 1.01, 1.2])
def test_a_multiplier_of_the_step_is_one_of_the_latency(factor: float) -> None:
    """Steering of activations, modes: the same engine with steps so many times as long."""
    work = trace(np.zeros(16), 200, 100)
    scaled = AffineCost(COST.base_s * factor, COST.per_token_s * factor, COST.per_seq_s * factor)
    plain = AffineCost(COST.base_s, COST.per_token_s, COST.per_seq_s)
    one, other = (simulate(work, cost, EngineConfig()) for cost in (plain, scaled))
    assert other.finish_s == pytest.approx(factor * one.finish_s)


@pytest.mark.systems(68)
def test_several_passes_a_token_multiply_what_a_token_takes() -> None:
    work = trace(np.arange(40) * 0.5, 50, 40)
    took = []
    for passes in (1, 2, 4):
        run = simulate(work, AffineCost(0.01 * passes, 1e-5 * passes), EngineConfig(max_num_seqs=2))
        took.append(float((run.finish_s - run.arrival_s).mean()))
    assert took[1] >= 2 * took[0]
    assert took[2] > 2.5 * took[1]  # queues grow faster than passes


def test_settings_change_throughput_by_steps_and_not_smoothly() -> None:
    """A landscape over max_num_seqs with peaks: what does not fit in KV is preempted and computed again."""
    rng = np.random.default_rng(2)
    work = trace(np.zeros(300), rng.integers(100, 900, 300), rng.integers(100, 500, 300))
    found = {}
    for seqs in (4, 16, 32, 64, 128):
        run = simulate(work, COST, EngineConfig(num_gpu_blocks=1500, max_num_seqs=seqs))
        found[seqs] = 300 / float(run.finish_s.max())
    best = max(found, key=lambda seqs: found[seqs])
    assert best not in (4,)
    assert found[16] > 2 * found[4]
    gains = np.diff([found[seqs] for seqs in (16, 32, 64, 128)])
    assert gains[0] > 0 and gains[-1] < 0.1 * gains[0]


@pytest.mark.systems(25)
def test_tokens_vary_between_tries_of_a_query_and_more_tries_bound_accuracy() -> None:
    from foretell.models.outcomes import Difficulty, Lengths, Outcomes
    from foretell.sim.programs.sampling import best_of_n, last_finish

    profile = Outcomes("t", "m", Difficulty(0.6, 0.6), Lengths(300, 0.5, 0.5, 0.3))
    pool = {"": EnginePool(AffineCost(0.01), EngineConfig(num_gpu_blocks=100_000, max_num_seqs=256))}
    runs = {
        name: run_programs(program, pool, {"": profile}, n_queries=400, concurrency=8, seed=1)
        for name, program in (
            ("best", best_of_n(n=5)),
            ("vote", self_consistency(n=5)),
            ("longest", last_finish(n=5)),
        )
    }
    assert runs["best"].accuracy > runs["vote"].accuracy + 0.05
    assert runs["longest"].accuracy == pytest.approx(0.5, abs=0.07)
