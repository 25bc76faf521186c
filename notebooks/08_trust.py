import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Trust: the evidence, misses first")

with app.setup:
    import math
    import re
    from importlib.resources import files
    from pathlib import Path

    import marimo as mo
    import numpy as np

    from foretell.models import AffineCost
    from foretell.models.queueing import mg1
    from foretell.sim import EngineConfig, simulate
    from foretell.sim.report import svg
    from foretell.sim.report.plots import Axis, Line, lines
    from foretell.sim.watch import watch
    from foretell.traces import trace_from_spec
    from foretell.validate.cli import plain
    from foretell.validate.cli_runs import runs_summary
    from foretell.validate.evidence_kinds import KINDS, Inputs
    from foretell.validate.scheduler import judged
    from foretell.validate.scheduler_controls import check_controls
    from foretell.validate.scheduler_corpus import read_corpora
    from foretell.validate.theory import recorded
    from foretell.validate.theory_batching import JUDGED_LOAD, LIMITS
    from foretell.validate.theory_map import tallies
    from foretell.validate.theory_tables import theory_summary


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Trust: the evidence, misses first

    **Why should anybody believe these forecasts, and where should nobody?** Fifteen minutes to read; it runs
    in half a minute on one core.

    A forecast has three layers, and each can be wrong by itself: *which requests are in a step* (the
    scheduler), *how long the step takes* (the cost model), and *what follows for users* (queues). Each is
    compared here with somebody who knows better: vLLM's own decisions, recorded runs of real
    engines, textbooks. What can be done from the bundled data is done now, while this runs; what needs GPUs'
    tables or recordings of others is quoted from the pages where it was written down, with its date.
    """)
    return


@app.function(hide_code=True)
def chart(picture, px=620):
    """Show a chart at its own size, light or dark as the reader has it."""
    return mo.Html(f'<div style="max-width:{px}px">{svg.standalone(picture)}</div>')


@app.cell
def _():
    kinds = {kind.key: kind for kind in KINDS}
    shipped = Path(str(files("foretell.validate"))) / "data" / "runs"
    theory = recorded()  # the closed forms as they are now, against the simulations of the last full run
    found = {
        "corpus": plain(kinds["corpus"].run(Inputs())),
        "runs": plain(runs_summary(shipped)),
        "client": plain(kinds["client"].run(Inputs())),
        "kv": plain(kinds["kv"].run(Inputs())),
        "theory": plain(theory_summary(theory)),
    }
    sections = {key: kinds[key].build(value) for key, value in found.items()}
    return found, kinds, sections, theory


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Where it is wrong

    Every target that is missed, and every single figure that is off by more than its limit, in what was just
    compared:
    """)
    return


