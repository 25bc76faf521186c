"""Generate, execute, and go on from what the tests say."""

from __future__ import annotations

from foretell.models.verifiers import Verifier
from foretell.sim.programs.hidden import WRONG, chance
from foretell.sim.programs.llm import LLM, MAIN, RIGHT, Call, Judge, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import joined, side_by_side, tool, whole, within

_JUDGE = Judge(MAIN, Verifier())
_QUICK = Judge(MAIN, Verifier(completeness=0.8, soundness=0.6, output_tokens=100))
_LONG = Judge(MAIN, Verifier(completeness=0.9, soundness=0.85, output_tokens=2000))


def execute_and_repair(
    *,
    attempts: int = 1,
    repairs: int = 3,
    width: int = 1,
    completeness: float = 1.0,
    soundness: float = 0.9,
    tests_s: float = 10.0,
    tests_spread: float = 0.5,
    tests_slots: int = 0,
    feedback_tokens: int = 300,
    level_tokens: int = 0,
    solver: PoolName = MAIN,
) -> Program:
    """Write an answer, run the tests, and revise it by what they say, until they pass; then start afresh.

    A revision is the profile's: chances to repair and to corrupt by round. The first answer that passes is
    given, right or not; if none does, the last. Every new attempt has `level_tokens` more in its prompt.

    Args:
        attempts: fresh starts at most.
        repairs: revisions of an attempt at most.
        width: answers written, tested and revised side by side.
        completeness: chance that the tests pass what is right.
        soundness: chance that they fail what is wrong.
        tests_s, tests_spread, tests_slots: median time of the tests [s], standard deviation of its log, and
            how many runs all queries together may have at once (0: no limit).
        feedback_tokens: of the tests' output, that a revision reads.
        level_tokens: knowledge added at each new attempt.
        solver: pool.

    Source: Yang et al. 2024, "SWE-agent"; Chen et al. 2023, "Teaching large language models to self-debug";
    levels of knowledge: Lei et al. 2025, "KAAR"; many attempts with a proof checker: LongCat-Flash-Prover,
    2026.
    """
    whole("attempts", attempts)
    whole("repairs", repairs, 0)
    whole("width", width)
    verifier = Verifier(completeness=completeness, soundness=soundness)
    run = tool(tests_s, spread=tests_spread, slots=tests_slots)

    def program(query: Query, llm: LLM) -> Steps:
        answer: int | None = None
        for attempt in range(attempts):
            extra = attempt * level_tokens
            calls = [llm.sample(query, pool=solver, prompt_tokens=extra) for _ in range(width)]
            for round_ in range(repairs + 1):
                if round_:
                    calls = [llm.revise(call, round_ - 1, feedback_tokens) for call in calls]
                yield every(calls)
                calls = [call for call in calls if call.answer is not None]
                if not calls or query.over:
                    break
                answer = calls[-1].answer
                yield joined(llm, side_by_side(llm, [run(query, llm) for _ in calls]))
                passed = [call for call in calls if _passes(query, call.answer == RIGHT, verifier)]
                if passed:
                    return passed[0].answer
            if query.over:
                break
        return answer

    return program


def iterative_decoding(
    *,
    rounds: int = 3,
    width: int = 2,
    verifier: Judge = _JUDGE,
    feedback_tokens: int = 200,
    solver: PoolName = MAIN,
) -> Program:
    """Keep the candidate that a verifier likes best, and let its feedback lead the next round's candidates.

    Costs width samples and verdicts, then in every round `width` revisions of the best so far and as many
    verdicts. What is given is the best of all rounds, as the verifier sees it.

    Args:
        rounds: after the first.
        width: candidates of a round.
        verifier: who scores.
        feedback_tokens: that a revision reads.
        solver: pool.

    Source: Chakraborty et al. 2025, "Review, refine, repeat: understanding iterative decoding of AI
    agents" (IAD).
    """
    whole("rounds", rounds, 0)
    whole("width", width)

    def program(query: Query, llm: LLM) -> Steps:
        best: Call | None = None
        highest = -float("inf")
        for round_ in range(rounds + 1):
            if best is None:
                calls = [llm.sample(query, pool=solver) for _ in range(width)]
            else:
                calls = [llm.revise(best, round_ - 1, feedback_tokens) for _ in range(width)]
            yield every(calls)
            answered = [call for call in calls if call.answer is not None]
            verdicts = [llm.judge(call, verifier) for call in answered]
            if verdicts:
                yield every(verdicts)
            for call, verdict in zip(answered, verdicts, strict=True):
                if verdict.done and (best is None or verdict.score > highest):  # an oracle says −inf
                    best, highest = call, verdict.score
            if query.over:
                best = best or (answered[0] if answered else None)
                break
        return best.answer if best is not None else None

    return program


