import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Which strategy for this task and budget")

with app.setup:
    import math
    from functools import cache
    from typing import NamedTuple

    import marimo as mo
    import numpy as np

    from foretell.models.accuracy.profile import best_of_n, self_consistency
    from foretell.models.accuracy.profile_cascade import cascade
    from foretell.models.profiles import load_outcomes
    from foretell.models.verifiers import Verifier
    from foretell.sim import Scenario, compare
    from foretell.sim.comparing import difference
    from foretell.sim.estimate_cell import estimate_scenario
    from foretell.sim.quantities import show_seconds
    from foretell.sim.report import svg
    from foretell.sim.report.pareto_front import Point, front
    from foretell.sim.report.plots import Axis, Line, lines


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Which strategy for this task and budget?

    **You may spend so much on a question, and the answer is due in so many seconds: which model, asked how
    many times, by which rule?** Ten minutes to read; it runs in half a minute on one core of any laptop.

    More tokens buy accuracy: ask several times and vote, let a verifier choose, let the model think longer.
    They also cost time and accelerators, and on a server that others use at the same time a strategy's own
    tokens make everybody wait. So "which strategy" has no answer without a rate, a deadline and a price. Here
    the three are sliders.

    | strategy | what it does with a question |
    |:---|:---|
    | single | asks once |
    | vote of n | asks n times at once; the most frequent answer stands (self-consistency) |
    | best of n | asks n times at once; a verifier chooses |
    | first of n | asks n times at once; whoever ends first has answered, the others are stopped |
    | cut at T | thinks for at most T tokens, then has to answer (budget forcing) |
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=620):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.cell
def _():
    HARDWARE = "h200"
    MODELS = ("qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b")
    TASKS = ("aime24", "math-500", "gpqa-diamond")
    STRATEGIES = {
        "single": {"name": "single"},
        **{f"vote of {n}": {"name": "self_consistency", "n": n} for n in (4, 8, 16)},
        **{f"best of {n}": {"name": "best_of_n", "n": n, "verifier": {"auc": 0.8}} for n in (4, 8)},
        "first of 4": {"name": "first_finish", "n": 4},
        **{f"cut at {t:,}": {"name": "budget_forcing", "max_tokens": t} for t in (2048, 4096, 8192, 16384)},
    }
    return HARDWARE, MODELS, STRATEGIES, TASKS


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Every configuration, once, over the load of an accelerator

    What a query takes depends on how busy its accelerator is, and on nothing else that we may choose later:
    neither the number of accelerators nor the deadline. So each configuration is forecast in closed form at a
    few loads, from idle to nearly full, and all that follows reads these curves. Its share of right answers
    comes from the task's outcome profile of that model and does not depend on the load.
    """)
    return


@app.function
@cache
def picked(task, model, n, auc):
    """Accuracy of the best of n by a verifier."""
    return best_of_n(load_outcomes(task, model), n=n, verifier=Verifier(auc=auc)).accuracy


@app.class_definition
class Course(NamedTuple):
    """A configuration on one accelerator: rates [queries/s], latencies there [s], and what never changes."""

    model: str
    strategy: str
    accuracy: float
    tokens: float
    capacity_rps: float
    rates: np.ndarray
    p50_s: np.ndarray
    p90_s: np.ndarray
    usd_per_h: float

    @property
    def name(self):
        """In words."""
        return f"{self.strategy}, {self.model.removeprefix('qwen3-').upper()}"

    def right(self, task, auc):
        """Share of right answers; of the best of n, by a verifier of that AUC."""
        if not self.strategy.startswith("best of"):
            return self.accuracy
        return picked(task, self.model, int(self.strategy.split()[-1]), auc)

    def p90_at(self, rate_per_s):
        """Seconds within which nine of ten queries are answered; inf where the accelerator is too full."""
        found = np.interp(rate_per_s, self.rates, self.p90_s)
        return np.where(rate_per_s <= self.rates[-1], found, math.inf)

    def p50_at(self, rate_per_s):
        """The median, likewise."""
        found = np.interp(rate_per_s, self.rates, self.p50_s)
        return np.where(rate_per_s <= self.rates[-1], found, math.inf)

    def least(self, rate_per_s, deadline_s, most=512):
        """Fewest accelerators that answer nine of ten queries in time; None if no number does."""
        count = np.arange(1, most + 1)
        enough = np.flatnonzero(self.p90_at(rate_per_s / count) <= deadline_s)
        return int(count[enough[0]]) if len(enough) else None


@app.function
def asked(task, model, hardware, strategy, rate_per_s, accelerators=1):
    """The scenario of one configuration at a rate."""
    return Scenario.from_dict(
        {
            "workload": {"task": task, "arrivals": {"process": "poisson", "rate_per_s": rate_per_s}},
            "pools": {"solver": {"model": model, "hardware": hardware, "replicas": accelerators}},
            "strategy": strategy,
            "replications": 1,
        }
    )


@app.function
def course(task, model, hardware, name, strategy, loads=(0.01, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)):
    """Forecast one configuration at shares of what an accelerator can do."""
    one = estimate_scenario(asked(task, model, hardware, strategy, 1e-4))[0]
    capacity = 1e-4 / one["load"].value
    rates = capacity * np.array(loads)
    found = [estimate_scenario(asked(task, model, hardware, strategy, float(rate)))[0] for rate in rates]
    p50, p90 = (np.array([each[key].value for each in found]) for key in ("e2e_p50_s", "e2e_p90_s"))
    figures = (one[key].value for key in ("accuracy", "tokens_per_query"))
    return Course(model, name, *figures, capacity, rates, p50, p90, one["usd_per_h"].value)


@app.cell
def _(HARDWARE, MODELS, STRATEGIES, TASKS):
    courses = {
        task: [
            course(task, model, HARDWARE, name, strategy)
            for model in MODELS
            for name, strategy in STRATEGIES.items()
        ]
        for task in TASKS
    }
    return (courses,)


@app.cell(hide_code=True)
def _(HARDWARE, courses):
    _all = [one for found in courses.values() for one in found]
    mo.md(
        f"{len(_all)} configurations: {len(courses)} tasks, {len({one.model for one in _all})} models, "
        f"{len({one.strategy for one in _all})} strategies, each on one {HARDWARE} at "
        f"{_all[0].usd_per_h:.2f} USD an hour, at {len(_all[0].rates)} loads."
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Your question

    Move these; everything below follows. "In time" means nine of ten queries. The verifier's quality is its
    AUC: how often it scores a right answer above a wrong one of the same problem (0.5 is a coin, 1 knows
    the answer). It concerns "best of n" alone.
    """)
    return


