"""Full memory: every stage goes on with less at a time and the same result, or says in one line what does not fit."""

import gc
import itertools
import math
import re
import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from transformers.cache_utils import DynamicCache

from conftest import heard, imitate_texts, load_tiny, shake
from ditto_cli.config import DpoSettings, LoraSettings, RoundSettings, SftSettings
from ditto_cli.errors import MemoryLimitError
from ditto_cli.method.updates import Updater, score_under_reference
from ditto_cli.model.base import loading
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.memory import MemoryGuard, free_memory, halving, is_out_of_memory, keeping_what_is_there
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, ComparisonKind, Completion, Demonstration, SampleRequest, SilentReporter

CPU = detect("cpu")


def cuda_full():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def cpu_full():
    return RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.fixture(scope="module", autouse=True)
def _imported_modules_are_not_searched():
    """A collection takes 0.3 s with all libraries in it, and memory is freed often here."""
    gc.collect()
    with keeping_what_is_there():
        yield


FULL = [cuda_full, cpu_full, MemoryError]
OTHER_WORDS = ["CUDA error: out of memory", "CUDA driver error: out of memory", "Triton Error [CUDA]: out of memory"]


@contextmanager
def room_for(module, num, *, axis=0, error=cuda_full, size=None):
    """Within the block the module's input has room for `num` along `axis`, or by `size`; yields the sizes it saw."""
    sizes = []

    def look(module, arguments):
        sizes.append(size(arguments[0]) if size else arguments[0].shape[axis])
        if sizes[-1] > num:
            raise error()

    hook = module.register_forward_pre_hook(look)
    try:
        yield sizes
    finally:
        hook.remove()


def embedding(policy):
    return policy.model.get_input_embeddings()


# --- the guard


@pytest.mark.parametrize("error", [*(error() for error in FULL), *map(RuntimeError, OTHER_WORDS)], ids=str)
def test_full_memory_is_known_by_its_errors(error):
    assert is_out_of_memory(error)


def test_a_real_allocation_that_cannot_be_made_is_full_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**47)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("CUDA out of memory"), KeyError("x")])
def test_other_errors_are_not_and_pass_through(error):
    assert not is_out_of_memory(error)

    def work(limit):
        raise error

    with pytest.raises(type(error)) as caught:
        MemoryGuard("This machine's memory").fit("work", work, 4, noun="row", advice="-")
    assert caught.value is error


def tries(work_fits, limit, *, memory="GPU memory", guard=None, kind="work", lower=None):
    """What came of it, the limits tried, and what was said."""
    tried, guard = [], guard or MemoryGuard(memory)

    def work(limit):
        tried.append(limit)
        if not work_fits(limit):
            raise cuda_full()
        return limit * 10

    with heard([]) as said:
        try:
            result = guard.fit(kind, work, limit, noun="row", advice="buy more", lower=lower)
        except MemoryLimitError as error:
            result = error
    return result, tried, said


def test_the_limit_is_halved_until_the_work_fits_and_each_lowering_is_said_once():
    result, tried, said = tries(lambda limit: limit <= 1, 5)
    assert result == 10
    assert tried == [5, 2, 1]
    assert said == [
        "GPU memory is full: going on with 2 rows at a time instead of 5.",
        "GPU memory is full: going on with 1 row at a time instead of 2.",
    ]
    assert tries(lambda limit: True, 5) == (50, [5], [])
    assert tries(lambda limit: limit < 5, 5, memory="This machine's memory")[2][0].startswith(
        "This machine's memory is full"
    )


def test_later_work_of_the_same_kind_begins_with_the_limit_that_fitted():
    guard = MemoryGuard("GPU memory")
    assert tries(lambda limit: limit <= 2, 5, guard=guard)[1] == [5, 2]
    assert guard.lowered == {"work": 2}
    assert tries(lambda limit: True, 5, guard=guard)[1:] == ([2], [])
    assert tries(lambda limit: True, 5, guard=guard, kind="other")[1] == [5]
    assert tries(lambda limit: True, 1, guard=guard)[1] == [1]  # less is wanted than there is room for
    assert tries(lambda limit: limit <= 1, 5, guard=guard)[1] == [2, 1]
    assert guard.lowered == {"work": 1}


