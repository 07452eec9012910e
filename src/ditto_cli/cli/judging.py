"""The judges of `ditto eval` as the command line knows them: checked early, made late, and what is said about them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ditto_cli.cli.context import confirm, in_terminal, load_base
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import ask, print_side_by_side, say, stderr_console, warn
from ditto_cli.config import BaseSettings
from ditto_cli.errors import InputError, InterruptedRun
from ditto_cli.types import SilentReporter

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.evaluation.judges.by_openai import OpenAIJudge
    from ditto_cli.evaluation.judges.chat_server import Endpoint
    from ditto_cli.evaluation.types import Judge, Pair

JudgeKind = Literal["style", "model", "openai", "me"]
_MUCH_BIAS = 0.5
_NOBODY_TO_ASK = "Texts would leave this machine: say --yes where nobody can be asked."


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges; `model` is a model of the server, or for a local judge a hub id or folder.

    `prices` are in any currency for a million tokens: of questions, and of answers.
    """

    kind: JudgeKind
    model: str | None
    base_url: str | None
    prices: tuple[float, float] | None
    sure: bool
    offline: bool

    @property
    def leaves_machine(self) -> bool:
        """Whether texts go to another machine."""
        from ditto_cli.evaluation.judges.chat_server import leaves_machine

        return self.kind == "openai" and leaves_machine(self.base_url or "")

    def check(self) -> None:
        """Refuse what cannot work, before anything is loaded."""
        if self.kind == "openai":
            if not self.model or not self.base_url:
                raise InputError(
                    "--judge openai needs --base-url and --model, as in "
                    "--judge openai --base-url http://127.0.0.1:8000/v1 --model NAME."
                )
            self._endpoint()
            if self.offline and self.leaves_machine:
                raise InputError("--offline forbids a judge on another machine: take one on this machine, or leave it.")
            if self.leaves_machine and not self.sure and not in_terminal():
                raise InputError(_NOBODY_TO_ASK)
        elif self.base_url is not None:
            raise InputError(f"--base-url belongs to --judge openai, not to --judge {self.kind}.")
        elif self.model is not None and self.kind != "model":
            raise InputError(f"--model belongs to --judge model and --judge openai, not to --judge {self.kind}.")
        if self.kind == "me" and (sys.stdin is None or sys.stdin.closed):
            raise InputError("--judge me asks questions: run it in a terminal.")

    def make(
        self,
        session: Session,
        findings: Findings,
        key: bytes,
        folder: Path,
        marks: Mapping[str, str] | None = None,
    ) -> Judge:
        """The judge; answers of a person or a server are kept in `folder`.

        `marks` are of contestants that are other adapters, by title; see `evaluation.traces`.
        """
        demonstrations = findings.author.demonstrations
        if self.kind == "style":
            from ditto_cli.evaluation.appraisal import StyleJudge

            return StyleJudge(findings.appraisal_of)
        if self.kind == "model":
            from ditto_cli.evaluation.judges.by_model import ModelJudge

            if self.model is None:
                return ModelJudge(session.policy, demonstrations)
            other = BaseSettings(id=self.model, quantize="auto")
            return ModelJudge(load_base(other, session.policy.hardware), demonstrations)
        from ditto_cli.evaluation.judges import Ledger

        writings = [writing for written in findings.writings.values() for writing in written]
        ledger = Ledger.of(folder, key, self.kind, marks or {}, writings)
        if self.kind == "me":
            from ditto_cli.evaluation.judges.by_person import PersonJudge

            return PersonJudge(demonstrations, ledger, ask, _show_pair, seed=findings.plan.seed)
        from ditto_cli.evaluation.judges.by_openai import OpenAIJudge

        return OpenAIJudge(self._endpoint(), demonstrations, ledger, noted=warn)

    def notes(self, judge: Judge) -> list[str]:
        """What the reader of the report should know about this judge."""
        bias = getattr(judge, "position_bias", None)
        if bias is not None and bias > _MUCH_BIAS:
            return [
                f"the judge {judge.name} preferred the same position in {bias:.0%} of the pairs whichever text stood "
                "there: it may be too small to judge style"
            ]
        return []

    def _endpoint(self) -> Endpoint:
        from ditto_cli.evaluation.judges.chat_server import Endpoint

        assert self.base_url is not None
        assert self.model is not None
        return Endpoint(self.base_url, self.model)


def judge_findings(judge: Judge, findings: Findings, options: JudgeOptions) -> None:
    """Have a judge judge, after what must be asked and with what should be said."""
    from ditto_cli.evaluation.evaluate import judge_all, pairs_to_judge

    every_pair = options.kind == "style"  # the others cost a person's time, money or minutes
    if options.kind == "me":  # no bars beside questions
        judge_all(findings, judge, SilentReporter(), every_pair=every_pair)
        return
    server: OpenAIJudge | None = judge if options.kind == "openai" else None  # type: ignore[assignment]
    if server is not None:
        _ask_consent(server, options, pairs_to_judge(findings, every_pair=every_pair))
    with reporter() as shown:
        judge_all(findings, judge, shown, every_pair=every_pair)
    if server is not None:
        usage = server.usage
        say(
            f"{judge.name}: {usage.num_requests} requests, {usage.prompt_tokens} + {usage.completion_tokens} tokens"
            + (f", {usage.money(*options.prices):.2f} at the given prices" if options.prices else "")
            + f"; {usage.num_cached} answers from earlier runs."
        )


def _ask_consent(server: OpenAIJudge, options: JudgeOptions, pairs: Sequence[Pair]) -> None:
    """Say what a server will be sent and what that costs, and ask before texts leave the machine."""
    cost = server.describe_cost(pairs)
    say(
        f"{server.name}: {cost.num_requests} questions, about {cost.prompt_tokens_estimate} tokens"
        + (f", about {cost.money(*options.prices):.2f} at the given prices" if options.prices else "")
        + (f"; {cost.num_cached} are answered already." if cost.num_cached else ".")
    )
    if not options.leaves_machine or cost.num_requests == 0:
        return
    warn(
        f"Your demonstrations and the texts to judge leave this machine: they are sent to {options.base_url}, "
        "whose owner can read and keep them."
    )
    if not options.sure and not confirm("Send them?", _NOBODY_TO_ASK):
        raise InterruptedRun("Nothing was sent.")


def _show_pair(reference_texts: Sequence[str], prompt: str, left: str, right: str, number: int, total: int) -> None:
    say(f"\n{number} of {total}. A text of the author's, to compare with:")
    say(reference_texts[(number - 1) % len(reference_texts)] + "\n")
    print_side_by_side(prompt, [("a", left), ("b", right)], console=stderr_console())