@app.cell(hide_code=True)
def _(TASKS):
    task = mo.ui.dropdown(list(TASKS), value="aime24", label="task")
    hourly = mo.ui.slider(
        steps=[4, 10, 20, 40, 60, 100, 200, 400, 1000, 2000, 4000],
        value=400,
        label="queries an hour",
        show_value=True,
    )
    deadline = mo.ui.slider(
        steps=[15, 30, 60, 120, 180, 300, 600, 1200], value=300, label="answered within [s]", show_value=True
    )
    cents = mo.ui.slider(
        steps=[0.5, 1, 2, 3, 5, 10, 20, 50, 100], value=3, label="budget [US cents a query]", show_value=True
    )
    auc = mo.ui.slider(0.5, 1.0, 0.05, value=0.8, label="AUC of the verifier", show_value=True)
    mo.vstack([task, hourly, deadline, cents, auc])
    return auc, cents, deadline, hourly, task


@app.cell(hide_code=True)
def _():
    mo.md("""
    For each configuration, the fewest accelerators that keep the deadline; idle time is paid for. What is
    then the most accurate one within the budget?
    """)
    return


@app.class_definition
class Offer(NamedTuple):
    """A configuration on the fewest accelerators that keep a deadline."""

    course: Course
    name: str
    accuracy: float
    accelerators: int
    usd: float
    p90_s: float