def test_when_nothing_fits_one_line_says_so():
    result, tried, _ = tries(lambda limit: False, 5)
    assert tried == [5, 2, 1]
    assert str(result) == "GPU memory is full even with 1 row at a time: buy more."
    assert result.exit_code == 5
    assert result.__context__ is None


def test_halving_ends_at_the_least_that_makes_a_difference():
    assert tries(lambda limit: False, 100, lower=halving(30))[1] == [100, 50, 30]
    assert tries(lambda limit: False, 20, lower=halving(30))[1] == [20]


def test_nothing_holds_the_failed_works_tensors_when_it_is_done_anew():
    large = []

    def work(limit):
        assert all(held() is None for held in large)
        tensor = torch.zeros(8)
        cycle = [tensor]
        cycle.append(cycle)  # as models and trainers have them
        large.append(weakref.ref(tensor))
        if limit > 1:
            raise cuda_full()

    gc.disable()  # only what the helper frees counts
    try:
        MemoryGuard("This machine's memory").fit("work", work, 4, noun="row", advice="-")
    finally:
        gc.enable()
    assert len(large) == 3


# --- sampling


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("policy", LoraSettings(r=4, alpha=8, dropout=0.0), seed=1)
    shake(tiny_policy, seed=2, scale=0.1)
    return tiny_policy


def requests_for(policy, num):
    prompts = [policy.chat.prompt_ids(text) for text in ("Hi", "Write to Bo about tea.", "No.")]
    return [SampleRequest(prompts[index % 3], derive_seed(0, index)) for index in range(num)]


def longest_of(requests, max_new_tokens):
    return max(len(request.prompt_ids) for request in requests) + max_new_tokens


@pytest.mark.parametrize("error", FULL)
def test_sampling_goes_on_with_half_the_slots_and_the_same_texts(policy, said, error):
    policy.chat = replace(policy.chat, stop_token_ids=frozenset(range(0, 272, 7)))
    requests = requests_for(policy, 11)
    expected = sample(policy, requests, max_new_tokens=12, temperature=1.0)
    done, longest = [], longest_of(requests, 12)
    with room_for(embedding(policy), 3, error=error) as sizes:
        answers = sample(
            policy,
            requests,
            max_new_tokens=12,
            temperature=1.0,
            max_slots=8,
            on_finished=done.append,
        )
    assert answers == expected
    assert max(sizes) > 3
    limits = [policy.max_cached_tokens, 4 * longest, 2 * longest]
    assert [re.findall(r"(\d+) tokens? at a time instead of (\d+)", line) for line in said] == [
        [(str(less), str(more))] for more, less in itertools.pairwise(limits)
    ]
    assert done == sorted(set(done))  # what is finished is never counted again
    assert done[-1] == 11


def test_finished_texts_are_kept_when_memory_runs_out_later(policy, said):
    """Memory that grows full with the texts' length, as it does: the short ones are there already."""
    policy.chat = replace(policy.chat, stop_token_ids=frozenset(range(0, 272, 7)))
    requests = requests_for(policy, 12)
    expected = sample(policy, requests, max_new_tokens=12, temperature=1.0)
    steps, done = [], []

    def full_in_pass_seven(module, arguments):
        steps.append(arguments[0].shape[0])
        if len(steps) == 7:  # behind what the prompts share, the prompts, and four steps
            raise cuda_full()

    hook = embedding(policy).register_forward_pre_hook(full_in_pass_seven)
    answers = sample(policy, requests, max_new_tokens=12, temperature=1.0, on_finished=done.append)
    hook.remove()
    assert answers == expected
    finished = sum(len(answer.token_ids) <= 4 for answer in answers)
    assert 0 < finished < 12
    (line,) = said
    # Half of those that were left, not half of the 64 slots.
    left = 12 - sum(len(answer.token_ids) <= 5 for answer in answers)
    assert f"going on with {left // 2 * longest_of(requests, 12)} token" in line
    assert max(steps[7:]) <= (12 - finished) // 2


