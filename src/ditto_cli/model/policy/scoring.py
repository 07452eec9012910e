"""Summed log-probabilities of token ids under the active policy, at completion positions only and in chunks.

Legend: B completions, T tokens of the whole row, N tokens of all completions, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ditto_cli.model.fast.rows import Row
from ditto_cli.model.policy.policy import Head, Policy
from ditto_cli.types import Completion

T = TypeVar("T")

PromptGroup = tuple[Sequence[int], Sequence[Sequence[int]]]  # token ids of a prompt, and of completions after it

# fp32 logits of one chunk stay below this; 7 texts of 700 tokens over a 152k vocabulary would be 3 GiB at once.
_CHUNK_BYTES = 256 * 2**20
# On a CPU below what the C library asks the system for anew each time (glibc: 32 MiB), which costs more than it saves.
_CHUNK_BYTES_ON_CPU = 24 * 2**20


def score(policy: Policy, prompt_ids: Sequence[int], completions: Sequence[Sequence[int]]) -> Tensor:
    """Summed log-probability of each completion after one prompt: `score_row` of one group."""
    return score_row(policy, [(prompt_ids, completions)])


def score_completions(
    policy: Policy, completions: Iterable[Completion], prompts: Mapping[str, tuple[int, ...]]
) -> Tensor:
    """`score_row` of completions, those of one demonstration behind each other; `prompts` by demonstration."""
    by_prompt = groupby(completions, key=lambda completion: completion.demonstration_id)
    return score_row(policy, [(prompts[name], [one.token_ids for one in own]) for name, own in by_prompt])


def count_row_tokens(completions: Sequence[Completion], prompts: Mapping[str, tuple[int, ...]]) -> int:
    """Tokens of the row that these completions are scored in: each prompt once."""
    names = {completion.demonstration_id for completion in completions}
    return sum(len(prompts[name]) for name in names) + sum(len(completion.token_ids) for completion in completions)


def split_by_size(items: Iterable[T], size: Callable[[list[T]], int], most: int) -> Iterator[list[T]]:
    """Items in their order, as many at a time as have at most the size `most` together, but at least one."""
    batch: list[T] = []
    for item in items:
        if batch and size([*batch, item]) > most:
            yield batch
            batch = []
        batch = [*batch, item]
    if batch:
        yield batch


def score_row(policy: Policy, groups: Sequence[PromptGroup]) -> Tensor:
    """Summed log-probability [B] of each completion after its prompt, fp32, in nats, in the order of the groups.

    All is one row where the base's layers allow it: each prompt once, with its completions behind it. A completion sees
    its prompt and itself only, at the positions that it would have alone, so this is exact and nothing is padded. Else,
    and with `base.speed=plain`, each completion is a pass of its own.

    The active adapter is used, with gradients when they are on. Each prompt and completion has at least one token; an
    end token counts like any other.
    """
    texts = [(prompt, completion) for prompt, completions in groups for completion in completions]
    longest = max(len(prompt) + len(completion) for prompt, completion in texts)
    if not policy.has_slots or not policy.sees_all(longest):  # in rows of their own, under the base's masks and states
        sums = []
        for prompt, completion in texts:
            ids_BT = torch.tensor([[*prompt, *completion]], device=policy.hardware.device)
            positions_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
            hidden_TH = policy.hidden(ids_BT, torch.ones_like(ids_BT), positions_BT)[0, len(prompt) - 1 : -1]
            sums.append(_token_logps(policy.head(), hidden_TH, ids_BT[0, len(prompt) :]).sum())
        return torch.stack(sums)
    if len(groups) > 1 and not policy.takes_groups:  # all pairs of a long row would be computed
        return torch.cat([score_row(policy, [group]) for group in groups])
    device = policy.hardware.device
    ids: list[int] = []
    before: list[int] = []  # of each completion's token, where its log-probability is told
    for prompt, completions in groups:
        ids += prompt
        last = len(ids) - 1
        for completion in completions:
            before += [last, *range(len(ids), len(ids) + len(completion) - 1)]
            ids += completion
    row = Row.of([(len(prompt), [len(one) for one in completions]) for prompt, completions in groups], device)
    ids_1T = torch.tensor(ids, device=device)[None]
    hidden_TH = policy.hidden(ids_1T, row.pattern_11TT, row.positions_1T, groups=row.groups)[0]
    # Not hidden_TH[before]: its backward pass adds up what the completions say of the prompt's last token in whatever
    # order the threads come.
    targets_N = torch.tensor([token for _, completion in texts for token in completion], device=device)
    hidden_NH = hidden_TH.index_select(0, torch.tensor(before, device=device))
    logps_N = _token_logps(policy.head(), hidden_NH, targets_N)
    owner_N = torch.repeat_interleave(
        torch.arange(len(texts)), torch.tensor([len(completion) for _, completion in texts])
    )
    return torch.zeros(len(texts), device=device).index_add(0, owner_N.to(device), logps_N)


class _TokenLogps(torch.autograd.Function):
    """Log-probability of each target, and its gradient in the same pass, so that no logits are kept or computed twice.

    A token's log-probability depends on its own hidden state alone. Its gradient is taken while the logits of its chunk
    are there; on the way back it is only multiplied by what comes in.
    """

    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, targets_N: Tensor, head: Head, chunk: int) -> Tensor:
        logps, gradients = [], []
        for hidden, targets in zip(hidden_NH.split(chunk), targets_N.split(chunk), strict=True):
            with torch.enable_grad():
                own = hidden.detach().requires_grad_()
                logp = _chunk_logps(head, own, targets)
                gradients += torch.autograd.grad(logp.sum(), own)
            logps.append(logp.detach())
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(logps)

    @staticmethod
    def backward(ctx: Any, *incoming: Any) -> Any:
        (gradient_NH,) = ctx.saved_tensors
        return gradient_NH * incoming[0][:, None].to(gradient_NH.dtype), None, None, None


def _token_logps(head: Head, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
    chunk_bytes = _CHUNK_BYTES if hidden_NH.is_cuda else _CHUNK_BYTES_ON_CPU
    chunk = max(1, chunk_bytes // (4 * head.linear.weight.shape[0]))
    is_frozen = not any(parameter.requires_grad for parameter in head.linear.parameters())
    if is_frozen and torch.is_grad_enabled() and hidden_NH.requires_grad:
        return cast(Tensor, _TokenLogps.apply(hidden_NH, targets_N, head, chunk))
    pieces = zip(hidden_NH.split(chunk), targets_N.split(chunk), strict=True)
    return torch.cat([_chunk_logps(head, hidden, targets) for hidden, targets in pieces])


def _chunk_logps(head: Head, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
    return -nn.functional.cross_entropy(head.logits(hidden_NH), targets_N, reduction="none")
