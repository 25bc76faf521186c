import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Mixtures of experts, and how to split them")

with app.setup:
    import marimo as mo
    import numpy as np

    from foretell.models import StepLoad
    from foretell.models.architecture import load_architecture
    from foretell.models.memory import kv_bytes_per_token, weights_bytes
    from foretell.models.moe import expected_distinct_experts, expected_distinct_skewed, zipf_popularity
    from foretell.models.parallelism import Parallelism
    from foretell.models.precision import Precision
    from foretell.sim import Scenario, forecast_closed_form
    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.report import plots, svg
    from foretell.sim.report.words import percent


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Mixtures of experts, and how to split them

    **A model with ten times the parameters that a token meets: what does it cost in memory and in speed,
    and which split over eight GPUs (TP, EP, DP, PP) suits which promise?**

    Fifteen minutes to read. It runs in about ten seconds on one core.
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
    ## What is stored, and what a token meets

    In place of one feed-forward block a layer has many, the *experts*. A router sends each token to a few
    of them. All must lie in memory; only the chosen ones compute.
    """)
    return


@app.cell
def _():
    def experts_of(model):
        """Experts of a layer, and how many of them a token meets."""
        group = next(group for group in model.layers if group.mlp.num_experts)
        return group.mlp.num_experts, group.mlp.top_k

    NAMES = ("mixtral-8x7b", "gpt-oss-120b", "glm-4.5-air", "qwen3-235b-a22b", "deepseek-v3", "kimi-k2")
    models = {name: load_architecture(name) for name in NAMES}
    return experts_of, models


@app.cell(hide_code=True)
def _(experts_of, models):
    _rows = [
        [
            name,
            f"{model.parameters() / 1e9:,.1f}",
            f"{model.active_parameters() / 1e9:,.1f}",
            percent(model.active_parameters() / model.parameters()),
            "{1} of {0}".format(*experts_of(model)),
        ]
        for name, model in models.items()
    ]
    mo.md(table(["model", "parameters [10⁹]", "a token meets [10⁹]", "share", "experts of a layer"], _rows))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## When are all experts touched?

    A step computes one token for each of the requests in it, and tokens choose differently. With T tokens,
    each sent to k of N experts at random, a layer reads N·(1 − (1 − k/N)^T) of them. A large batch reads
    them all, and shares that reading among many tokens; a small one reads only some, but nobody shares.
    """)
    return


@app.cell
def _():
    batch = mo.ui.slider(
        steps=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512], value=16, label="tokens in a step", show_value=True
    )
    batch
    return (batch,)


@app.cell(hide_code=True)
def _(batch, experts_of, models):
    _tokens = np.geomspace(1, 1024, 120)
    _series = {
        name: plots.Line(
            _tokens, expected_distinct_experts(_tokens, *experts_of(model)) / experts_of(model)[0]
        )
        for name, model in models.items()
    }

    def _row(name, model):
        count, chosen = experts_of(model)
        read = expected_distinct_experts(float(batch.value), count, chosen)
        skewed = expected_distinct_skewed(float(batch.value), zipf_popularity(count, 1.0), chosen)
        most = np.log(0.1) / np.log1p(-chosen / count)
        return [
            name,
            f"{read:.1f} of {count}",
            percent(read / count),
            percent(skewed / count),
            show_number(read / batch.value),
            f"{most:,.0f}",
        ]

    _heads = [
        "model",
        "experts read",
        "share",
        "if some are popular",
        "read a token",
        "tokens for nine tenths",
    ]
    mo.vstack(
        [
            chart(
                plots.lines(
                    _series,
                    plots.Axis("tokens in a step", log=True),
                    plots.Axis("experts of a layer that are read", "share", low=0.0, high=1.0),
                    "Share of the experts that a step reads",
                    "More tokens touch more experts, until all are read.",
                    upright={"now": float(batch.value)},
                    width=560,
                )
            ),
            mo.md(f"""
    With {batch.value} tokens in a step:

    {table(_heads, [_row(name, model) for name, model in models.items()])}

    *If some are popular*: the same with popularities that fall as one over the rank. *Read a token* is what
    makes decoding dear: how many experts must come out of memory for each token of the step.
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Eight GPUs, seven ways to split

    - **TP**, tensor parallelism: every matrix is cut into slices; all GPUs work on every token, and talk
      twice a layer.
    - **EP**, expert parallelism: whole experts are dealt to GPUs instead of slices of every one; tokens
      travel.
    - **DP**, data parallelism: engines with schedulers and attention of their own, whose GPUs share one set
      of experts.
    - **PP**, pipeline parallelism: GPUs hold different layers, and a batch passes them in turn.
    - **Replicas**: everything twice, nothing shared.
    """)
    return


@app.cell
def _():
    MODEL, GPU, GPUS = "qwen3-235b-a22b", "h200", 8
    LAYOUTS = {
        "TP 8": {"tensor_parallel_size": 8},
        "TP 8, EP": {"tensor_parallel_size": 8, "enable_expert_parallel": True},
        "DP 2 × TP 4, EP": {
            "data_parallel_size": 2,
            "tensor_parallel_size": 4,
            "enable_expert_parallel": True,
        },
        "DP 4 × TP 2, EP": {
            "data_parallel_size": 4,
            "tensor_parallel_size": 2,
            "enable_expert_parallel": True,
        },
        "DP 8, EP": {"data_parallel_size": 8, "enable_expert_parallel": True},
        "PP 2 × TP 4": {"pipeline_parallel_size": 2, "tensor_parallel_size": 4},
        "2 replicas of TP 4": {"replicas": 2, "tensor_parallel_size": 4},
    }
    KINDS = {"chat": (1000, 250), "reasoning": (500, 2000)}  # median tokens of prompt and answer

    def scenario(kind, layout, rate_per_s):
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
                "pools": {
                    "all": {
                        "model": MODEL,
                        "hardware": GPU,
                        "quantization": "fp8",
                        "router": "least_outstanding",
                        **LAYOUTS[layout],
                    }
                },
                "seed": 1,
            }
        )

    return GPU, GPUS, KINDS, LAYOUTS, MODEL, scenario


