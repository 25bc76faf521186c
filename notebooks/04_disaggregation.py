import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Prefill and decode apart: when does it pay?")

with app.setup:
    import marimo as mo
    import numpy as np

    from foretell.models.architecture import load_architecture
    from foretell.models.hardware import load_link
    from foretell.models.parallelism import Parallelism
    from foretell.models.precision import Precision
    from foretell.models.transfer import kv_transfer
    from foretell.sim import Scenario, forecast, forecast_closed_form
    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.report import plots, svg
    from foretell.sim.report.words import percent


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Prefill and decode apart: when does it pay?

    **On the same eight GPUs, when do more users get what they were promised if some engines compute only
    prompts and others only answers?**

    Fifteen minutes to read. It runs in about fifteen seconds on one core.
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
    ## Eight GPUs, two ways

    *Together*: every engine takes requests whole, and mixes a chunk of a prompt into the steps that make
    other requests' tokens. *Apart*: some engines compute prompts, send the KV cache over the network, and
    others make the tokens. The model, the GPUs and the requests are the same; what differs is who does
    what, and in how many parts each engine is split (TP, tensor parallelism).
    """)
    return


@app.cell
def _():
    GPUS = 8

    def pool(tensor_parallel_size, replicas):
        return {
            "model": "llama-3.1-70b",
            "hardware": "h200",
            "quantization": "fp8",
            "tensor_parallel_size": tensor_parallel_size,
            "replicas": replicas,
            "router": "least_outstanding",
            "engine": {
                "max_num_seqs": 96 * tensor_parallel_size
            },  # else a full KV cache preempts, over and over
        }

    def together(tensor_parallel_size):
        return {"pools": {"all": pool(tensor_parallel_size, GPUS // tensor_parallel_size)}}

    def apart(prefill, decode, link="infiniband-ndr"):
        strategy = {"name": "disaggregated", "prefill": "prefill", "decode": "decode"}
        pools = {"prefill": pool(*prefill), "decode": pool(*decode)}
        return {"pools": pools, "strategy": strategy | {"kv_transfer": {"link": link}}}

    LAYOUTS = {  # apart: the prefill engines → the decode engines
        "together 4×TP2": together(2),
        "together 2×TP4": together(4),
        "together 1×TP8": together(8),
        "apart 1×TP2 → 3×TP2": apart((2, 1), (2, 3)),
        "apart 2×TP2 → 2×TP2": apart((2, 2), (2, 2)),
        "apart 3×TP2 → 1×TP2": apart((2, 3), (2, 1)),
        "apart 2×TP2 → 1×TP4": apart((2, 2), (4, 1)),
        "apart 1×TP4 → 1×TP4": apart((4, 1), (4, 1)),
    }
    KINDS = {  # median tokens of prompt and answer
        "chat": (1000, 250),
        "summaries": (6000, 200),
        "reasoning": (500, 2000),
    }

    def scenario(kind, layout, rate_per_s=1.0):
        prompt, answer = KINDS[kind]
        return Scenario.from_dict(
            {
                "workload": {
                    "arrivals": {"process": "poisson", "rate_per_s": float(rate_per_s)},
                    "lengths": {
                        "prompt": {"lognormal": {"median": prompt, "sigma": 0.6, "maximum": 30_000}},
                        "output": {
                            "lognormal": {"median": answer, "sigma": 0.7, "minimum": 2, "maximum": 8000}
                        },
                    },
                    "num_requests": 300,
                },
                **LAYOUTS[layout],
                "seed": 1,
                "replications": 2,
            }
        )

    return GPUS, KINDS, LAYOUTS, scenario


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What it is about: the gaps between tokens

    The same chat requests, at the same times, through both, simulated step by step. Whoever reads an answer
    as it appears sees the gaps between its tokens.
    """)
    return


@app.cell
def _(scenario):
    RATE = 12.0
    both = {
        name: forecast(scenario("chat", layout, RATE), processes=1)
        for name, layout in (
            ("together", "together 2×TP4"),
            ("apart", "apart 2×TP2 → 1×TP4"),
        )
    }
    return RATE, both