@app.cell(hide_code=True)
def _(sections):
    _lines = []
    for _section in sections.values():
        _missed = [
            f"asked {check.asked}, reached {check.reached}: {check.name}"
            for check in _section.checks
            if check.met is False
        ]
        _all = [*_missed, *_section.misses]
        _head = f"**{_section.title}**: " + ("nothing is off beyond its limit." if not _all else "")
        _lines.append(f"- {_head}")
        _lines += [f"    - {line}" for line in _all]
    mo.md("\n".join(_lines))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    And from the pages, what was measured elsewhere and missed its target, or is known to be poor:
    """)
    return


@app.function
def pages():
    """The folder docs/ of the project that this notebook is part of."""
    starts = mo.notebook_dir(), Path(__file__).parent, Path.cwd()
    for folder in (up for start in starts if start for up in (start, *start.parents)):
        if (folder / "docs" / "validation.md").is_file():
            return folder / "docs"
    raise FileNotFoundError("docs/validation.md: run this notebook in a copy of the project")


@app.function
def page_table(page, heading):
    """The first table below a heading of a page in docs/: its heads and rows, as texts."""
    text = (pages() / page).read_text(encoding="utf-8")
    below = text[text.index(heading) :]
    rows = [
        [cell.strip() for cell in line.strip()[1:-1].split("|")]
        for line in re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)[0].splitlines()
    ]
    return rows[0], rows[2:]


@app.function
def shown(heads, rows):
    """A table as Markdown."""
    head = f"| {' | '.join(heads)} |\n|:---|" + "---:|" * (len(heads) - 1)
    return "\n".join([head, *(f"| {' | '.join(row)} |" for row in rows)])


@app.cell(hide_code=True)
def _():
    _, _rows = page_table("frontier.md", "## What was reached")
    _frontier = next(row for row in _rows if "judged" in row[0])
    _, _others = page_table("validation.md", "Other rows, with the scales of vLLM's servers")
    _all = next(row for row in _others if row[0].startswith("all"))
    _served = page_table("validation.md", "### Servers of others")[1]
    mo.md(f"""
    - Capacity frontiers of measured servers: tokens/s/accelerator {_frontier[2]} % off at equal
      tokens/s/user. Groups, points, and points that our curve does not reach: {_frontier[1]}.
    - Engines other than vLLM ({_all[1]} runs): TPOT {_all[2]}, TTFT {_all[3]} off (median / mean).
    - Whole servers of others, forecast from their description alone: {_served[-1][0]}: TPOT
      {_served[-1][2]}, E2E {_served[-1][3]}, TTFT {_served[-1][4]} off; {_served[-1][5]} figures inside of
      the intervals.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What was compared with what
    """)
    return


@app.cell(hide_code=True)
def _(sections):
    _lines = ["Done now, from bundled data:", ""]
    for _one in sections.values():
        _met = sum(check.met is True for check in _one.checks)
        _asked = f"targets met: {_met} of {len(_one.checks)}" if _one.checks else "no target was set"
        _lines.append(f"- **{_one.title}**: {_one.answer}; {_asked}.")
    _lines += ["", "What would have shown each to be wrong:", ""]
    _lines += [f"- {one.title}: {'; '.join(one.would_fail)}" for one in sections.values()]
    mo.md("\n".join(_lines))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Who is in which step: vLLM's decisions, replayed

    vLLM's own scheduler was run on drawn scenarios (loads, little memory, priorities, shared prefixes,
    drafts, windows, ...), and each decision written down. foretell's engine gets the same requests; a single
    token in another step is a failure. Choose one, and see it replayed now.
    """)
    return


@app.cell
def _():
    corpus = next(read_corpora())
    return (corpus,)


@app.cell(hide_code=True)
def _(corpus):
    scenario = mo.ui.slider(1, len(corpus.scenarios), 1, value=9, label="scenario", show_value=True)
    scenario
    return (scenario,)