def solve_detect_verify(
    *,
    chunk_tokens: int = 512,
    probe_tokens: int = 16,
    stable: int = 2,
    quick: int = 4,
    agree: float = 0.75,
    quick_verifier: Judge = _QUICK,
    long_verifier: Judge = _LONG,
    solver: PoolName = MAIN,
) -> Program:
    """Cut the solver where it has its solution, verify that, at length if in doubt; solve anew if refused.

    Completion is detected by probes after every chunk: `stable` equal answers in a row. Then `quick` short
    verdicts; unless `agree` of them or more go one way a long one decides. A refused solution is
    revised once by the feedback, and that stands.

    Args:
        chunk_tokens: between probes.
        probe_tokens: of a probe.
        stable: equal answers in a row that end the thinking.
        quick: short verifications.
        agree: share of them that must agree.
        quick_verifier, long_verifier: both give verdicts.
        solver: pool.

    Source: Zhong et al. 2025, "Solve-Detect-Verify: inference-time scaling with flexible generative
    verifier".
    """
    whole("stable", stable)
    whole("quick", quick)
    within("agree", agree, 0.5, 1)

    def program(query: Query, llm: LLM) -> Steps:
        call = llm.sample(query, pool=solver, max_tokens=chunk_tokens)
        yield call
        said: list[int | None] = []
        solution = call
        while call.done and not call.ended:
            solution = yield llm.probe(call, probe_tokens)
            said.append(solution.answer)
            if len(said) >= stable and len(set(said[-stable:])) == 1 and said[-1] is not None:
                break
            call = yield llm.resume(call, chunk_tokens)
            solution = call
        if solution.answer is None or query.over:
            return solution.answer
        verdicts = [llm.judge(solution, quick_verifier) for _ in range(quick)]
        yield every(verdicts)
        votes = sum(v.score > 0 for v in verdicts if v.done)
        accepted = votes >= quick / 2
        if max(votes, quick - votes) < agree * quick:
            verdict = yield llm.judge(solution, long_verifier)
            accepted = verdict.score > 0 or not verdict.done
        if accepted or query.over:
            return solution.answer
        again = yield llm.revise(solution, 0)
        return again.answer if again.answer is not None else solution.answer

    return program


def hypothesis_search(
    *,
    hypotheses: int = 16,
    keep: int = 4,
    programs: int = 4,
    on_track: float = 0.5,
    hypothesis_tokens: int = 150,
    summary_tokens: int = 400,
    completeness: float = 1.0,
    soundness: float = 0.95,
    run_s: float = 1.0,
    run_spread: float = 0.3,
    run_slots: int = 0,
    solver: PoolName = MAIN,
) -> Program:
    """Write hypotheses, have them summed up, implement each several times, and run all on the examples.

    With chance p of a sample on this query, a hypothesis is right with p^on_track, and a program of a right
    one with p^(1 − on_track), so that one program of one hypothesis succeeds as often as a sample. The
    summary keeps `keep` of them blindly. The first program that passes is the answer, if any does.

    Args:
        hypotheses: written side by side.
        keep: that stay after the summary.
        programs: of each.
        on_track: share of the difficulty that lies in the hypothesis.
        hypothesis_tokens, summary_tokens: written for each, and for the summary, which reads them all.
        completeness, soundness: of the examples as tests.
        run_s, run_spread, run_slots: median time of a run [s], standard deviation of its log, runs at once.
        solver: pool, whose samples give the programs' lengths.

    Source: Wang et al. 2023, "Hypothesis search: inductive reasoning with language models".
    """
    whole("hypotheses", hypotheses)
    whole("keep", keep)
    whole("programs", programs)
    within("on_track", on_track, 0, 1)
    verifier = Verifier(completeness=completeness, soundness=soundness)
    run = tool(run_s, spread=run_spread, slots=run_slots)

    def program(query: Query, llm: LLM) -> Steps:
        p = chance(query, llm, solver)
        ideas = [llm.write(query, hypothesis_tokens, pool=solver) for _ in range(hypotheses)]
        yield every(ideas)
        extra = hypotheses * hypothesis_tokens
        summary = llm.write(query, summary_tokens, pool=solver, prompt_tokens=extra)
        yield summary
        rights = [query.uniform() < p**on_track for _ in range(min(keep, hypotheses))]
        calls = [llm.sample(query, pool=solver, after=summary) for _ in rights for _ in range(programs)]
        yield every(calls)
        if query.over:
            return None
        yield joined(llm, side_by_side(llm, [run(query, llm) for _ in calls]))
        sound = [right and query.uniform() < p ** (1 - on_track) for right in rights for _ in range(programs)]
        passed = [right for right in sound if _passes(query, right, verifier)]
        if not passed or query.over:
            return None
        return RIGHT if passed[0] else WRONG

    return program


def _passes(query: Query, right: bool, verifier: Verifier) -> bool:
    assert verifier.completeness is not None
    return query.uniform() < (verifier.completeness if right else 1 - verifier.soundness)
