"""The judges of `ditto eval` as the command line knows them: checked early, made late, and what is said about them."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import EvalOptions
from ditto_cli.cli.context import confirm, in_terminal, load_base
from ditto_cli.cli.render import ask, print_side_by_side, reporter, say, stderr_console, warn
from ditto_cli.config import BaseSettings
from ditto_cli.errors import InputError, InterruptedRun
from ditto_cli.types import SilentReporter

if TYPE_CHECKING:
    from ditto_cli.cli.sample import Session
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.evaluation.judgements import Judge
    from ditto_cli.evaluation.judges import Ledger
    from ditto_cli.evaluation.judges.by_openai import Endpoint

_MUCH_BIAS = 0.5
_NOBODY_TO_ASK = "Texts would leave this machine: say --yes where nobody can be asked."


def sends_texts_away(options: EvalOptions) -> bool:
    """Whether the judge is on another machine."""
    return options.judge == "openai" and server_of(options).leaves_machine


def check_judge(options: EvalOptions) -> None:
    """Refuse what cannot work, before anything is loaded."""
    if options.judge == "openai":
        sends_away = sends_texts_away(options)
        if options.offline and sends_away:
            raise InputError("--offline forbids a judge on another machine: take one on this machine, or leave it.")
        if sends_away and not options.sure and not in_terminal():
            raise InputError(_NOBODY_TO_ASK)
    elif options.base_url is not None:
        raise InputError(f"--base-url belongs to --judge openai, not to --judge {options.judge}.")
    elif options.model is not None and options.judge != "model":
        raise InputError(f"--model belongs to --judge model and --judge openai, not to --judge {options.judge}.")
    if options.judge == "me" and (sys.stdin is None or sys.stdin.closed):
        raise InputError("--judge me asks questions: run it in a terminal.")


def server_of(options: EvalOptions) -> Endpoint:
    """The judge's server, to which nothing is sent yet."""
    from ditto_cli.evaluation.judges.by_openai import Endpoint

    if not options.model or not options.base_url:
        raise InputError(
            "--judge openai needs --base-url and --model, as in "
            "--judge openai --base-url http://127.0.0.1:8000/v1 --model NAME."
        )
    return Endpoint(options.base_url, options.model)


def run_judge(
    options: EvalOptions,
    session: Session,
    findings: Findings,
    key: bytes,
    folder: Path,
) -> Judge:
    """Have a judge judge, after what must be asked and with what should be said; who it was.

    Answers of a person or a server are kept in `folder`.
    """
    from ditto_cli.evaluation.evaluate import judge_all
    from ditto_cli.evaluation.judges import Ledger
    from ditto_cli.evaluation.judges.by_model import ModelJudge
    from ditto_cli.evaluation.judges.by_person import PersonJudge, Shown
    from ditto_cli.evaluation.judges.by_style import StyleJudge

    demonstrations = findings.author.demonstrations
    judge: Judge
    if options.judge == "style":
        judge = StyleJudge(findings.appraisal_of)
    elif options.judge == "model":
        policy = session.policy
        if options.model is not None:
            policy = load_base(BaseSettings(id=options.model, quantize="auto"), policy.hardware)
        judge = ModelJudge(policy, demonstrations)
    else:
        ledger = Ledger.of(folder, key, options.judge)
        if options.judge == "openai":
            return _judged_by_server(options, findings, ledger)

        def show(shown: Shown) -> None:
            say(f"\n{shown.number} of {shown.total}. A text of the author's, to compare with:")
            say(demonstrations[(shown.number - 1) % len(demonstrations)].completion + "\n")
            print_side_by_side(shown.prompt, [("a", shown.left), ("b", shown.right)], console=stderr_console())

        judge = PersonJudge(ledger, ask, show, seed=findings.plan.seed)
    with nullcontext(SilentReporter()) if options.judge == "me" else reporter() as shown:  # no bars beside questions
        # The other judges cost a person's time, money or minutes.
        judge_all(findings, judge, shown, every_pair=options.judge == "style")
    return judge


def _judged_by_server(options: EvalOptions, findings: Findings, ledger: Ledger) -> Judge:
    """Say what a server will be sent and what that costs, ask before texts leave the machine, and say what it took."""
    from ditto_cli.evaluation.evaluate import judge_all, pairs_to_judge
    from ditto_cli.evaluation.judges.by_openai import OpenAIJudge

    server = OpenAIJudge(server_of(options), findings.author.demonstrations, ledger)
    cost = server.describe_cost(pairs_to_judge(findings, every_pair=False))
    say(
        f"{server.name}: {cost.num_questions} questions, about {cost.prompt_tokens} tokens"
        + (f", about {cost.money(*options.prices):.2f} at the given prices" if options.prices else "")
        + (f"; {cost.num_cached} are answered already." if cost.num_cached else ".")
    )
    if sends_texts_away(options) and cost.num_questions:
        warn(
            f"Your demonstrations and the texts to judge leave this machine: they are sent to {options.base_url}, "
            "whose owner can read and keep them."
        )
        if not options.sure and not confirm("Send them?", _NOBODY_TO_ASK):
            raise InterruptedRun("Nothing was sent.")
    with reporter() as shown:
        judge_all(findings, server, shown, every_pair=False)
    usage = server.usage
    say(
        f"{server.name}: {usage.num_questions} questions, {usage.prompt_tokens} + {usage.completion_tokens} tokens"
        + (f", {usage.money(*options.prices):.2f} at the given prices" if options.prices else "")
        + f"; {usage.num_cached} answers from earlier runs."
    )
    return server


def notes_on(judge: Judge) -> list[str]:
    """What the reader of the report should know about a judge."""
    bias = getattr(judge, "position_bias", None)
    if bias is None or bias <= _MUCH_BIAS:
        return []
    return [
        f"the judge {judge.name} preferred the same position in {bias:.0%} of the pairs whichever text stood "
        "there: it may be too small to judge style"
    ]
