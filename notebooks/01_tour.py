import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A tour of foretell in five minutes")

with app.setup:
    import marimo as mo
    import numpy as np

    from foretell.sim import Scenario, compare, forecast, forecast_closed_form, plan
    from foretell.sim.cli.plan_tables import layout
    from foretell.sim.quantities import show_number, show_seconds, show_seconds_between
    from foretell.sim.report import plots, svg
    from foretell.sim.report.words import chance, percent


@app.cell(hide_code=True)
def _():
    mo.md("""
    # A tour of foretell in five minutes

    **Will one GPU carry this chat service, how sure is that, and what should be rented for more traffic?**

    Five minutes to read. It runs in about ten seconds on a laptop, without a GPU and without a network:
    nothing is deployed, everything is forecast.
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=640):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.function(hide_code=True)
def table(heads, rows):
    """Write a table in Markdown, figures to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The question

    A scenario says everything that is asked: the traffic, what serves it, and what it must hold. The same
    fields make a YAML file for the command line. *TTFT* is the time to the first token, *TPOT* the time per
    token after it; objectives are on the time that most requests stay below.
    """)
    return


@app.cell
def _():
    service = Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 3.5},
                "lengths": "sharegpt",  # a bundled distribution of prompts with their history, and of answers
                "num_requests": 400,
            },
            "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "h100-sxm"}},
            "objectives": {"ttft_p90": "<= 1 s", "tpot_p99": "<= 80 ms"},
            "seed": 1,
            "replications": 8,
        }
    )
    return (service,)


@app.cell
def _(service):
    result = forecast(service, processes=1)
    return (result,)


@app.cell(hide_code=True)
def _(result):
    _least = min(verdict.probability for verdict in result.verdicts)
    _objectives = table(
        ["objective", "forecast", "chance that a run meets it", ""],
        [
            [
                f"{verdict.objective.name} ≤ {show_seconds(verdict.objective.limit)}",
                show_seconds(verdict.value),
                chance(verdict.probability),
                "met" if verdict.met else "missed",
            ]
            for verdict in result.verdicts
        ],
    )

    def _cell(key):
        found = result.summary[key]
        return f"{show_seconds(found.value)} ({show_seconds_between(found.low, found.high)})"

    _latency = table(
        ["latency", "half of the requests", "90 in 100", "99 in 100"],
        [
            [name, *(_cell(f"{metric}_{part}_s") for part in ("p50", "p90", "p99"))]
            for metric, name in (("ttft", "first token"), ("tpot", "per token"), ("e2e", "whole answer"))
        ],
    )
    mo.md(f"""
    ## The answer

    **{"Yes: every objective is met" if result.met else "No: not every objective is met"}; the least certain
    one has a chance of {chance(_least)}.** The GPU costs {show_number(result.summary["usd_per_h"].value)}
    USD an hour, so a thousand answers cost {show_number(1000 * result.summary["usd_per_query"].value)} USD
    and {show_number(result.summary["energy_per_query_J"].value / 3.6)} Wh of electricity.

    {_objectives}

    What users see, in brackets where one run lands in 9 of 10 cases:

    {_latency}

    Every engine step was scheduled as vLLM would (version and flags are in the scenario too), and priced by
    a model of the hardware. On average {show_number(result.summary["mean_batch"].value)} requests were
    being answered at once, {percent(result.summary["kv_use"].value)} of the KV cache was taken, and
    {percent(result.summary["time_bound_by_memory"].value)} of the time went into reading memory: a faster
    arithmetic unit would change little.
    """)
    return


@app.cell(hide_code=True)
def _(result):
    _found = result.summary["ttft_p90_s"]
    _runs = np.arange(1, len(_found.values) + 1)
    _far = np.array([0.5, len(_runs) + 0.5])
    _picture = plots.lines(
        {
            "where one run lands in 9 of 10 cases": plots.Line(
                _far,
                np.full(2, _found.value),
                low=np.full(2, _found.low),
                high=np.full(2, _found.high),
                dashed=True,
            ),
            "one replication, what is unsure drawn": plots.Line(
                _runs, np.array(_found.values), marks=True, joined=False
            ),
        },
        plots.Axis("replication", low=0.5, high=len(_runs) + 0.5),
        plots.Axis("TTFT, 90 in 100 below", "s", low=0.0),
        "TTFT of every replication, and the interval",
        f"{len(_runs)} replications, {show_seconds_between(min(_found.values), max(_found.values))}; "
        f"the interval is {show_seconds_between(_found.low, _found.high)}.",
    )
    mo.vstack(
        [
            mo.md(f"""
    ## What an interval means

    The scenario ran {len(_runs)} times, each time with its own arrivals and lengths. Beside each nominal
    run stands one in which *what we do not know for sure* is drawn as well: how far the step times of a
    model and a GPU that were never measured together are usually off, and how many KV blocks the server
    will find. The forecast ({show_seconds(_found.value)} for this figure) is the mean of the nominal runs.
    The draws are errors that were made elsewhere, so they need not lie evenly round it: here
    {sum(value < _found.value for value in _found.values)} of {len(_runs)} are below.

    The interval says where **one more run on the real thing** should land in 9 of 10 cases. It does not
    shrink with more replications: they teach nothing about the hardware. A calibration to your own server
    does (notebook 06).
    """),
            chart(_picture),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Change one thing

    A forecast *in closed form* (queueing models instead of a simulation) takes hundredths of a second. So
    it can follow a slider: move the traffic, or take another GPU.
    """)
    return


