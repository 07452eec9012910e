"""What the commands do, for Python: `train`, `Writer`, `evaluate` and `export`, as `ditto_cli` itself offers them.

Arguments are the commands' options under the same names (`--set` is `settings`, `--round` is `stage`), and what the
commands refuse is refused by the same errors. Progress and notes go to stderr as there; nothing is printed on stdout.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

from pydantic import (
    AfterValidator,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    ValidationError,
    validate_call,
)

from ditto_cli.cli.arguments import (
    EvalOptions,
    ExportOptions,
    JudgeKind,
    Method,
    SampleOptions,
    Tracker,
    TrainOptions,
    check_device,
)
from ditto_cli.cli.eval import evaluate_adapter
from ditto_cli.cli.export import export_voice
from ditto_cli.cli.sample import open_voices, seed_of, warn_of_cuts
from ditto_cli.cli.train import train_adapter
from ditto_cli.errors import DittoError, InputError
from ditto_cli.evaluation.report import EvalReport
from ditto_cli.store import AdapterRecord
from ditto_cli.voices import Voice

__all__ = ["AdapterRecord", "DittoError", "EvalReport", "Writer", "evaluate", "export", "train"]

Place = Path | str
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Device = Annotated[str, AfterValidator(check_device)]
Quantize = Literal["auto", "nf4", "none"]
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _check_arguments(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Refuse arguments of another type or range than is said, in one line, before anything is done."""
    check, names = validate_call(function), list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        try:
            return check(*arguments, **options)
        except ValidationError as error:
            if error.title != function.__qualname__:
                raise
            problem = error.errors(include_url=False, include_input=False)[0]
            place = problem["loc"][0]
            name = names[place] if isinstance(place, int) else place
            raise InputError(f"{function.__qualname__}, {name}: {problem['msg']}.") from None

    return call


@_check_arguments
def train(
    folder: Place,
    *,
    name: str | None = None,
    preset: str | None = None,
    method: Method = "ditto",
    settings: Mapping[str, object] | None = None,
    base: str | None = None,
    revision: str | None = None,
    quantize: Quantize | None = None,
    seed: NonNegativeInt | None = None,
    publish: str = "best",
    fresh: bool = False,
    track: Tracker | None = None,
    device: Device = "auto",
) -> AdapterRecord:
    """Train an adapter from a folder of a person's texts, or go on where that was interrupted, and publish it.

    The options of `ditto train`; `settings` are any others by dotted names, as in `{"dpo.beta": 0.1}`.

    Raises:
        InputError: folder, settings or base cannot be used.
        InterruptedRun: Ctrl-C; the same call goes on from the last checkpoint.
        DittoError: all else that the command refuses, see `ditto_cli.errors`.
    """
    options = TrainOptions(
        Path(folder),
        name=name,
        preset=preset,
        base=base,
        revision=revision,
        quantize=quantize,
        seed=seed,
        publish=publish,
        fresh=fresh,
        method=method,
        track=track,
        device=device,
    )
    return train_adapter(options, settings)


class Writer:
    """One base in memory, and every voice of it: adapters, stages and mixes as `ditto sample --adapter` takes them."""

    @_check_arguments
    def __init__(
        self,
        voice: str | None = None,
        *,
        base: str | None = None,
        quantize: Quantize | None = None,
        device: Device = "auto",
    ) -> None:
        """Load the base of `voice`, who writes where nobody else is named; None is the only adapter that there is.

        `base` is where the base lies now, if it was moved.

        Raises:
            InputError: there is no such adapter.
            IncompatibleError: `base` is another one, or the parts of a mix are of two.
        """
        self._options = SampleOptions(adapter=voice, base=base, quantize=quantize, device=device)
        self._session, (self._voice, *_) = open_voices(self._options)

    @_check_arguments
    def write(
        self,
        prompt: Text,
        *,
        voice: str | None = None,
        num: PositiveInt = 1,
        seed: NonNegativeInt | None = None,
        temperature: NonNegativeFloat | None = None,
        max_tokens: PositiveInt | None = None,
        best_of: PositiveInt | None = None,
        with_texts: NonNegativeInt | None = None,
    ) -> list[str]:
        """`num` texts for a prompt, with the options of `ditto sample`; None is as trained, and a seed at random.

        `voice` may be any of the same base; each is read from disk once and then only switched to.

        Raises:
            InputError: no such voice or stage, or a prompt that is too long.
            IncompatibleError: the voice is of another base.
        """
        options = replace(
            self._options,
            num=num,
            seed=seed,
            temperature=temperature,
            max_new_tokens=max_tokens,
            best_of=best_of,
            with_texts=with_texts,
        )
        who = self._voice if voice is None else Voice.parse(voice)
        writings, _ = self._session.write(prompt, options, seed_of(options), who)
        warn_of_cuts(writings)
        return [one.text for one in writings]


@_check_arguments
def evaluate(
    adapter: str | None = None,
    *,
    folder: Place | None = None,
    against: Sequence[str] | None = None,
    prompts: Sequence[Text] | None = None,
    num: PositiveInt = 1,
    seed: NonNegativeInt = 0,
    temperature: NonNegativeFloat | None = None,
    judge: JudgeKind = "style",
    model: str | None = None,
    base_url: str | None = None,
    yes: bool = False,
    style_encoder: str | None = None,
    report: Place | None = None,
    base: str | None = None,
    quantize: Quantize | None = None,
    device: Device = "auto",
) -> EvalReport:
    """Evaluate an adapter against its rivals as `ditto eval`: verdict, win rates and figures, and its page is written.

    `folder` holds the texts, where they are not where the training found them; `prompts` is what everybody writes for,
    else those of texts kept back and new ones. With `yes` texts may be sent to a judge on another machine.

    Raises:
        InputError: adapter, texts, rivals or judge cannot be used.
        DittoError: all else that the command refuses.
    """
    options = EvalOptions(
        folder=None if folder is None else Path(folder),
        adapter=adapter,
        against=None if against is None else ",".join(against),
        num=num,
        seed=seed,
        temperature=temperature,
        judge=judge,
        model=model,
        base_url=base_url,
        sure=yes,
        style_encoder=style_encoder,
        report=None if report is None else Path(report),
        base=base,
        quantize=quantize,
        device=device,
    )
    return evaluate_adapter(options, prompts, lambda report: None)


@_check_arguments
def export(
    voice: str,
    to: Literal["gguf", "merged", "vllm", "peft", "ditto"],
    *,
    out: Place | None = None,
    stage: str | None = None,
    with_base: Literal["f32", "f16", "q8_0"] | None = None,
    check: bool | None = None,
    all_stages: bool = False,
    base: str | None = None,
    force: bool = False,
) -> Path:
    """Write a voice for another program, and give the folder (for ditto the file) that was written.

    The options of `ditto export`. What is sent to the hub is left to the command, which asks.

    Raises:
        InputError: no such voice, options that do not go together, or the place is taken.
        IncompatibleError: what was written does not write the same there; it was not kept.
        DiskError: it cannot be written.
    """
    options = ExportOptions(
        voice,
        to,
        out=None if out is None else Path(out),
        with_base=with_base,
        check=check,
        stage=stage,
        all_stages=all_stages,
        base=base,
        force=force,
    )
    return export_voice(options)[0]
