"""Retrieval-augmented generation: search, rank, read and answer, once or in rounds.

A profile is that of a model which has read what it needs. The search finds each of the documents that a
query needs among its first k with chance `recall`·(1 − (1 − hit)^k); where one is missing the answer is
right only if it was right anyway and, with chance `closed_book`, known without.
"""

from __future__ import annotations

import math

from foretell.models.verifiers import Verifier
from foretell.sim.programs.hidden import WRONG
from foretell.sim.programs.llm import LLM, MAIN, RIGHT, Call, PoolName, Program, Query, Steps, every
from foretell.sim.programs.tools import joined, side_by_side, tool, whole, within


def found_within(k: int, hit: float, recall: float = 1.0) -> float:
    """Chance that a needed document is among the first k that a search returns.

    Its rank is geometric (`hit` is the chance of the first place); it is to be found at all with `recall`.
    """
    return recall * (1 - (1 - hit) ** k)


def rag(
    *,
    documents: int = 10,
    document_tokens: int = 300,
    candidates: int = 100,
    needed: int = 1,
    hit: float = 0.1,
    recall: float = 0.95,
    sharpened: float = 1.0,
    closed_book: float = 0.3,
    search_s: float = 0.05,
    search_spread: float = 0.3,
    search_slots: int = 0,
    rerank_s: float = 0.0,
    query_tokens: int = 0,
    reranker: PoolName | None = None,
    solver: PoolName = MAIN,
) -> Program:
    """Search, optionally rank again, and answer with the best documents in the prompt.

    A reranker multiplies the odds that a needed document stands in front by `sharpened`, at the cost of one
    token written over each candidate, side by side, or of `rerank_s`. HyDE and query rewriting write
    `query_tokens` first. Costs besides one sample with documents·document_tokens new tokens in its prompt.

    Args:
        documents: that the model reads.
        document_tokens: of each.
        candidates: that a reranker sees.
        needed: documents that the answer takes, independently found.
        hit: chance that a needed one stands first.
        recall: chance that a needed one is to be found at all.
        sharpened: what reranking or rewriting makes of the odds of `hit`.
        closed_book: chance to answer right without the documents where one would with them.
        search_s, search_spread: median latency of the search [s] and standard deviation of its log.
        search_slots: searches at once, of all queries; 0: no limit.
        rerank_s: a reranker's latency that is no model of ours [s].
        query_tokens: written before the search.
        reranker: pool of a reranker; None: none, or none of ours.
        solver: pool.

    Source: Lewis et al. 2020, "Retrieval-augmented generation"; Gao et al. 2022, "Precise zero-shot dense
    retrieval" (HyDE); Feng et al. 2024, "EasyRAG" (two-stage ranking).
    """
    whole("documents", documents, 0)
    whole("needed", needed)
    whole("candidates", candidates, documents)
    for name, value in {"hit": hit, "recall": recall, "closed_book": closed_book}.items():
        within(name, value, 0, 1)
    within("sharpened", sharpened, 0)
    within("rerank_s", rerank_s, 0)
    search = tool(search_s, spread=search_spread, slots=search_slots)
    better = sharpened * hit / (1 - hit + sharpened * hit)
    found = found_within(documents, better, recall) ** needed

    def program(query: Query, llm: LLM) -> Steps:
        if query_tokens:
            yield llm.write(query, query_tokens, pool=solver)
        yield from search(query, llm)
        if reranker is not None:
            reads = [
                llm.write(query, 1, pool=reranker, prompt_tokens=document_tokens) for _ in range(candidates)
            ]
            yield every(reads)
        if rerank_s:
            yield llm.wait(rerank_s)
        call = llm.sample(query, pool=solver, prompt_tokens=documents * document_tokens)
        yield call
        return open_book(query, call.answer, found=query.uniform() < found, closed_book=closed_book)

    return program


def open_book(query: Query, answer: int | None, *, found: bool, closed_book: float) -> int | None:
    """What an answer becomes, by whether all that it needs was found."""
    known = found or query.uniform() < closed_book
    return answer if known or answer is None else WRONG