@app.function
def offers(courses, task, rate_per_s, deadline_s, auc):
    """All configurations that can keep a deadline at a rate, with a verifier of some AUC."""
    found = []
    for one in courses:
        count = one.least(rate_per_s, deadline_s)
        if count is None:
            continue
        usd = count * one.usd_per_h / 3600 / rate_per_s
        found.append(
            Offer(one, one.name, one.right(task, auc), count, usd, float(one.p90_at(rate_per_s / count)))
        )
    return found


@app.cell
def _(auc, cents, courses, deadline, hourly, task):
    rate_per_s, deadline_s, budget_usd = hourly.value / 3600, float(deadline.value), cents.value / 100
    offered = offers(courses[task.value], task.value, rate_per_s, deadline_s, auc.value)
    within = [one for one in offered if one.usd <= budget_usd]
    best = max(within, key=lambda one: (round(one.accuracy, 4), -one.usd), default=None)
    return best, budget_usd, deadline_s, offered, rate_per_s, within


@app.cell(hide_code=True)
def _(best, budget_usd, courses, deadline_s, hourly, offered, task):
    if best is not None:
        _text = (
            f"**{best.name}** on {best.accelerators} accelerator{'s' if best.accelerators > 1 else ''}: "
            f"**{best.accuracy:.0%}** right, nine of ten answers within {show_seconds(best.p90_s)}, "
            f"{100 * best.usd:.2g} cents a query."
        )
    elif offered:
        _cheap = min(offered, key=lambda one: one.usd)
        _text = (
            f"**Nothing fits the budget.** The cheapest in time is {_cheap.name} at "
            f"{100 * _cheap.usd:.2g} cents a query, {_cheap.accuracy:.0%} right."
        )
    else:
        _fast = min(float(one.p90_s[0]) for one in courses[task.value])
        _text = (
            f"**Nothing is that fast**: alone on its accelerator the quickest takes {show_seconds(_fast)}."
        )
    mo.md(f"""
    {task.value}, {hourly.value:,} queries an hour, answered within {show_seconds(deadline_s)}, at most
    {100 * budget_usd:g} cents each: {_text}
    """)
    return


@app.cell(hide_code=True)
def _(best, budget_usd, deadline_s, offered):
    _points = [
        Point(
            100 * one.usd,
            one.accuracy,
            one.name,
            f"{one.name}: {one.accuracy:.1%}, {100 * one.usd:.2g} cents, {one.accelerators} accelerators, "
            f"nine of ten within {show_seconds(one.p90_s)}",
            one.course.model,
            chosen=one is best,
        )
        for one in offered
    ]
    (
        mo.vstack(
            [
                chart(
                    front(
                        _points,
                        Axis("price of a query, idle time included", "US cents", log=True),
                        Axis("right answers", "share"),
                        "Accuracy against price",
                        f"{len(_points)} configurations that answer within {show_seconds(deadline_s)}",
                        upright={"budget": 100 * budget_usd},
                        width=560,
                        height=360,
                    ),
                    700,
                ),
                mo.md(
                    "Configurations that keep the deadline, each on the fewest accelerators that do. The "
                    "line joins those that no other one beats in both respects; the ring marks the answer."
                ),
            ]
        )
        if offered
        else mo.md("")
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Prices come in steps: with few queries, the rent of a whole accelerator falls on each, and the choice is
    among strategies that fit on one. **Where an accelerator is idle anyway, a vote is free**: more samples
    cost nothing until the deadline or the next accelerator is reached. As traffic grows, each sample has a
    price of its own, and thrift begins to matter.

    ## Accuracy against time

    The other way round: the budget is spent in full, on as many accelerators as it pays for. What does more
    patience buy?
    """)
    return


@app.cell(hide_code=True)
def _(auc, best, budget_usd, courses, deadline_s, rate_per_s, task):
    _chosen = []
    for _one in courses[task.value]:
        _count = max(1, math.floor(budget_usd * 3600 * rate_per_s / _one.usd_per_h + 1e-9))
        if _count * _one.usd_per_h / 3600 / rate_per_s > budget_usd:
            continue
        _seconds = float(_one.p90_at(rate_per_s / _count))
        if math.isfinite(_seconds):
            _accuracy = _one.right(task.value, auc.value)
            _told = (
                f"{_one.name}: {_accuracy:.1%}, nine of ten within {show_seconds(_seconds)}, "
                f"{_count} accelerators"
            )
            _chosen.append(
                Point(
                    _seconds,
                    _accuracy,
                    _one.name,
                    _told,
                    _one.model,
                    chosen=best is not None and best.name == _one.name,
                )
            )
    (
        mo.vstack(
            [
                chart(
                    front(
                        _chosen,
                        Axis("nine of ten answered within", "s", log=True),
                        Axis("right answers", "share"),
                        "Accuracy against time",
                        f"{len(_chosen)} configurations on as many accelerators as the budget pays for",
                        upright={"deadline": deadline_s},
                        width=560,
                        height=360,
                    ),
                    700,
                ),
                mo.md(
                    "The ring is the answer above, which may do with fewer accelerators. Points right of the "
                    "deadline are more accurate and too late."
                ),
            ]
        )
        if _chosen
        else mo.md("The budget does not pay for one accelerator at this rate; ask for more traffic or money.")
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A strategy's own load slows it down

    A vote of eight sends eight times the tokens to the accelerator. Alone, its samples are written side by
    side and the query hardly takes longer than the longest of them. With others in the queue it brings about
    the very load that it then waits in. Here is one model on a fixed number of accelerators while traffic
    grows:
    """)
    return


