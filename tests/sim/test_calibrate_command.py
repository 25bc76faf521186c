"""`foretell calibrate` and what it reads: step logs, benchmark results, scrapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretell.models import AffineCost, StepLoad
from foretell.sim.cli import main
from foretell.sim.observations import read_bench, read_metrics
from foretell.sim.profile import read_profile
from foretell.sim.steplog import COLUMNS, read_step_logs

TRUE = (8e-3, 9e-5, 3e-4, 1e-7, 2e-8)
BENCH = {
    "max_concurrency": 8,
    "request_rate": "inf",
    "completed": 40,
    "total_input_tokens": 40 * 500,
    "total_output_tokens": 40 * 50,
    "mean_ttft_ms": 150.0,
    "mean_tpot_ms": 12.0,
}
SCRAPE = """# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 10
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 4.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 20.0
vllm:time_to_first_token_seconds_sum{engine="1",model_name="m"} 8.0
vllm:time_to_first_token_seconds_count{engine="1",model_name="m"} 20.0
vllm:inter_token_latency_seconds_sum{model_name="m"} 24.0
vllm:inter_token_latency_seconds_count{model_name="m"} 2e3
vllm:e2e_request_latency_seconds_sum{model_name="m"} 40
vllm:e2e_request_latency_seconds_count{model_name="m"} 40
vllm:request_prompt_tokens_sum{model_name="m"} 20000.0
vllm:request_prompt_tokens_count{model_name="m"} 40.0
vllm:num_requests_running{model_name="m"} 3.0
python_gc_objects_collected_total{generation="0"} 1289.0
"""


def write_log(path: Path, n: int = 300, seed: int = 0, drop: tuple[str, ...] = ()) -> Path:
    """Steps of an affine cost with 5 % of noise."""
    rng = np.random.default_rng(seed)
    prompt = np.where(rng.random(n) < 0.4, rng.integers(16, 2048, n), 0)
    decodes = rng.integers(1, 64, n)
    pairs, more = prompt * (prompt + 1) / 2, (prompt > 0) * 1
    load = StepLoad(prompt, pairs, prompt, more, decodes, decodes * rng.integers(50, 1500, n), decodes + more)
    seconds = AffineCost(*TRUE)(*load) * np.exp(0.05 * rng.standard_normal(n))
    rows = zip(*(np.asarray(column).tolist() for column in (*load, seconds)), strict=True)
    dicts = [{k: v for k, v in zip(COLUMNS, row, strict=True) if k not in drop} for row in rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(each) + "\n" for each in dicts))
    else:
        lines = [",".join(dicts[0]), *(",".join(map(str, each.values())) for each in dicts)]
        path.write_text("\n".join(lines) + "\n")
    return path


def call(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["calibrate", *map(str, args)])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    one = read_step_logs([write_log(tmp_path / "a.csv")])
    two = read_step_logs([write_log(tmp_path / "a.jsonl")])
    assert all(np.array_equal(a, b) for a, b in zip(one.load, two.load, strict=True))
    assert np.array_equal(one.seconds, two.seconds)


def test_columns_that_follow_from_others_may_be_left_out(tmp_path: Path) -> None:
    whole = read_step_logs([write_log(tmp_path / "a.csv")])
    short = read_step_logs([write_log(tmp_path / "b.csv", drop=("prefill_context", "sampled"))])
    assert all(np.array_equal(a, b) for a, b in zip(whole.load, short.load, strict=True))


def test_a_log_becomes_a_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [write_log(tmp_path / f"{i}.csv", seed=i) for i in range(3)]
    target = tmp_path / "p.toml"
    code, out, err = call(capsys, *logs, "-o", target)
    assert (code, err) == (0, "")
    assert "900 steps of 3 runs" in out
    profile = read_profile(target)
    assert list(profile.coefficients.values()) == pytest.approx(TRUE, rel=0.1)
    assert all(profile.identified.values())
    assert profile.fitted_on["runs"] == 3


def test_json_has_what_the_tables_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, write_log(tmp_path / "a.csv"), "-o", tmp_path / "p.toml", "--json")
    values = json.loads(out)
    assert code == 0
    base = values["coefficients"]["base_s"]
    assert base["low"] < base["value"] < base["high"]
    assert base["identified"] is True
    assert len(values["held_out"]) == 2
    assert values["warnings"][-1].startswith("one run:")


def test_decodes_alone_do_not_tell_of_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log(tmp_path / "a.csv")
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row for row in rows if row.startswith("0,"))]) + "\n")
    _, out, _ = call(capsys, path, "-o", tmp_path / "p.toml", "--json")
    values = json.loads(out)
    assert not values["coefficients"]["per_attention_pair_s"]["identified"]
    assert any(w.startswith("per_attention_pair_s: nothing in the data") for w in values["warnings"])
    assert any(w.startswith("per_token_s: cannot be told apart from per_seq_s") for w in values["warnings"])


def test_a_benchmark_is_an_operating_point(tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    file.write_text(json.dumps(BENCH))
    point = read_bench(file)
    assert point.seconds == {"ttft": 0.15, "tpot": 0.012}
    assert (point.concurrency, point.rate_per_s, point.num_requests) == (8, float("inf"), 40)
    assert (point.mean_prompt, point.mean_output, point.lengths) == (500, 50, None)
    file.write_text(json.dumps(BENCH | {"input_lens": [5, 6, 7], "output_lens": [2, 0, 3]}))
    assert read_bench(file).lengths == ((5, 7), (2, 3))


def test_a_scrape_is_summed_over_engines(tmp_path: Path) -> None:
    file = tmp_path / "metrics.txt"
    file.write_text(SCRAPE)
    point = read_metrics(file)
    assert point.seconds == {"ttft": 12.0 / 40, "itl": 24.0 / 2000}
    assert (point.num_requests, point.mean_prompt, point.mean_output) == (40, 500, None)


def test_of_two_scrapes_the_difference_counts(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_text(SCRAPE)
    after.write_text(
        SCRAPE.replace('_sum{engine="0",model_name="m"} 4.0', '_sum{engine="0",model_name="m"} 5.0')
        .replace('_count{engine="0",model_name="m"} 20.0', '_count{engine="0",model_name="m"} 30.0')
        .replace("24.0", "25.0")
        .replace("2e3", "2100")
    )
    assert read_metrics(after, before).seconds == pytest.approx({"ttft": 1.0 / 10, "itl": 1.0 / 100})
    with pytest.raises(ValueError, match="the server was started between them"):
        read_metrics(before, after)


def test_benchmarks_and_scrapes_become_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, scrape, scenario = (tmp_path / name for name in ("b.json", "m.txt", "s.yaml"))
    bench.write_text(json.dumps(BENCH))
    scrape.write_text(SCRAPE)
    scenario.write_text(
        "workload: {arrivals: {process: poisson, rate_per_s: 5}, lengths: {prompt: 500, output: 50}, "
        "num_requests: 40}\n"
        "pools: {main: {model: llama-3.1-8b, hardware: h100-sxm}}\n"
    )
    model = ("--model", "llama-3.1-8b", "--hardware", "h100-sxm")
    for args in (("--bench", bench, *model), ("--metrics", scrape, "--scenario", scenario)):
        code, out, err = call(capsys, *args, "-o", tmp_path / "p.toml")
        assert (code, err) == (0, "")
        assert "2 mean latencies of 1 operating point" in out
        profile = read_profile(tmp_path / "p.toml")
        assert profile.kind == "terms"
        assert profile.fitted_on["hardware"] == "h100-sxm"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "prefill_tokens,dt_s\n1,1\n", "column prefill_pairs is missing"),
        ("a.csv", ",".join(COLUMNS) + "\n1,1,1,1,1,5,2,x\n", "line 2, column dt_s: 'x' is not a finite"),
        (
            "a.csv",
            ",".join(COLUMNS) + "\n1,1,1,1,1,5,2,1\n1,1,1,1,1,5,2,0\n",
            "line 3: the step takes no time",
        ),
        ("a.csv", ",".join(COLUMNS) + "\n0,0,0,0,0,0,0,1\n", "line 2: the step has no entries"),
        ("a.csv", ",".join(COLUMNS) + "\n0,0,0,0,3,1,3,1\n", "line 2: decode_context is less"),
        ("a.csv", ",".join(COLUMNS) + "\n0,0,0,0,3,9,3,1\n", "1 steps for 5 coefficients"),
        ("a.csv", ",".join(COLUMNS) + "\n", "no steps in it"),
        ("a.csv", "", "not a step log"),
        ("a.jsonl", "{\n", "not a step log"),
    ],
)
def test_a_bad_log_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    check_refused(tmp_path, capsys, [tmp_path / name], message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_tpot_ms": None}, "mean_tpot_ms: None is not a number"),
        ({"mean_ttft_ms": -1}, "mean_ttft_ms: -1 is not a finite number > 0"),
        ({"max_concurrency": None, "request_rate": None}, "neither max_concurrency nor request_rate"),
        ({"input_lens": [1], "output_lens": [1, 2]}, "not lists of one length"),
    ],
)
def test_a_bad_benchmark_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "b.json").write_text(json.dumps(BENCH | changes))
    model = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm"]
    check_refused(tmp_path, capsys, ["--bench", tmp_path / "b.json", *model], message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "one of the three"),
        (["a.csv", "--bench", "b"], "one of the three"),
        (["a.csv", "--metrics-before", "b"], "--metrics-before needs --metrics"),
        (["a.csv"], "cannot be read"),
        (["a.csv", "--model", "llama-3.1-8b"], "--hardware is missing"),
        (["a.csv", "--form", "terms"], "--form terms: scales a model's terms"),
        (["--bench", "b"], "what ran is not known"),
        (
            ["--metrics", "m", "--model", "llama-3.1-8b", "--hardware", "h100-sxm"],
            "does not say what the load",
        ),
    ],
)
def test_bad_use_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str | Path], message: str
) -> None:
    check_refused(tmp_path, capsys, args, message)


def test_text_that_is_no_scrape_is_refused(tmp_path: Path) -> None:
    for text, message in (("hello world\n", "line 1 is not a sample"), ("a 1\n", "with any count")):
        (tmp_path / "m").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_metrics(tmp_path / "m")


def check_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], args: list[str | Path], message: str
) -> None:
    code, out, err = call(capsys, *args, "-o", folder / "p.toml")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "p.toml").exists()