def test_sampling_that_cannot_hold_one_sequence_is_a_memory_limit(policy):
    # Nothing that all begin with, which would be read by itself.
    requests = [
        replace(r, prompt_ids=(place % 3 + 5, *r.prompt_ids)) for place, r in enumerate(requests_for(policy, 5))
    ]
    with room_for(embedding(policy), 0) as sizes, pytest.raises(MemoryLimitError) as caught:
        sample(policy, requests, max_new_tokens=3, temperature=1.0)
    assert str(caught.value) == (
        f"This machine's memory is full even with {longest_of(requests, 3)} tokens at a time: ask for shorter texts "
        "(sampling.length_factor), or take a smaller base (--base), or base.quantize=nf4."
    )
    assert sizes == [3, 2, 1]  # distinct prompts of five, two and one sequences
    assert policy.active == "policy"  # and the policy is still of use
    assert len(sample(policy, requests_for(policy, 1), max_new_tokens=3, temperature=1.0)) == 1


def test_a_cached_token_takes_as_many_bytes_as_the_policy_thinks(policy):
    cache = DynamicCache()
    with torch.no_grad():
        policy.hidden(torch.arange(7)[None], torch.ones(1, 7), torch.arange(7)[None], cache)
    assert sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) == 7 * policy.cached_token_bytes


@pytest.mark.parametrize("speed", ["auto", "plain"])
@pytest.mark.parametrize(("tokens", "rows"), [(0, 3), (-1, 2)])
def test_keys_and_values_never_outgrow_their_share_of_the_memory(policy, speed, tokens, rows):
    """However many slots are asked for."""
    requests = [replace(request, prompt_ids=(5, 6, 7)) for request in requests_for(policy, 8)]
    expected = sample(policy, requests, max_new_tokens=4, temperature=1.0, max_slots=64)
    wanted = 3 * longest_of(requests, 4) + tokens
    policy.hardware = replace(policy.hardware, memory_bytes=int((wanted + 0.5) * policy.cached_token_bytes / 0.15))
    policy.speed = speed
    assert policy.max_cached_tokens == wanted
    with room_for(embedding(policy), math.inf) as sizes:
        assert sample(policy, requests, max_new_tokens=4, temperature=1.0, max_slots=64) == expected
    assert max(sizes) == rows
    policy.hardware = replace(policy.hardware, memory_bytes=1)  # one at a time is always tried
    assert sample(policy, requests, max_new_tokens=4, temperature=1.0, max_slots=64) == expected


def test_an_error_of_another_kind_is_not_tried_again(policy):
    with room_for(embedding(policy), 0, error=lambda: RuntimeError("bug")) as sizes, pytest.raises(RuntimeError):
        sample(policy, requests_for(policy, 5), max_new_tokens=3, temperature=1.0)
    assert len(sizes) == 1


# --- one update


@pytest.fixture
def material(policy):
    """Comparisons of two demonstrations with three samples each, and the prompts."""
    prompts = {"a.md": policy.chat.prompt_ids("Invite Bo."), "b.md": policy.chat.prompt_ids("Decline the party.")}
    texts = ["hi bo - tea at 4? x", "Dear Bo, I am writing", "I would like to invite", "Hello"]
    sides = [
        Completion(name, None if i == 0 else 0, i, policy.chat.completion_ids(text), True, math.nan)
        for name in prompts
        for i, text in enumerate(texts)
    ]
    policy.copy_adapter("policy", "reference")
    shake(policy, seed=3, scale=0.2)
    policy.switch("policy", trainable=True)
    scored = score_under_reference(policy, sides, prompts, max_tokens=4096)
    comparisons = [
        Comparison(ComparisonKind.ONLINE, own, other) for own, *others in (scored[:4], scored[4:]) for other in others
    ]
    return comparisons, prompts


