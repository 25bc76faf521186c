import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="How many GPUs for this traffic?")

with app.setup:
    import tempfile
    from pathlib import Path

    import marimo as mo
    import numpy as np

    from foretell.sim import Scenario, forecast, forecast_closed_form, plan
    from foretell.sim.cli.plan_tables import layout
    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.report import plots, svg
    from foretell.sim.report.words import chance, percent
    from foretell.traces import (
        Diurnal,
        Mmpp,
        between,
        from_zero,
        generate,
        merge,
        preset,
        read_trace,
        write_csv,
    )


@app.cell(hide_code=True)
def _():
    mo.md("""
    # How many GPUs for this traffic?

    **Given a day of requests, how many replicas must be rented, how many would do on average, and what could
    starting and stopping them over the day save at most?**

    Ten minutes to read. It runs in about twenty seconds on one core, mostly to simulate the busiest ten
    minutes.
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
    ## The traffic

    A made-up day: office hours, and now and then a burst of a few minutes, as when an article links to the
    service. To ask about your own traffic, name its file (any format of the docs' page on traces): `marimo
    run notebooks/02_how_many_gpus.py -- --trace FILE`. Only its arrival times and lengths are read.
    """)
    return


@app.cell
def _():
    FILE = mo.cli_args().get("trace")
    HOURS = (2, 1.5, 1, 1, 1, 1.5, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 9, 8, 7, 6, 5, 4, 3)

    if FILE:
        day = from_zero(read_trace(str(FILE)))
    else:
        office = generate(Diurnal(1.2, factors=HOURS), preset("sharegpt"), duration_s=86_400.0, seed=3)
        bursts = generate(Mmpp((0.0, 4.0), (3000.0, 240.0)), preset("sharegpt"), duration_s=86_400.0, seed=5)
        day = merge(office, bursts)

    span_s = 86_400.0 if not FILE else float(day.arrival_s[-1])
    return day, span_s


@app.cell
def _(day, span_s):
    def rates(window_s):
        """Begin of every window [s], and the requests a second in it."""
        edges = np.arange(max(1, round(span_s / window_s)) + 1) * window_s
        return edges[:-1], np.histogram(day.arrival_s, edges)[0] / window_s

    mean_rate = len(day) / span_s
    return mean_rate, rates


