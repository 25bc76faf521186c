from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretell.traces import Trace, read_trace, summary, write_csv
from places import SHARED

DATA = SHARED / "data"
PLAIN = "id,arrival_s,prompt_tokens,output_tokens"


def put(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_plain_csv(tmp_path: Path) -> None:
    text = (
        f"{PLAIN},prefix_group,prefix_tokens,priority\n"
        "r0,0.0,871,187,5,512,0\nr1,0.5,529,900,-1,0,2\n\nr2,0.5,530,1,5,512,0\n"
    )
    t = read_trace(put(tmp_path, text))
    assert t.arrival_s.tolist() == [0.0, 0.5, 0.5]
    assert t.prompt_tokens.tolist() == [871, 529, 530]
    assert t.output_tokens.tolist() == [187, 900, 1]
    assert t.request_id == ["r0", "r1", "r2"]
    assert t.segments == [(("5", 512),), (), (("5", 512),)]
    assert t.priority is not None
    assert t.priority.tolist() == [0, 2, 0]
    assert t.name == "t.csv"


def test_plain_csv_compressed_with_bom_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfarrival_s,prompt_tokens,output_tokens,note\n1,2,3,x\n"))
    t = read_trace(path)
    assert (t.arrival_s[0], t.prompt_tokens[0], t.output_tokens[0]) == (1.0, 2, 3)
    assert t.request_id is None
    assert list(t.ids()) == ["r0"]


def test_sessions_share_their_history(tmp_path: Path) -> None:
    head = f"{PLAIN},session,think_s"
    t = read_trace(put(tmp_path, f"{head}\na1,1,10,5,a,\na2,0,20,5,a,3.5\nb,2,7,1,,\n"))
    assert t.session == ["a", "a", ""]
    assert t.think_s is not None
    assert t.think_s.tolist() == [0.0, 3.5, 0.0]
    assert t.segments == [(("a", 15),), (("a", 25),), ()]
    # A second prompt shorter than the first exchange cannot hold it.
    assert read_trace(put(tmp_path, f"{head}\na1,1,10,5,a,\na2,0,14,5,a,\n")).segments is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (f"{PLAIN}\n", "no requests"),
        ("id,arrival_s,prompt_tokens\nr0,0,1\n", "line 1, column output_tokens: missing"),
        (f"{PLAIN}\nr0,0,1,1\nr1,x,1,1\n", "line 3, column arrival_s: 'x' is not a number"),
        (f"{PLAIN}\nr0,0,1,1\n\nr1,1,1.5,1\n", "line 4, column prompt_tokens: '1.5' is not a whole number"),
        (f"{PLAIN}\nr0,0,1,\n", "line 2, column output_tokens: '' is not a whole number"),
        (f"{PLAIN}\nr0,nan,1,1\n", "line 2, column arrival_s: nan is out of range"),
        (f"{PLAIN}\nr0,-1,1,1\n", "line 2, column arrival_s: -1.0 is out of range"),
        (f"{PLAIN}\nr0,0,-5,1\n", "line 2, column prompt_tokens: -5 is out of range"),
        (f"{PLAIN}\nr0,0,5,0\n", "line 2, column output_tokens: 0 is out of range"),
        (f"{PLAIN}\nr0,2,1,1\nr1,1,1,1\n", "line 3, column arrival_s: 1.0 comes after 2.0"),
        (f"{PLAIN}\nr0,0,1,1\nr1,1,1\n", "line 3: 3 cells; the header has 4"),
        (
            f"{PLAIN},prefix_group,prefix_tokens\nr0,0,1,1,g,-2\n",
            "line 2, column prefix_tokens: -2 is negative",
        ),
        (f"{PLAIN},prefix_group,prefix_tokens\nr0,0,1,1,g,9\n", "line 2, column prefix_tokens: 9 tokens"),
        (f"{PLAIN},prefix_chain\nr0,0,9,1,g9\n", "line 2, column prefix_chain: 'g9' is not a chain"),
        ("a,b\n1,2\n", "line 1, column arrival_s: missing"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "line 1, column GeneratedTokens: missing"),
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\nnoon,2,3\n",
            "line 2, column TIMESTAMP: 'noon' is not a time",
        ),
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,2,3\n2023-11-16 18:17:02,2,3\n",
            "line 3, column TIMESTAMP: earlier than the row before",
        ),
        ('{"timestamp": 0, "input_length": 5}\n', "line 1, column output_length: missing"),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": 1}\n{"timestamp": 1, "input_length": "5"}',
            "line 2, column input_length: '5' is not a number",
        ),
        ('{"timestamp": 0, "input_length": 5, "output_length": 1}\n{oops\n', "line 2: not JSON"),
        (
            '{"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}\n',
            "line 1, column hash_ids: 2 blocks of 512; 512 tokens fill fewer",
        ),
        (
            '{"timestamp": 9, "input_length": 5, "output_length": 1}\n'
            '{"timestamp": 1, "input_length": 5, "output_length": 1}\n',
            "line 2, column timestamp: 0.001 comes after 0.009",
        ),
        ('{"arrival_s": 0, "prompt_tokens": 1, "output_tokens": true}\n', "line 1, column output_tokens"),
        ('{"some": "thing"}\n', "not a trace of a known JSON format"),
        ("[1, 2", "line 1: not JSON"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path, text, "bad.txt")
    with pytest.raises(ValueError) as error:
        read_trace(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_late_error_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [f"r{i},{i},1,1" for i in range(45_000)]
    rows[44_000] = "r44000,44000,1,no"
    with pytest.raises(ValueError, match=r"line 44002, column output_tokens: 'no'"):
        read_trace(put(tmp_path, "\n".join([PLAIN, *rows])))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: cannot be opened"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="cannot be opened"):
        read_trace(tmp_path)
    broken = tmp_path / "cut.csv.gz"
    broken.write_bytes(gzip.compress(f"{PLAIN}\nr0,0,1,1\n".encode() * 5000)[:60])
    with pytest.raises(ValueError, match=r"cut\.csv\.gz: not readable"):
        read_trace(broken)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match="not readable text"):
        read_trace(tmp_path / "binary")
    with pytest.raises(ValueError, match="format 'xls' is unknown; known: csv"):
        read_trace(tmp_path / "binary", format="xls")
    with pytest.raises(ValueError, match="column TIMESTAMP: missing"):
        read_trace(put(tmp_path, f"{PLAIN}\nr0,0,1,1\n"), format="azure")


