"""Make the pictures of the README and the pages from real forecasts: python docs/pictures.py [--check].

Charts are SVG with their colours inside, for light and dark, and come out the same byte for byte.
Screenshots of a report and of the what-if page need a Chromium; as fonts differ between machines, --check
asks of them only that they are there, of their size, and not blank.
"""

from __future__ import annotations

import importlib
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"


def traffic() -> str:
    """The chat service at more and more traffic: the closed form, and runs."""
    import numpy as np

    from foretell.sim import Scenario, forecast, forecast_closed_form
    from foretell.sim.report.plots import Axis, Line, lines

    asked = Scenario.load(ROOT / "examples" / "chat.yaml")
    field = "workload.arrivals.rate_per_s"
    rates = np.arange(0.5, 6.6, 0.25)
    ends = [forecast_closed_form(asked.replace(**{field: float(rate)}), draws=8) for rate in rates]
    tried = [1.0, 2.0, 3.5, 5.0, 6.0, 7.0, 8.0]
    runs = [forecast(asked.replace(**{field: rate})).summary["ttft_p90_s"] for rate in tried]
    figures = [end.summary["ttft_p90_s"] for end in ends]
    capacity = ends[0].summary["capacity_rps"].value
    quick = max(
        rate for rate, run in zip(tried, runs, strict=True) if run.high is not None and run.high < 0.5
    )
    beyond = [run.value for rate, run in zip(tried, runs, strict=True) if rate > capacity]
    if min(beyond) < 1.0:
        raise ValueError("the picture says that the objective is missed beyond the capacity")
    return lines(
        {
            "closed form, 90 % interval": Line(
                rates,
                [figure.value for figure in figures],
                [figure.low for figure in figures],
                [figure.high for figure in figures],
            ),
            "simulated, where one run lands in 9 of 10 cases": Line(
                tried,
                [run.value for run in runs],
                [run.low for run in runs],
                [run.high for run in runs],
                marks=True,
                joined=False,
            ),
        },
        Axis("Requests a second", low=0.0),
        Axis("Time to first token, 90th percentile", "s", log=True, low=0.02, high=30.0),
        "Time to first token of a chat service as its traffic grows",
        f"Llama-3.1-8B on one H100. Well below the objective of 1 s at {quick:g} requests a second and less; "
        f"beyond the capacity of {capacity:.1f} a second it is missed, and by how much is uncertain.",
        upright={"asked: 3.5/s": 3.5, f"capacity {capacity:.1f}/s": capacity},
        level={"objective: 1 s": 1.0},
        width=640,
        height=330,
    )


def step_time() -> str:
    """Where the time of a decode step goes as the batch grows."""
    import numpy as np

    from foretell.models import StepLoad
    from foretell.sim import Scenario
    from foretell.sim.deployment import deploy
    from foretell.sim.report.plots import Axis, Line, lines

    asked = Scenario.load(ROOT / "examples" / "chat.yaml")
    cost = deploy(asked.pools["chat"]).engines[0].cost
    batch = np.unique(np.geomspace(1, 256, 60).round())
    zero = np.zeros_like(batch)
    context = 2000.0
    load = StepLoad(zero, zero, zero, zero, batch, batch * context, batch)
    parts, whole = cost.breakdown(*load), np.asarray(cost(*load))
    longer = float(np.interp(64, batch, whole) / whole[0])
    if np.min(np.asarray(parts["memory"]) / whole) < 0.5:
        raise ValueError("the picture says that reading memory takes most of a step")
    return lines(
        {
            "whole step": Line(batch, whole),
            "reading memory": Line(batch, np.asarray(parts["memory"])),
            "computing": Line(batch, np.asarray(parts["compute"])),
            "launching kernels": Line(batch, np.asarray(parts["launch"])),
            "waiting for the host": Line(batch, np.asarray(parts["host"])),
        },
        Axis("Sequences that decode", log=True),
        Axis("Time of a step", "s", low=0.0),
        "Seconds of a decode step by what bounds it",
        "Llama-3.1-8B on one H100, 2,000 tokens of context each: reading weights and KV cache takes most of "
        f"a step at any batch; 64 sequences take {longer:.1f} times as long as one, and get "
        f"{64 / longer:.0f} times the tokens a second.",
        width=640,
        height=300,
    )


