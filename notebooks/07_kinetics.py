import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Kinetics, redrawn and put under load")

with app.setup:
    import math
    from dataclasses import replace
    from functools import cache
    from typing import NamedTuple

    import marimo as mo
    import numpy as np

    from foretell.models.hardware import load_hardware
    from foretell.models.kinetics import PAPER, PAPER_INTENSITY, WHOLE, intensity, query_cost
    from foretell.models.kinetics_curves import Pricing, chain_costs, long_cot_curve
    from foretell.models.kinetics_frontier import cost_at, log_costs
    from foretell.models.kinetics_paper import paper_models, prompt_tokens
    from foretell.models.profiles import load_outcomes
    from foretell.sim import Scenario, forecast, forecast_closed_form
    from foretell.sim.estimate_cell import estimate_scenario
    from foretell.sim.quantities import show_number, show_seconds
    from foretell.sim.report import svg
    from foretell.sim.report.pareto_front import Point, front
    from foretell.sim.report.plots import Axis, Line, bars, lines
    from foretell.validate.kinetics_load import Setting, accuracies, full_s
    from foretell.validate.kinetics_summary import kinetics


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Kinetics, redrawn and put under load

    **Small model and long thoughts, or large model and short ones: which is cheaper for the same accuracy,
    and is it still cheaper on a server with other users?** Fifteen minutes to read; it runs in half a minute
    on one core.

    "Kinetics: Rethinking Test-Time Scaling Laws" (Sadhukhan et al., arXiv 2506.05333) counts what earlier
    scaling laws leave out: while a model thinks, every token reads the KV cache of all tokens before it.
    Small models save arithmetic, hardly any of these reads. The first half of this notebook draws
    the paper's figures again. The second half does what the paper leaves to others: it puts the same
    models on an accelerator with queues and batches, where the answer depends on how busy it is.
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=620):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The law

    A chain of `g` tokens after a prompt of `c` tokens, by a model with `P` parameters, `L` layers, `H` query
    heads, `K` KV heads of width `d`:

    ```text
    kv     = Σ (c + t), t = 1 … g        KV tokens that are read on the way
    FLOP   = 2·P·g + 4·kv·H·d·L          each token meets every parameter, and all tokens before it
    bytes  = 4·kv·K·d·L                  16-bit keys and values
    eFLOPs = FLOP + I·bytes              I: FLOP that the accelerator could do while it reads a byte
    ```

    The sum over tokens grows with the square of the length: a long thought pays for its own history again
    and again. `I` turns bytes into the FLOP that were not done meanwhile. The paper's `I` is the FP8 peak of
    a B200 over its bandwidth; move the slider to see how much hangs on it.
    """)
    return


@app.cell(hide_code=True)
def _():
    per_byte = mo.ui.slider(
        steps=[0, 50, 100, 150, 200, 281, 400, PAPER_INTENSITY, 800],
        value=PAPER_INTENSITY,
        label="I [FLOP a byte]",
        show_value=True,
    )
    per_byte
    return (per_byte,)


@app.cell(hide_code=True)
def _(per_byte):
    _tokens = np.geomspace(256, 32_768, 40)
    _costs = {
        size: query_cost(model.shape(), prompt_tokens(), _tokens, law=PAPER)
        for size, model in paper_models().items()
    }
    _share = {
        size: per_byte.value * cost.memory_bytes / cost.eflops(per_byte.value)
        for size, cost in _costs.items()
    }

    def _half(share):
        if share[0] > 0.5:
            return "from the first tokens on"
        return f"from {np.interp(0.5, share, _tokens):,.0f} tokens on" if share[-1] > 0.5 else "never"

    _names = ", ".join(
        f"{name} {intensity(load_hardware(name).accelerator):.0f}"
        for name in ("a100-80gb-sxm", "h100-sxm", "h200", "b200")
    )
    mo.vstack(
        [
            chart(
                lines(
                    {size: Line(_tokens, share) for size, share in _share.items()},
                    Axis("tokens of the chain", log=True),
                    Axis("share of the cost that is reading KV", "share", low=0.0, high=1.0),
                    "How much of a chain's cost is reading its own history",
                    "; ".join(f"{size}: half {_half(share)}" for size, share in _share.items()),
                    width=560,
                ),
                700,
            ),
            mo.md(
                f"At I = {per_byte.value:g}, reading is more than half of the cost of a 1.7B chain "
                f"{_half(_share['1.7B'])}, of a 14B chain {_half(_share['14B'])}. With 16-bit arithmetic, as "
                f"these models are mostly served, I is: {_names}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Which size is the cheapest, by FLOPs and by eFLOPs

    Each size of Qwen3 on AIME 2024, from its outcome profile: every problem gets the best of sixteen lengths
    that the cost allows, as in the paper. Left, arithmetic alone; right, with reads at the slider's `I`.
    """)
    return