def test_azure_2023_and_2024(tmp_path: Path) -> None:
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text = head + "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
    t = read_trace(put(tmp_path, text))
    assert t.arrival_s.tolist() == [0.0, 0.052]
    assert (t.prompt_tokens.tolist(), t.output_tokens.tolist()) == ([4808, 3180], [10, 8])
    text = head + "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01+00:00,2399,6\n"
    assert read_trace(put(tmp_path, text)).arrival_s.tolist() == [0.0, 0.99007]
    text = head + "2024-05-10 02:00:00.5+02:00,2162,5\n2024-05-10 00:00:01.5+00:00,2399,6\n"
    assert read_trace(put(tmp_path, text)).arrival_s.tolist() == [0.0, 1.0]


def test_burstgpt_drops_failures(tmp_path: Path) -> None:
    head = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    text = head + (
        "19440105.0,a,4,GPT-4,5,0,5,Conversation log\n"
        "19440110.0,a,43,GPT-4,906,446,1352,Conversation log\n"
        "19440161.5,b,2,ChatGPT,36,29,65,Conversation log\n"
    )
    t = read_trace(put(tmp_path, text))
    assert t.arrival_s.tolist() == [0.0, 51.5]
    assert t.model == ["GPT-4", "ChatGPT"]
    assert len(t.notes) == 1
    assert t.notes[0].startswith("dropped 1 rows")
    first = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,x\n"
    assert len(read_trace(put(tmp_path, first))) == 1


