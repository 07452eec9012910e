"""One round as `ditto train` runs it, and the same with one thing undone at a time.

The things are undone from here, by patching the product's own functions; the product has no switches for it.
`ABLATIONS` names each with the phases that it touches: only those are measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from transformers import DynamicCache

from ditto_cli.method import reference, rounds, updates
from ditto_cli.method.comparisons import History
from ditto_cli.method.reference import POLICY, REFERENCE, score_under_reference
from ditto_cli.method.rounds import RoundState, sample_round, score_demonstrations, update_policy
from ditto_cli.method.updates import Updater, sequences_of
from ditto_cli.model import fused, sampling, scoring
from ditto_cli.model.policy import Policy
from ditto_cli.model.scoring import PromptGroup
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, Completion, SampledTokens, SampleRequest
from speed.phases import Phases
from speed.records import PHASES, REFERENCE_PHASE, SAMPLING, UPDATES
from speed.workload import Workload, completion_tokens

_NOISE = 0.02


@dataclass
class Bench:
    """What a way works on, and where its figures go."""

    policy: Policy
    workload: Workload
    phases: Phases
    step_seconds: list[float]
    notes: list[str]


@dataclass(frozen=True)
class Ablation:
    """One thing undone while `undone` lasts, and the phases that it touches."""

    touches: tuple[str, ...]
    undone: Callable[[Bench], AbstractContextManager[Any]]


def add_noisy_adapter(policy: Policy, name: str, workload: Workload) -> None:
    """An adapter of the preset's shape that changes something: seeded noise of 0.02 on all of its weights."""
    settings = workload.settings
    policy.add_adapter(name, settings.lora, derive_seed(settings.seed, "lora"))
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "noise"))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_((torch.randn(parameter.shape, generator=generator) * _NOISE).to(parameter.device))


def prepare(policy: Policy, workload: Workload) -> None:
    """POLICY and its copy REFERENCE, as a run has them before round one; and no token ends a completion."""
    ignore_stops(policy)
    add_noisy_adapter(policy, POLICY, workload)
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)
    warm_up(policy)


def warm_up(policy: Policy) -> None:
    """One small step of the active adapter, so that no phase pays for what a process does once."""
    ids = torch.zeros((1, 16), dtype=torch.long, device=policy.hardware.device)
    policy.model.train()
    with policy.hardware.autocast():
        policy.model(input_ids=ids, use_cache=False).logits.float().mean().backward()
    for parameter in policy.parameters():
        parameter.grad = None
    policy.model.eval()


def ignore_stops(policy: Policy) -> None:
    """Completions end at their forced lengths only."""
    policy.chat = replace(policy.chat, stop_token_ids=frozenset())
    policy.model.generation_config.eos_token_id = None


def our_round(bench: Bench, touched: Sequence[str] = PHASES) -> None:
    """The touched phases of the first round as `ditto train` runs it."""
    bench.policy.checkpoint_activations(
        rounds.checkpointed_layers(bench.policy, bench.workload.encoded, bench.workload.settings)
    )
    drawn = bench.workload.drawn
    if SAMPLING in touched:
        drawn = _our_sampling(bench)
    if REFERENCE_PHASE in touched:
        with bench.phases.measured(REFERENCE_PHASE) as figures:
            history, figures.tokens = _scored_history(bench, drawn)
    if UPDATES in touched:
        # Not with made-up scores: losses would be far off, and their gradients underflow.
        _our_updates(bench, history if REFERENCE_PHASE in touched else _scored_history(bench, drawn)[0])


def _our_sampling(bench: Bench) -> tuple[Completion, ...]:
    """`sample_round` with a length limit for each completion."""
    workload = bench.workload
    requests = workload.requests()

    def with_lengths(asked: Sequence[SampleRequest]) -> Sequence[SampledTokens]:
        assert [request.seed for request in asked] == [request.seed for request in requests]
        return sampling.sample(
            bench.policy,
            requests,
            max_new_tokens=workload.encoded.max_new_tokens,
            temperature=workload.settings.sampling.temperature,
            max_slots=workload.settings.sampling.max_slots,
            noted=bench.notes.append,
        )

    with bench.phases.measured(SAMPLING) as figures:
        sampled = sample_round(
            bench.policy, workload.encoded, workload.settings, with_lengths, round_number=0, is_reference=True
        )
        figures.tokens = sum(len(completion.token_ids) for completion in sampled)
    return tuple(sampled)


def _scored_history(bench: Bench, drawn: Sequence[Completion]) -> tuple[History, int]:
    """The round's completions with what the reference says of them, and how many tokens were scored for it."""
    workload = bench.workload
    encoded, budget = workload.encoded, workload.settings.dpo.micro_batch_tokens
    history = History(score_demonstrations(bench.policy, encoded, max_tokens=budget, noted=bench.notes.append))
    unscored = [completion for completion in drawn if math.isnan(completion.reference_logp)]
    if unscored:
        drawn = score_under_reference(bench.policy, drawn, encoded.prompts, max_tokens=budget, noted=bench.notes.append)
    history.add_round(drawn)
    return history, encoded.num_tokens + sum(len(completion.token_ids) for completion in unscored)