# Each of the two demonstrations is a micro-batch.
DPO = DpoSettings(beta=0.05, learning_rate=1e-3, warmup_ratio=0.0, micro_batch_tokens=128)
ROUNDS = RoundSettings(num=1, steps=4)


def weights_of(policy):
    return [parameter.detach().clone() for parameter in policy.parameters()]


def put_back(policy, weights):
    with torch.no_grad():
        for parameter, value in zip(policy.parameters(), weights, strict=True):
            parameter.copy_(value)


def test_an_update_goes_on_with_smaller_micro_batches_and_the_same_gradient(policy, material, said):
    comparisons, prompts = material
    start = weights_of(policy)
    expected = Updater(policy, DPO, ROUNDS, seed=0).update(comparisons, prompts, round_number=0, step=0)
    weights = weights_of(policy)
    put_back(policy, start)
    updater = Updater(policy, DPO, ROUNDS, seed=0)
    with room_for(embedding(policy), 80, axis=1) as sizes:
        metrics = updater.update(comparisons, prompts, round_number=0, step=0)
        first = list(sizes)
        sizes.clear()
        updater.update(comparisons, prompts, round_number=0, step=1)
    whole = first[0]
    assert whole > 80
    # The whole group, then what fits half of the larger group's tokens: each comparison by itself, or two.
    assert all(size <= 80 for size in first[-len(sizes) :])
    assert len(said) == 1
    assert re.fullmatch(r"This machine's memory is full: going on with \d+ tokens at a time instead of \d+\.", said[0])
    assert max(sizes) <= 80  # the lowered limit stays
    assert metrics.kinds == expected.kinds
    for name, value in expected.values.items():
        assert metrics.values[name] == pytest.approx(value, abs=1e-5), name
    put_back(policy, start)
    policy.guard.lowered.clear()
    Updater(policy, DPO, ROUNDS, seed=0).update(comparisons, prompts, round_number=0, step=0)
    for one, other in zip(policy.parameters(), weights, strict=True):
        assert torch.equal(one, other)


def test_a_gradient_half_done_when_memory_ran_out_counts_nothing(policy, material):
    comparisons, prompts = material
    start = weights_of(policy)
    calls = []

    def full_in_the_second_group(module, arguments):
        calls.append(arguments[0].shape[1])
        if len(calls) == 2:
            raise cuda_full()

    expected = Updater(policy, DPO, ROUNDS, seed=0).update(comparisons, prompts, round_number=0, step=0)
    put_back(policy, start)
    hook = embedding(policy).register_forward_pre_hook(full_in_the_second_group)
    metrics = Updater(policy, DPO, ROUNDS, seed=0).update(comparisons, prompts, round_number=0, step=0)
    hook.remove()
    assert len(calls) > 4
    assert metrics.values["grad_norm"] == pytest.approx(expected.values["grad_norm"], rel=1e-4)
    assert metrics.values["loss"] == pytest.approx(expected.values["loss"], abs=1e-6)


def test_an_update_that_cannot_hold_one_comparison_leaves_weights_and_optimizer(policy, material):
    comparisons, prompts = material
    updater = Updater(policy, DPO, ROUNDS, seed=0)
    updater.update(comparisons, prompts, round_number=0, step=0)
    weights, state = weights_of(policy), updater.state()
    with room_for(embedding(policy), 10, axis=1) as sizes, pytest.raises(MemoryLimitError) as caught:
        updater.update(comparisons, prompts, round_number=0, step=1)
    assert re.fullmatch(
        r"This machine's memory is full even with \d+ tokens at a time: take shorter texts, lower "
        r"sampling\.length_factor, or take a smaller base \(--base\), or base\.quantize=nf4\.",
        str(caught.value),
    )
    assert len(sizes) <= 4  # it does not halve down to one token, which would change nothing
    assert all(torch.equal(one, other) for one, other in zip(weights, policy.parameters(), strict=True))
    assert {key: value.tolist() for key, value in updater.state().items()} == {
        key: value.tolist() for key, value in state.items()
    }
    updater.update(comparisons, prompts, round_number=0, step=1)  # and it goes on when there is room