@app.cell(hide_code=True)
def _(MODELS):
    model = mo.ui.dropdown(list(MODELS), value="qwen3-8b", label="model")
    count = mo.ui.slider(1, 16, 1, value=2, label="accelerators", show_value=True)
    mo.vstack([model, count])
    return count, model


@app.cell(hide_code=True)
def _(count, courses, deadline_s, hourly, model, task):
    _shown = [one for one in courses[task.value] if one.model == model.value]
    _names = ("single", "first of 4", "vote of 4", "vote of 8", "vote of 16", "cut at 8,192")
    _series = {
        one.strategy: Line(3600 * count.value * one.rates, one.p90_s)
        for one in _shown
        if one.strategy in _names
    }
    _ends = {one.strategy: 3600 * count.value * one.capacity_rps for one in _shown}
    _right = {one.strategy: one.accuracy for one in _shown}
    mo.vstack(
        [
            chart(
                lines(
                    _series,
                    Axis("queries an hour", log=True),
                    Axis("nine of ten answered within", "s", log=True),
                    "Latency as traffic grows",
                    "; ".join(f"{name}: at most {end:,.0f} an hour" for name, end in _ends.items()),
                    upright={"your rate": float(hourly.value)},
                    level={"deadline": deadline_s},
                    width=560,
                    height=320,
                ),
                700,
            ),
            mo.md(
                f"{model.value} on {count.value} accelerators, {task.value}. Lines end shortly before what "
                f"the accelerators can do: {_ends['single']:,.0f} queries an hour asked once, "
                f"{_ends['vote of 4']:,.0f} by votes of four and {_ends['vote of 16']:,.0f} by votes of "
                f"sixteen: {_ends['single'] / _ends['vote of 16']:.0f} times fewer, for "
                f"{100 * (_right['vote of 16'] - _right['single']):+.0f} points of accuracy."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    So the best strategy changes with the traffic, on the very same machines. The most accurate one that
    keeps the deadline, all models and strategies allowed:
    """)
    return


@app.cell(hide_code=True)
def _(auc, count, courses, deadline_s, hourly, task):
    _grid = np.geomspace(4, 40_000, 90)
    _found = []
    for _one in courses[task.value]:
        _right = _one.right(task.value, auc.value)
        _fits = _one.p90_at(_grid / 3600 / count.value) <= deadline_s
        _found.append((_one.name, np.where(_fits, _right, 0.0)))
    _table = np.array([right for _, right in _found])
    _top, _which = _table.max(axis=0), _table.argmax(axis=0)
    _top = np.where(_top > 0, _top, np.nan)
    _starts = [i for i in range(len(_grid)) if i == 0 or _which[i] != _which[i - 1]]
    _rows = "\n".join(
        f"| {_grid[i]:,.0f} | {_found[_which[i]][0]} | {_top[i]:.0%} |"
        if np.isfinite(_top[i])
        else f"| {_grid[i]:,.0f} | none is in time | – |"
        for i in _starts
    )
    mo.vstack(
        [
            chart(
                lines(
                    {"the best in time": Line(_grid, _top, step=True)},
                    Axis("queries an hour", log=True),
                    Axis("right answers", "share", low=0.0, high=1.0),
                    "The most accurate strategy in time, as traffic grows",
                    "It falls in steps as dear strategies drop out",
                    upright={"your rate": float(hourly.value)},
                    width=560,
                    height=240,
                ),
                700,
            ),
            mo.md(f"""
    | from queries an hour | the most accurate in time | right |
    |---:|:---|---:|
    {_rows}
    """),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Vote or verifier?

    Both draw n samples; they differ in who chooses. A vote needs answers that can be compared, and gains
    nothing where no two wrong answers differ much in number; a verifier needs to be good. How good?
    """)
    return


@app.cell(hide_code=True)
def _(auc, model, task):
    _n = np.array([1, 2, 4, 8, 16, 32])
    _profile = load_outcomes(task.value, model.value)
    _vote = [self_consistency(_profile, n=int(n)).accuracy for n in _n]
    _by = {
        f"verifier of AUC {a:g}": [
            best_of_n(_profile, n=int(n), verifier=Verifier(auc=a)).accuracy for n in _n
        ]
        for a in dict.fromkeys((0.6, round(auc.value, 2)))
    }
    _oracle = [best_of_n(_profile, n=int(n)).accuracy for n in _n]
    _series = {"vote": _vote, **_by, "who knows the answer": _oracle}
    _at = int(np.flatnonzero(_n == 8)[0])
    _mine = list(_by.values())[-1][_at]
    _gain = 100 * (_mine - _vote[_at])
    _worth = "The verifier is worth having" if _gain > 0.5 else "The verifier does not beat the vote"
    mo.vstack(
        [
            chart(
                lines(
                    {name: Line(_n, values, marks=True) for name, values in _series.items()},
                    Axis("samples", log=True),
                    Axis("right answers", "share"),
                    "Who chooses among n samples",
                    "; ".join(f"{name}: {values[-1]:.0%} at 32" for name, values in _series.items()),
                    width=560,
                ),
                700,
            ),
            mo.md(
                f"{model.value} on {task.value}: of eight samples, one is right in {_oracle[_at]:.0%} of the "
                f"problems; a vote finds it in {_vote[_at]:.0%}, a verifier of AUC {auc.value:g} in "
                f"{_mine:.0%}. {_worth} here ({_gain:+.1f} points)."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Two models: a cascade

    A small model answers; if it is not sure of itself, a large one is asked instead. Along a curve, the
    confidence that is enough rises, from never asking the large model to always asking it. A cascade pays
    where the small model is often right and knows it. What is hard for one model is mostly hard for the
    other too: the profiles say how much of a problem's ease models share.
    """)
    return


@app.cell(hide_code=True)
def _(MODELS, courses, task):
    _gpu_s = {
        one.model: 1 / one.capacity_rps / one.tokens
        for one in courses[task.value]
        if one.strategy == "single"
    }
    _usd_s = courses[task.value][0].usd_per_h / 3600
    _profiles = {name: load_outcomes(task.value, name) for name in MODELS}
    _alone = [
        Point(
            100 * _usd_s * one.tokens * _gpu_s[one.model],
            one.accuracy,
            f"{one.model.removeprefix('qwen3-').upper()} alone",
            group="one model",
        )
        for one in courses[task.value]
        if one.strategy == "single"
    ]
    _pairs = {}
    for _weak, _strong in ((MODELS[0], MODELS[2]), (MODELS[0], MODELS[3])):
        for _level in np.linspace(-3, 4, 15):
            _found = cascade(_profiles[_weak], _profiles[_strong], threshold=float(_level))
            _cost = _usd_s * sum(
                tokens * _gpu_s[name] for tokens, name in zip(_found.by_model, (_weak, _strong), strict=True)
            )
            _pair = f"{_weak.removeprefix('qwen3-').upper()}, then {_strong.removeprefix('qwen3-').upper()}"
            _pairs.setdefault(_pair, []).append(
                Point(
                    100 * _cost,
                    _found.accuracy,
                    "",
                    f"{_pair}: asks the second model for {_found.samples - 1:.0%} of the queries",
                    _pair,
                )
            )
    _points = [*_alone, *(point for pair in _pairs.values() for point in pair)]
    mo.vstack(
        [
            chart(
                front(
                    _points,
                    Axis("price of a query on full accelerators", "US cents", log=True),
                    Axis("right answers", "share"),
                    "Cascades beside single models",
                    f"{len(_points)} settings",
                    width=560,
                    height=340,
                ),
                700,
            ),
            mo.md(
                f"{task.value}: at what full accelerators would charge a token, queues left out. How well "
                f"the small model knows whether it is right is assumed in these profiles (AUC "
                f"{_profiles[MODELS[0]].confidence_auc:g}), not measured: measure yours before you build one."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Checked by simulation, pair by pair

    Closed forms leave out bursts. So here are three strategies on two accelerators, simulated step by step
    with the same arrivals, problems and samples (common random numbers): a difference between two of them is
    surer than either. In brackets: where one such run lands in nine of ten cases, the profiles' and the step
    costs' own errors included.
    """)
    return


@app.cell
def _(HARDWARE):
    duel = compare(
        Scenario.from_dict(
            {
                "workload": {
                    "task": "aime24",
                    "arrivals": {"process": "poisson", "rate_per_s": 0.02},
                    "num_requests": 40,
                },
                "pools": {
                    "solver": {
                        "model": "qwen3-8b",
                        "hardware": HARDWARE,
                        "replicas": 2,
                        "router": "least_outstanding",
                    }
                },
                "strategy": {"name": "single"},
                "compare": {
                    "strategy": [
                        {"name": "single"},
                        {"name": "first_finish", "n": 4},
                        {"name": "self_consistency", "n": 4},
                    ]
                },
                "seed": 1,
                "replications": 4,
            }
        ),
        processes=1,
    )
    return (duel,)


@app.cell(hide_code=True)
def _(HARDWARE, STRATEGIES, duel):
    _known = {"single": "single", "first_finish n=4": "first of 4", "self_consistency n=4": "vote of 4"}
    _cells = {_known[cell.labels["strategy"]]: cell for cell in duel.cells}
    _rate = duel.scenario.workload.arrivals["rate_per_s"]
    _closed = {name: course("aime24", "qwen3-8b", HARDWARE, name, STRATEGIES[name]) for name in _cells}

    _each = _rate / duel.scenario.pools["solver"].replicas

    def _shown(name, key, factor=1.0):
        found = _cells[name].summary[key]
        return f"{factor * found.value:.0f} ({factor * found.low:.0f} to {factor * found.high:.0f})"

    _rows = "\n".join(
        f"| {name} | {_shown(name, 'accuracy', 100)} | {100 * one.accuracy:.0f} "
        f"| {_shown(name, 'e2e_p50_s')} | {float(one.p50_at(_each)):.0f} "
        f"| {_shown(name, 'e2e_p90_s')} | {float(one.p90_at(_each)):.0f} |"
        for name, one in _closed.items()
    )
    _first = _cells["single"].summary

    def _gap(name, key, show, factor=1.0):
        gap = difference(_cells[name].summary[key], _first[key])
        return f"{show(factor * gap.value)} ({show(factor * gap.low)} to {show(factor * gap.high)})"

    _signed = "{:+.0f}".format
    _gaps = "\n".join(
        f"| {name} | {_gap(name, 'accuracy', _signed, 100)} | {_gap(name, 'e2e_p50_s', _signed)} "
        f"| {_gap(name, 'tokens_per_query', '{:+,.0f}'.format)} |"
        for name in _cells
        if name != "single"
    )
    _heads = (
        "strategy",
        "right [%], simulated",
        "closed form",
        "median [s], simulated",
        "closed form",
        "nine of ten within [s], simulated",
        "closed form",
    )
    mo.md(f"""
    qwen3-8b on aime24, {3600 * _rate:g} queries an hour on two accelerators,
    {duel.scenario.workload.num_requests} queries a run, {duel.scenario.replications} runs:

    | {" | ".join(_heads)} |
    |---|---:|---:|---:|---:|---:|---:|
    {_rows}

    Against asking once, run by run:

    | strategy | right [points] | median [s] | tokens a query |
    |---|---:|---:|---:|
    {_gaps}
    """)
    return


@app.cell(hide_code=True)
def _(duel):
    _cells = {cell.labels["strategy"]: cell.summary["accuracy"] for cell in duel.cells}
    _gap = difference(_cells["self_consistency n=4"], _cells["single"])
    _half = 50 * (_cells["single"].high - _cells["single"].low)
    _sure = "is surely more than nothing" if _gap.low > 0 else "may still be nothing"
    mo.md(f"""
    One run's accuracy is uncertain by {_half:.0f} points either way: its queries are few, and the profile was
    measured on few problems. What the vote gains is uncertain by {50 * (_gap.high - _gap.low):.0f}:
    {100 * _gap.value:+.0f} points ({100 * _gap.low:+.0f} to {100 * _gap.high:+.0f}); it {_sure}.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What is not known

    The outcome profiles are where this notebook is weakest. A profile takes what was published: accuracies,
    curves, mean lengths. What was not published is assumed or taken over from another model, and named:
    """)
    return


@app.cell(hide_code=True)
def _(MODELS, task):
    _profiles = {name: load_outcomes(task.value, name) for name in MODELS}
    _gaps = sorted({gap for profile in _profiles.values() for gap in profile.gaps})

    def _told(profile, gap):
        value = profile
        for part in gap.split("."):
            value = getattr(value, part)
        shown = f"{value:.3g}" if isinstance(value, int | float) else "see there"
        return f"{shown} (assumed)" if gap in profile.gaps else shown

    _rows = "\n".join(
        f"| `{gap}` | " + " | ".join(_told(profile, gap) for profile in _profiles.values()) + " |"
        for gap in _gaps
    )
    mo.md(f"""
    {task.value}: figures that are assumed for one of the models at least

    | figure | {" | ".join(_profiles)} |
    |---|{"---:|" * len(_profiles)}
    {_rows}

    `foretell show {task.value}/{MODELS[1]}` prints each with its source; `foretell fit-profile` makes a
    profile from your own evaluation log, and then the sliders above speak of your task.
    """)
    return


@app.cell(hide_code=True)
def _(HARDWARE, STRATEGIES, best, rate_per_s, task):
    if best is None:
        _told = mo.md("")
    else:
        _strategy = dict(STRATEGIES[best.course.strategy])
        _asked = asked(task.value, best.course.model, HARDWARE, _strategy, rate_per_s, best.accelerators)
        _found = estimate_scenario(_asked.replace(replications=8))[0]
        _p90, _right = _found["e2e_p90_s"], _found["accuracy"]
        _told = mo.md(f"""
    The answer above, with what is not known of profiles and step times (nine of ten of eight draws):
    {best.name}: right in {_right.low:.0%} to {_right.high:.0%}, nine of ten answers within
    {show_seconds(_p90.low)} to {show_seconds(_p90.high)}. Not in it: bursts and the method's own error, so
    that tails of votes come out up to a quarter too short (docs/compare.md). Before you sign for
    accelerators, run `foretell compare` on your scenario; it simulates.
    """)
    _told
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## On your own task

    ```sh
    foretell compare examples/strategies.yaml                        # simulated, paired, with intervals
    foretell compare examples/reasoning.yaml --method closed_form    # at once
    foretell fit-profile evals.csv --task mine --model qwen3-8b -o mine.toml
    ```

    `outcomes: mine.toml` in the pool then makes its answers those of your log. Strategies without a closed
    form (tree search, agents, debates, adaptive stopping, routers) are simulated; `foretell list strategies`
    names them all.
    """)
    return


if __name__ == "__main__":
    app.run()
