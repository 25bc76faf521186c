import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Calibrate to your own server")

with app.setup:
    import csv
    import json
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    import marimo as mo
    import numpy as np

    from foretell.models import StepLoad
    from foretell.sim import Scenario, forecast_closed_form, simulate
    from foretell.sim.calibrating import calibrate_steps, fit_steps
    from foretell.sim.calibrating_points import calibrate_points
    from foretell.sim.costforms import form_of
    from foretell.sim.deployment import deploy
    from foretell.sim.observations import read_bench
    from foretell.sim.profile import write_profile
    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.report import svg
    from foretell.sim.report.plots import Axis, Line, lines
    from foretell.sim.steplog import read_step_logs
    from foretell.traces import trace_from_spec


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Calibrate to your own server

    **How do I make the forecasts speak of my server, and how sure are they then?** Ten minutes to read; it
    runs in some ten seconds on one core.

    A forecast for hardware that nobody measured for you is wide: drivers, clocks, kernels and the host
    differ. A few hundred logged steps, or four benchmark runs, narrow it. Here the "server" is made up,
    from coefficients that the calibration does not see, so that we can check what it finds. At the end
    stands what to type for a real one.
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=620):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A server that is not quite as modelled

    Step times are a sum of terms: matrices, attention, launches, the host, and so on. This server's terms are
    slower than the shipped ones by factors of its own, each step is noisy, and each run has its own mood.
    """)
    return


@app.cell
def _():
    LENGTHS = {
        "prompt": {"lognormal": {"mean": 900, "sigma": 0.8, "maximum": 6000}},
        "output": {"lognormal": {"mean": 180, "sigma": 0.6, "maximum": 1000}},
    }
    service = Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 8},
                "lengths": LENGTHS,
                "num_requests": 300,
            },
            "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "h100-sxm", "operator_times": "curves"}},
            "objectives": {"ttft_p90": "<= 150 ms", "tpot_mean": "<= 12 ms"},
            "replications": 8,
        }
    )
    form, subject = form_of(service.pool)
    config = deploy(service.pool).parts[0].config
    FACTORS = {
        "gemm": 1.1,
        "gemm_compute": 1.2,
        "prefill_attention": 1.3,
        "decode_attention": 1.5,
        "step": 3.0,
        "sequences": 1.4,
    }
    truth = form.prior * np.array([FACTORS.get(name, 1.0) for name in form.names])
    server = form.cost(truth)
    return LENGTHS, config, form, server, service, subject, truth


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What it logs

    Six runs at rising rates, a row a step: what the step carried, and how long it took. That is the format
    that `foretell calibrate` reads.
    """)
    return


@app.function
def logged(server, config, lengths, rate_per_s, seed, folder):
    """Run a server and write a step log: noise of a tenth a step, and of three per cent a run."""
    trace = trace_from_spec(
        {
            "arrivals": {"process": "poisson", "rate_per_s": rate_per_s},
            "lengths": lengths,
            "num_requests": 120,
        },
        seed,
    )
    rows = simulate(trace, server, config, loads=True).loads[0]
    load = StepLoad(*rows[:, 3:].T)
    rng = np.random.default_rng(seed)
    mood = 0.03 * rng.standard_normal()
    seconds = server(*load) * np.exp(mood + 0.1 * rng.standard_normal(len(rows)))
    path = folder / f"rate{rate_per_s:g}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*StepLoad._fields, "dt_s"])
        writer.writerows([f"{value:.6g}" for value in row] for row in np.column_stack([*load, seconds]))
    return path


@app.cell
def _(LENGTHS, config, server):
    folder = Path(tempfile.mkdtemp(prefix="foretell-calibrate-"))
    logs = [
        logged(server, config, LENGTHS, rate, seed, folder)
        for seed, rate in enumerate((1, 3, 6, 9, 12, 16), start=1)
    ]
    log = read_step_logs(logs)
    return folder, log, logs


@app.cell(hide_code=True)
def _(log, logs):
    _lines = logs[1].read_text(encoding="utf-8").splitlines()
    _table = "\n".join(f"| {line.replace(',', ' | ')} |" for line in _lines[1:7])
    mo.md(f"""
    {len(log):,} steps in {len(logs)} files; the first of `{logs[1].name}`:

    | {_lines[0].replace(",", " | ")} |
    |{"---:|" * len(_lines[0].split(","))}
    {_table}
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The fit

    One scale for each term, around the shipped ones as prior, none negative and none faster than the
    hardware's peaks. The interval is where nine in ten of the posterior's draws
    lie.
    """)
    return


