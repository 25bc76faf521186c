"""The command line: answers, exit codes, and one line for everything that can be wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from foretell.sim.cli import main
from places import SHARED

AFFINE = "affine:0.005,5e-5,1e-4,1e-7,1e-8"
TRACE = """id,arrival_s,prompt_tokens,output_tokens,prefix_group,prefix_tokens,priority
a,0.0,40,5,-1,0,0
b,0.25,100,3,7,64,1
c,0.5,90,1,7,64,0
"""
MODEL = ("--model", "llama-3.1-8b", "--hardware", "h100-sxm")
SMALL = ("--step-cost", AFFINE, "--input-len", "50", "--output-len", "5", "--num-prompts", "20")


def foretell(*args: Any) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="foretell")


def refusal(*args: Any) -> str:
    """Run something wrong: exit code 2, nothing on stdout, one line on stderr."""
    result = foretell(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("foretell: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text(TRACE, encoding="utf-8")
    return file


# -- replay -------------------------------------------------------------------------------------------


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_replay_by_hand(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = foretell("replay", trace, "--step-cost", AFFINE, "--output", out, "--record-steps")
    assert result.exit_code == 0, result.output
    a, b, c = rows(out / "requests.csv")
    # a: one step of 40 prompt tokens and 40·20.5 pairs, then four decodes on 41 to 44 tokens of context
    t = 0.005 + 5e-5 * 40 + 1e-4 + 1e-8 * 40 * 20.5
    assert float(a["ttft_s"]) == pytest.approx(t, rel=1e-12)
    t += sum(0.005 + 5e-5 + 1e-4 + 1e-7 * context for context in (41, 42, 43, 44))
    assert float(a["finish_s"]) == pytest.approx(t, rel=1e-12)
    assert [r["request_id"] for r in (a, b, c)] == ["a", "b", "c"]
    assert c["cached_tokens"] == "0"  # prefix caching is off here unless asked for
    with gzip.open(out / "batch.csv.gz", "rt", encoding="utf-8") as handle:
        steps = list(csv.reader(handle))
    assert steps[:3] == [
        ["step", "request_id", "num_scheduled_tokens", "num_computed_before"],
        ["0", "a", "40", "0"],
        ["1", "a", "1", "40"],
    ]
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["max_model_len"] == 131_072
    assert (settings["max_num_seqs"], settings["max_num_batched_tokens"]) == (256, 2048)
    assert settings["enable_prefix_caching"] is settings["async_scheduling"] is False
    assert settings["step_cost"]["per_token_s"] == 5e-5
    assert {f.name for f in out.iterdir()} == {"settings.json", "requests.csv", "batch.csv.gz"}


def test_replay_takes_every_setting(trace: Path, tmp_path: Path) -> None:
    flags = {
        "--max-num-seqs": 3,
        "--max-num-batched-tokens": 64,
        "--block-size": 32,
        "--num-gpu-blocks": 50,
        "--scheduling-policy": "priority",
        "--long-prefill-token-threshold": 16,
        "--watermark": 0.1,
        "--max-model-len": 512,
    }
    words = [str(word) for pair in flags.items() for word in pair]
    switches = ["--enable-prefix-caching", "--no-scheduler-reserve-full-isl", "--async-scheduling"]
    result = foretell("replay", trace, "--step-cost", AFFINE, *words, *switches, "--output", tmp_path / "o")
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "o" / "settings.json").read_text(encoding="utf-8"))
    for flag, value in flags.items():
        assert settings[flag.removeprefix("--").replace("-", "_")] == value
    assert settings["enable_prefix_caching"] and settings["async_scheduling"]
    assert not settings["scheduler_reserve_full_isl"]
    assert rows(tmp_path / "o" / "requests.csv")[2]["cached_tokens"] == "64"


def test_replay_without_chunked_prefill_derives_max_model_len(trace: Path, tmp_path: Path) -> None:
    args = ("--no-enable-chunked-prefill", "--max-num-batched-tokens", 512, "--output", tmp_path / "o")
    assert foretell("replay", trace, "--step-cost", "constant:0.01", *args).exit_code == 0
    settings = json.loads((tmp_path / "o" / "settings.json").read_text(encoding="utf-8"))
    assert settings["max_model_len"] == 512


def test_replay_twice_is_the_same_and_leaves_no_stale_file(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep", encoding="utf-8")
    args = ("replay", trace, "--step-cost", AFFINE, "--output", out)
    foretell(*args, "--record-steps")
    first = {f.name: f.read_bytes() for f in out.iterdir()}
    foretell(*args, "--record-steps")
    assert {f.name: f.read_bytes() for f in out.iterdir()} == first
    foretell(*args)
    assert {f.name for f in out.iterdir()} == {"settings.json", "requests.csv", "mine.txt"}


def test_rejected_requests_have_empty_times(trace: Path, tmp_path: Path) -> None:
    args = ("--max-model-len", 95, "--output", tmp_path / "o")
    result = foretell("replay", trace, "--step-cost", AFFINE, *args)
    assert "1 rejected" in result.stdout
    row = rows(tmp_path / "o" / "requests.csv")[1]
    assert (row["status"], row["ttft_s"], row["finish_s"]) == ("rejected", "", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("arrival_s,prompt_tokens,output_tokens\n", "no requests"),
        ("arrival_s,prompt_tokens,output_tokens\n1,5,5\n0,5,5\n", "line 3, column arrival_s"),
        ("arrival_s,prompt_tokens,output_tokens\n0,5,5\n1,x,5\n", "line 3, column prompt_tokens: 'x'"),
        ("arrival_s,prompt_tokens,output_tokens\n0,5,5\nnan,5,5\n", "line 3, column arrival_s"),
        ("arrival_s,prompt_tokens,output_tokens\n0,5,-5\n", "line 2, column output_tokens: -5"),
        ("arrival_s,prompt_tokens,output_tokens\n0,5\n", "line 2"),
    ],
)
def test_bad_traces_name_line_and_column_and_leave_nothing(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content, encoding="utf-8")
    text = refusal("replay", file, "--step-cost", AFFINE, "--output", tmp_path / "a" / "b")
    assert message in text
    assert str(file) in text
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--max-num-seqs", -1), "'--max-num-seqs': -1"),
        (("--max-num-seqs", "many"), "'--max-num-seqs'"),
        (("--watermark", "nan"), "'--watermark': nan is not a finite number"),
        (("--watermark", 1), "watermark: 1.0 is not a fraction"),
        (("--max-num-seqs", 300, "--max-num-batched-tokens", 200), "200 is less than max_num_seqs 300"),
        (("--no-enable-chunked-prefill", "--max-model-len", 4096), "2048 is less than max_model_len 4096"),
        (("--scheduling-policy", "lifo"), "'lifo' is not one of 'fcfs', 'priority'"),
        (("--step-cost", "constant:-1"), "-1.0 is not a finite number of seconds >= 0"),
        (("--step-cost", "linear:1"), "write affine:"),
        (("--max-nun-seqs", 1), "--max-num-seqs"),
    ],
)
def test_bad_replay_settings(trace: Path, tmp_path: Path, flags: tuple[Any, ...], message: str) -> None:
    out = tmp_path / "out"
    text = refusal("replay", trace, "--step-cost", AFFINE, "--output", out, *flags)
    assert message in text
    assert not out.exists()


def test_unwritable_output_is_told_before_the_work(trace: Path, tmp_path: Path) -> None:
    args = ("replay", trace, "--step-cost", AFFINE, "--output")
    assert "is a file" in refusal(*args, trace)
    assert "cannot be written" in refusal(*args, trace / "below" / "a" / "file")
    assert list(tmp_path.iterdir()) == [trace]
    assert trace.read_text(encoding="utf-8") == TRACE


# -- forecast -----------------------------------------------------------------------------------------


def test_the_exit_code_says_whether_objectives_are_met() -> None:
    load = ("forecast", *SMALL, "--request-rate", 2)
    good = foretell(*load, "--slo", "ttft:p99:10s", "--slo", "tpot:p99:1s")
    assert good.exit_code == 0, good.output
    assert good.stdout.startswith("Meets every objective")
    bad = foretell(*load, "--slo", "ttft:p99:1us")
    assert bad.exit_code == 1
    assert bad.stdout.startswith("Misses ttft_p99")
    assert bad.stderr == ""


def test_a_file_and_flags_over_it(trace: Path, tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(
        f"workload: {{trace: {trace.name}}}\n"
        f"pools: {{main: {{step_cost: '{AFFINE}', engine: vllm-0.32-offline}}}}\n"
        "objectives: {e2e_p99: <= 1 us}\n",
        encoding="utf-8",
    )
    missed = foretell("forecast", file)
    assert missed.exit_code == 1, missed.output
    flags = (
        "--slo",
        "e2e:p99:1h",
        "--replicas",
        2,
        "--max-num-seqs",
        7,
        "--rate-scale",
        2,
        "--head",
        2,
        "--seed",
        5,
    )
    found = json.loads(foretell("forecast", file, *flags, "--json").stdout)
    assert found["met"] and found["seed"] == 5 and found["completed"] == 2
    assert found["scenario"]["pools"]["main"]["replicas"] == 2
    assert found["deployment"]["settings"][0]["max_num_seqs"] == 7
    assert found["scenario"]["pools"]["main"]["engine"]["preset"] == "vllm-0.32-offline"
    drawn = foretell("forecast", file, "--slo", "e2e:p99:1h", "--trace", trace, "--json")
    assert json.loads(drawn.stdout)["completed"] == 3
    assert "already says who asks what" in refusal("forecast", file, "--request-rate", 3)


def test_records_and_json_are_written(tmp_path: Path) -> None:
    load = ("forecast", *SMALL, "--max-concurrency", 4)
    result = foretell(*load, "--output", tmp_path / "o", "--json", tmp_path / "f.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert found == json.loads((tmp_path / "o" / "forecast.json").read_text(encoding="utf-8"))
    assert len(found["ttfts"]) == len(rows(tmp_path / "o" / "requests.csv")) == 20
    assert not list(tmp_path.rglob(".*"))
    pandas = pytest.importorskip("pandas")
    if pytest.importorskip("pyarrow"):
        assert len(pandas.read_parquet(tmp_path / "o" / "requests.parquet")) == 20


def test_a_real_model_by_flags() -> None:
    args = ("--request-rate", 5, "--num-prompts", 30, "--input-len", 200, "--output-len", 20, "--json")
    result = foretell("forecast", *MODEL, *args)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert 0 < found["mean_tpot_ms"] < found["mean_e2el_ms"]
    assert found["intervals"]["usd_per_million_output_tokens"]["value"] > 0
    assert any("KV blocks estimated" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--model is missing"),
        (("--model", "llama-3.1-8b"), "--hardware is missing"),
        (MODEL, "give --trace FILE, --request-rate R or --max-concurrency N"),
        (("--model", "llama-3.1-8", *MODEL[2:], "--request-rate", 1), "did you mean llama-3.1-8b"),
        ((*MODEL[:2], "--hardware", "h100", "--request-rate", 1), "did you mean h100"),
        ((*MODEL, "--request-rate", -1), "'--request-rate': -1 is not"),
        ((*MODEL, "--request-rate", "nan"), "'--request-rate': nan is not"),
        ((*MODEL, "--request-rate", 1, "--burstiness", 0), "'--burstiness': 0 is not"),
        ((*MODEL, "--request-rate", 1, "-tp", 3), "does not divide the 32 attention heads"),
        (("--model", "llama-3.1-70b", *MODEL[2:], "--request-rate", 1), "GiB a rank short"),
        ((*MODEL, "--request-rate", 1, "--trace", "x.csv"), "drop it or --request-rate; --rate-scale"),
        ((*MODEL, "--trace", "no-such.csv"), "no-such.csv: cannot be opened"),
        ((*MODEL, "--request-rate", 1, "--head", 3), "--head slices a trace"),
        ((*MODEL, "--request-rate", 1, "--dataset", "shargpt"), "did you mean sharegpt"),
        ((*MODEL, "--request-rate", 1, "--dataset", "sharegpt", "--input-len", 3), "--dataset already gives"),
        ((*MODEL, "--request-rate", 1, "--input-len", 3), "--output-len is missing"),
        ((*MODEL, "--request-rate", 1, "--num-prompts", 3, "--duration", 3), "drop one"),
        ((*MODEL, "--request-rate", "inf", "--burstiness", 2), "needs a finite --request-rate"),
        ((*MODEL, "--max-concurrency", 2, "--burstiness", 2), "give --request-rate"),
        ((*MODEL, "--request-rate", 1, "--slo", "ttft:p99:500"), "has no unit"),
        ((*MODEL, "--request-rate", 1, "--slo", "tft:p99:1s"), "did you mean ttft"),
        ((*MODEL, "--request-rate", 1, "--goodput", "itl:5"), "write ttft:LIMIT"),
        ((*MODEL, "--request-rate", 1, "--router", "roundrobin"), "did you mean 'round_robin'"),
        ((*MODEL, "--request-rate", 1, "--preset", "vllm-0.33"), "did you mean vllm-0.32"),
        ((*MODEL, "--request-rate", 1, "--step-cost", AFFINE), "drop one"),
        (
            (*MODEL, "--request-rate", 1, "--num-gpu-blocks", 9, "--gpu-memory-utilization", 0.5),
            "contradicts",
        ),
        ((*MODEL, "--request-rate", 1, "--gpu-memory-utilization", 1.5), "1.5 is not a share"),
        ((*MODEL, "--request-rate", 1, "--json", "chat.yaml"), "looks like a scenario"),
        ((*MODEL, "--request-rate", 1, "--json", "/no/such/folder/x.json"), "cannot be written"),
        (("no-such.yaml",), "no-such.yaml: cannot be read"),
        ((*MODEL, "--request-rat", 1), "--request-rate"),
    ],
)
def test_bad_forecasts(tmp_path: Path, flags: tuple[Any, ...], message: str) -> None:
    text = refusal("forecast", *flags, "--output", tmp_path / "out")
    assert message in text
    assert list(tmp_path.iterdir()) == []


# -- list, show, help ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["hardware", "models", "presets", "routers", "lengths", "formats", "strategies", "nodes", "links"],
)
def test_what_is_listed_can_be_shown(kind: str) -> None:
    listed = foretell("list", kind)
    assert listed.exit_code == 0, listed.output
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert names
    for name in (names[0], names[-1]):
        shown = foretell("show", name)
        assert shown.exit_code == 0, shown.output
        assert name in shown.stdout


def test_show_derives_sizes_and_gives_sources() -> None:
    llama = foretell("show", "llama-3.1-8b").stdout
    assert "8,030,261,248" in llama
    assert "131,072 bytes in bf16" in llama  # 2 · 32 layers · 8 heads · 128 · 2 bytes
    assert "sources" in llama
    assert "datasheet" in foretell("show", "h100-sxm").stdout
    assert "max_num_batched_tokens 8192" in foretell("show", "vllm-0.32-server").stdout


def test_unknown_names_suggest_the_nearest() -> None:
    assert "did you mean h100-sxm" in refusal("show", "h100-smx")
    assert "did you mean hardware" in refusal("list", "hardwares")
    assert "did you mean forecast" in refusal("forcast")
    assert "commands: forecast" in refusal("xyz")


def test_the_version_and_no_arguments() -> None:
    assert foretell("--version").stdout.startswith("foretell ")
    assert "forecast" in foretell().stdout


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from foretell.sim.cli import main\n"
        "try:\n    main(['--help'], prog_name='foretell')\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'numpy', 'pandas', 'pydantic', 'rich', 'scipy', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run("-c", code)
    assert result.returncode == 0, result.stderr


def test_replay_imports_nothing_heavy(trace: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from foretell.sim.cli import main\n"
        f"args = ['replay', {str(trace)!r}, '--step-cost', {AFFINE!r}, '--output', {str(tmp_path / 'o')!r}]\n"
        "try:\n    main(args, prog_name='foretell')\n"
        "except SystemExit as done:\n    assert not done.code, done.code\n"
        "heavy = {'pandas', 'pydantic', 'rich', 'scipy', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = run("-c", code)
    assert result.returncode == 0, result.stderr


PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def interruptible() -> None:
    """Undo what a shell does to what it runs in the background: such a process ignores interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_is_quiet_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    lines = "".join(f"{i / 10},500,5000\n" for i in range(100_000))
    file.write_text("arrival_s,prompt_tokens,output_tokens\n" + lines, encoding="utf-8")
    args = ["replay", str(file), "--step-cost", AFFINE, "--output", str(tmp_path / "out"), "--record-steps"]
    command = [sys.executable, "-m", "foretell.sim", *args]
    with subprocess.Popen(command, preexec_fn=interruptible, **PIPES) as process:
        for _ in range(600):
            if (tmp_path / "out").exists():
                break
            time.sleep(0.05)
        for _ in range(10):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
                break
        else:  # Python drops an interrupt in a callback of its own, such as an import's; not ten of them
            process.kill()
        _, errors = process.communicate()
    assert process.returncode == 130
    # what Python itself says of an interrupt that it dropped in such a callback
    errors = re.sub(r"(?ms)^Exception ignored in.*?^KeyboardInterrupt:?\s*?$", "", errors)
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupt_ends_the_workers_too() -> None:
    load = ["--request-rate", "1", "--num-prompts", "300000", "--input-len", "900", "--output-len", "900"]
    command = [
        sys.executable,
        "-m",
        "foretell.sim",
        "forecast",
        "--step-cost",
        AFFINE,
        *load,
        "--processes",
        "2",
    ]
    with subprocess.Popen(command, start_new_session=True, preexec_fn=interruptible, **PIPES) as process:
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == ""