@app.cell(hide_code=True)
def _(corpus, scenario):
    _one = corpus.scenarios[scenario.value - 1]
    _result = judged(_one.case, _one.vllm, _one.features)
    _steps = _one.vllm.steps
    _ours = watch(_one.case).steps
    _first = _result.difference.step if _result.difference else None

    def _tokens(steps):
        return [sum(entry[1] for entry in step[2]) for step in steps]

    mo.vstack(
        [
            chart(
                lines(
                    {
                        f"vLLM {corpus.version}": Line(range(len(_steps)), _tokens(_steps), step=True),
                        "foretell": Line(range(len(_ours)), _tokens(_ours), joined=False),
                    },
                    Axis("step"),
                    Axis("tokens in the step", low=0.0),
                    "What every step carries",
                    f"{len(_steps)} steps",
                    width=560,
                    height=260,
                ),
                700,
            ),
            mo.md(
                f"Scenario {scenario.value} of {len(corpus.scenarios)}: {len(_one.vllm.requests)} requests, "
                f"{len(_steps):,} steps; "
                + (
                    "entries, tokens, KV blocks, preemptions and times are **equal in every step**, by "
                    f"{' and '.join(f'the {name} engine' for name in _result.equal)}."
                    if _first is None
                    else f"**the first difference is in step {_first}**."
                )
                + f" It reaches: {', '.join(_one.features)}."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A test that always passes is worth nothing. So each setting is made slightly wrong on our side: where that
    changes anything, the comparison has to notice.
    """)
    return


@app.cell(hide_code=True)
def _(corpus):
    _binds, _caught, _settings = {}, {}, []
    for _one in corpus.scenarios[:4]:
        for _control in check_controls(_one.case, watch(_one.case), _one.vllm):
            _binds[_control.setting] = _binds.get(_control.setting, 0) + _control.binds
            _caught[_control.setting] = _caught.get(_control.setting, 0) + (
                _control.binds and _control.caught
            )
    _bound = [name for name, count in _binds.items() if count]
    _all = sum(_binds.values()) == sum(_caught.values())
    _told = "each of them was noticed" if _all else "**not all of them were noticed**"
    _least = ", ".join(f"{name} ({_caught[name]} of {_binds[name]})" for name in _bound)
    mo.md(f"""
    In the first {len(corpus.scenarios[:4])} scenarios {len(_binds)} settings were made wrong; in
    {sum(_binds.values())} cases that changed what the engine does, and {_told}: {_least}.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How long steps take: recorded runs of a real engine

    vLLM on a processor, every step written down. Half of the runs fit a step cost, the other half is forecast
    from its trace and settings alone, and the other way round.
    """)
    return


@app.cell(hide_code=True)
def _():
    figure = mo.ui.dropdown(
        {"time per token": "tpot_mean", "whole answer": "e2e_mean", "first token": "ttft_mean"},
        value="time per token",
        label="mean of a run's",
    )
    figure
    return (figure,)


@app.cell(hide_code=True)
def _(figure, found):
    _runs = {
        name: (run["measured_s"][figure.value], run["predicted_s"][figure.value])
        for name, run in found["runs"]["by_run"].items()
        if run["predicted_s"]
    }
    _x, _y = (np.array(part) for part in zip(*_runs.values(), strict=True))
    _ends = np.array([min(_x.min(), _y.min()) * 0.9, max(_x.max(), _y.max()) * 1.1])
    _off = _y / _x - 1
    _worst = max(_runs, key=lambda name: abs(math.log(_runs[name][1] / _runs[name][0])))
    mo.vstack(
        [
            chart(
                lines(
                    {
                        "a run": Line(
                            _x,
                            _y,
                            joined=False,
                            labels=[f"{name}: {off:+.0%}" for name, off in zip(_runs, _off, strict=True)],
                        ),
                        "equal": Line(_ends, _ends),
                        "10 % more or less": Line(
                            np.r_[_ends, np.nan, _ends], np.r_[1.1 * _ends, np.nan, 0.9 * _ends], dashed=True
                        ),
                    },
                    Axis("measured", "s", log=True),
                    Axis("forecast", "s", log=True),
                    "Forecast over measured, a mark a run",
                    f"{len(_runs)} runs",
                    width=460,
                    height=360,
                ),
                560,
            ),
            mo.md(
                f"{len(_runs)} shipped runs; median error {np.median(np.abs(_off)):.1%}, "
                f"{np.mean(np.abs(_off) <= 0.1):.0%} of the runs within a tenth, worst {_worst} "
                f"({_runs[_worst][1] / _runs[_worst][0] - 1:+.0%}): queues multiply what a step "
                "cost is off by."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(found):
    _noise = found["runs"]["noise"]
    _known = found["runs"]["speed_known"]
    _names = {
        "tpot_mean": "time per token, mean",
        "e2e_mean": "whole answer, mean",
        "ttft_mean": "first token, mean",
        "tpot_p99": "time per token, p99",
        "e2e_p99": "whole answer, p99",
        "ttft_p99": "first token, p99",
    }
    _asked = {t["name"].split(":")[0]: t for t in found["runs"]["targets"]}

    def _cell(source, key):
        value = source.get(f"{key}_ape") if source else None
        return "–" if value is None else f"{value:.1f}"

    _rows = "\n".join(
        f"| {text} | {_asked[key.replace('_', ', ')]['asked']['at_most']:.0f} | {_cell(found['runs'], key)} "
        f"| {_cell(_known, key)} |"
        for key, text in _names.items()
    )
    mo.md(f"""
    Median error over the shipped runs [%]:

    | figure | asked, at most | forecast | told how fast the machine was |
    |:---|---:|---:|---:|
    {_rows}

    The last column is no forecast: it shows what is left once the machine's own speed, which a neighbour
    changes from hour to hour, is taken out. The rest is the form of the cost, the schedule and the boundary.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How long steps take: servers on GPUs

    Closed loops that InferenceX (SemiAnalysis) measured with vLLM, each pair of model and GPU forecast by
    scales that were fitted without it. This needs the operators' tables (the extra `silicon`) and
    minutes; the figures are those of `docs/validation.md`.
    """)
    return


@app.cell(hide_code=True)
def _():
    _heads, _rows = page_table("validation.md", "Each pair left out:")

    def _first(cell):
        return float(cell.split("/")[0].split("%")[0])

    _numbers = {row[0]: (int(row[1]), _first(row[2]), _first(row[3]), _first(row[4])) for row in _rows}
    _tpot = np.array([n[1] for n in _numbers.values()])
    _ttft = np.array([n[2] for n in _numbers.values()])
    _cover = {name: n[3] for name, n in _numbers.items()}
    _runs = sum(n[0] for n in _numbers.values())
    _low = min(_cover, key=_cover.get)
    mo.md(f"""
    {shown(_heads, _rows)}

    Errors are median / mean over the runs of a pair. {len(_numbers)} pairs, {_runs:,} runs: the median
    error of a pair lies between {_tpot.min():.1f} and {_tpot.max():.1f} % for the time per token, and between
    {_ttft.min():.1f} and {_ttft.max():.1f} % for the first token. Intervals for nine in ten held least for
    {_low} ({_cover[_low]:.0f} %). The form of the model was found by looking at these errors, and is somewhat
    optimistic for that.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What follows: queues that textbooks know

    An engine with one slot and a constant step is a queue with one server. The textbook (Pollaczek and
    Khinchine) knows its mean wait; here it is beside the engine, played now.
    """)
    return


@app.cell
def _():
    STEP_S, TOKENS, RUNS, REQUESTS = 0.01, 100, 6, 4000
    played = {}
    for _load in (0.3, 0.5, 0.7, 0.8, 0.9):
        _means = []
        for _run in range(RUNS):
            _trace = trace_from_spec(
                {
                    "arrivals": {"process": "poisson", "rate_per_s": _load / (TOKENS * STEP_S)},
                    "lengths": {"prompt": 1, "output": {"geometric": TOKENS}},
                    "num_requests": REQUESTS,
                },
                100 * _run + int(100 * _load),
            )
            _done = simulate(_trace, AffineCost(STEP_S, 0, 0, 0, 0), EngineConfig(max_num_seqs=1))
            _means.append(
                float(np.mean(_done.scheduled_s[REQUESTS // 10 :] - _done.arrival_s[REQUESTS // 10 :]))
            )
        played[_load] = np.array(_means)
    return RUNS, STEP_S, TOKENS, played


@app.cell(hide_code=True)
def _(RUNS, STEP_S, TOKENS, played):
    _service = STEP_S * TOKENS
    _spread = 1 - 1 / TOKENS  # variance over squared mean of a geometric number of steps
    _curve = np.linspace(0.05, 0.95, 60)
    _exact = [mg1(load / _service, _service, _spread).wait_s for load in _curve]
    _at = np.array(list(played))
    _mean = np.array([means.mean() for means in played.values()])
    _half = np.array([2.571 * means.std(ddof=1) / math.sqrt(RUNS) for means in played.values()])
    _right = np.array([mg1(load / _service, _service, _spread).wait_s for load in _at])
    _inside = int(np.sum(np.abs(_mean - _right) <= _half))
    mo.vstack(
        [
            chart(
                lines(
                    {
                        "textbook": Line(_curve, _exact),
                        "engine, 95 % interval": Line(
                            _at, _mean, low=_mean - _half, high=_mean + _half, joined=False
                        ),
                    },
                    Axis("load", "share"),
                    Axis("mean wait", "s", log=True),
                    "Mean wait of one server, by the textbook and by the engine",
                    "; ".join(
                        f"{a:.0%}: {r:.2f} s, played {m:.2f} s"
                        for a, r, m in zip(_at, _right, _mean, strict=True)
                    ),
                    width=560,
                ),
                700,
            ),
            mo.md(
                f"{_inside} of {len(_at)} textbook values lie inside of the intervals of {RUNS} runs each. "
                f"Largest difference: {np.max(np.abs(_mean / _right - 1)):.1%}, at a load where an interval "
                f"is {np.max(_half / _right):.0%} wide to either side."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What follows: the closed form of continuous batching

    The closed form answers sliders in milliseconds. How far from the simulation is it, over many systems and
    loads? The simulations are recorded, the closed forms were computed just now.
    """)
    return


@app.cell(hide_code=True)
def _():
    NAMES = {
        "first token, mean": "ttft_mean",
        "time per token, mean": "tpot_mean",
        "whole answer, mean": "e2e_mean",
        "first token, p99": "ttft_p99",
        "time per token, p99": "tpot_p99",
        "whole answer, p99": "e2e_p99",
    }
    closed = mo.ui.dropdown(list(NAMES), value="first token, mean", label="figure")
    closed
    return NAMES, closed


@app.cell(hide_code=True)
def _(NAMES, closed, theory):
    _points = [p for p in theory.points if p.figure == NAMES[closed.value] and math.isfinite(p.off)]
    _limit = LIMITS[NAMES[closed.value]]
    _kinds = {
        "within, or sure enough": [p for p in _points if not (p.judged and p.missed)],
        "beyond its limit": [p for p in _points if p.judged and p.missed],
    }
    _one = tallies(theory.points)[NAMES[closed.value]]
    _worst = sorted(_kinds["beyond its limit"], key=lambda p: -abs(p.off))[:5]
    _list = "; ".join(f"{p.case} at {p.load:.0%} load {p.off:+.0%}" for p in _worst)
    mo.vstack(
        [
            chart(
                lines(
                    {
                        name: Line(
                            [p.load for p in some],
                            [max(-1.0, min(p.off, 1.5)) for p in some],
                            joined=False,
                            labels=[f"{p.case}: {p.off:+.0%}" for p in some],
                        )
                        for name, some in _kinds.items()
                        if some
                    },
                    Axis("load", "share"),
                    Axis("closed form over simulation, less one", "share"),
                    f"Error of the closed form: {closed.value}",
                    f"{len(_points)} points",
                    level={"limit": _limit, "limit below": -_limit},
                    width=560,
                ),
                700,
            ),
            mo.md(
                f"{_one.met} of {_one.asked} points below {JUDGED_LOAD:.0%} load are within {_limit:.0%}; "
                f"median error {_one.median:.1%}, worst {_one.worst:.0%}. Of the others a forecast's notes "
                f"do not warn at {_one.unwarned}; they warn at {_one.needless} that were fine."
                + (f" Worst: {_list}." if _list else "")
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Do intervals hold?

    Nine in ten is a promise about many intervals. Play it: a queue whose mean wait is known, ten runs, an
    interval from them (Student's, for nine in ten), two hundred times over. How often is the true mean
    inside?
    """)
    return


@app.cell(hide_code=True)
def _():
    rho = mo.ui.slider(0.3, 0.95, 0.05, value=0.8, label="load", show_value=True)
    customers = mo.ui.slider(
        steps=[50, 100, 200, 400, 800], value=200, label="requests a run", show_value=True
    )
    mo.vstack([rho, customers])
    return customers, rho


@app.function
def mean_waits(load, customers, runs, experiments, seed=0):
    """Mean waits of an M/M/1 queue (mean service 1 s) that starts empty: (experiments, runs), by Lindley."""
    rng = np.random.default_rng(seed)
    shape = experiments, runs, customers
    step = rng.standard_exponential(shape) - rng.standard_exponential(shape) / load
    walk = np.concatenate([np.zeros((experiments, runs, 1)), np.cumsum(step, axis=-1)], axis=-1)
    return (walk - np.minimum.accumulate(walk, axis=-1))[..., :-1].mean(axis=-1)


@app.cell(hide_code=True)
def _(customers, rho):
    _runs, _times = 10, 200
    _true = rho.value / (1 - rho.value)
    _means = mean_waits(rho.value, customers.value, _runs, _times)
    _middle = _means.mean(axis=1)
    _half = 1.833 * _means.std(axis=1, ddof=1) / math.sqrt(_runs)  # Student's 95 % point, nine degrees
    _holds = np.abs(_middle - _true) <= _half
    _order = np.argsort(_middle)[:: _times // 50]
    _kinds = {"holds": _holds[_order], "does not": ~_holds[_order]}
    _at = np.arange(len(_order), dtype=float)
    _series = {
        name: Line(
            np.repeat(_at[some], 3),
            np.column_stack(
                [
                    (_middle - _half)[_order][some],
                    (_middle + _half)[_order][some],
                    np.full(int(some.sum()), np.nan),
                ]
            ).ravel(),
        )
        for name, some in _kinds.items()
        if some.any()
    }
    _error = math.sqrt(0.9 * 0.1 / _times)
    _share = float(_holds.mean())
    _verdict = (
        "as promised, within chance"
        if abs(_share - 0.9) < 2 * _error
        else "**less than promised**"
        if _share < 0.9
        else "more than promised"
    )
    mo.vstack(
        [
            chart(
                lines(
                    _series,
                    Axis("experiment, in order of its mean"),
                    Axis("interval of the mean wait", "s", low=0.0),
                    "Fifty of the intervals",
                    f"{_share:.0%} of {_times} hold",
                    level={"true mean": _true},
                    width=560,
                    height=260,
                ),
                700,
            ),
            mo.md(
                f"At {rho.value:.0%} load with {customers.value} requests a run, {_share:.0%} of {_times} "
                f"intervals hold the true mean: {_verdict} ({_error:.0%} is chance). The mean of all runs is "
                f"{_means.mean() / _true - 1:+.0%} off: runs that start empty and end soon never see "
                "the long queues. That is why a forecast's interval speaks of one more run *like its own*, "
                "and why the closed forms, which are of an endless run, may lie outside of it near capacity."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    And the forecasts' own intervals, against what was measured:
    """)
    return


@app.cell(hide_code=True)
def _(sections):
    _live = [
        [one.what, f"{one.nominal:.0%}", f"{one.share:.0%}", f"{one.count}", "now"]
        for section in sections.values()
        for one in section.coverage
    ]
    _heads, _rows = page_table("validation.md", "### What was reached")
    _silicon = [
        [
            f"Servers on GPUs, {row[0]}",
            "90%",
            row[3].replace(" ", ""),
            "TPOT and TTFT of a run",
            "docs/validation.md",
        ]
        for row in _rows
        if "%" in row[3]
    ]
    _served = [
        [f"Server of others, {row[0]}", "90%", *row[5].split(" of "), "docs/validation.md"]
        for row in page_table("validation.md", "### Servers of others")[1]
    ]
    mo.md(shown(["intervals of", "promised", "held", "of", "from"], [*_live, *_silicon, *_served]))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Papers

    Claims of papers on inference-time strategies, run again by one rule for each kind of figure. That
    takes minutes, so the result is quoted:
    """)
    return


@app.cell(hide_code=True)
def _():
    _text = (pages() / "papers.md").read_text(encoding="utf-8")
    _line = re.search(r"^\d+ claims of .*$", _text, re.MULTILINE)[0]
    _, _rows = page_table("papers.md", "<!-- figures findings -->")
    _against = [row for row in _rows if len(row) > 4 and row[4] == "differs"]
    _list = [f"- {row[0]}: {row[1]}. Published {row[2]}, ours {row[3]}." for row in _against]
    mo.md("\n".join([f"{_line} Direction differs in:", "", *_list]))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Run it again

    Nothing here asks for belief: each comparison is a command, and prints what it missed.
    """)
    return


@app.cell(hide_code=True)
def _(kinds):
    _page = "foretell validate report --html trust.html"
    _words = {"seconds": "seconds", "minutes": "minutes", "long": "many minutes"}
    _rows = "\n".join(
        f"| {kind.title} | `{kind.command or _page}` | {_words[kind.takes]} |" for kind in kinds.values()
    )
    mo.md(f"""
    | compared | command | takes |
    |:---|:---|:---|
    {_rows}

    All of it on one page: `{_page}` (`--full` with servers and vLLM's own
    scheduler, `--quick` in less than a minute). Your own server is the best test: record a run, and
    `foretell validate runs --data DIR` judges the forecasts against it; notebook 06 calibrates to it.
    """)
    return


if __name__ == "__main__":
    app.run()