def iterative_rag(
    *,
    rounds: int = 5,
    documents: int = 10,
    document_tokens: int = 300,
    hops: int = 3,
    hit: float = 0.1,
    recall: float = 0.95,
    closed_book: float = 0.1,
    question_tokens: int = 50,
    answer_tokens: int = 100,
    search_s: float = 0.05,
    search_spread: float = 0.3,
    search_slots: int = 0,
    stop: bool = True,
    solver: PoolName = MAIN,
) -> Program:
    """Ask a sub-question, search, answer it, and go on from what was found: hop after hop, then the answer.

    A chain of `hops` documents is needed, the next one not to be asked for before the last was found. Each
    round searches anew for the next, which is among its documents as in `rag`; a round that misses it may be
    followed by another. The context grows by the documents and the sub-answer of every round, its KV reused.

    Args:
        rounds: at most.
        documents, document_tokens: read in a round, and tokens of each.
        hops: documents that the answer takes, in a chain.
        hit, recall, closed_book: as in `rag`; what is not to be found at all is missed in every round.
        question_tokens, answer_tokens: written in a round, before and after the search.
        search_s, search_spread, search_slots: as in `rag`.
        stop: whether the model stops when it has all; else all rounds are run.
        solver: pool.

    Source: Yue et al. 2024, "Inference scaling for long-context retrieval augmented generation" (IterDRAG).
    Yang et al. 2025, "SearchAgent-X": a faster search that finds less (`search_s` against `hit`) takes more
    rounds.
    """
    whole("rounds", rounds)
    whole("documents", documents)
    whole("hops", hops)
    for name, value in {"hit": hit, "recall": recall, "closed_book": closed_book}.items():
        within(name, value, 0, 1)
    search = tool(search_s, spread=search_spread, slots=search_slots)
    found_in_round = found_within(documents, hit)

    def program(query: Query, llm: LLM) -> Steps:
        exists = [query.uniform() < recall for _ in range(hops)]
        have = 0
        last: Call | None = None
        for _ in range(rounds):
            asked = llm.write(query, question_tokens, pool=solver, after=last)
            yield asked
            yield from search(query, llm)
            if query.over:
                break
            extra = documents * document_tokens
            last = llm.write(query, answer_tokens, pool=solver, after=asked, prompt_tokens=extra)
            yield last
            if have < hops and query.uniform() < found_in_round and exists[have]:
                have += 1
            if stop and have == hops:
                break
        call = llm.sample(query, pool=solver, after=last)
        yield call
        return open_book(query, call.answer, found=have == hops, closed_book=closed_book)

    return program


def parallel_search(
    *,
    hops: int = 2,
    width: int = 4,
    at_once: bool = True,
    documents: int = 5,
    document_tokens: int = 300,
    question_tokens: int = 50,
    search_s: float = 0.5,
    search_spread: float = 0.5,
    search_slots: int = 0,
    solver: PoolName = MAIN,
) -> Program:
    """Turns of independent sub-queries: all of a turn at once, or one after the other with a call each.

    The question takes `hops` dependent turns of `width` independent searches. At once, a turn is one call
    that writes all sub-queries and waits for the slowest search; in sequence each search is its own turn.

    Args:
        hops, width: see above.
        at_once: whether the searches of a turn go side by side.
        documents, document_tokens: that each search adds to the context.
        question_tokens: of each sub-query.
        search_s, search_spread, search_slots: as in `rag`.
        solver: pool.

    Source: Ko et al. 2025, "HybridDeepSearcher"; Fan et al. 2025, "DTA-Llama" (divide, then aggregate).
    """
    whole("hops", hops)
    whole("width", width)
    search = tool(search_s, spread=search_spread, slots=search_slots)
    extra = documents * document_tokens

    def program(query: Query, llm: LLM) -> Steps:
        last: Call | None = None
        read = 0
        for _ in range(hops if at_once else hops * width):
            several = width if at_once else 1
            last = llm.write(query, several * question_tokens, pool=solver, after=last, prompt_tokens=read)
            yield last
            yield joined(llm, side_by_side(llm, [search(query, llm) for _ in range(several)]))
            read = several * extra
            if query.over:
                break
        call = llm.sample(query, pool=solver, after=last, prompt_tokens=read)
        yield call
        return call.answer

    return program


def self_rag(
    *,
    passages: int = 5,
    document_tokens: int = 300,
    retrieve: float = 0.8,
    hit: float = 0.3,
    recall: float = 0.95,
    closed_book: float = 0.3,
    auc: float = 0.8,
    search_s: float = 0.05,
    search_spread: float = 0.3,
    solver: PoolName = MAIN,
) -> Program:
    """Decide whether to retrieve; answer from every passage at once, and take the one that is best supported.

    One token decides. Then each of the first passages has an answer of its own, which is right where it
    would be with the document, and that is the passage (chance by rank hit·(1 − hit)^i); the model's own
    reflection scores them with `auc`.

    Args:
        passages: read side by side.
        document_tokens: of each.
        retrieve: share of queries for which it searches.
        hit, recall, closed_book: as in `rag`.
        auc: of the reflection tokens.
        search_s, search_spread: as in `rag`.
        solver: pool.

    Source: Asai et al. 2023, "Self-RAG: learning to retrieve, generate, and critique through
    self-reflection".
    """
    whole("passages", passages)
    for name, value in {
        "retrieve": retrieve,
        "hit": hit,
        "recall": recall,
        "closed_book": closed_book,
    }.items():
        within(name, value, 0, 1)
    within("auc", auc, 0.5, 1)
    apart = Verifier(auc=auc).separation
    search = tool(search_s, spread=search_spread)

    def program(query: Query, llm: LLM) -> Steps:
        decides = llm.write(query, 1, pool=solver)
        yield decides
        if query.uniform() >= retrieve:
            call = llm.sample(query, pool=solver, after=decides)
            yield call
            return open_book(query, call.answer, found=False, closed_book=closed_book)
        yield from search(query, llm)
        rank = passages
        if query.uniform() < recall and hit:
            rank = min(int(math.log(query.uniform()) / math.log1p(-hit)) if hit < 1 else 0, passages)
        calls = [llm.sample(query, pool=solver, prompt_tokens=document_tokens) for _ in range(passages)]
        yield every(calls)
        answers = [
            open_book(query, call.answer, found=place == rank, closed_book=closed_book)
            for place, call in enumerate(calls)
        ]
        scored = [
            (query.normal() + (apart / 2 if place == rank else -apart / 2), answer)
            for place, answer in enumerate(answers)
            if answer is not None
        ]
        return max(scored, key=_score)[1] if scored else None

    return program