def test_a_reader_that_leaves_is_no_missed_objective() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "foretell.sim", "list", "models"]
    result = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert result.returncode == 128 + signal.SIGPIPE
    assert result.stderr == ""


# -- against the recorded scheduler -------------------------------------------------------------------

ORACLE = SHARED / "data" / "vllm-cpu" / "oracle"


@pytest.mark.parametrize("name", ["base", "kv500", "prefix_prio_kv600", "bursty_noreserve"])
def test_replay_reproduces_a_recorded_scenario_through_its_files(name: str, tmp_path: Path) -> None:
    if not ORACLE.is_dir():
        pytest.skip("../shared/data/vllm-cpu is not here")
    recorded = ORACLE / name
    given = json.loads((recorded / "summary.json").read_text(encoding="utf-8"))["args"]
    flags = {
        "--step-cost": f"affine:{given['step']}",
        "--max-num-seqs": given["max_num_seqs"],
        "--max-num-batched-tokens": given["max_num_batched_tokens"],
        "--block-size": given["block_size"],
        "--num-gpu-blocks": given["num_blocks"],
        "--max-model-len": given["max_model_len"],
        "--scheduling-policy": given["policy"],
        "--watermark": given["watermark"],
        "--output": tmp_path,
    }
    words = [word for pair in flags.items() for word in pair]
    words += ["--enable-prefix-caching"] * given["prefix_caching"]
    words += ["--no-scheduler-reserve-full-isl"] * (not given["reserve_full_isl"])
    trace = ORACLE / "traces" / Path(given["trace"]).name
    assert foretell("replay", trace, *words, "--record-steps").exit_code == 0

    def batches(file: Path) -> list[list[str]]:
        with gzip.open(file, "rt", encoding="utf-8") as handle:
            return [row[:4] for row in csv.reader(handle)][1:]

    assert batches(tmp_path / "batch.csv.gz") == batches(recorded / "batch.csv.gz")
    for ours, theirs in zip(rows(tmp_path / "requests.csv"), rows(recorded / "requests.csv"), strict=True):
        assert ours["request_id"] == theirs["request_id"]
        for column in ("n_preemptions", "cached_tokens"):
            assert ours[column] == theirs[column]
        for column in ("ttft_s", "e2e_s", "finish_s"):  # recorded with eight decimals
            assert math.isclose(float(ours[column]), float(theirs[column]), abs_tol=1e-6)