def test_mooncake_blocks(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"timestamp": 0, "input_length": 1300, "output_length": 5, "hash_ids": [0, 1, 2]},
        {"timestamp": 27000, "input_length": 1024, "output_length": 6, "hash_ids": [0, 1]},
        {"timestamp": 27000, "input_length": 1100, "output_length": 0, "hash_ids": [0, 1, 9]},
    ]
    t = read_trace(put(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"))
    assert t.arrival_s.tolist() == [0.0, 27.0]
    assert t.segments == [(("0", 512), ("1", 512), ("2", 276)), (("0", 512), ("1", 512))]
    assert t.notes == ("dropped 1 rows with output_length 0",)


def test_vllm_bench(tmp_path: Path) -> None:
    result = {
        "request_rate": 2.0,
        "max_concurrency": None,
        "input_lens": [10, 20, 30],
        "output_lens": [1, 0, 3],
    }
    with pytest.raises(ValueError, match=r"column start_times: missing, and request_rate is 2\.0"):
        read_trace(put(tmp_path, json.dumps(result)))
    t = read_trace(put(tmp_path, json.dumps(result | {"start_times": [100.5, 100.25, 100.0]})))
    assert t.arrival_s.tolist() == [0.0, 0.5]  # sorted; the failure is dropped
    assert t.prompt_tokens.tolist() == [30, 10]
    assert "dropped 1 requests" in t.notes[0]
    burst = result | {"request_rate": "inf", "max_concurrency": 16}
    t = read_trace(put(tmp_path, json.dumps(burst, indent=2)))
    assert t.concurrency == 16
    assert t.arrival_s.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="save the result with --save-result --save-detailed"):
        read_trace(put(tmp_path, json.dumps({"input_lens": None})))
    with pytest.raises(ValueError, match="output_lens: 1 values; input_lens has 3"):
        read_trace(put(tmp_path, json.dumps(burst | {"output_lens": [1]})))


def test_guidellm(tmp_path: Path) -> None:
    def request(start: float, prompt: int, output: int) -> dict[str, Any]:
        return {
            "request_id": f"q{prompt}",
            "info": {"timings": {"request_start": start}},
            "input_metrics": {"text_tokens": prompt},
            "output_metrics": {"text_tokens": output},
            "request_start_time": start,
            "prompt_tokens": prompt,
            "output_tokens": output,
        }

    run = {
        "requests": {
            "successful": [request(9.5, 7, 3), request(9.0, 8, 4)],
            "errored": [{}],
            "incomplete": [],
        }
    }
    t = read_trace(put(tmp_path, json.dumps({"metadata": {}, "benchmarks": [run]}, indent=1)))
    assert t.arrival_s.tolist() == [0.0, 0.5]
    assert list(t.ids()) == ["q8", "q7"]
    assert t.notes == ("dropped 1 requests that did not succeed",)
    with pytest.raises(ValueError, match="column benchmarks: 2 benchmarks; keep the one to replay"):
        read_trace(put(tmp_path, json.dumps({"benchmarks": [run, run]})))


def test_inference_perf(tmp_path: Path) -> None:
    old = {
        "start_time": 5.0,
        "end_time": 6.0,
        "info": {"input_tokens": 11, "output_tokens": 3},
        "error": None,
    }
    new = {
        "start_time": 4.0,
        "end_time": 6.0,
        "info": {
            "request_metrics": {"text": {"input_tokens": 12}},
            "response_metrics": {
                "output_tokens": 7,
                "server_usage": {"prompt_tokens": 13, "completion_tokens": 8},
            },
        },
        "error": None,
    }
    failed = {"start_time": 4.5, "info": None, "error": {"error_type": "Timeout", "error_msg": ""}}
    t = read_trace(put(tmp_path, json.dumps([old, new, failed], indent=2)))
    assert t.arrival_s.tolist() == [0.0, 1.0]
    assert t.prompt_tokens.tolist() == [13, 11]
    assert t.output_tokens.tolist() == [8, 3]
    assert t.notes == (
        "dropped 1 requests that failed",
        "1 output lengths are the client's recount, not the server's",
    )


def test_plain_jsonl(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": "a",
            "arrival_s": 0,
            "prompt_tokens": 9,
            "output_tokens": 2,
            "prefix_chain": [["s", 4], ["u", 2]],
        },
        {"id": "b", "arrival_s": 1.5, "prompt_tokens": 9, "output_tokens": 2, "prefix_chain": "s:4"},
    ]
    t = read_trace(put(tmp_path, "\n".join(map(json.dumps, rows))))
    assert list(t.ids()) == ["a", "b"]
    assert t.segments == [(("s", 4), ("u", 2)), (("s", 4),)]
    group = {"arrival_s": 0, "prompt_tokens": 9, "output_tokens": 2, "prefix_group": "g", "prefix_tokens": 3}
    t = read_trace(put(tmp_path, json.dumps(group | {"priority": 2, "session": None})))
    assert t.segments == [(("g", 3),)]
    assert t.priority is not None
    assert t.priority.tolist() == [2]


SAMPLES = {
    "csv": f"{PLAIN},prefix_group,prefix_tokens,session\na,0,9,2,g,4,s\nb,1.5,9,2,-1,0,\n",
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,48,10\n"
    "2023-11-16 18:17:04+00:00,3,8\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,18\n6.5,GPT-4,4,0\n",
    "mooncake": '{"timestamp": 1, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n' * 2,
    "jsonl": '{"arrival_s": 0, "prompt_tokens": 9, "output_tokens": 2, "prefix_chain": [["s", 4]]}\n',
    "vllm-bench": '{"request_rate": "inf", "input_lens": [1, 2], "output_lens": [1, 2], '
    '"start_times": [0, 1.5]}',
    "guidellm": '{"benchmarks": [{"requests": {"successful": [{"request_start_time": 1, "prompt_tokens": 5, '
    '"output_tokens": 3, "info": {"timings": {}}}]}}]}',
    "inference-perf": '[{"start_time": 1.0, "info": {"input_tokens": 5, '
    '"response_metrics": {"output_tokens": 2}}}]',
}


