"""One step of sampling on a CPU in several forms, on the embedded base: what brings how much, and what it costs.

Each form feeds the same tokens after the same prompt. Printed are the time of a step, that of reading the prompt and of
the first two steps, and the largest difference of a token's log-probability to the library's fp32 products: the trainer
scores in those, so a form that differs by more than rounding samples from another policy than the one that is trained.

    python benchmarks/decode_step.py [--rows 28] [--steps 12]
"""

from __future__ import annotations

import argparse
import copy
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ditto_cli.config import FolderFile, resolve_settings
from ditto_cli.model import sampling
from ditto_cli.model.fixed_steps import FixedSteps
from ditto_cli.model.hardware import detect
from ditto_cli.model.loading import load_policy
from ditto_cli.model.packing import packed_linears
from ditto_cli.model.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import cache_home
from ditto_cli.types import SampleRequest

PROMPT = "Write a short email to a colleague to ask whether we can move our meeting to Tuesday, and say why."
ADAPTER = "adapter"


def steps_of(policy: Policy, tokens: Tensor, advance: Callable[[Any], Any]) -> Iterator[Tensor]:
    """Feed `tokens` [steps, rows] one step after the other; yields the log-probabilities of what follows."""
    ids = policy.chat.prompt_ids(PROMPT)
    arrivals = [sampling._begin(row, SampleRequest(ids, row), len(tokens) + 1, 1.0) for row in range(tokens.shape[1])]
    slots = sampling._admit(policy, None, arrivals)
    for row_tokens in tokens.tolist():
        for sequence, token in zip(slots.sequences, row_tokens, strict=True):
            sequence.token_ids.append(token)
        slots = advance(slots)
        yield torch.log_softmax(slots.logits_RV.float(), dim=1)


@contextmanager
def packed(policy: Policy) -> Iterator[Callable[[Any], Any]]:
    """Weights packed for the rows, the adapter added: what `sample` does."""
    with packed_linears(policy) as fit_rows:
        yield partial(sampling._advance, policy, fit_rows)


@contextmanager
def packed_on_one_thread(policy: Policy) -> Iterator[Callable[[Any], Any]]:
    """The same with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with packed(policy) as advance:
            yield advance
    finally:
        torch.set_num_threads(before)


def library(policy: Policy) -> Any:
    """The library's own products, cache as in `sample`."""
    return nullcontext(partial(sampling._advance, policy, lambda num_rows: None))


def fixed(policy: Policy) -> Any:
    """Keys and values in a room of fixed width, all of which each step reads."""
    return nullcontext(partial(sampling._advance_fixed, policy, print))


@contextmanager
def compiled(policy: Policy) -> Iterator[Callable[[Any], Any]]:
    """The fixed step through torch.compile, weights frozen."""
    plain = FixedSteps._step
    torch._inductor.config.freezing = True
    functions: dict[int, Callable[[], Tensor]] = {}

    def step(self: FixedSteps) -> Tensor:
        if id(self) not in functions:
            functions[id(self)] = torch.compile(partial(plain, self))
        return functions[id(self)]()

    FixedSteps._step = step  # type: ignore[method-assign]
    try:
        yield partial(sampling._advance_fixed, policy, print)
    finally:
        FixedSteps._step = plain  # type: ignore[method-assign]


def in_bf16(policy: Policy) -> Any:
    """All weights and activations in bf16."""
    policy.model.to(torch.bfloat16)
    return library(policy)


def in_int8(policy: Policy) -> Any:
    """Linear layers of the base with int8 weights and activations (torch.ao dynamic quantisation)."""
    for module in policy.model.modules():
        for name, child in list(module.named_children()):
            if name == "base_layer" and isinstance(child, nn.Linear):
                child.forward = torch.ao.nn.quantized.dynamic.Linear.from_float(_observed(child)).forward
    return library(policy)


def _observed(linear: nn.Linear) -> nn.Linear:
    linear.qconfig = torch.ao.quantization.default_dynamic_qconfig  # type: ignore[assignment]
    return linear


FORMS: dict[str, tuple[str, Callable[[Policy], Any]]] = {
    "library": ("the library's fp32 products", library),
    "packed": ("packed fp32 weights, adapter added (what ditto does)", packed),
    "one-thread": ("the same, one thread", packed_on_one_thread),
    "fixed": ("static cache, library's products", fixed),
    "compiled": ("static cache, torch.compile with frozen weights", compiled),
    "bf16": ("bf16", in_bf16),
    "int8": ("int8, dynamic", in_int8),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=28)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--forms", default=",".join(FORMS), help=f"of {', '.join(FORMS)}")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = resolve_settings("smollm2-135m-cpu", FolderFile(), {}, {})
    loaded = load_policy(settings.base, detect("cpu"), cache_home(os.environ), print)
    loaded.add_adapter(ADAPTER, settings.lora, derive_seed(0, "lora"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    print(f"{arguments.rows} rows, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print_table(loaded, arguments.forms.split(","), num_rows=arguments.rows, num_steps=arguments.steps)


def print_table(loaded: Policy, names: Sequence[str], *, num_rows: int, num_steps: int) -> None:
    """A row for each form, compared with the first.

    Args:
        loaded: a base with the adapter `ADAPTER`; each form works on a copy of it.
        names: of `FORMS`.
        num_rows: sequences side by side.
        num_steps: steps that are timed, after two that are not.
    """
    drawn = torch.randint(loaded.head().weight_VH.shape[0], (num_steps + 2, num_rows))
    print("| form | a step, ms | first two steps, s | largest difference, nats |\n|---|---|---|---|")
    expected: list[Tensor] = []
    for name in names:
        title, form = FORMS[name]
        policy = copy.copy(loaded)
        policy.model = copy.deepcopy(loaded.model)
        policy._base = policy.model.get_base_model()
        policy.switch(ADAPTER)
        try:
            with torch.inference_mode(), form(policy) as advance:
                marks, seen = [time.perf_counter()], []
                for logps in steps_of(policy, drawn, advance):
                    marks.append(time.perf_counter())
                    seen.append(logps.gather(1, drawn[0][:, None]))
        except Exception as error:
            print(f"| {title} | not possible: {type(error).__name__} | | |", flush=True)
            continue
        expected = expected or seen
        gap = max(float((one - other).abs().max()) for one, other in zip(seen, expected, strict=True))
        step = (marks[-1] - marks[2]) / (len(marks) - 3)
        print(f"| {title} | {1000 * step:.0f} | {marks[2] - marks[0]:.1f} | {gap:.1e} |", flush=True)


if __name__ == "__main__":
    main()
