"""The arithmetic that a round cannot do without, and the time it takes at the machine's own ceilings.

A product of R rows with a linear layer of W weights is 2 R W FLOPs. Attention of one query over C positions is
4 C (query heads x head size) FLOPs a block: one product with the keys, one with the values.

    updates     each distinct token of a group once (the prompt once for its completions): 2 FLOPs a linear weight, the
                head's only for completion tokens; twice that, for forward and the gradient of the activations (the
                base's own weights get none); and three times the attention (its backward has four products).
    reference   the forward pass of all completions and demonstrations, the prompt once a demonstration; of the
                demonstrations alone where what the samples were drawn with will do.
    sampling    each distinct prompt once, with the head at its last token; then one step after the other with the rows
                that are there when a freed slot is refilled at once: each step takes the longer of reading all weights
                once (copied bytes count twice, as read and written, in the measured rate) and its rows' FLOPs.

Adapters, norms, softmax, the loss, the optimizer, recomputed activations, unpacking of 4-bit weights and reading the
cache are left out, so that it is a floor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ditto_cli.method.rounds import own_completions
from ditto_cli.method.updates import sequences_of
from speed.records import REFERENCE_PHASE, SAMPLING, UPDATES, Ceilings, Work
from speed.shapes import Architecture
from speed.workload import Workload


def work_of(workload: Workload, sizes: Architecture, *, is_exact: bool) -> Work:
    """The arithmetic of a run's first round.

    Args:
        workload: the round's.
        sizes: of the base.
        is_exact: the policy's; then what the samples were drawn with is their score under the reference.
    """
    encoded = workload.encoded
    lengths = [len(completion.token_ids) for completion in workload.drawn]
    prompts = [len(encoded.prompts[completion.demonstration_id]) for completion in workload.drawn]
    scored: dict[str, list[int]] = {}
    for completion in (*own_completions(encoded), *(() if is_exact else workload.drawn)):
        scored.setdefault(completion.demonstration_id, []).append(len(completion.token_ids))
    steps = workload.comparisons(workload.unscored_history())
    groups = [
        (len(encoded.prompts[name]), [len(side.token_ids) for side in named.values()])
        for comparisons in steps
        for name, named in sequences_of(comparisons).items()
    ]
    num_comparisons = sum(len(comparisons) for comparisons in steps)
    rows = decode_rows(prompts, lengths, workload.settings.sampling.max_slots)
    return Work(
        prefill_flops=sum(
            _linear_flops(sizes, len(ids), 1) + _attention_flops(sizes, _triangle(len(ids)))
            for ids in set(encoded.prompts.values())
        ),
        decode_flops=[
            _linear_flops(sizes, len(contexts), len(contexts)) + _attention_flops(sizes, sum(contexts))
            for contexts in rows
        ],
        weight_bytes=sizes.weight_bytes,
        reference_flops=sum(forward_flops(sizes, len(encoded.prompts[name]), group) for name, group in scored.items()),
        update_flops=sum(update_flops(sizes, prompt, group) for prompt, group in groups),
        description=_description(workload, len(steps), num_comparisons),
        num_distinct=sum(len(group) for _, group in groups),
        num_naive=2 * num_comparisons,
    )


def forward_flops(sizes: Architecture, prompt: int, completions: Sequence[int]) -> float:
    """One forward pass of a group: the prompt once, then each completion behind it."""
    tokens = sum(completions)
    return _linear_flops(sizes, prompt + tokens, tokens) + _attention_flops(sizes, _positions(prompt, completions))


def update_flops(sizes: Architecture, prompt: int, completions: Sequence[int]) -> float:
    """Forward pass and activation gradient of a group."""
    tokens = sum(completions)
    attention = _attention_flops(sizes, _positions(prompt, completions))
    return 2 * _linear_flops(sizes, prompt + tokens, tokens) + 3 * attention


def decode_rows(prompts: Sequence[int], lengths: Sequence[int], max_slots: int) -> list[list[int]]:
    """For each decoding step the positions that each of its rows attends to.

    A sequence of L tokens takes L - 1 steps, since its first token comes from reading the prompt; the next one waiting
    takes its slot at once.
    """
    waiting = deque(zip(prompts, lengths, strict=True))
    active: list[tuple[int, int]] = []  # positions so far, tokens to go
    steps: list[list[int]] = []
    while waiting or active:
        while waiting and len(active) < max_slots:
            active.append(waiting.popleft())
        active = [(context + 1, left - 1) for context, left in active if left > 1]
        if active:
            steps.append([context for context, _ in active])
    return steps


def floor_seconds(work: Work, ceilings: Ceilings) -> dict[str, float]:
    """The time of each phase at the ceilings."""
    reading = work.weight_bytes / ceilings.bytes_per_second

    def longer(flops: Iterable[float]) -> float:
        return sum(max(reading, one / ceilings.flops_per_second) for one in flops)

    return {
        SAMPLING: longer([work.prefill_flops, *work.decode_flops]),
        REFERENCE_PHASE: work.reference_flops / ceilings.flops_per_second,
        UPDATES: work.update_flops / ceilings.flops_per_second,
    }


def _linear_flops(sizes: Architecture, tokens: int, head_tokens: int) -> float:
    block = sum(rows * columns for rows, columns in sizes.linears)
    return 2.0 * (tokens * sizes.num_layers * block + head_tokens * sizes.head[0] * sizes.head[1])


def _attention_flops(sizes: Architecture, positions: int) -> float:
    return 4.0 * positions * sizes.num_heads * sizes.head_size * sizes.num_layers


def _positions(prompt: int, completions: Sequence[int]) -> int:
    """Pairs of a query and a position that it sees."""
    return _triangle(prompt) + sum(prompt * length + _triangle(length) for length in completions)


def _triangle(num: int) -> int:
    return num * (num + 1) // 2


def _description(workload: Workload, num_steps: int, num_comparisons: int) -> str:
    encoded, settings = workload.encoded, workload.settings
    updates = "1 update" if num_steps == 1 else f"{num_steps} updates"
    return (
        f"{len(encoded.prompts)} demonstrations ({encoded.num_tokens} tokens), "
        f"{settings.sampling.completions_per_prompt} samples each ({workload.sampled_tokens} tokens, limit "
        f"{encoded.max_new_tokens}), {updates} of {num_comparisons // num_steps} comparisons"
    )
