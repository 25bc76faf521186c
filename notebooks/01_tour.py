import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A tour of foretell in five minutes")

with app.setup:
    import marimo as mo

    from foretell.sim import Scenario, forecast, forecast_closed_form
    from foretell.sim.quantities import show_seconds
    from foretell.sim.report import svg


@app.cell(hide_code=True)
def _():
    mo.md("""
    # A tour of foretell in five minutes

    **Will one GPU carry this chat service, how sure is that, and what should be rented?** Five minutes to
    read; it runs in some ten seconds, on any laptop, without a GPU and without a network.
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=620):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.cell
def _():
    service = Scenario.from_dict(
        {
            "workload": {
                "arrivals": {"process": "poisson", "rate_per_s": 3.5},
                "lengths": "sharegpt",  # a bundled distribution: prompts with their chat history, answers
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
    _verdicts = "\n".join(
        f"| {v.objective.name} ≤ {show_seconds(v.objective.limit)} | {show_seconds(v.value)} "
        f"| {v.probability:.1%} | {'met' if v.met else 'missed'} |"
        for v in result.verdicts
    )
    mo.md(f"""
    | objective | forecast | chance that a run meets it | |
    |---|---:|---:|---|
    {_verdicts}
    """)
    return


@app.cell
def _(service):
    rate = mo.ui.slider(0.5, 8, 0.5, value=3.5, label="requests a second", show_value=True)
    rate
    return (rate,)


@app.cell(hide_code=True)
def _(rate, service):
    _now = forecast_closed_form(
        service.replace(**{"workload.arrivals.rate_per_s": rate.value}), draws=1
    ).summary
    mo.md(
        f"At **{rate.value:g} requests a second** the GPU is at {_now['load'].value:.0%} of its capacity "
        f"({_now['capacity_rps'].value:.1f}/s); p90 of the first token: "
        f"**{show_seconds(_now['ttft_p90_s'].value)}**."
    )
    return


if __name__ == "__main__":
    app.run()
