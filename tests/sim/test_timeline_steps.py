"""The recorded steps of every kind of deployment, against the totals that the engines kept by themselves."""

import numpy as np
import pytest

from foretell.models.stepcost import AffineCost
from foretell.sim import EngineConfig, Scenario, forecast, simulate
from foretell.sim.bounds import BOUNDS
from foretell.sim.steps import KINDS, engine_names, engine_steps, with_loads
from foretell.traces import Trace
from reported import SCENARIOS, forecasted


@pytest.mark.parametrize("name", SCENARIOS)
def test_rows_add_up_to_the_engines_own_totals(name: str) -> None:
    result = forecasted(name)
    for steps, stats in zip(engine_steps(result), result.run.engines, strict=True):
        assert steps.count.sum() == stats.steps
        assert steps.seconds.sum() == pytest.approx(stats.busy_s)
        assert (steps.seconds * steps.kv_blocks).sum() == pytest.approx(stats.kv_block_seconds)
        for figure, total in zip(steps.middle, stats.load, strict=True):
            assert (figure * steps.count).sum() == pytest.approx(total)
        assert (steps.kv_blocks <= stats.kv_blocks).all()
        assert (steps.start_s[1:] >= steps.end_s[:-1]).all()
        assert (steps.seconds > 0).all()
        assert steps.bound_s.shape == (len(BOUNDS), len(steps))
        np.testing.assert_allclose(steps.bound_s.sum(axis=0), steps.seconds)
        assert set(steps.kind.tolist()) <= set(range(len(KINDS)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_request_is_scheduled_between_its_arrival_and_its_first_token(name: str) -> None:
    run = forecasted(name).run
    assert run.scheduled_s is not None
    served = run.status == 0
    assert served.any()
    assert (run.arrival_s <= run.scheduled_s)[served].all()
    assert (run.scheduled_s < run.first_token_s)[served].all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_running_again_is_the_same_run(name: str) -> None:
    first = forecast(Scenario.from_dict(SCENARIOS[name]))
    assert first.run.loads is None
    again = forecasted(name)
    for column in ("arrival_s", "scheduled_s", "first_token_s", "finish_s", "output_tokens", "replica"):
        np.testing.assert_array_equal(getattr(first.run, column), getattr(again.run, column))
    assert with_loads(again) is again


def test_waiting_sums_to_what_the_engines_counted_where_nobody_is_preempted() -> None:
    for name in ("one engine", "replicas", "program"):
        run = forecasted(name).run
        assert run.scheduled_s is not None
        stats = run.engines
        assert not sum(engine.preemptions for engine in stats)
        waited = np.nansum(run.scheduled_s - run.arrival_s)
        assert waited == pytest.approx(sum(engine.queue_s for engine in stats), abs=1e-9)


def test_preempted_requests_keep_their_first_admission() -> None:
    run = forecasted("full cache").run
    assert run.scheduled_s is not None
    again = run.n_preemptions > 0
    assert again.any()
    assert (run.scheduled_s < run.first_token_s)[again].all()


def test_engines_are_named_by_pool() -> None:
    named = {name: engine_names(r.scenario, r.deployment) for name in SCENARIOS if (r := forecasted(name))}
    assert named["disaggregated"] == [("front", 0), ("front", 1), ("back", 0)]
    assert named["two pools of a program"] == [("solver", 0), ("judge", 0)]
    assert named["replicas"] == [("chat", 0), ("chat", 1), ("chat", 2)]


def test_calls_of_programs_know_their_engine() -> None:
    result = forecasted("program")
    queries = result.run.queries
    assert queries is not None
    assert set(result.run.replica.tolist()) == {0, 1}
    for i, stats in enumerate(result.run.engines):  # each engine computed the prompts of its own calls
        assert result.run.scheduled_s is not None
        own = (result.run.replica == i) & ~np.isnan(result.run.scheduled_s)
        assert result.run.prompt_tokens[own].sum() == stats.prompt_tokens


def test_engines_that_go_step_by_step_record_the_same() -> None:
    config = EngineConfig(num_gpu_blocks=600, num_speculative_tokens=2)
    arrival_s = np.sort(np.random.default_rng(1).uniform(0, 3, 30))
    trace = Trace(arrival_s, prompt_tokens=np.full(30, 200), output_tokens=np.arange(1, 31))
    run = simulate(trace, AffineCost(0.01, 1e-4), config, loads=True)
    assert run.loads is not None and run.kv_blocks is not None and run.scheduled_s is not None
    held = ((run.loads[0][:, 1] - run.loads[0][:, 0]) * run.kv_blocks[0]).sum()
    assert held == pytest.approx(run.engines[0].kv_block_seconds)
    waited = (run.scheduled_s - run.arrival_s).sum()
    assert run.engines[0].preemptions == 0
    assert waited == pytest.approx(run.engines[0].queue_s)