@app.function
@cache
def curves(costs, price):
    """Accuracy of every size within each cost, by FLOP and `price` FLOP a byte of KV that is read."""
    return {
        size: long_cot_curve(
            costs, model.shape(), load_outcomes("aime24", model.architecture), Pricing(price)
        )
        for size, model in paper_models().items()
    }


@app.cell(hide_code=True)
def _(per_byte):
    _spent = {"FLOPs": log_costs(1e13, 1e17), "eFLOPs": log_costs(1e14, 1e18)}
    _by = {"FLOPs": 0.0, "eFLOPs": float(per_byte.value)}
    _curves = {kind: curves(tuple(_spent[kind]), price) for kind, price in _by.items()}
    _wanted = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8)
    _rows = []
    for _accuracy in _wanted:
        _cells = []
        for _kind in _by:
            _cost = {s: float(cost_at(_spent[_kind], c, _accuracy)) for s, c in _curves[_kind].items()}
            _cost = {s: c for s, c in _cost.items() if math.isfinite(c)}
            _order = sorted(_cost, key=_cost.get)
            _cells += (
                [_order[0], f"{_order[1]} {_cost[_order[1]] / _cost[_order[0]]:.2f} ×" if _order[1:] else "–"]
                if _order
                else ["none", "–"]
            )
        _rows.append(f"| {_accuracy:.0%} | {' | '.join(_cells)} |\n    ")
    _pictures = [
        chart(
            lines(
                {size: Line(_spent[kind] / 1e15, curve) for size, curve in _curves[kind].items()},
                Axis(f"10¹⁵ {kind} a query", log=True),
                Axis("right answers", "share", low=0.0, high=1.0),
                f"Accuracy by {kind}",
                "; ".join(f"{size}: up to {curve[-1]:.0%}" for size, curve in _curves[kind].items()),
                width=440,
                height=330,
            ),
            520,
        )
        for kind in _by
    ]
    mo.vstack(
        [
            mo.hstack(_pictures, widths="equal", wrap=True),
            mo.md(f"""
    | right | cheapest by FLOPs | next | cheapest by eFLOPs (I = {per_byte.value:g}) | next |
    |---:|:---|:---|:---|:---|
    {"".join(_rows)}
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ### Against the paper's own figures

    The paper names where one size takes over from the next. Here are its figures and ours, the KV caches and
    the gains of sparse attention too. Where they differ, `docs/kinetics.md` says why.
    """)
    return


@app.cell
def _():
    redone = kinetics(None)
    return (redone,)


@app.cell(hide_code=True)
def _(redone):
    _from = {"formula": "formula", "law": "truncation law", "profile": "outcome profiles"}
    _far = [c for c in redone.checks if c.ours is not None and abs(c.ours / c.paper - 1) > 0.25]
    _rows = "\n".join(
        f"| {c.name} | {show_number(c.paper)} | {show_number(c.ours)} | {c.ours / c.paper - 1:+.0%} "
        f"| {_from[c.by]} |"
        for c in redone.checks
        if c.ours is not None and not c.name.startswith("KV")
    )
    mo.md(f"""
    Of {len(redone.checks)} figures {len(redone.checks) - len(_far)} come out within a quarter of the paper's,
    {len(_far)} do not, most of them gains of sparse attention, where our law of what a KV budget keeps treats
    easy and hard problems alike and is too kind.

    | figure | paper | ours | off | ours from |
    |:---|---:|---:|---:|:---|
    {_rows}
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Sparse attention

    If reads are the price, read less: let each token attend to the `B` tokens that matter most. The accuracy
    that a budget keeps is a law fitted to the paper's curves of top-k attention.
    """)
    return


@app.cell(hide_code=True)
def _():
    goal = mo.ui.slider(0.3, 0.8, 0.025, value=0.75, label="accuracy to reach", show_value=True)
    goal
    return (goal,)


@app.cell(hide_code=True)
def _(goal, redone):
    _tops = redone.tops["long CoT"]
    _cost = {kind: float(top.cost_at(goal.value)) for kind, top in _tops.items()}
    _times = {kind: _cost["dense"] / cost for kind, cost in _cost.items()}
    _told = (
        f"At {goal.value:.1%} dense attention costs {show_number(_cost['dense'] / 1e15)} ×10¹⁵ eFLOPs a "
        f"query, top-k {_times['top-k']:.1f} times less and block top-k {_times['block top-k']:.1f} "
        "times less: upper bounds, as an oracle picks the tokens and every problem's best budget."
        if math.isfinite(_cost["dense"])
        else f"Dense attention does not reach {goal.value:.1%} with these lengths."
    )
    mo.vstack(
        [
            chart(
                lines(
                    {kind: Line(top.costs / 1e15, top.accuracy) for kind, top in _tops.items()},
                    Axis("10¹⁵ eFLOPs a query", log=True),
                    Axis("right answers, best size", "share", low=0.0, high=1.0),
                    "Frontiers by attention",
                    "; ".join(f"{kind}: up to {top.accuracy[-1]:.0%}" for kind, top in _tops.items()),
                    level={"to reach": goal.value},
                    width=560,
                ),
                700,
            ),
            mo.md(_told),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Under load

    A law of one query cannot know what an accelerator does with many. Two things change. **Batching**: the
    parameters are read once a step for all sequences in it, so that their share of a query's price falls as
    the server fills, while each sequence keeps reading its own KV. **Queueing**: when more work comes than
    fits, queries wait. The first favours large models, whose parameters are shared best; the second favours
    whoever needs the least accelerator-seconds.

    From here on it is one setting for all problems, as a server has: a chain is made to answer after so many
    tokens at most. Operator times are those of a real engine's steps (the shipped curves), not a peak.
    """)
    return


@app.cell
def _():
    HARDWARE = "b200"
    SIZES = ("1.7B", "4B", "8B", "14B", "32B")
    CAPS = (1024, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768)
    LOADS = (0.002, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95)
    return CAPS, HARDWARE, LOADS, SIZES


@app.class_definition
class Served(NamedTuple):
    """A size on one accelerator, by cap: accuracy and capacity (caps,), mean seconds (loads, caps)."""

    accuracy: np.ndarray
    capacity_rps: np.ndarray
    seconds: np.ndarray
    loads: np.ndarray

    def at(self, accuracy, rate_per_s):
        """Mean seconds of a query at an accuracy, between caps, at a rate; inf where it is not served."""
        if not self.accuracy[0] <= accuracy <= self.accuracy[-1]:
            return math.inf
        capacity = self.capacity_at(accuracy)
        if rate_per_s > self.loads[-1] * capacity:
            return math.inf
        by_cap = [np.interp(rate_per_s / capacity, self.loads, column) for column in self.seconds.T]
        return float(np.exp(np.interp(accuracy, self.accuracy, np.log(by_cap))))

    def capacity_at(self, accuracy):
        """Queries a second that one accelerator answers at most; 0 beyond what the size can reach."""
        if not self.accuracy[0] <= accuracy <= self.accuracy[-1]:
            return 0.0
        return float(np.exp(np.interp(accuracy, self.accuracy, np.log(self.capacity_rps))))


@app.function
def capped(size, cap, rate_per_s, hardware, queries=200):
    """A server of one size whose chains must answer after `cap` tokens."""
    return Scenario.from_dict(
        {
            "workload": {
                "task": "aime24",
                "arrivals": {"process": "poisson", "rate_per_s": rate_per_s},
                "num_requests": queries,
            },
            "pools": {
                "solver": {
                    "model": paper_models()[size].architecture,
                    "hardware": hardware,
                    "operator_times": "curves",
                }
            },
            "strategy": {"name": "budget_forcing", "max_tokens": cap},
            "seed": 1,
            "replications": 1,
        }
    )


@app.function
def served(size, caps, loads, hardware):
    """Forecast a size at every cap and share of what an accelerator can do, in closed form.

    The capacity is that of the queueing models, the seconds are those of `foretell compare`'s closed form.
    """
    capacity, seconds = [], []
    for cap in caps:
        full = forecast_closed_form(capped(size, cap, 1e-3, hardware), draws=1)
        capacity.append(full.summary["capacity_rps"].value)
        rates = [capacity[-1] * load for load in loads]
        found = [estimate_scenario(capped(size, cap, rate, hardware))[0] for rate in rates]
        seconds.append([each["e2e_mean_s"].value for each in found])
    accuracy = np.maximum.accumulate(accuracies(size, caps) + 1e-9 * np.arange(len(caps)))
    return Served(accuracy, np.array(capacity), np.array(seconds).T, np.array(loads))


@app.cell
def _(CAPS, HARDWARE, LOADS, SIZES):
    table = {size: served(size, CAPS, LOADS, HARDWARE) for size in SIZES}
    return (table,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Two ends of the load

    What does one more query cost? To somebody alone on the machine: seconds until the answer. To the owner of
    a full one: accelerator-seconds, the reciprocal of how many queries a second it can do. Beside them what
    the laws say, each size's price over the cheapest one's:
    """)
    return


@app.cell(hide_code=True)
def _(CAPS, HARDWARE, SIZES, table):
    _price = intensity(load_hardware(HARDWARE).accelerator)

    def _law(size, pricing, published):
        model = paper_models()[size]
        return chain_costs(
            model.shape(as_published=published), load_outcomes("aime24", model.architecture), pricing, CAPS
        )

    _kinds = {
        "FLOPs": {s: _law(s, Pricing(0.0), True) for s in SIZES},
        "eFLOPs": {s: _law(s, Pricing(PAPER_INTENSITY), True) for s in SIZES},
        "all bytes, full batch": {s: _law(s, Pricing(_price, WHOLE, 256), False) for s in SIZES},
        "seconds alone": {s: table[s].seconds[0] for s in SIZES},
        "accelerator-seconds, full": {s: 1 / table[s].capacity_rps for s in SIZES},
    }
    prices = {
        kind: {
            accuracy: {
                size: float(cost_at(np.maximum.accumulate(cost), table[size].accuracy, accuracy))
                for size, cost in costs.items()
            }
            for accuracy in (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.78, 0.8)
        }
        for kind, costs in _kinds.items()
    }

    def _cell(found):
        found = {size: cost for size, cost in found.items() if math.isfinite(cost)}
        order = sorted(found, key=found.get)[:2]
        rest = ", ".join(f"{size} {found[size] / found[order[0]]:.2f} ×" for size in order[1:])
        return f"**{order[0]}**" + (f" ({rest})" if rest else "") if order else "none"

    _rows = "\n".join(
        f"| {accuracy:.0%} | {' | '.join(_cell(by[accuracy]) for by in prices.values())} |"
        for accuracy in prices["FLOPs"]
    )
    mo.md(f"""
    {HARDWARE}, AIME 2024; in brackets how many times more the next size costs:

    | right | {" | ".join(prices)} |
    |---:|{":---|" * len(prices)}
    {_rows}
    """)
    return (prices,)


@app.cell
def _(CAPS, HARDWARE, table):
    filled = {
        (_size, _cap): (
            1 / full_s(Setting(HARDWARE, full_queries=512), _size, _cap),
            float(table[_size].capacity_rps[CAPS.index(_cap)]),
        )
        for _size in ("4B", "14B")
        for _cap in (2048, 8192)
    }
    return (filled,)


@app.cell(hide_code=True)
def _(filled, prices):
    error = max(abs(closed / simulated - 1) for simulated, closed in filled.values())
    _told = "; ".join(
        f"{size} cut at {cap:,}: {simulated:.3g} simulated, {closed:.3g} in closed form"
        for (size, cap), (simulated, closed) in filled.items()
    )

    def _agree(one, other):
        """Rows in which what `other` calls the cheapest is so by `one`, but for the closed form's error."""
        found = 0
        for accuracy, costs in prices[one].items():
            reached = {s: c for s, c in prices[other][accuracy].items() if math.isfinite(c)}
            named = costs[min(reached, key=reached.get)]
            found += named <= (1 + error) * min(c for c in costs.values() if math.isfinite(c))
        return found

    _alone, _full = "seconds alone", "accelerator-seconds, full"
    mo.md(f"""
    How far off is the closed form of a full accelerator? Queries a second: {_told}. So sizes within
    {error:.0%} of each other are a tie. Then, of {len(prices[_alone])} rows, the size that FLOPs call
    the cheapest is so alone in {_agree(_alone, "FLOPs")} and on a full accelerator in
    {_agree(_full, "FLOPs")}; the one of eFLOPs alone in {_agree(_alone, "eFLOPs")} and full in
    {_agree(_full, "eFLOPs")}. **The two laws describe
    the two ends of the load**: an idle accelerator reads all parameters for one sequence and next to no KV, a
    full one shares the parameters and reads everybody's KV. With all bytes counted, for a full batch and with
    the accelerator's own 16-bit `I`, the law agrees with the full server in
    {_agree(_full, "all bytes, full batch")}.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Why: what a step reads

    Bytes that one more token costs, by what is read, for a chain in the middle of its thoughts. Alone, nearly
    all are parameters, and a larger model costs in proportion to its size. In a batch each sequence pays its
    part of the parameters, and all of its own KV, which differs between sizes
    far less than the parameters do.
    """)
    return


@app.cell(hide_code=True)
def _():
    batch = mo.ui.slider(
        steps=[1, 2, 4, 8, 16, 32, 64, 128, 256], value=64, label="sequences in a step", show_value=True
    )
    batch
    return (batch,)


@app.cell(hide_code=True)
def _(CAPS, SIZES, batch, table):
    _context = 6000

    def _reads(size, together):
        shape = paper_models()[size].shape(as_published=False)
        return {
            "parameters": float(shape.weights_read_bytes(together)) / together / 1e9,
            "its own KV": float(shape.kv_bytes_of(_context)) / 1e9,
        }

    _by = {"alone": {s: _reads(s, 1) for s in SIZES}, "together": {s: _reads(s, batch.value) for s in SIZES}}
    _total = {kind: {s: sum(parts.values()) for s, parts in rows.items()} for kind, rows in _by.items()}
    _aim = 0.7
    _cap = {size: np.interp(_aim, table[size].accuracy, CAPS) for size in ("4B", "14B")}
    _ratio = {kind: found["14B"] / found["4B"] for kind, found in _total.items()}
    mo.vstack(
        [
            mo.hstack(
                [
                    chart(
                        bars(
                            rows,
                            f"Bytes read for one more token, {kind}",
                            "; ".join(f"{size}: {total:.2g} GB" for size, total in _total[kind].items()),
                            unit=f"GB a token, {'alone' if kind == 'alone' else f'{batch.value} together'}",
                            width=400,
                        ),
                        480,
                    )
                    for kind, rows in _by.items()
                ],
                widths="equal",
                wrap=True,
            ),
            mo.md(
                f"At {_context:,} tokens of context. Alone, a token of 14B costs {_ratio['alone']:.1f} "
                f"times one of 4B; among {batch.value}, {_ratio['together']:.1f} times. And 14B needs "
                f"fewer of them: {_aim:.0%} right takes a cap of {_cap['14B']:,.0f} tokens "
                f"instead of {_cap['4B']:,.0f}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Between the ends: the same accuracy while traffic grows

    Choose an accuracy. Each size gets the cap that reaches it, and then queries come faster and faster. The
    size that answers soonest on an idle accelerator need not be the last that still answers.
    """)
    return


@app.cell(hide_code=True)
def _():
    accuracy = mo.ui.slider(0.3, 0.8, 0.05, value=0.7, label="accuracy", show_value=True)
    accuracy
    return (accuracy,)


@app.cell(hide_code=True)
def _(HARDWARE, accuracy, table):
    _most = max(one.capacity_at(accuracy.value) for one in table.values())
    _rates = np.linspace(0.002, 0.97, 80) * _most
    _series = {
        size: [one.at(accuracy.value, float(rate)) for rate in _rates]
        for size, one in table.items()
        if one.capacity_at(accuracy.value) > 0
    }
    _array = np.array(list(_series.values()))
    _names = list(_series)
    _first = [_names[i] for i in _array.argmin(axis=0)]
    _changes = [
        f"{_first[i]} from {_rates[i]:.2g} queries a second on"
        for i in range(1, len(_rates))
        if _first[i] != _first[i - 1] and math.isfinite(_array[:, i].min())
    ]
    _gone = [
        f"{size} up to {one.capacity_at(accuracy.value):.2g}"
        for size, one in table.items()
        if one.capacity_at(accuracy.value) > 0
    ]
    mo.vstack(
        [
            chart(
                lines(
                    {size: Line(_rates, np.where(np.isfinite(s), s, np.nan)) for size, s in _series.items()},
                    Axis("queries a second on one accelerator", low=0.0),
                    Axis("mean time to an answer", "s", log=True),
                    f"Time to {accuracy.value:.0%} accuracy as traffic grows",
                    "; ".join(_gone),
                    width=560,
                    height=330,
                ),
                700,
            ),
            mo.md(
                f"{accuracy.value:.0%} right on one {HARDWARE}: idle, **{_first[0]}** is the fastest "
                f"({show_seconds(float(_array[:, 0].min()))})"
                + (f"; then {'; '.join(_changes)}" if _changes else ", and stays so as long as any is served")
                + f". Served at most, queries a second: {', '.join(_gone)}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What to deploy: accuracy within a time, at a rate

    The paper's frontier has a cost for its axis. On a server the reader has a rate and a limit:
    """)
    return


@app.cell(hide_code=True)
def _():
    rate = mo.ui.slider(
        steps=[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5],
        value=0.3,
        label="queries a second on the accelerator",
        show_value=True,
    )
    limit = mo.ui.slider(
        steps=[5, 10, 20, 30, 60, 90, 120, 180, 300],
        value=60,
        label="mean time, at most [s]",
        show_value=True,
    )
    mo.vstack([rate, limit])
    return limit, rate


@app.cell(hide_code=True)
def _(CAPS, limit, rate, table):
    _points = []
    for _size, _one in table.items():
        for _i, _cap in enumerate(CAPS):
            _load = rate.value / _one.capacity_rps[_i]
            if _load <= _one.loads[-1]:
                _seconds = float(np.interp(_load, _one.loads, _one.seconds[:, _i]))
                _name = f"{_size}, {_cap:,}"
                _told = f"{_name} tokens: {_one.accuracy[_i]:.0%}, {show_seconds(_seconds)}, load {_load:.0%}"
                _points.append(Point(_seconds, float(_one.accuracy[_i]), _name, _told, _size))
    _within = [point for point in _points if point.x <= limit.value]
    _best = max(_within, key=lambda point: point.y, default=None)
    _points = [replace(point, chosen=point is _best) for point in _points]
    mo.vstack(
        [
            chart(
                front(
                    _points,
                    Axis("mean time to an answer", "s", log=True),
                    Axis("right answers", "share", low=0.0, high=1.0),
                    "Sizes and caps that are served at this rate",
                    f"{len(_points)} settings; name: size and cap in tokens",
                    upright={"limit": float(limit.value)},
                    width=560,
                    height=360,
                ),
                700,
            ),
            mo.md(
                f"At {rate.value:g} queries a second {len(_points)} of {len(table) * len(CAPS)} settings are "
                "served. "
                + (
                    f"The most accurate within {show_seconds(limit.value)}: **{_best.told}**."
                    if _best
                    else f"None answers within {show_seconds(limit.value)}."
                )
            ),
        ]
        if _points
        else [mo.md(f"At {rate.value:g} queries a second nothing is served by one accelerator.")]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Checked by simulation

    The lines above are closed forms. Here are some of their points simulated step by step, queues, batches
    and memory included:
    """)
    return


@app.cell
def _(CAPS, HARDWARE, table):
    checked = []
    for _size, _cap in (("4B", 8192), ("14B", 8192), ("32B", 16_384)):
        _column = CAPS.index(_cap)
        for _load in (0.1, 0.4, 0.8):
            _rate = _load * float(table[_size].capacity_rps[_column])
            _closed = float(np.interp(_load, table[_size].loads, table[_size].seconds[:, _column]))
            _long = max(
                200, round(20 * _rate * _closed)
            )  # arrivals for twenty times as long as a query takes
            _found = forecast(capped(_size, _cap, _rate, HARDWARE, queries=_long), processes=1).summary
            checked.append((_size, _cap, _load, _rate, _found["e2e_mean_s"].value, _closed))
    return (checked,)


@app.cell(hide_code=True)
def _(checked):
    _rows = "\n".join(
        f"| {size} | {cap:,} | {load:.0%} | {rate:.3g} | {simulated:.1f} | {closed:.1f} "
        f"| {closed / simulated - 1:+.0%} |"
        for size, cap, load, rate, simulated, closed in checked
    )
    _worst = max(abs(closed / simulated - 1) for *_, simulated, closed in checked)
    mo.md(f"""
    | size | cap [tokens] | load | queries a second | simulated mean [s] | closed form [s] | off |
    |:---|---:|---:|---:|---:|---:|---:|
    {_rows}

    One run each. The closed form is at most {_worst:.0%} off here. docs/kinetics.md has the whole map from
    simulation (`foretell.validate.kinetics_load`).
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What to take home

    - **Count bytes, then ask how full the server is.** One law for all loads does not exist: FLOPs rank sizes
      as an idle accelerator does, KV reads as a full one does.
    - **A deadline and a high rate undo thrift**: the cap must fall, and with it the accuracy, whatever
      the size.
    - **Not in here**: the profiles' lengths were fitted to the paper's own dense curves, so that agreement
      there proves little; sparse attention has no step times of a real kernel and is not put under load; one
      task, one family of models.

    ```sh
    foretell validate kinetics --html kinetics.html     # the paper's figures, with ours
    foretell sweep --help                               # the same map for your model, hardware and task
    ```
    """)
    return


if __name__ == "__main__":
    app.run()