@app.cell
def _(service):
    GPUS = ["h100-sxm", "h200", "a100-80gb-sxm", "l40s"]
    RATES = np.array([0.25, 0.75, 1.25, 1.5, 2, 2.75, 3.5, 4.5, 5.5, 6.5, 7.25, 8])

    def closed_form(gpu, rate_per_s):
        asked = {"pools.chat.hardware": gpu, "workload.arrivals.rate_per_s": float(rate_per_s)}
        return forecast_closed_form(service.replace(**asked), draws=1)

    curves = {gpu: [closed_form(gpu, rate).summary for rate in RATES] for gpu in GPUS}
    return GPUS, RATES, closed_form, curves


@app.cell
def _(GPUS):
    rate = mo.ui.slider(0.25, 8, 0.25, value=3.5, label="requests a second", show_value=True)
    gpu = mo.ui.dropdown(GPUS, value="h100-sxm", label="GPU")
    mo.hstack([rate, gpu], justify="start", gap=2)
    return gpu, rate


@app.cell(hide_code=True)
def _(RATES, closed_form, curves, gpu, rate, service):
    _now = closed_form(gpu.value, rate.value)
    _load, _capacity = (_now.summary[name].value for name in ("load", "capacity_rps"))
    if _load >= 1:
        _told = (
            f"**{percent(_load)} of what one {gpu.value} can carry** ({show_number(_capacity)} requests "
            "a second): the line grows for ever, and no latency can be promised."
        )
    else:
        _told = (
            f"**{percent(_load)} of what one {gpu.value} can carry**; first token within "
            f"**{show_seconds(_now.summary['ttft_p90_s'].value)}** for 90 in 100, a token every "
            f"**{show_seconds(_now.summary['tpot_p99_s'].value)}** or faster for 99 in 100, "
            f"**{show_number(1000 * _now.summary['usd_per_query'].value)} USD** a thousand answers: "
            f"{'every objective is met' if _now.met else 'not every objective is met'}."
        )
    _limits = {verdict.objective.key: verdict.objective.limit for verdict in _now.verdicts}

    def _figure(key, what):
        series = {
            name: plots.Line(RATES, [found[key].value for found in curve], dashed=name != gpu.value)
            for name, curve in curves.items()
        }
        return chart(
            plots.lines(
                series,
                plots.Axis("requests a second", low=0.0, high=8.0),
                plots.Axis(what, "s", log=True),
                f"{what}, over the traffic",
                f"Curves of four GPUs end where the GPU is full; the line of {gpu.value} is whole.",
                upright={"now": rate.value},
                level={"objective": _limits[key]},
            )
        )

    mo.vstack(
        [
            mo.md(f"At {rate.value:g} requests a second: {_told}"),
            mo.hstack(
                [
                    _figure("ttft_p90_s", "TTFT, 90 in 100 below"),
                    _figure("tpot_p99_s", "TPOT, 99 in 100 below"),
                ],
                widths="equal",
                wrap=True,
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Latency hardly moves until the GPU is nearly full, and then it moves all at once. That is why *"how much
    can it carry?"* matters more than *"how fast is it when empty?"*.

    ## Which GPU?

    `compare` simulates every cell of a grid with the same seeds, so that all meet the same traffic, and
    names the cheapest that holds the objectives.
    """)
    return


@app.cell
def _(GPUS, service):
    compared = compare(service.replace(replications=4, compare={"pools.chat.hardware": GPUS}), processes=1)
    return (compared,)


@app.cell(hide_code=True)
def _(compared):
    _rows = [
        [
            cell.labels["pools.chat.hardware"],
            "yes" if cell.met else "no",
            chance(min(verdict.probability for verdict in cell.verdicts)),
            show_seconds(cell.value("ttft_p90_s")),
            show_seconds(cell.value("tpot_p99_s")),
            show_number(cell.value("usd_per_h")),
            show_number(1000 * cell.value("usd_per_query")),
        ]
        for cell in compared.cells
    ]
    _best = compared.best
    _heads = ["GPU", "meets", "chance", "TTFT p90", "TPOT p99", "USD/h", "USD per 1,000 answers"]
    _named = (
        "No GPU holds both."
        if _best is None
        else f"**{_best.labels['pools.chat.hardware']}** is the one to rent."
    )
    mo.md(f"""
    {table(_heads, _rows)}

    {_named} A GPU that is overloaded shows the wait that grew during this short run; it would go on growing.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How many, for more traffic?

    `plan` looks for the cheapest fleet that holds the objectives, here with a fifth more traffic than
    expected. Closed forms search; simulations decide.
    """)
    return


@app.cell
def _(service):
    asked = service.replace(
        replications=2,
        plan={"fields": {"pools.chat.hardware": ["h100-sxm", "l40s"]}, "headroom": "20 %"},
        **{"workload.arrivals.rate_per_s": 12.0},
    )
    planned = plan(asked, finalists=1, processes=1)
    return asked, planned


@app.cell(hide_code=True)
def _(asked, planned):
    _best = planned.best
    if _best is None:
        _told = "No fleet of these holds the objectives."
    else:
        _extra = "" if _best.headroom is None else f" It stands {percent(_best.headroom.extra)} more traffic."
        _told = (
            f"**{layout(_best.candidate)}: {show_number(_best.usd_per_h)} USD/h**; the least certain "
            f"objective is met with a chance of {chance(_best.checked.probability)}.{_extra} "
            f"Each replica starts with `{_best.commands[0].line}`."
        )
    mo.md(f"""
    For {asked.workload.arrivals["rate_per_s"]:g} requests a second, and {asked.plan["headroom"]} more:
    {_told}
    """)
    return


@app.cell(hide_code=True)
def _(result):
    _notes = "\n".join(f"- {note}" for note in result.notes)
    mo.md(f"""
    ## What it does not know

    Times are the engine's: HTTP, tokenising and the network come on top, unless the scenario has a `client`.
    Every forecast says what in it is estimated or assumed. This one:

    {_notes}

    Where next: 02 how many GPUs for a day's traffic, 03 which strategy for a task and a budget, 04 prefill
    and decode apart, 05 mixtures of experts, 06 calibrate to your own server, 07 Kinetics under load, 08
    how far to trust this.
    """)
    return


if __name__ == "__main__":
    app.run()
