"""vLLM's scheduler, in another interpreter, as something that can be asked.

One process serves many scenarios (importing vllm takes seconds); it is started again if it dies or does
not answer in time.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from foretell.sim.case import Case
from foretell.sim.watch import Record

SCRIPT = Path(__file__).parent / "oracle" / "vllm_oracle.py"
VARIABLE = "FORETELL_VLLM_PYTHON"
_START_S = 300.0


class OracleError(RuntimeError):
    """vLLM's side failed: its exception, its death, or silence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What vLLM did.

    Attributes:
        record: steps and outcomes.
        evictions: cached blocks that were handed out anew.
        drafts_accepted, drafts_rejected: draft tokens, over all verification steps.
        cpu_s: its process CPU seconds in making requests (which hashes their prompts), in add_request,
            schedule and update_from_output.

    """

    record: Record
    evictions: int
    drafts_accepted: int
    drafts_rejected: int
    cpu_s: float


def find_python(given: str | None) -> str:
    """The interpreter with vllm: the one given, $FORETELL_VLLM_PYTHON's, or this one if it has vllm.

    Raises:
        ValueError: there is none; the line says how to get one.

    """
    chosen = given or os.environ.get(VARIABLE)
    if chosen:
        path = Path(chosen)
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise ValueError(f"--vllm-python: {chosen} is not an interpreter that can be run")
        return str(path)
    if find_spec("vllm") is not None:
        return sys.executable
    raise ValueError(
        "vllm is not installed here: pip install 'foretell[vllm]' in an environment of its own, "
        f"and name its python with --vllm-python or ${VARIABLE}"
    )


class VllmScheduler:
    """A vLLM scheduler that serves scenarios; use it as a context.

    Args:
        python: an interpreter that can import vllm.
        limit_s: the longest that it may take over one scenario.

    Attributes:
        version: vLLM's.
        unknown: settings of foretell that this version does not have.

    """

    def __init__(self, python: str, limit_s: float = 120.0) -> None:
        self.python = python
        self.limit_s = limit_s
        self.version = ""
        self.unknown: tuple[str, ...] = ()
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> VllmScheduler:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, case: Case, *, steps: bool = True) -> Answer:
        """Run a scenario; with `steps` off its record has the outcomes only.

        Raises:
            OracleError: vLLM raised, died or was silent for `limit_s`.

        """
        question = case.as_dict() | {"steps": steps}
        question["step_cost"] = list(question["step_cost"].values())
        if self._process is None:
            self._start()
        told = self._exchange(json.dumps(question), self.limit_s)
        if "error" in told:
            raise OracleError(told["error"].splitlines()[0])
        return Answer(
            record=Record(told["steps"], told["requests"], told["livelock"]),
            evictions=told["evictions"],
            drafts_accepted=told["accepted"],
            drafts_rejected=told["rejected"],
            cpu_s=told["cpu_s"],
        )

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (it lives with the process)
        self._process = subprocess.Popen(
            [self.python, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        greeting = self._exchange(None, _START_S)
        self.version = greeting["vllm"]
        self.unknown = tuple(greeting["unknown"])

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._log is not None:
            self._log.close()
        self._process = self._log = None

    def _exchange(self, question: str | None, limit_s: float) -> Mapping[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            if question is not None:
                process.stdin.write(question + "\n")
                process.stdin.flush()
            # An answer is written whole, so that readable means complete but for what is on its way.
            ready, _, _ = select.select([process.stdout], [], [], limit_s)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            line, ready = "", [process.stdout]
        if line:
            told: Mapping[str, Any] = json.loads(line)
            return told
        why = self._last_words() if ready else f"no answer in {limit_s:g} s"
        self._stop()
        raise OracleError(why)

    def _last_words(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        return f"the process ended: {lines[-1]}" if lines else "the process ended without a word"