@app.cell
def _(folder, form, log, subject):
    fitted = calibrate_steps(log, form, fitted_on=subject)
    write_profile(folder / "server.toml", fitted.profile)
    return (fitted,)


@app.function
def coefficients(result, truth):
    """A calibration's coefficients beside the truth, as a Markdown table."""
    profile = result.profile
    rows = []
    for (name, value), (low, high), true in zip(
        profile.coefficients.items(), profile.interval().values(), truth, strict=False
    ):
        told = "yes" if profile.identified[name] else "no"
        inside = "yes" if low <= true <= high else "**no**"
        rows.append(
            f"| `{name}` | {show_number(true)} | {show_number(value)} "
            f"| {show_number(low)} to {show_number(high)} | {inside} | {told} |"
        )
    head = "| term | truth | fit | interval | holds the truth | the data determine it |\n"
    return head + "|:---|---:|---:|---:|:---|:---|\n" + "\n".join(rows)


@app.cell(hide_code=True)
def _(fitted, truth):
    _rows = [each.rows for each in fitted.held_out]
    _step = float(np.average([each.mape for each in fitted.held_out], weights=_rows))
    _all = float(np.mean([abs(each.total_error) for each in fitted.held_out]))
    _held = sum(
        low <= true <= high
        for (low, high), true in zip(fitted.profile.interval().values(), truth, strict=True)
    )
    mo.vstack(
        [
            mo.md(coefficients(fitted, truth)),
            mo.md(f"""
    {_held} of {len(truth)} intervals hold the truth. Half of the runs predicted from the other half: a
    single step is {_step:.1%} off, mostly its own noise; a whole run's time {_all:.1%}: the runs' moods.
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ### What cannot be told, and why that is fine

    Terms that the data leave open stay at their prior, with its width. Several terms rise together (a fixed
    time a step and gaps between layers are the same to a log of steps), others are too small to see. Their
    *sum* is known well all the same. It becomes a risk only where a forecast leaves what was logged: longer
    contexts, larger batches. The calibration says so itself:
    """)
    return


@app.cell(hide_code=True)
def _(fitted):
    mo.md("\n".join(f"- {warning}" for warning in fitted.profile.warnings))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ### Residuals

    Predicted over logged, step by step, before and after: what is left after should be noise around one,
    without a slope beyond what the noise itself makes (a step that happened to be short lies left and high).
    """)
    return


@app.cell(hide_code=True)
def _(fitted, form, log):
    _features = form.features(log.load)
    _before = _features @ form.prior / log.seconds
    _after = _features @ np.array(list(fitted.profile.coefficients.values())) / log.seconds
    mo.vstack(
        [
            chart(
                lines(
                    {
                        "as shipped": Line(log.seconds, _before, joined=False),
                        "calibrated": Line(log.seconds, _after, joined=False),
                    },
                    Axis("what the step took", "s", log=True),
                    Axis("predicted over logged", "", low=0.0),
                    "Residuals of every step",
                    f"as shipped {np.median(_before):.2f}, calibrated {np.median(_after):.2f} in the median",
                    level={"equal": 1.0},
                    width=560,
                ),
                700,
            ),
            mo.md(
                f"In the median, steps were foretold at {np.median(_before):.0%} of what they take; "
                f"calibrated, {np.median(_after):.0%}, half of them between "
                f"{np.quantile(_after, 0.25):.0%} and {np.quantile(_after, 0.75):.0%}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ### How many steps are enough?

    The same fit on some of the steps. Intervals narrow as steps come in, until what is left is how
    runs differ.
    """)
    return


@app.cell(hide_code=True)
def _():
    steps = mo.ui.slider(
        steps=[20, 40, 80, 160, 320, 640, 1000], value=160, label="steps in the log", show_value=True
    )
    steps
    return (steps,)


@app.cell(hide_code=True)
def _(form, log, steps, truth):
    _order = np.random.default_rng(0).permutation(len(log))
    _sizes = sorted({40, 160, min(1000, len(log)), min(steps.value, len(log))})
    _names = ("gemm", "gemm_compute", "decode_attention")
    _widths, _at = {name: [] for name in _names}, {}
    for _size in _sizes:
        _keep = np.zeros(len(log), dtype=bool)
        _keep[_order[:_size]] = True
        _low, _high = np.quantile(fit_steps(log.where(_keep), form, 100).draws, [0.05, 0.95], axis=0)
        for _name in _names:
            _k = form.names.index(_name)
            _widths[_name].append((_high[_k] - _low[_k]) / truth[_k])
            if _size == min(steps.value, len(log)):
                _at[_name] = f"`{_name}` {_low[_k]:.2f} to {_high[_k]:.2f} (truth {truth[_k]:.2f})"
    mo.vstack(
        [
            chart(
                lines(
                    {name: Line(_sizes, width, marks=True) for name, width in _widths.items()},
                    Axis("steps", log=True),
                    Axis("width of the interval over the truth", "share", low=0.0),
                    "How intervals narrow",
                    "; ".join(f"{name}: {width[-1]:.0%} at the end" for name, width in _widths.items()),
                    upright={"slider": float(min(steps.value, len(log)))},
                    width=560,
                    height=260,
                ),
                700,
            ),
            mo.md(f"With {min(steps.value, len(log)):,} steps: {'; '.join(_at.values())}."),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What it does to a forecast

    The same service, forecast as shipped and with the profile, over the rate. Bands: nine in ten of what is
    not known of step times and the KV cache. Dashed: what this server really does, by its own coefficients.
    """)
    return


@app.function
def calibrated(scenario, path):
    """The scenario with a profile for its step times; None: as shipped."""
    return scenario if path is None else scenario.replace(**{"pools.chat.calibration": str(path)})


@app.cell
def _(fitted, folder, service, truth):
    _known = replace(
        fitted.profile,
        coefficients=dict(zip(fitted.profile.coefficients, truth.tolist(), strict=True)),
        draws=(tuple(truth.tolist()),),
        run_log_error=0.0,
        warnings=(),
    )
    write_profile(folder / "truth.toml", _known)
    ways = {
        "as shipped": None,
        "calibrated": folder / "server.toml",
        "the server itself": folder / "truth.toml",
    }
    RATES = (1, 4, 8, 12, 16)
    curves = {
        name: [
            forecast_closed_form(
                calibrated(service, path).replace(**{"workload.arrivals.rate_per_s": rate}),
                draws=1 if name == "the server itself" else 8,
            )
            for rate in RATES
        ]
        for name, path in ways.items()
    }
    return RATES, curves, ways


@app.cell(hide_code=True)
def _(RATES, curves, fitted):
    def _line(name, key):
        found = [one.summary[key] for one in curves[name]]
        values = [each.value for each in found]
        if name == "the server itself":
            return Line(RATES, values, dashed=True)
        return Line(RATES, values, low=[each.low for each in found], high=[each.high for each in found])

    def _width(name, key):
        found = curves[name][2].summary[key]
        return (found.high - found.low) / found.value

    _pictures = [
        chart(
            lines(
                {name: _line(name, key) for name in curves},
                Axis("requests a second", low=0.0),
                Axis(label, "s", low=0.0),
                label,
                "; ".join(f"{name}: {show_seconds(curves[name][2].summary[key].value)}" for name in curves),
                width=440,
            ),
            520,
        )
        for key, label in (("tpot_mean_s", "mean time per token"), ("ttft_p90_s", "p90 of the first token"))
    ]
    _inside = {
        name: sum(
            one.summary[key].low <= true.summary[key].value <= one.summary[key].high
            for one, true in zip(curves[name], curves["the server itself"], strict=True)
            for key in ("tpot_mean_s", "ttft_p90_s")
        )
        for name in ("as shipped", "calibrated")
    }
    mo.vstack(
        [
            mo.hstack(_pictures, widths="equal", wrap=True),
            mo.md(f"""
    At {RATES[2]} requests a second the interval of the mean time per token is
    {_width("as shipped", "tpot_mean_s"):.0%} wide as shipped and
    {_width("calibrated", "tpot_mean_s"):.0%} calibrated. The server itself lies inside of
    {_inside["as shipped"]} of {2 * len(RATES)} intervals as shipped, of {_inside["calibrated"]} calibrated.
    An interval holds how far a run may be
    from the logged ones ({fitted.profile.run_log_error:.1%}, told from runs left out) and widens where queues
    amplify it: steady runs, and more of them, make it narrow.
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    rate = mo.ui.slider(0.5, 20, 0.5, value=10, label="requests a second", show_value=True)
    rate
    return (rate,)


@app.cell(hide_code=True)
def _(rate, service, ways):
    _found = {
        name: forecast_closed_form(
            calibrated(service, path).replace(**{"workload.arrivals.rate_per_s": rate.value}), draws=1
        )
        for name, path in ways.items()
    }
    _rows = "\n".join(
        f"| {name} | {one.summary['load'].value:.0%} | {1e3 * one.summary['ttft_p90_s'].value:.0f} "
        f"| {1e3 * one.summary['tpot_mean_s'].value:.1f} | {'met' if one.met else 'missed'} |"
        for name, one in _found.items()
    )
    _heads = (
        f"at {rate.value:g} requests a second",
        "load",
        "p90 of the first token [ms]",
        "mean time per token [ms]",
        "objectives",
    )
    mo.md(f"""
    | {" | ".join(_heads)} |
    |:---|---:|---:|---:|:---|
    {_rows}
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## From `vllm bench serve`, without a step log

    Most people have no log of steps, but can run the benchmark that comes with vLLM. Here the made-up server
    is benchmarked at four concurrencies, and its results written as `--save-result --save-detailed` does. The
    client adds a few milliseconds to each first token.
    """)
    return


@app.function
def benched(server, config, lengths, concurrency, client_s, folder):
    """A closed loop on a server, as the JSON that `vllm bench serve` writes."""
    trace = trace_from_spec(
        {
            "arrivals": {"process": "closed_loop", "concurrency": concurrency},
            "lengths": lengths,
            "num_requests": max(40, 4 * concurrency),
        },
        100 + concurrency,
    )
    run = simulate(trace, server, config)
    tokens = run.output_tokens
    tpot_s = (run.finish_s - run.first_token_s)[tokens > 1] / (tokens[tokens > 1] - 1)
    path = folder / f"c{concurrency}.json"
    path.write_text(
        json.dumps(
            {
                "max_concurrency": concurrency,
                "request_rate": "inf",
                "completed": len(run),
                "total_input_tokens": int(run.prompt_tokens.sum()),
                "total_output_tokens": int(tokens.sum()),
                "mean_ttft_ms": 1e3 * float(np.mean(run.first_token_s - run.arrival_s) + client_s),
                "mean_tpot_ms": 1e3 * float(tpot_s.mean()),
                "input_lens": run.prompt_tokens.tolist(),
                "output_lens": tokens.tolist(),
            }
        ),
        encoding="utf-8",
    )
    return path


@app.cell
def _(LENGTHS, config, folder, form, server, subject):
    CLIENT_S = 0.004
    results = [benched(server, config, LENGTHS, c, CLIENT_S, folder) for c in (1, 4, 16, 64)]
    points = [read_bench(path) for path in results]
    from_bench = calibrate_points(points, form, config, fitted_on=subject)
    write_profile(folder / "bench.toml", from_bench.profile)
    return CLIENT_S, from_bench, points


@app.cell(hide_code=True)
def _(CLIENT_S, fitted, folder, from_bench, points, service, truth, ways):
    _measured = "\n".join(
        f"| {point.concurrency} | {point.num_requests} | {1e3 * point.seconds['ttft']:.1f} "
        f"| {1e3 * point.seconds['tpot']:.2f} |"
        for point in points
    )

    def _told(result):
        return sum(result.profile.identified.values())

    def _capacity(path):
        found = forecast_closed_form(calibrated(service, path), draws=8).summary["capacity_rps"]
        return f"{found.value:.1f} | {found.low:.1f} to {found.high:.1f}"

    _rows = "\n".join(
        f"| {name} | {_capacity(path)} |"
        for name, path in {
            "as shipped": None,
            "from four benchmark runs": folder / "bench.toml",
            "from the step log": ways["calibrated"],
        }.items()
    )
    _true = forecast_closed_form(calibrated(service, ways["the server itself"]), draws=1)
    _off = max(abs(each.total_error) for each in from_bench.held_out)
    mo.md(f"""
    | concurrency | requests | mean first token [ms] | mean time per token [ms] |
    |---:|---:|---:|---:|
    {_measured}

    Eight means tell less than a thousand steps: {_told(from_bench)} of {len(truth)} terms are determined
    instead of {_told(fitted)}. Each operating point predicted from the others is at most {_off:.1%} off. Of
    the client's {1e3 * CLIENT_S:g} ms the fit finds {1e3 * from_bench.profile.client_s:.1f}; forecasts leave
    it out.

    | requests a second at most | forecast | interval |
    |:---|---:|---:|
    {_rows}
    | **the server itself** | {_true.summary["capacity_rps"].value:.1f} | |
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## With your own server

    **Benchmark it** at several concurrencies, with lengths like yours (`--ignore-eos` so that answers have
    them), against a server that does nothing else:

    ```sh
    vllm serve meta-llama/Llama-3.1-8B-Instruct
    for c in 1 4 16 64; do
      vllm bench serve --model meta-llama/Llama-3.1-8B-Instruct --dataset-name random \
        --random-input-len 900 --random-output-len 180 --random-range-ratio 0.5 --ignore-eos \
        --num-prompts $((40 + 4 * c)) --max-concurrency $c \
        --save-result --save-detailed --result-filename c$c.json
    done
    foretell calibrate --bench c1.json --bench c4.json --bench c16.json --bench c64.json \
      --model llama-3.1-8b --hardware h100-sxm -o server.toml
    ```

    **Or log its steps**: a CSV with the columns above, a file a run, runs at low and at high load.

    ```sh
    foretell calibrate low.csv high.csv --model llama-3.1-8b --hardware h100-sxm -o server.toml
    ```

    **Or scrape it**: `--metrics after.txt --metrics-before before.txt --scenario served.yaml`.

    **Then use the profile**, and the number of KV blocks that vLLM logs at its start:

    ```sh
    foretell forecast --calibration server.toml --num-gpu-blocks 27000 --model llama-3.1-8b \
      --hardware h100-sxm --request-rate 8
    ```

    Or here: name your step logs (.csv), or your benchmark results (.json), separated by commas.
    """)
    return


@app.cell(hide_code=True)
def _():
    own = mo.ui.text(label="your files", placeholder="low.csv, high.csv", full_width=True)
    own_model = mo.ui.text(value="llama-3.1-8b", label="model")
    own_hardware = mo.ui.text(value="h100-sxm", label="hardware")
    mo.vstack([own, own_model, own_hardware])
    return own, own_hardware, own_model


@app.function
def from_files(paths, model, hardware):
    """Calibrate to somebody's files: benchmark results if they end in .json, else step logs."""
    asked = Scenario.from_dict(
        {
            "workload": {"lengths": {"prompt": 1, "output": 1}, "concurrency": 1, "num_requests": 1},
            "pools": {"server": {"model": model, "hardware": hardware}},
        }
    )
    form, subject = form_of(asked.pool)
    if all(path.suffix == ".json" for path in paths):
        config = deploy(asked.pool).parts[0].config
        return calibrate_points([read_bench(path) for path in paths], form, config, fitted_on=subject)
    return calibrate_steps(read_step_logs(paths), form, fitted_on=subject)


@app.cell(hide_code=True)
def _(own, own_hardware, own_model):
    _paths = [Path(name.strip()).expanduser() for name in own.value.split(",") if name.strip()]
    if not _paths:
        _text = "No file named yet. Nothing leaves this machine."
    else:
        try:
            _result = from_files(_paths, own_model.value, own_hardware.value)
        except ValueError as _error:
            _text = f"**That did not work**: {_error}"
        else:
            _rows = "\n".join(
                f"| `{name}` | {show_number(value)} | {show_number(low)} to {show_number(high)} "
                f"| {'yes' if _result.profile.identified[name] else 'no'} |"
                for (name, value), (low, high) in zip(
                    _result.profile.coefficients.items(), _result.profile.interval().values(), strict=True
                )
            )
            _text = (
                "| term | fit | interval | the data determine it |\n|:---|---:|---:|:---|\n"
                + _rows
                + f"\n\nA row that was fitted is {_result.in_sample.mape:.1%} off in the mean.\n\n"
                + "\n".join(f"- {warning}" for warning in _result.profile.warnings)
            )
    mo.md(_text)
    return


if __name__ == "__main__":
    app.run()