@app.cell(hide_code=True)
def _(RATE, both):
    def _longer(run):
        gaps, counts = run.itl
        order = np.argsort(gaps)
        left = 1 - np.cumsum(counts[order]) / counts.sum()
        keep = np.unique(np.searchsorted(-left, -np.geomspace(1, 1e-4, 200)).clip(0, len(gaps) - 1))
        return plots.Line(gaps[order][keep], np.maximum(left[keep], 1e-4))

    _figures = {
        name: {
            key: found.summary[key].value for key in ("ttft_p90_s", "itl_p50_s", "itl_p99_s", "tpot_p99_s")
        }
        for name, found in both.items()
    }
    _rows = [[name, *(show_seconds(value) for value in found.values())] for name, found in _figures.items()]
    _heads = ["", "first token, 90 in 100", "gap, median", "gap, 99 in 100", "time per token, 99 in 100"]
    mo.vstack(
        [
            mo.md(f"""
    {table(_heads, _rows)}

    At {RATE:g} requests a second, one gap in a hundred is
    **{show_seconds(_figures["together"]["itl_p99_s"])} or longer together, and
    {show_seconds(_figures["apart"]["itl_p99_s"])} apart**: nobody's prompt holds up anybody's tokens. The
    price is paid in the first token and in GPUs that may not help one another.
    """),
            chart(
                plots.lines(
                    {name: _longer(found.run) for name, found in both.items()},
                    plots.Axis("gap between tokens", "s", log=True),
                    plots.Axis("share of gaps that are longer", "share", log=True),
                    "Gaps between tokens, together and apart",
                    "Apart, the tail of long gaps is missing.",
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How much traffic, within the limits?

    Every layout at every load, in closed form. Then the question is which of them carries most **while both
    promises hold**: a first token soon enough, and tokens fast enough, for 90 and 99 in 100 users. Set what
    you promise.
    """)
    return


@app.cell
def _(GPUS, KINDS, LAYOUTS, scenario):
    LITTLE = 0.2  # requests a second
    SHARES = (0.3, 0.55, 0.75, 0.92)  # of the capacity

    def curve(kind, layout):
        """Rates [1/s], TTFT p90 [s], TPOT p99 [s], output tokens/s a GPU: a layout up to its capacity."""
        found = [forecast_closed_form(scenario(kind, layout, LITTLE), draws=1)]
        most = found[0].summary["capacity_rps"].value
        found += [forecast_closed_form(scenario(kind, layout, share * most), draws=1) for share in SHARES]
        figures = [
            [one.summary[key].value for one in found]
            for key in ("request_throughput_rps", "ttft_p90_s", "tpot_p99_s", "output_throughput_tps")
        ]
        rates, ttft, tpot, tokens = np.array(figures)
        return rates, ttft, tpot, tokens / GPUS

    curves = {kind: {layout: curve(kind, layout) for layout in LAYOUTS} for kind in KINDS}
    return (curves,)


@app.cell
def _():
    def held(curve, ttft_s, tpot_s):
        """Highest rate [1/s] of a curve within both limits; 0 where even the lowest load misses one."""
        rates, ttft, tpot, _ = curve
        fine = np.linspace(rates[0], rates[-1], 400)
        good = (np.exp(np.interp(fine, rates, np.log(ttft))) <= ttft_s) & (
            np.exp(np.interp(fine, rates, np.log(tpot))) <= tpot_s
        )
        return (
            float(fine[np.argmin(good) - 1]) if not good.all() and good[0] else float(fine[-1] * good.all())
        )

    def best(curves, start, ttft_s, tpot_s):
        """The layout whose name begins so that holds most, and how much."""
        found = {name: held(one, ttft_s, tpot_s) for name, one in curves.items() if name.startswith(start)}
        name = max(found, key=lambda one: found[one])
        return name, found[name]

    return best, held


@app.cell
def _(KINDS):
    kind = mo.ui.dropdown(list(KINDS), value="chat", label="what is asked")
    ttft_ms = mo.ui.slider(
        steps=[200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000],
        value=1000,
        label="first token for 90 in 100 within [ms]",
        show_value=True,
    )
    tpot_ms = mo.ui.slider(
        14, 100, 1, value=25, label="time per token for 99 in 100 at most [ms]", show_value=True
    )
    mo.hstack([kind, ttft_ms, tpot_ms], justify="start", gap=2, wrap=True)
    return kind, tpot_ms, ttft_ms


@app.cell(hide_code=True)
def _(GPUS, KINDS, best, curves, held, kind, tpot_ms, ttft_ms):
    _limits = (ttft_ms.value / 1000, tpot_ms.value / 1000)
    _here = curves[kind.value]
    _one, _together = best(_here, "together", *_limits)
    _other, _apart = best(_here, "apart", *_limits)
    if max(_together, _apart) == 0:
        _told = "**No layout holds both limits**, not even with little traffic."
    elif _apart > 1.05 * _together:
        _more = (
            f"{_apart / _together:.2f} times as much"
            if _together
            else "while together none holds both limits"
        )
        _told = f"**Apart it carries more**: {_other} holds {show_number(_apart)} requests a second, {_more}."
    elif _together > 1.05 * _apart:
        _more = f"{_together / _apart:.2f} times as much" if _apart else "while apart none holds both limits"
        _told = (
            f"**Together it carries more**: {_one} holds {show_number(_together)} requests a second, {_more}."
        )
    else:
        _told = f"**Both carry about as much**, {show_number(_together)} requests a second: keep it simple."

    def _front(curve):
        rates, ttft, tpot, tokens = curve
        fine = np.geomspace(0.08 * rates[-1], rates[-1], 40)
        in_time = np.exp(np.interp(fine, rates, np.log(ttft))) <= _limits[0]
        speed = np.exp(-np.interp(fine, rates, np.log(tpot)))
        return plots.Line(np.where(in_time, speed, np.nan), fine * tokens[-1] / rates[-1])

    _prompt, _answer = KINDS[kind.value]
    mo.vstack(
        [
            mo.md(f"""
    {kind.value.capitalize()}: prompts of {_prompt:,} tokens in the median, answers of {_answer:,}. {_told}
    """),
            mo.hstack(
                [
                    chart(
                        plots.bars(
                            {
                                name: {"requests a second within both limits": held(one, *_limits)}
                                for name, one in _here.items()
                            },
                            "Requests a second within both limits",
                            f"Best together {show_number(_together)}, best apart {show_number(_apart)}.",
                            unit="requests a second within both limits",
                        )
                    ),
                    chart(
                        plots.lines(
                            {name: _front(one) for name, one in _here.items()},
                            plots.Axis("tokens a second that 99 in 100 users get", log=True),
                            plots.Axis(f"output tokens a second for each of {GPUS} GPUs", log=True),
                            "Speed for users against output of the GPUs",
                            "A curve a layout, from little load (right) to much; first tokens in time.",
                            upright={"limit": 1 / _limits[1]},
                        )
                    ),
                ],
                widths="equal",
                wrap=True,
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(KINDS, best, curves, ttft_ms):
    _limits_s = np.geomspace(0.009, 0.15, 48)

    def _gain(kind):
        pairs = [
            (
                best(curves[kind], "together", ttft_ms.value / 1000, limit)[1],
                best(curves[kind], "apart", ttft_ms.value / 1000, limit)[1],
            )
            for limit in _limits_s
        ]
        return np.array([apart / together if together else np.nan for together, apart in pairs])

    _gains = {kind: _gain(kind) for kind in KINDS}

    def _words(kind):
        gain = _gains[kind]
        if not np.isfinite(gain).any():
            return f"- *{kind}*: together never holds both limits at this promise for the first token"
        most = int(np.nanargmax(gain))
        if gain[most] <= 1:
            return f"- *{kind}*: never; apart carries at most {gain[most]:.2f} times as much"
        pays = _limits_s[np.nan_to_num(gain) > 1]
        return (
            f"- *{kind}*: with {show_seconds(pays[0])} to {show_seconds(pays[-1])} per token promised; "
            f"at best {gain[most]:.2f} times as much, at {show_seconds(_limits_s[most])}"
        )

    _list = "\n".join(_words(kind) for kind in KINDS)
    mo.vstack(
        [
            mo.md(f"""
    ## When does it pay?

    What the best layout apart carries, over what the best one together does, with a first token for 90 in
    100 within {show_seconds(ttft_ms.value / 1000)}:

    {_list}

    Left of a curve's beginning, together holds nothing at all; right of its crossing, the promise is so
    loose that mixing costs nothing and every GPU does whatever there is to do.
    """),
            chart(
                plots.lines(
                    {kind: plots.Line(_limits_s, gain) for kind, gain in _gains.items()},
                    plots.Axis("promised time per token, 99 in 100", "s", log=True),
                    plots.Axis("traffic carried apart ÷ together", low=0.0),
                    "What being apart gains, over the promise",
                    "Above one, being apart carries more.",
                    level={"the same": 1.0},
                    width=560,
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(KINDS, curves):
    _rows = []
    for _kind in KINDS:
        _full = {n: curves[_kind][f"apart {n}×TP2 → {4 - n}×TP2"][0][-1] for n in (1, 2, 3)}
        _best = max(_full, key=_full.__getitem__)
        _rows.append([_kind, *(show_number(rate) for rate in _full.values()), f"{_best} → {4 - _best}"])
    mo.md(f"""
    ## The ratio of the pools

    Four engines apart can be split three ways. The most that each split carries [requests a second, at
    nine tenths of its capacity], whatever the latency:

    {table(["", "1 prefill → 3 decode", "2 → 2", "3 → 1", "most"], _rows)}

    The pool that is too small sets the limit, and the other one's GPUs wait. A ratio that fits summaries
    starves reasoning: who does not know the lengths of tomorrow's traffic should not fix it in the
    hardware.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The KV cache has to travel

    Every token of a prompt leaves keys and values of every layer behind, and they cross the network once.
    """)
    return


@app.cell
def _():
    prompt_tokens = mo.ui.slider(
        steps=[500, 1000, 2000, 4000, 8000, 16000, 32000],
        value=4000,
        label="tokens of the prompt",
        show_value=True,
    )
    prompt_tokens
    return (prompt_tokens,)


@app.cell(hide_code=True)
def _(prompt_tokens):
    _links = ("nvlink4", "infiniband-ndr", "ethernet-200g", "ethernet-100g", "ethernet-25g")
    _model, _precision = load_architecture("llama-3.1-70b"), Precision(kv_cache="bf16")

    def _row(name):
        link = load_link(name)
        moved = kv_transfer(_model, _precision, link, Parallelism(2), Parallelism(4))
        seconds = moved.latency_s + prompt_tokens.value * moved.token_s
        return [
            name,
            show_number(link.bandwidth_Bps / 1e9),
            show_seconds(seconds),
            show_number(1 / moved.token_s),
        ]

    mo.md(f"""
    {
        table(
            ["link", "GB/s", "time for this prompt", "prompt tokens a second, at most"],
            [_row(name) for name in _links],
        )
    }

    From engines of TP 2 to engines of TP 4, each GPU with a link of its own, at the share of the bandwidth
    that foretell assumes. The last column is where a link is full: a prefill engine that computes more
    prompt tokens a second than that waits for its network.
    """)
    return


@app.cell(hide_code=True)
def _(RATE, both):
    _kv = both["apart"].summary
    mo.md(f"""
    In the simulation above, at {RATE:g} requests a second, a cache arrived
    {show_seconds(_kv["kv_transfer_mean_s"].value)} after its prompt was done, in the mean, waits included;
    the links were busy {percent(_kv["kv_transfer_utilisation"].value)} of the time.

    ## What this does not show

    - The curves are closed forms: good to a few per cent for capacity and mean times, worse for tails near
      the capacity and for long prompts. They let the traffic arrive at random and last for ever. Before you
      buy, simulate: `foretell forecast examples/disaggregated.yaml`.
    - Against measured frontiers of servers with two pools foretell is further off than against those with
      one (the docs' page on capacity frontiers says by how much). A gain of a tenth is within that; a
      factor of two is not.
    - The efficiency of the links is an assumption. Handshakes, and short prompts computed where the answer
      is made, are not modelled.
    - Failures are not in it: a pool with one engine is a pool that can be gone.
    """)
    return


if __name__ == "__main__":
    app.run()