def _our_updates(bench: Bench, history: History) -> None:
    workload, phases = bench.workload, bench.phases
    settings = workload.settings
    updater = Updater(bench.policy, settings.dpo, settings.rounds, seed=settings.seed, noted=bench.notes.append)
    state, steps = RoundState(history, updater), workload.comparisons(history)
    with phases.measured(UPDATES) as figures:
        figures.tokens = sum(completion_tokens(comparisons) for comparisons in steps)
        before = phases.now()
        for comparisons, metrics in zip(steps, update_policy(state, workload.encoded.prompts, settings), strict=True):
            assert sum(metrics.kinds.values()) == len(comparisons)
            after = phases.now()
            bench.step_seconds.append(after - before)
            before = after


def _two_prompts(bench: Bench) -> AbstractContextManager[Any]:
    sample = sampling.sample

    def by_twos(policy: Policy, requests: Sequence[SampleRequest], **options: Any) -> list[SampledTokens]:
        prompts = list(dict.fromkeys(request.prompt_ids for request in requests))
        found: list[SampledTokens] = []
        for first in range(0, len(prompts), 2):
            pair = prompts[first : first + 2]
            found += sample(policy, [request for request in requests if request.prompt_ids in pair], **options)
        return found

    return patch.object(sampling, "sample", by_twos)


def _library_products(bench: Bench) -> AbstractContextManager[Any]:
    def packs_nothing(policy: Policy) -> AbstractContextManager[Callable[[int], None]]:
        return nullcontext(lambda num_rows: None)

    return patch.object(sampling, "packed_linears", packs_nothing)


def _library_adapters(bench: Bench) -> AbstractContextManager[Any]:
    return patch.object(fused, "_is_plain", lambda module: False)


def _masked_attention(bench: Bench) -> AbstractContextManager[Any]:
    return patch.object(bench.policy, "takes_structure", False)


def _own_cache(bench: Bench) -> AbstractContextManager[Any]:
    return patch.object(sampling, "growing_cache", DynamicCache)


@contextmanager
def _library_attention(bench: Bench) -> Iterator[None]:
    base = bench.policy.model.get_base_model()
    before = base.config._attn_implementation
    base.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        base.set_attn_implementation(before)


@contextmanager
def _scored_apart(apart: Callable[[Sequence[PromptGroup]], Iterable[PromptGroup]]) -> Iterator[None]:
    """Rows are taken to pieces, each a pass of its own."""
    score_row = scoring.score_row

    def in_pieces(policy: Policy, groups: Sequence[PromptGroup]) -> torch.Tensor:
        return torch.cat([score_row(policy, [group]) for group in apart(groups)])

    with patch.object(updates, "score_row", in_pieces), patch.object(reference, "score_row", in_pieces):
        yield


def _no_shared_prompt(bench: Bench) -> AbstractContextManager[Any]:
    return _scored_apart(lambda groups: ((prompt, [one]) for prompt, completions in groups for one in completions))


def _prompt_by_prompt(bench: Bench) -> AbstractContextManager[Any]:
    return _scored_apart(lambda groups: groups)


def _pair_by_pair(bench: Bench) -> AbstractContextManager[Any]:
    def pairs(comparisons: Sequence[Comparison], *_: Any) -> Iterator[list[Comparison]]:
        return ([comparison] for comparison in comparisons)

    return patch.object(updates, "micro_batches", pairs)


def _reference_each_step(bench: Bench) -> AbstractContextManager[Any]:
    draw, settings = rounds.draw_comparisons, bench.workload.settings

    def scored_anew(*arguments: Any, **options: Any) -> list[Comparison]:
        comparisons = draw(*arguments, **options)
        named = [side for sides in sequences_of(comparisons).values() for side in sides.values()]
        score_under_reference(
            bench.policy, named, bench.workload.encoded.prompts, max_tokens=settings.dpo.micro_batch_tokens
        )
        return comparisons

    return patch.object(rounds, "draw_comparisons", scored_anew)


ABLATIONS = {
    # As in every round but the first, where the policy is the reference no more.
    "scored-samples": Ablation((REFERENCE_PHASE,), lambda bench: nullcontext()),
    "two-prompts": Ablation((SAMPLING,), _two_prompts),
    "library-products": Ablation((SAMPLING,), _library_products),
    "own-cache": Ablation((SAMPLING,), _own_cache),
    "library-adapters": Ablation((REFERENCE_PHASE, UPDATES), _library_adapters),
    "masked-attention": Ablation((REFERENCE_PHASE, UPDATES), _masked_attention),
    "library-attention": Ablation(PHASES, _library_attention),
    "prompt-by-prompt": Ablation((REFERENCE_PHASE, UPDATES), _prompt_by_prompt),
    "no-shared-prompt": Ablation((REFERENCE_PHASE, UPDATES), _no_shared_prompt),
    "pair-by-pair": Ablation((UPDATES,), _pair_by_pair),
    "reference-each-step": Ablation((UPDATES,), _reference_each_step),
}