def test_scores_under_the_reference_are_the_same_in_smaller_batches(policy, material, said):
    comparisons, prompts = material
    sides = [comparison.rejected for comparison in comparisons]
    expected = score_under_reference(policy, sides, prompts, max_tokens=4096)
    with room_for(embedding(policy), 75, axis=1) as sizes:
        scored = score_under_reference(policy, sides, prompts, max_tokens=4096)
    assert sizes[0] > 75
    assert said
    assert all("tokens at a time instead of" in line for line in said)
    for one, other in zip(scored, expected, strict=True):
        assert one.reference_logp == pytest.approx(other.reference_logp, abs=1e-4)


@pytest.mark.parametrize(("kind", "axis", "room"), [("sampling", 0, 3), ("scoring", 1, 75), ("update", 1, 80)])
def test_a_limit_that_was_lowered_stays_for_later_work_of_its_kind(policy, material, said, kind, axis, room):
    comparisons, prompts = material
    work = {
        "sampling": lambda: sample(policy, requests_for(policy, 8), max_new_tokens=4, temperature=1.0),
        "scoring": lambda: score_under_reference(policy, [c.rejected for c in comparisons], prompts, max_tokens=4096),
        "update": lambda: Updater(policy, DPO, ROUNDS, seed=0).update(comparisons, prompts, round_number=0, step=0),
    }
    with room_for(embedding(policy), room, axis=axis) as sizes:
        work[kind]()
        assert max(sizes) > room
        assert set(policy.guard.lowered) == {kind}
        told = list(said)
        assert told
        sizes.clear()
        work[kind]()
    assert 0 < max(sizes) <= room
    assert said == told


# --- SFT

SFT = SftSettings(learning_rate=5e-3, batch_size=4, max_steps=3, warmup_ratio=0.0, stop_loss=0.0)
TEXTS = ("hi bo - tea at 4? x", "no", "al. that book. wow x", "ok then, see you all on friday", "what", "yes!! x")


class Steps(SilentReporter):
    def __init__(self):
        self.told = []

    def advance_work(self, step, metrics):
        self.told.append((step, metrics["loss"]))