def think_on_graph(
    *,
    width: int = 3,
    depth: int = 3,
    relation_tokens: int = 60,
    entity_tokens: int = 60,
    relations_tokens: int = 400,
    graph_s: float = 0.05,
    graph_spread: float = 0.3,
    enough: float = 0.3,
    step: float = 0.8,
    closed_book: float = 0.3,
    solver: PoolName = MAIN,
) -> Program:
    """Beam search on a knowledge graph: at each depth prune relations, query, prune entities; then answer.

    For each of `width` paths a call picks relations and one scores entities, with a query of the graph
    before each; a call then says whether the paths suffice, which it does with chance `enough` a depth. The
    right path stays in the beam of one with chance `step` a depth, of `width` with 1 − (1 − step)^width.

    Args:
        width, depth: of the beam, and at most.
        relation_tokens, entity_tokens: written by the two kinds of calls.
        relations_tokens: of what the graph says, in a call's prompt.
        graph_s, graph_spread: median latency of a query of the graph [s], standard deviation of its log.
        enough: chance at each depth that the model stops there.
        step: chance that one path's choice at one depth is right.
        closed_book: as in `rag`.
        solver: pool.

    Source: Sun et al. 2023, "Think-on-Graph": 2·width·depth + depth + 1 calls at most.
    """
    whole("width", width)
    whole("depth", depth)
    for name, value in {"enough": enough, "step": step, "closed_book": closed_book}.items():
        within(name, value, 0, 1)
    ask = tool(graph_s, spread=graph_spread)
    kept = 1 - (1 - step) ** width

    def program(query: Query, llm: LLM) -> Steps:
        on_track = True
        for _ in range(depth):
            for tokens in (relation_tokens, entity_tokens):
                yield joined(llm, side_by_side(llm, [ask(query, llm) for _ in range(width)]))
                if query.over:
                    break
                calls = [
                    llm.write(query, tokens, pool=solver, prompt_tokens=relations_tokens)
                    for _ in range(width)
                ]
                yield every(calls)
            on_track = on_track and query.uniform() < kept
            yield llm.write(query, 1, pool=solver, prompt_tokens=relations_tokens)
            if query.over or query.uniform() < enough:
                break
        call = llm.sample(query, pool=solver, prompt_tokens=relations_tokens)
        yield call
        return open_book(query, call.answer, found=on_track, closed_book=closed_book)

    return program


def concept_memory(
    *,
    entries: int = 5,
    entry_tokens: int = 200,
    lifted: float = 0.1,
    pick_tokens: int = 100,
    abstract_tokens: int = 400,
    solver: PoolName = MAIN,
) -> Program:
    """Choose entries of a memory, answer with them in the prompt, and keep the memory up in the background.

    The entries repair a wrong answer with chance `lifted`: the store is taken to be filled, and does not grow
    during the run. What is learnt of a query is written after its answer, for nobody who waits; so here it is
    that of the query before, written beside this one's answer.

    Args:
        entries, entry_tokens: of the memory, in the prompt.
        lifted: chance that the memory turns a wrong sample into a right one.
        pick_tokens: of the call that chooses.
        abstract_tokens: of the call that updates the memory.
        solver: pool.

    Source: Ho et al. 2025, "ArcMemo: abstract reasoning composition with lifelong LLM memory".
    """
    whole("entries", entries, 0)
    within("lifted", lifted, 0, 1)

    def program(query: Query, llm: LLM) -> Steps:
        picks = llm.write(query, pick_tokens, pool=solver)
        yield picks
        llm.write(query, abstract_tokens, pool=solver)
        call = llm.sample(query, pool=solver, after=picks, prompt_tokens=entries * entry_tokens)
        yield call
        return RIGHT if call.done and query.uniform() < lifted else call.answer

    return program


def _score(scored: tuple[float, int]) -> float:
    return scored[0]