@app.cell
def _(GPUS, KINDS, LAYOUTS, scenario):
    LITTLE = 0.2  # requests a second
    SHARES = (0.3, 0.55, 0.75, 0.92)  # of the capacity

    def curve(kind, layout):
        """The closed form, and rates [1/s], TTFT p90 [s], TPOT p99 [s], output tokens/s a GPU."""
        found = [forecast_closed_form(scenario(kind, layout, LITTLE), draws=1)]
        most = found[0].summary["capacity_rps"].value
        found += [forecast_closed_form(scenario(kind, layout, share * most), draws=1) for share in SHARES]
        figures = [
            [one.summary[key].value for one in found]
            for key in ("request_throughput_rps", "ttft_p90_s", "tpot_p99_s", "output_throughput_tps")
        ]
        rates, ttft, tpot, tokens = np.array(figures)
        return found[0].deployment, (rates, ttft, tpot, tokens / GPUS)

    found = {kind: {layout: curve(kind, layout) for layout in LAYOUTS} for kind in KINDS}
    curves = {kind: {layout: pair[1] for layout, pair in of.items()} for kind, of in found.items()}
    engines = {layout: pair[0].parts[0] for layout, pair in found["chat"].items()}
    return curves, engines


@app.cell(hide_code=True)
def _(GPU, GPUS, LAYOUTS, MODEL, engines, models):
    _model, _precision = models[MODEL], Precision(weights="fp8", activations="fp8")

    def _row(name):
        part = engines[name]
        split = Parallelism(**{key: value for key, value in LAYOUTS[name].items() if key != "replicas"})
        weights = weights_bytes(_model, split, _precision, part.hardware)
        tokens = part.config.num_gpu_blocks * part.config.block_size * part.count
        return [
            name,
            show_number(weights / 1e9),
            show_number(kv_bytes_per_token(_model, split, _precision) / 1e3),
            str(part.count),
            show_number(tokens / 1e6),
        ]

    _heads = ["split", "weights a GPU [GB]", "KV a token and GPU [kB]", "engines", "KV tokens in all [10⁶]"]
    mo.md(f"""
    {MODEL} in FP8 on {GPUS} × {GPU}
    ({show_number(next(iter(engines.values())).hardware.accelerator.memory_bytes / 1e9)} GB each):

    {table(_heads, [_row(name) for name in LAYOUTS])}

    The model has only {_model.layers[0].attention.num_kv_heads} KV heads: cut over more GPUs than that,
    every token's keys and values are kept more than once. That is what DP attention avoids. Replicas pay
    with a second copy of the experts.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## One step, part by part

    So many requests are being answered on the eight GPUs at once; each gets its next token when the step is
    over. Layouts with several engines share the requests out.
    """)
    return


@app.cell
def _():
    decoding = mo.ui.slider(
        steps=[8, 16, 32, 64, 128, 256, 512, 1024], value=64, label="requests being answered", show_value=True
    )
    context = mo.ui.slider(
        steps=[500, 1000, 2000, 4000, 8000, 16000],
        value=2000,
        label="tokens of context each",
        show_value=True,
    )
    mo.hstack([decoding, context], justify="start", gap=2)
    return context, decoding