@pytest.mark.parametrize("format", SAMPLES)
@pytest.mark.parametrize("told", [True, False])
def test_samples_are_read(tmp_path: Path, format: str, told: bool) -> None:
    assert len(read_trace(put(tmp_path, SAMPLES[format]), format if told else None)) >= 1


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.sampled_from([None, *sorted(SAMPLES)]),
    st.integers(0, 10**6),
    st.integers(0, 12),
    st.sampled_from(
        ["", ",", "-", "nan", "null", "[]", "{}", '"', "\n", "1e999", "9" * 25, "x", ":", "true", "\x00"]
    ),
)
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, sample: str, format: str | None, at: int, cut: int, put_in: str
) -> None:
    text = SAMPLES[sample]
    at %= len(text)
    path = put(tmp_path, text[:at] + put_in + text[at + cut :])
    try:
        assert len(read_trace(path, format)) >= 1
    except ValueError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00\r\n"), min_size=1, max_size=6
)
chains = st.lists(st.tuples(names, st.integers(1, 4)), max_size=3).map(tuple)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    n = draw(st.integers(1, 8))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n, max_size=n))

    def maybe(values: st.SearchStrategy[Any]) -> list[Any] | None:
        given_values = column(values) if draw(st.booleans()) else None
        # A text column without any text is one that is absent.
        return (
            given_values
            if given_values is not None and any(v not in ("", ()) for v in given_values)
            else None
        )

    return Trace(
        np.sort(np.array(column(st.floats(0, 1e9)))),
        np.array(column(st.integers(12, 10**12))),
        np.array(column(st.integers(1, 10**12))),
        request_id=maybe(names),
        priority=None if (p := maybe(st.integers(-(2**62), 2**62))) is None else np.array(p),
        session=maybe(st.just("") | names),
        think_s=None if (x := maybe(st.floats(0, 1e6))) is None else np.array(x),
        model=maybe(st.just("") | names),
        segments=maybe(chains),
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(traces())
def test_csv_round_trip(tmp_path: Path, t: Trace) -> None:
    path = tmp_path / "round.csv"
    write_csv(t, path)
    back = read_trace(path)
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "priority", "think_s"):
        was, now = getattr(t, name), getattr(back, name)
        assert (was is None and now is None) or was.tolist() == now.tolist()
    assert list(back.ids()) == list(t.ids())
    assert (back.session, back.model, back.segments) == (t.session, t.model, t.segments)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_partial_is_left(tmp_path: Path) -> None:
    t = Trace(np.array([0.0]), np.array([1]), np.array([1]))
    with pytest.raises(OSError):
        write_csv(t, tmp_path / "no" / "t.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_csv(t, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_reading_plain_csv_stays_light(tmp_path: Path) -> None:
    path = put(tmp_path, f"{PLAIN}\nr0,0,1,1\n")
    code = (
        "import sys; from foretell.traces import read_trace; read_trace(sys.argv[1]);"
        "print([m for m in ('pandas', 'scipy', 'pydantic', 'rich', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": ""},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
class TestRealFiles:
    def test_azure_2023_has_the_means_of_the_splitwise_paper(self) -> None:
        # Splitwise (ISCA 2024), section III: conversation 1155/211 on average, code 2048/28.
        folder = DATA / "azure-llm-2023"
        for name, rows, prompt, output in [("conv", 19_366, 1155, 211), ("code", 8_819, 2048, 28)]:
            s = summary(read_trace(folder / f"AzureLLMInferenceTrace_{name}.csv"))
            assert s["requests"] == rows
            assert round(s["prompt_tokens"]["mean"]) == prompt
            assert round(s["output_tokens"]["mean"]) == output

    def test_mooncake_has_the_figures_of_its_paper(self) -> None:
        # Mooncake (FAST 2025), table of workloads: mean input and output, cache ratio 40 % and 66 %.
        folder = DATA / "mooncake"
        for name, rows, prompt, output, ratio in [
            ("conversation", 12_031, 12_035, 343, 0.40),
            ("synthetic", 3_993, 15_325, 149, 0.66),
        ]:
            s = summary(read_trace(folder / f"{name}_trace.jsonl.gz"))
            assert s["requests"] == rows
            assert round(s["prompt_tokens"]["mean"]) == prompt
            assert round(s["output_tokens"]["mean"]) == output
            assert s["shared_prefix_share"] == pytest.approx(ratio, abs=0.03)

    def test_recorded_scheduler_traces(self) -> None:
        t = read_trace(DATA / "vllm-cpu" / "oracle" / "traces" / "prefix.csv")
        assert len(t) == 2000
        assert t.segments is not None
        assert t.segments[0] == (("5", 512),)