def imitated(policy, room, settings=SFT, hook=None, dropout=0.0):
    """Losses, what the reporter was told, what was said, and the weights, of SFT with room for so many texts."""
    policy.add_adapter("alice", LoraSettings(r=4, alpha=8, dropout=dropout), seed=5)
    texts = [Demonstration(f"{number}.md", "Write.", text) for number, text in enumerate(TEXTS)]
    steps, module = Steps(), embedding(policy)
    turn = policy.chat.prompt_ids("Write.")[0]  # begins the user's turn and the assistant's, in each text of a row
    handle = module.register_forward_pre_hook(hook) if hook else None
    with heard([]) as said, room_for(module, room, size=lambda ids: int((ids == turn).sum()) // 2) as sizes:
        losses = imitate_texts(policy, texts, settings, reporter=steps)
    if handle:
        handle.remove()
    weights = weights_of(policy)
    policy.remove("alice")
    return losses, steps.told, said, weights, sizes


@pytest.mark.parametrize(("room", "limits"), [(2, [["2", "4"]]), (1, [["2", "4"], ["1", "2"]])])
def test_sft_goes_on_with_smaller_parts_of_the_same_batches(tiny_policy, room, limits):
    losses, told, _, expected, sizes = imitated(tiny_policy, 4)
    assert sizes == [4, 2, 4]  # six texts in batches of four: an epoch's last batch is short
    again, told_again, said, weights, _ = imitated(tiny_policy, room)
    assert [re.findall(r"\d+", line) for line in said] == limits
    assert again == pytest.approx(losses, abs=1e-5)
    assert [step for step, _ in told_again] == [step for step, _ in told] == [1, 2, 3]
    for one, other in zip(weights, expected, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_sft_begins_anew_from_the_weights_that_it_found(tiny_policy):
    seen = []

    def full_in_the_third_forward_pass(module, arguments):
        seen.append(arguments[0].shape[0])
        if len(seen) == 3:
            raise cpu_full()

    losses, told, _, weights, _ = imitated(tiny_policy, 4, hook=full_in_the_third_forward_pass, dropout=0.1)
    assert [step for step, _ in told] == [1, 2, 1, 2, 3]
    assert losses == [loss for _, loss in told[2:]]
    # The same as if it had begun with the smaller parts.
    tiny_policy.guard.lowered.clear()
    expected = imitated(tiny_policy, 2, dropout=0.1)
    assert losses == expected[0]
    assert all(torch.equal(one, other) for one, other in zip(weights, expected[3], strict=True))


def test_parts_divide_the_batch(tiny_policy):
    settings = SFT.model_copy(update={"batch_size": 6})
    assert [re.findall(r"\d+", line) for line in imitated(tiny_policy, 1, settings)[2]] == [
        ["3", "6"],
        ["2", "3"],
        ["1", "2"],
    ]


def test_parts_that_are_no_smaller_than_the_number_of_texts_are_not_tried(tiny_policy):
    settings = SFT.model_copy(update={"batch_size": 24})
    assert re.findall(r"\d+", imitated(tiny_policy, 4, settings)[2][0]) == ["4", "24"]


def test_later_sft_begins_with_the_part_that_fitted_and_keeps_its_batches_whole(tiny_policy):
    imitated(tiny_policy, 2)
    _, _, said, _, sizes = imitated(tiny_policy, 2)
    assert (said, sizes[:2]) == ([], [2, 2])
    # Three texts at a time would be one too many, and two do not divide a batch of three.
    settings = SFT.model_copy(update={"batch_size": 3})
    losses, _, said, weights, sizes = imitated(tiny_policy, 2, settings)
    assert (said, sizes) == ([], [1] * 9)
    tiny_policy.guard.lowered.clear()
    expected = imitated(tiny_policy, 3, settings)
    assert losses == pytest.approx(expected[0], abs=1e-5)
    for one, other in zip(weights, expected[3], strict=True):
        assert (one - other).abs().max() < 1e-5


def test_sft_that_cannot_hold_one_text_is_a_memory_limit(tiny_policy):
    with pytest.raises(MemoryLimitError, match="even with 1 text at a time: take shorter texts, or a smaller base"):
        imitated(tiny_policy, 0)
    assert not tiny_policy.model.training


# --- the base


def test_a_base_that_does_not_fit_is_a_memory_limit(tiny_folder, monkeypatch):
    def full(*arguments, **options):
        raise cuda_full()

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(MemoryLimitError, match=r"does not fit into the memory of CPU.*base\.quantize=nf4\.$"):
        load_tiny(tiny_folder)


def test_a_cpu_wastes_no_time_on_numbers_that_are_nearly_zero():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    detect("cpu")
    assert float(torch.full((4,), 1e-39).mul(1.0).sum()) == 0.0


def test_what_is_there_is_not_looked_through_for_cycles_within_the_block():
    """The last test here: afterwards nothing is kept out of the search."""

    class Ring:
        pass

    def ring():
        one = Ring()
        one.itself = one
        return one

    garbage, older = weakref.ref(ring()), ring()
    with keeping_what_is_there():
        assert garbage() is None
        old, newer = weakref.ref(older), weakref.ref(ring())
        del older
        free_memory()
        assert (old() is None, newer() is None) == (False, True)
    gc.collect(2)  # that of the tests is a shorter one
    assert old() is None