@app.cell(hide_code=True)
def _(day, mean_rate, rates, span_s):
    _series = {
        f"each {name}": plots.Line(*rates(window_s), step=True)
        for name, window_s in (("minute", 60.0), ("quarter of an hour", 900.0))
    }
    _windows = [window for window in (10.0, 60.0, 300.0, 900.0, 3600.0) if window < span_s]
    _peaks = {window: float(rates(window)[1].max()) for window in _windows}
    _rows = [
        [show_seconds(window), show_number(peak), show_number(peak / mean_rate)]
        for window, peak in _peaks.items()
    ]
    mo.vstack(
        [
            mo.md(f"""
    {len(day):,} requests in {show_seconds(span_s)}, {show_number(mean_rate)} a second in the mean; a prompt
    has {show_number(day.prompt_tokens.mean())} tokens, an answer {show_number(day.output_tokens.mean())}.
    """),
            chart(
                plots.lines(
                    _series,
                    plots.Axis("time", "s"),
                    plots.Axis("requests a second", low=0.0),
                    "Traffic over the day",
                    f"The mean is {show_number(mean_rate)} requests a second.",
                    level={"mean": mean_rate},
                    width=620,
                )
            ),
            mo.md(f"""
    How much higher is the peak than the mean? That depends on how long a peak must last to count:

    {table(["busiest", "requests a second", "times the mean"], _rows)}

    A wait of seconds forgives a burst of seconds. What has to be carried is somewhere between the busiest
    minute and the busiest quarter of an hour; how much of a burst the lines of the engines absorb, a
    simulation shows.
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What replicas carry

    The deployment and its promises. One replica is one GPU here.
    """)
    return


@app.cell
def _(day, rates):
    BUSY_S = 600.0
    busy_at = float(rates(BUSY_S)[0][rates(BUSY_S)[1].argmax()])
    peak = from_zero(between(day, busy_at, busy_at + BUSY_S))
    peak_file = Path(tempfile.mkdtemp()) / "busiest.csv"
    write_csv(peak, peak_file)

    service = Scenario.from_dict(
        {
            "workload": {"trace": str(peak_file)},  # the busiest ten minutes: lengths, and how bursty
            "pools": {"chat": {"model": "llama-3.1-8b", "hardware": "l40s", "router": "least_outstanding"}},
            "objectives": {"ttft_p90": "<= 2 s", "tpot_p99": "<= 100 ms"},
            "seed": 1,
            "replications": 4,
        }
    )
    return BUSY_S, busy_at, peak, service


@app.cell
def _(rates, service):
    CALCULATED = 8

    def in_closed_form(replicas, scale):
        changes = {"pools.chat.replicas": replicas, "workload.rate_scale": scale}
        return forecast_closed_form(service.replace(**changes), draws=1)

    def most(replicas):
        """Highest rate [1/s] at which so many replicas hold every objective, and their capacity."""
        found = in_closed_form(replicas, 1.0)
        capacity = found.summary["capacity_rps"].value
        low, high = 0.3 * capacity / found.rate_per_s, capacity / found.rate_per_s
        for _ in range(6):
            middle = (low + high) / 2
            low, high = (middle, high) if in_closed_form(replicas, middle).met else (low, middle)
        return low * found.rate_per_s, capacity

    held, capacity = np.array([most(replicas) for replicas in range(1, CALCULATED + 1)]).T
    busiest = rates(10.0)[1].max()
    more = np.arange(CALCULATED + 1, max(CALCULATED + 1, int(3 * busiest / held[-1] * CALCULATED)) + 1)
    carried = np.concatenate([held, held[-1] / CALCULATED * more])  # beyond, each as much as one of eight

    def needed(rate_per_s):
        """Least replicas that hold the objectives at steady rates."""
        return np.searchsorted(carried, rate_per_s) + 1

    return CALCULATED, capacity, held, needed


@app.cell(hide_code=True)
def _(CALCULATED, capacity, held, service):
    _counts = np.arange(1, CALCULATED + 1)
    mo.vstack(
        [
            mo.md(f"""
    {service.pool.model} on {service.pool.hardware}: one replica holds
    {" and ".join(f"{name} {limit}" for name, limit in service.objectives.items())} up to
    **{show_number(held[0])} requests a second**, and its line grows for ever from
    {show_number(capacity[0])} on. {CALCULATED} replicas hold {show_number(held[-1])}:
    {show_number(held[-1] / CALCULATED)} each, because a router that sees them all sends a burst to whoever
    is free.
    """),
            chart(
                plots.lines(
                    {
                        "objectives hold up to": plots.Line(_counts, held, marks=True),
                        "line grows for ever from": plots.Line(_counts, capacity, marks=True, dashed=True),
                    },
                    plots.Axis("replicas", low=0.0),
                    plots.Axis("requests a second", low=0.0),
                    "What replicas carry, in closed form",
                    f"{CALCULATED} replicas hold {show_number(held[-1])} requests a second.",
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How many, hour by hour

    In every window of the day, the least number of replicas that holds the objectives at the window's rate: a
    closed form for each, as if the window were an endless steady stream.
    """)
    return


@app.cell
def _():
    window = mo.ui.slider(steps=[60, 300, 600, 900, 3600], value=900, label="window [s]", show_value=True)
    spare_traffic = mo.ui.slider(0, 100, 10, value=20, label="more traffic than seen [%]", show_value=True)
    mo.hstack([window, spare_traffic], justify="start", gap=2)
    return spare_traffic, window


@app.cell(hide_code=True)
def _(needed, rates, service, spare_traffic, window):
    _at, _rate = rates(window.value)
    _need = needed(_rate * (1 + spare_traffic.value / 100))
    mo.vstack(
        [
            mo.md(f"""
    **{_need.max()} replicas of {service.pool.hardware} at the busiest {show_seconds(window.value)}**,
    {_need.mean():.2f} on average over the day, {_need.min()} at the quietest; with {spare_traffic.value} %
    more traffic than was seen.
    """),
            chart(
                plots.lines(
                    {"replicas needed": plots.Line(_at, _need, step=True)},
                    plots.Axis("time", "s"),
                    plots.Axis("replicas", low=0.0),
                    "Replicas needed over the day",
                    f"{_need.max()} at most, {_need.mean():.2f} on average.",
                    level={"average": float(_need.mean())},
                    width=620,
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The busiest ten minutes, simulated

    A steady stream has no bursts, the busiest ten minutes have. So the same requests, at the same times, go
    through engines that schedule every step as vLLM does.
    """)
    return


@app.cell
def _(BUSY_S, needed, rates, service):
    by_formula = int(needed(rates(BUSY_S)[1].max()))
    tried = range(max(1, by_formula - 1), by_formula + 2)
    simulated = {
        replicas: forecast(service.replace(**{"pools.chat.replicas": replicas}), processes=1)
        for replicas in tried
    }
    by_simulation = next((replicas for replicas, found in simulated.items() if found.met), None)
    return by_formula, by_simulation, simulated


@app.cell(hide_code=True)
def _(BUSY_S, busy_at, by_formula, by_simulation, peak, simulated):
    _rows = [
        [
            str(replicas),
            show_seconds(found.summary["ttft_p90_s"].value),
            show_seconds(found.summary["tpot_p99_s"].value),
            show_number(found.summary["mean_waiting"].value),
            "yes" if found.met else "no",
            chance(min(verdict.probability for verdict in found.verdicts)),
        ]
        for replicas, found in simulated.items()
    ]
    _heads = ["replicas", "TTFT p90", "TPOT p99", "waiting, mean", "meets", "chance"]

    def _inside(run):
        grid = np.arange(0.0, 1.5 * BUSY_S, 2.0)
        arrived, gone = np.sort(run.arrival_s), np.sort(run.finish_s)
        return plots.Line(grid, np.searchsorted(arrived, grid) - np.searchsorted(gone, grid), step=True)

    if by_simulation is None:
        _told = f"**None of these is enough**; the formula has {by_formula}. The plan below looks further."
    elif by_simulation > by_formula:
        _told = f"""
    **The formula's {by_formula} are not enough: it takes {by_simulation}.** On average over the window
    {by_formula} have room, but the bursts inside it build lines that take long to serve.
    """
    elif by_simulation < by_formula:
        _told = f"""
    **{by_simulation} are enough here, one fewer than the formula's {by_formula}**: so near the capacity a
    line grows slowly, and ten minutes are over before it is long. The formula speaks of traffic that never
    ends. The chance says how near the limit that is; {by_formula} would be the prudent choice.
    """
    else:
        _told = f"**The simulation agrees: it takes {by_simulation}.**"
    mo.vstack(
        [
            mo.md(f"""
    From {show_seconds(busy_at)} on, {len(peak):,} requests in {show_seconds(BUSY_S)}:

    {table(_heads, _rows)}

    {_told}
    """),
            chart(
                plots.lines(
                    {f"{replicas} replicas": _inside(found.run) for replicas, found in simulated.items()},
                    plots.Axis("time since the window began", "s"),
                    plots.Axis("requests waiting or being answered", low=0.0),
                    "Requests inside, over the busiest ten minutes",
                    "With too few replicas the number grows until the window ends.",
                    upright={"last arrival": BUSY_S},
                    width=620,
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## With headroom, and with a replica lost

    `plan` does both steps by itself, over kinds of GPUs too: it looks for the cheapest fleet that holds every
    objective in the busiest ten minutes, also with more traffic, and also with a replica gone.
    """)
    return


@app.cell
def _(service):
    planned = plan(
        service.replace(
            replications=2,
            plan={
                "fields": {"pools.chat.hardware": ["l40s", "h100-sxm"]},
                "headroom": "10 %",
                "spare": 1,
            },
        ),
        finalists=1,
        processes=1,
    )
    return (planned,)


@app.cell(hide_code=True)
def _(mean_rate, planned):
    _best = planned.best
    if _best is None:
        _text = "Nothing in this plan holds the objectives."
    else:
        _extra = 0.0 if _best.headroom is None else _best.headroom.extra
        _day_usd = 24 * _best.usd_per_h
        _text = f"""
    **{layout(_best.candidate)}: {show_number(_best.usd_per_h)} USD/h, {show_number(_day_usd)} USD a day.**
    It holds with {percent(_extra)} more traffic; with a replica lost the least certain objective is met
    with a chance of {chance(_best.checked.probability)}. Each replica starts with

    ```
    {_best.commands[0].line}
    ```

    Rented for the whole day, an answer costs {show_number(1000 * _day_usd / (86_400 * mean_rate))} USD a
    thousand.
    """
    mo.md(_text)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What could autoscaling save?

    At most this much: an autoscaler that knows the day in advance, starts every replica just in time and
    pays for it while it starts. A real one sees traffic only when it is there, so it must keep headroom or
    let users wait.
    """)
    return


@app.cell
def _():
    start_min = mo.ui.slider(
        steps=[0, 5, 10, 15, 30, 60], value=10, label="a replica starts in [min]", show_value=True
    )
    floor = mo.ui.slider(1, 4, 1, value=2, label="replicas that always run", show_value=True)
    mo.hstack([start_min, floor], justify="start", gap=2)
    return floor, start_min


@app.cell(hide_code=True)
def _(floor, needed, planned, rates, simulated, start_min):
    _STEP_S = 300.0
    _at, _rate = rates(_STEP_S)
    _fixed = max(simulated) if planned.best is None else planned.best.candidate.scenario.pool.replicas
    _price = next(iter(simulated.values())).summary["usd_per_h"].value / min(simulated)
    _ahead = int(start_min.value * 60 / _STEP_S)
    _need = np.clip(needed(_rate) + 1, min(floor.value, _fixed), _fixed)  # one more: for bursts, or a loss
    _paid = np.max(
        [np.append(_need[shift:], np.full(shift, _need[-1])) for shift in range(_ahead + 1)], axis=0
    )
    _hours = _STEP_S / 3600
    _fleet, _scaled = _fixed * _price * _hours * len(_at), float(_paid.sum()) * _price * _hours
    mo.vstack(
        [
            mo.md(f"""
    {_fixed} replicas all day: **{show_number(_fleet)} USD**. Scaled with the traffic, one replica more than
    the formula wants: **{show_number(_scaled)} USD**, at most **{percent(1 - _scaled / _fleet)}** less,
    with {_paid.max()} at the peak and {_paid.mean():.2f} on average.
    """),
            chart(
                plots.lines(
                    {
                        "paid, scaled in advance": plots.Line(_at, _paid, step=True),
                        "paid, the fixed fleet": plots.Line(_at, np.full(len(_at), _fixed), dashed=True),
                    },
                    plots.Axis("time", "s"),
                    plots.Axis("replicas", low=0.0),
                    "Replicas paid for over the day",
                    f"Scaling saves at most {percent(1 - _scaled / _fleet)}.",
                    width=620,
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(service):
    mo.md(f"""
    ## What to keep in mind

    - One day is one day. The peak of another is higher; the plan's headroom is for that, and the slider
      above.
    - The closed form takes each window as steady traffic without end. A wide window hides bursts, and it is
      too kind; a narrow one counts bursts that a line would absorb, and it is too strict. A simulation
      needs no window: where the two disagree, believe it.
    - Prices are list prices a GPU-hour, bundled with their source and date (`foretell show
      {service.pool.hardware}`); `price_usd_per_h` takes yours.
    - Starting a replica is not simulated: what an autoscaler would do to the users during a burst that nobody
      foresaw is not in the last figure.
    """)
    return


if __name__ == "__main__":
    app.run()
