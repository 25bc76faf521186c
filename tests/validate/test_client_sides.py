"""The client's side fitted: what made the data comes back, and what is left out is not in the fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from foretell.sim.cli import main
from foretell.sim.client import FIGURES, Client, load_client, streams
from foretell.validate import client_sides
from foretell.validate.client_sides import Sides, client_errors, fit_client, read_sides
from foretell.validate.record_server import LOAD_FIELDS, SIDES, load_server_recording, sides

TRUE = Client(request_s=0.003, per_prompt_token_s=2e-6, latency_s=0.002, response_s=0.001, per_stream_s=1e-4)
SHIPPED = Path(client_sides.__file__).with_name("data") / "client"


def made_up(load: str, rate_per_s: float, seed: int, client: Client = TRUE, stalls: int = 0) -> Sides:
    """A load whose engine takes 50 ms to a first token and 10 ms to each other, seen by `client`."""
    rng = np.random.default_rng(seed)
    n = 60
    sent = np.cumsum(rng.exponential(1 / rate_per_s, n)) if rate_per_s else np.zeros(n)
    prompt = rng.integers(20, 2000, n).astype(float)
    output = rng.integers(2, 60, n).astype(float)
    reached = client.reached_s(sent, prompt.astype(int))
    first = reached + 0.05
    last = first + 0.01 * (output - 1)
    late = np.zeros(n)
    late[:stalls] = 0.4
    seen = [np.asarray(at + client.back_s(streams(at, first, last))) for at in (first, last)]
    return Sides("made", load, prompt, output, sent, reached, first, last, seen[0] + late, seen[1])


def loads() -> list[Sides]:
    return [made_up("low", 2, 0), made_up("high", 40, 1), made_up("burst", 0, 2)]


def test_the_client_that_made_the_data_comes_back() -> None:
    found = fit_client(loads())
    for name in FIGURES:
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.02, abs=1e-7), name


def test_a_stall_does_not_pass_for_what_a_token_takes() -> None:
    stalled = [made_up("low", 2, 0, stalls=3), *loads()[1:]]
    assert fit_client(stalled).response_s == pytest.approx(TRUE.response_s, rel=0.2)


def test_predictions_of_what_was_left_out() -> None:
    found = client_errors(loads())
    summary = found["summary"]
    for metric in ("ttft", "e2e"):
        assert summary[f"{metric}_mean_ape_predicted"] < 0.01 < summary[f"{metric}_mean_ape_engine"]
    assert summary["ttft_noise"] is None  # nothing was recorded twice
    # The row of a load is predicted without it: another client there does not move the fit.
    other = Client(request_s=0.05)
    moved = client_errors([made_up("low", 2, 0, other), *loads()[1:]])
    assert moved["rows"][0]["ttft_mean_predicted_error"] < -0.2


def test_latencies_of_either_side_by_hand() -> None:
    times = {"sent_s": 1.0, "reached_s": 1.01, "engine_first_s": 1.1, "engine_last_s": 1.5}
    times |= {"client_first_s": 1.12, "client_last_s": 1.54}
    arrays: dict[str, Any] = {name: np.array([at]) for name, at in times.items()}
    found = Sides("a", "b", prompt_tokens=np.array([100.0]), output_tokens=np.array([5.0]), **arrays)
    assert {k: v[0] for k, v in found.latencies("engine").items()} == pytest.approx(
        {"ttft": 0.09, "tpot": 0.1, "e2e": 0.49}
    )
    assert {k: v[0] for k, v in found.latencies("client").items()} == pytest.approx(
        {"ttft": 0.12, "tpot": 0.105, "e2e": 0.54}
    )
    predicted = found.predicted(Client(request_s=0.02, response_s=0.03))
    assert predicted["ttft"][0] == pytest.approx(0.09 + 0.05)


def test_both_logs_are_joined_by_vllms_names() -> None:
    result = {"start_times": [5.0, 5.5], "ttfts": [0.3, 0.2], "latencies": [0.6, 0.2], "input_lens": [9, 8]}
    result |= {"output_lens": [2, 1]}
    names = ("cmpl-low-0-0-aa", "cmpl-low-1-0-bb")
    steps = [
        {"end": 5.2, "batch": [[names[0], 9, 0, "p", 1]]},
        {"end": 5.5, "batch": [[names[0], 1, 9, "d", 1], [names[1], 4, 0, "p", 0]]},
        {"end": 5.6, "batch": [[names[1], 4, 4, "p", 1]]},
    ]
    reached = {names[0]: 5.1, names[1]: 5.55, "cmpl-low-0-0-00": 4.0}
    first, second = sides(result, "low", steps, reached)
    assert first[:3] == ("low-0", 9, 2)
    assert [float(x) for x in first[3:]] == pytest.approx([0, 0.1, 0.2, 0.5, 0.3, 0.6])
    assert [float(x) for x in second[3:]] == pytest.approx([0.5, 0.55, 0.6, 0.6, 0.7, 0.7])
    with pytest.raises(ValueError, match="request 1 is not in the engine's log"):
        sides(result, "low", steps[:2], reached)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loads: {}", "loads: give at least one"),
        ("loads: {low: {request_rate: 2}}", "loads.low.num_prompts: missing"),
        ("loads: {low: {num_prompts: 3, rate: 2}}", f"known: {', '.join(LOAD_FIELDS)}"),
        (
            "loads: {low: {num_prompts: 3, request_rate: fast}}",
            "loads.low.request_rate: 'fast' is not a number",
        ),
        ("loads: {low: {num_prompts: 3}}\nclient: 3", "client: unknown field"),
    ],
)
def test_bad_loads_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "asked.yaml"
    file.write_text(f"model: {{model_type: llama, vocab_size: 512}}\n{text}\n")
    with pytest.raises(ValueError) as caught:
        load_server_recording(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_and_its_file(tmp_path: Path) -> None:
    for name, rate, seed in (("low", 2.0, 0), ("burst", 0.0, 2)):
        load, folder = made_up(name, rate, seed), tmp_path / "made" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"client": "a test", "date": "2026-11-21T00:00:00"}))
        with (folder / "sides.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(SIDES)
            columns = [getattr(load, column) for column in SIDES[1:]]
            table.writerows((f"{name}-{i}", *values) for i, values in enumerate(zip(*columns, strict=True)))
    assert [(s.load, len(s)) for s in read_sides(tmp_path)] == [("burst", 60), ("low", 60)]
    written = tmp_path / "here.toml"
    asked = ["validate", "client", "--data", str(tmp_path), "--write", str(written)]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["summary"]["requests"] == 120
    assert load_client(str(written)).request_s == pytest.approx(found["client"]["request_s"], rel=1e-3)
    assert "in line" in CliRunner().invoke(main, asked).output
    assert CliRunner().invoke(main, ["validate", "client", "--data", str(written)]).exit_code == 2


def test_the_bundled_measurement_is_that_of_the_shipped_recordings() -> None:
    told = json.loads(CliRunner().invoke(main, ["validate", "client", "--json"]).stdout)
    bundled, names = told["bundled"]["vllm-0.32-loopback"], ("source", "date", "machine")
    assert [bundled[name] for name in names] == [told["client"][name] for name in names]
    assert {name: bundled[name] for name in FIGURES} == pytest.approx(
        {name: told["client"][name] for name in FIGURES}, rel=1e-3
    )


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no measurements are shipped")
def test_the_bundled_client_is_what_the_shipped_measurements_give() -> None:
    found, bundled = fit_client(read_sides(SHIPPED)), load_client("vllm-0.32-loopback")
    for name in FIGURES:
        assert getattr(bundled, name) == pytest.approx(getattr(found, name), rel=1e-2, abs=1e-7)
    assert (bundled.source, bundled.date) == (found.source, found.date)