def strategies() -> str:
    """Strategies by accuracy and latency."""
    from foretell.sim import Scenario, compare
    from foretell.sim.report.axes import Axis
    from foretell.sim.report.pareto_front import Point, front

    found = compare(Scenario.load(ROOT / "examples" / "strategies.yaml"))
    by_name = {cell.labels["strategy"]: cell.summary for cell in found.cells}
    fastest = min(by_name, key=lambda name: by_name[name]["e2e_p99_s"].value)
    surest = max(by_name, key=lambda name: by_name[name]["accuracy"].value)
    meets = found.best.labels["strategy"] if found.best is not None else "none"
    if (fastest, surest, meets) != ("single", "self_consistency n=8", "first_finish n=4"):
        raise ValueError(f"the picture says otherwise: {fastest}, {surest}, {meets}")
    points = []
    for cell in found.cells:
        accuracy, latency = cell.summary["accuracy"], cell.summary["e2e_p99_s"]
        points.append(
            Point(
                latency.value,
                accuracy.value,
                ", ".join(cell.labels.values()),
                x_range=(latency.low, latency.high),
                y_range=(accuracy.low, accuracy.high),
                chosen=cell is found.best,
            )
        )
    return front(
        points,
        Axis("Latency of a query, 99th percentile", "s", log=True),
        Axis("Accuracy on AIME 2025", "share"),
        "Five strategies by accuracy and latency",
        "Qwen3-8B on two H100s, 108 queries an hour. One sample is fastest, a vote of eight most accurate; "
        "the first of four to finish is the cheapest that meets both objectives.",
        upright={"objective: 8 min": 480.0},
        level={"objective: 70 %": 0.7},
        width=640,
        height=340,
    )


PICTURES: Mapping[str, Callable[[], str]] = {
    "traffic": traffic,
    "step_time": step_time,
    "strategies": strategies,
}


def made(name: str) -> str:
    """A picture as its file has it."""
    from foretell.sim.report.svg import standalone

    return standalone(PICTURES[name]()) + "\n"


def report(file: Path) -> None:
    """A screenshot of the top of a forecast's report."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "chat.html"
        asked = [str(ROOT / "examples" / "chat.yaml"), "--operator-times", "curves", "--html", str(page)]
        command = [sys.executable, "-m", "foretell.sim", "forecast", *asked]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        importlib.import_module("screenshots").screenshot(page, file, *SIZE)


def ui(file: Path) -> None:
    """A screenshot of the what-if page, by the shipped curves as all else on the pages."""
    from foretell.sim import Scenario
    from foretell.sim.report.settings import as_yaml

    screenshots = importlib.import_module("screenshots")
    asked = Scenario.load(ROOT / "examples" / "chat.yaml").replace(**{"pools.chat.operator_times": "curves"})
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "chat.yaml"
        scenario.write_text(as_yaml(asked), encoding="utf-8")
        with screenshots.what_if_page(scenario) as address:
            screenshots.screenshot(address, file, *SIZE)


def timeline(file: Path) -> None:
    """A screenshot of Perfetto with a timeline in it."""
    importlib.import_module("viewers").picture(file, *SIZE)


SIZE = (1280, 860)
SCREENSHOTS: Mapping[str, Callable[[Path], None]] = {"report": report, "ui": ui, "timeline": timeline}


def shows_something(file: Path) -> bool:
    """Whether a PNG has the size of our screenshots and more than a few colours."""
    data = file.read_bytes()
    at, pixels = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        pixels += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return struct.unpack(">II", data[16:24]) == SIZE and len(set(zlib.decompress(pixels))) > 60


def main() -> int:
    """Write the pictures, with --charts no screenshots; or with --check only tell which are out of date."""
    check = "--check" in sys.argv
    sys.modules["aiconfigurator_core"] = None  # type: ignore[assignment]  # the same on any machine
    FOLDER.mkdir(exist_ok=True)
    stale = []
    for name in PICTURES:
        file, text = FOLDER / f"{name}.svg", made(name)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(file)
            if not check:
                file.write_text(text, encoding="utf-8")
    for name, make in SCREENSHOTS.items():
        file = FOLDER / f"{name}.png"
        if check and not (file.is_file() and shows_something(file)):
            stale.append(file)
        if not check and "--charts" not in sys.argv:
            make(file)
            stale.append(file)
    for file in stale:
        print(f"{file.relative_to(ROOT)}: {'out of date' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