@app.cell(hide_code=True)
def _(context, decoding, engines):
    _NAMES = {
        "memory": "reading memory",
        "compute": "computing",
        "communication": "communicating",
        "launch": "launching kernels",
        "host": "waiting for the host",
    }

    def _parts(part):
        own = decoding.value / part.count
        load = StepLoad(0, 0, 0, 0, own, own * context.value, own)
        return {name: float(part.cost.breakdown(*load)[key]) for key, name in _NAMES.items()}

    _steps = {name: _parts(part) for name, part in engines.items()}
    _fastest = min(_steps, key=lambda name: sum(_steps[name].values()))
    _seconds = sum(_steps[_fastest].values())
    mo.vstack(
        [
            mo.md(f"""
    With {decoding.value} requests of {context.value:,} tokens, **{_fastest} has the shortest step:
    {show_seconds(_seconds)}**, {show_number(1 / _seconds)} tokens a second for each user,
    {show_number(decoding.value / _seconds)} in all.
    """),
            chart(
                plots.bars(
                    _steps,
                    "A decoding step, by what its time goes into",
                    f"{_fastest} is fastest, {show_seconds(_seconds)}.",
                    unit="s",
                    width=600,
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Which split for which promise?

    Every split at every load, in closed form, prompts included. Set what you promise.
    """)
    return


@app.cell
def _(KINDS):
    kind = mo.ui.dropdown(list(KINDS), value="chat", label="what is asked")
    ttft_ms = mo.ui.slider(
        steps=[100, 150, 200, 300, 500, 750, 1000, 2000],
        value=500,
        label="first token for 90 in 100 within [ms]",
        show_value=True,
    )
    tpot_ms = mo.ui.slider(
        12, 120, 1, value=40, label="time per token for 99 in 100 at most [ms]", show_value=True
    )
    mo.hstack([kind, ttft_ms, tpot_ms], justify="start", gap=2, wrap=True)
    return kind, tpot_ms, ttft_ms


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

    return (held,)


@app.cell(hide_code=True)
def _(GPUS, KINDS, curves, held, kind, tpot_ms, ttft_ms):
    _limits = (ttft_ms.value / 1000, tpot_ms.value / 1000)
    _rates = {name: held(one, *_limits) for name, one in curves[kind.value].items()}
    _best = max(_rates, key=_rates.__getitem__)
    _told = (
        f"**{_best}** carries most within both limits: {show_number(_rates[_best])} requests a second."
        if _rates[_best]
        else "**No split holds both limits**, not even with little traffic."
    )

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
                            {name: {"requests a second": rate} for name, rate in _rates.items()},
                            "Requests a second within both limits",
                            f"Best: {_best}, {show_number(_rates[_best])}.",
                            unit="requests a second within both limits",
                        )
                    ),
                    chart(
                        plots.lines(
                            {name: _front(one) for name, one in curves[kind.value].items()},
                            plots.Axis("tokens a second that 99 in 100 users get", log=True),
                            plots.Axis(f"output tokens a second for each of {GPUS} GPUs", log=True),
                            "Speed for users against output of the GPUs",
                            "A curve a split, from little load (right) to much; first tokens in time.",
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
def _(KINDS, curves, held, ttft_ms):
    _limits_s = np.array([0.012, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12])

    def _winner(kind, limit):
        rates = {name: held(one, ttft_ms.value / 1000, limit) for name, one in curves[kind].items()}
        name = max(rates, key=rates.__getitem__)
        return f"{name} ({show_number(rates[name])})" if rates[name] else "none"

    _rows = [[show_seconds(limit), *(_winner(kind, limit) for kind in KINDS)] for limit in _limits_s]
    mo.md(f"""
    The split that carries most, and how many requests a second, with a first token for 90 in 100 within
    {show_seconds(ttft_ms.value / 1000)}:

    {table(["promised time per token, 99 in 100", *KINDS], _rows)}
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What foretell does not model here

    - **Ranks in lockstep.** With DP and experts in common, all engines take their steps together, and the
      slowest one sets the pace: one engine that computes a prompt holds up the tokens of all. foretell lets
      each engine step by itself, and takes the experts' traffic as even. So it is too kind to DP with EP,
      the more so the longer the prompts are.
    - **Which tokens choose which expert.** Routing is drawn with a fixed skew; replicas of popular experts
      (EPLB) and traffic that changes its mind are left out.
    - **Kernels that hide communication** behind computing, and special ones for all-to-all, are in the
      times only as far as the measured operators have them.
    - **More than a node.** Splits over several nodes are priced by their links, not by measured operators.
    - The curves are closed forms; near the capacity their tails are rough. Simulate what you mean to buy:
      `foretell forecast examples/moe.yaml`.
    """)
    return


if __name__ == "__main__":
    app.run()
