"""What a run will do, counted before it does it: by hand for a small case, and against what the run itself does."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from ditto_cli.config import Settings
from ditto_cli.method import plan as planning
from ditto_cli.method import reference, rounds, updates
from ditto_cli.method.estimate import Estimator, load_of, typical_group
from ditto_cli.method.plan import Batch, Decoding, Group, Writings, decoding, plan_run
from ditto_cli.method.reference import POLICY
from ditto_cli.method.rounds import encode_demonstrations, run_rounds
from ditto_cli.model.calibration import Calibration, Line, work
from ditto_cli.model.footprint import Linear, Shape, Weights
from ditto_cli.model.passes import Pass
from ditto_cli.model.sampling import sample
from ditto_cli.types import SampledTokens, SampleRequest, SilentReporter

WRITINGS = Writings(background=(20, 22, 30), looks=(20, 25), continued=((24, 4), (25, 9)), watch=21)


def settings(**changes):
    sections = {
        "lora": {"r": 2, "alpha": 4, "dropout": 0.0},
        "sft": {"batch_size": 2, "max_steps": 4},
        "rounds": {"num": 2, "steps": 2},
        "sampling": {"completions_per_prompt": 3, "length_factor": 1.5},
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        sections.setdefault(section, {})[name] = value
    return Settings.model_validate(sections)


@pytest.fixture
def encoded(tiny_policy, tiny_demonstrations):
    return encode_demonstrations(
        tiny_policy.chat, tiny_demonstrations, settings().sampling, context_tokens=tiny_policy.context_tokens
    )


def planned(encoded, chosen):
    return plan_run(encoded, chosen, WRITINGS, is_exact=True)


@pytest.mark.parametrize(
    ("wanted", "max_slots", "expected"),
    [
        # one sequence: its prompt is read, the first token comes of that, and each other one takes a step
        ([(10, 4)], 8, Decoding(((1, 10),), (1, 1, 1), 13, 4)),
        # two of one length share a prompt; rows go as their sequences end
        ([(10, 2), (10, 4)], 8, Decoding(((1, 10),), (2, 1, 1), 13, 6)),
        # prompts are padded to the longest
        ([(10, 1), (7, 1)], 8, Decoding(((2, 10),), (), 10, 2)),
        # one slot: the second begins when the first has ended
        ([(10, 2), (7, 2)], 1, Decoding(((1, 10), (1, 7)), (1, 1), 11, 4)),
    ],
)
def test_decoding_by_hand(wanted, max_slots, expected):
    found = decoding(wanted, max_slots)
    assert dataclasses.replace(found, columns=0) == dataclasses.replace(expected, columns=0)
    assert found.columns in (expected.columns, 8)  # of the last case's second sequence


def test_decoding_is_what_the_sampler_does(tiny_policy, monkeypatch):
    """Reads, rows and the width of the cache of every step, with slots that are filled again."""
    policy = tiny_policy
    policy.chat = dataclasses.replace(policy.chat, stop_token_ids=frozenset())
    wanted = [(9, 5), (9, 2), (4, 7), (6, 1), (6, 6), (3, 3), (8, 2)]
    reads, rows, widths = [], [], []
    hidden = policy.hidden

    def noticed(ids, mask, positions, cache=None):
        (rows if ids.shape[1] == 1 else reads).append(ids.shape[0] if ids.shape[1] == 1 else tuple(ids.shape))
        widths.append(mask.shape[1])
        return hidden(ids, mask, positions, cache)

    monkeypatch.setattr(policy, "hidden", noticed)
    requests = [
        SampleRequest(tuple(range(1, prompt + 1)), seed, max_new_tokens=tokens)
        for seed, (prompt, tokens) in enumerate(wanted)
    ]
    drawn = sample(policy, requests, max_new_tokens=7, temperature=1.0, max_slots=3)
    expected = decoding(wanted, 3)
    assert tuple(reads) == expected.reads
    assert tuple(rows) == expected.rows
    assert max(widths) == expected.columns
    assert sum(len(one.token_ids) for one in drawn) == expected.num_tokens == 26


def test_the_phases_have_the_names_of_the_progress_and_hold_all_work(encoded):
    run = planned(encoded, settings())
    assert [phase.name for phase in run.phases] == [
        *("base: writing", "SFT", "sft: writing", "round 1: DPO"),
        *("round1: writing", "round 2: scoring", "round 2: DPO", "round2: writing"),
        "",
    ]
    by_name = {phase.name: phase for phase in run.phases}
    prompts = [len(ids) for ids in encoded.prompts.values()]
    texts = [len(ids) for ids in encoded.completions.values()]
    limit = encoded.max_new_tokens
    # SFT: a pass over three texts is a batch of two and one of one
    batches = by_name["SFT"].sft
    assert [len(batch.texts) for batch in batches] == [2, 1, 2, 1]
    whole = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
    assert [sorted(batches[i].texts + batches[i + 1].texts) for i in (0, 2)] == [sorted(whole)] * 2
    # the base writes to the limit, and each stage one text up to it
    assert by_name["base: writing"].samples[0].num_tokens == (1 + 3) * limit
    assert len(by_name["base: writing"].samples[0].rows) == limit - 1
    looked = by_name["round2: writing"].samples[0]
    assert (len(looked.rows), looked.rows[0]) == (limit - 1, 1 + 2 + 2)
    assert 1 + limit + 13 < looked.num_tokens < 3 * limit + 13  # and goes on with two texts for 4 and 9 tokens
    # M samples of each text beside it, scored once; the first round's policy is the reference itself
    both, scored = by_name["round1: writing"].samples[0], by_name["round 2: scoring"].scored
    assert len(by_name["round 2: DPO"].updates) == 2
    assert (len(both.rows), both.rows[0]) == (limit - 1, 1 + 2 + 2 + 9)
    assert sum(len(group.completions) for row in scored for group in row) == 9
    assert sum(group.num_scored for row in scored for group in row) + looked.num_tokens == both.num_tokens
    # the rest: the texts are scored once
    rest = by_name[""]
    assert rest.samples == ()
    assert [[group.completions for group in row] for row in rest.scored] == [[(text,) for text in texts]]
    assert rest.saves == 1 + 2 * 2  # two a round, and one of SFT


def test_planned_lengths_are_the_same_every_time_and_around_the_demonstrations(encoded):
    first, second = (planned(encoded, settings()) for _ in range(2))
    assert first == second
    own = [len(ids) for ids in encoded.completions.values()]
    sampled = [n for row in first.phases[5].scored for group in row for n in group.completions]
    assert max(sampled) == encoded.max_new_tokens
    assert sum(sampled) / len(sampled) == pytest.approx(sum(own) / len(own), rel=0.25)
    assert first.phases[2].samples != first.phases[4].samples  # another round, other lengths


@pytest.mark.parametrize("limit_tokens", [4096, 60])
def test_groups_and_micro_batches_are_those_of_the_run(tiny_policy, encoded, monkeypatch, limit_tokens):
    """A run whose samples have the planned lengths scores just the planned groups, in every pass."""
    chosen = settings(dpo__micro_batch_tokens=limit_tokens)
    run = planned(encoded, chosen)
    lengths = {
        number: [len(one.token_ids) for one in planning._sampled(encoded, chosen, number)] for number in range(2)
    }
    counts = {"score": [], "update": []}

    def counted(kind, real):
        def wrapper(policy, groups):
            counts[kind].append(
                tuple(Group(len(prompt), tuple(len(ids) for ids in completions)) for prompt, completions in groups)
            )
            return real(policy, groups)

        return wrapper

    rounds_done = iter(range(2))

    def given(requests):
        number = next(rounds_done)
        return [SampledTokens((70,) * tokens, True, -1.0) for tokens in lengths[number]]

    monkeypatch.setattr(reference, "score_row", counted("score", reference.score_row))
    monkeypatch.setattr(updates, "score_row", counted("update", updates.score_row))
    tiny_policy.add_adapter(POLICY, chosen.lora, seed=0)
    for _ in run_rounds(tiny_policy, encoded, chosen, SilentReporter(), write=given):
        pass
    expected = [*run.phases[-1].scored, *(row for phase in run.phases[:-1] for row in phase.scored)]
    assert counts["score"] == expected
    assert counts["update"] == list(run.micro_batches())


@pytest.mark.parametrize("limit_tokens", [4096, 200, 60])
def test_layers_are_recomputed_for_the_largest_row_that_the_limit_lets_through(
    tiny_policy, encoded, monkeypatch, limit_tokens
):
    asked = []
    memory = SimpleNamespace(checkpointed_layers=lambda row: asked.append(row) or 1)
    monkeypatch.setattr(rounds, "memory_of", lambda policy, lora: memory)
    gpu = SimpleNamespace(hardware=SimpleNamespace(is_cuda=True))
    chosen = settings(dpo__micro_batch_tokens=limit_tokens)
    assert rounds.checkpointed_layers(gpu, encoded, chosen) == 1
    assert rounds.checkpointed_layers(tiny_policy, encoded, chosen) == 0  # on a CPU
    prompts, texts = encoded.prompts, encoded.completions
    drawn = 2 * chosen.dpo.comparisons_per_prompt * encoded.max_new_tokens
    everything = sum(len(prompts[name]) + len(ids) + drawn for name, ids in texts.items())
    one_pair = max(len(prompts[name]) + len(ids) for name, ids in texts.items()) + encoded.max_new_tokens
    (row,) = asked
    assert row.tokens == max(min(limit_tokens, everything), one_pair)


def test_without_rounds_only_sft_and_its_look_are_planned(encoded):
    run = planned(encoded, settings(rounds__num=0))
    assert [phase.name for phase in run.phases] == ["base: writing", "SFT", "sft: writing", ""]
    assert (run.phases[-1].scored, run.phases[-1].saves) == ((), 1)
    assert typical_group(run).num_tokens == max(max(batch.texts) for batch in run.batches())
    assert load_of(run).update == Pass()


def test_a_moved_reference_scores_everything_again(encoded):
    fixed = planned(encoded, settings()).phases[-1].scored
    moved = planned(encoded, settings(rounds__reference="previous")).phases[-1].scored
    # before round 2: the three texts, each with its three samples of round 1
    num_moved, num_fixed = (sum(len(group.completions) for row in rows for group in row) for rows in (moved, fixed))
    assert num_moved == num_fixed + 3 * 4


def test_seconds_by_hand():
    shape = Shape(1, 2, 3, heads=1, key_heads=1, head_size=2, vocabulary=5, is_tied=True)
    weights = Weights((Linear("q_proj", 2, 2, 1),), 10)
    # 4 a token, 10 where there are logits, 4 for a pair of tokens
    assert work(shape, weights, 3, num_scored=2, pairs=9) == 3 * 4 + 2 * 10 + 9 * 4
    line = Line(1.0, 0.5)
    calibration = Calibration(line, Line(0.0, 0.25), 2.0, {1: (0.0, 1.0), 3: (4.0, 2.0)}, 1.0, 0.0)
    estimator = Estimator(shape, weights, calibration, save_bytes=0)
    group = Group(1, (2,))
    phase = planning.Phase("x", "x", updates=(((group,), (group,)),))
    # of the prompt's token with itself 1 pair, of each of the two others with all three 3
    assert estimator.seconds(phase) == 2 * (1 + 0.5 * (3 * 4 + 2 * 10 + 7 * 4))
    assert estimator.seconds(planning.Phase("x", "x", scored=((group,),))) == 0.25 * 60
    assert estimator.seconds(planning.Phase("x", "x", scored=((group, group),))) == 0.25 * 2 * 60
    # SFT: logits of all four tokens, three times through the head where scoring goes twice; pairs of a text only
    assert estimator.sft_seconds([Batch((1, 3))]) == 1 + 0.5 * (4 * 4 + 1.5 * 4 * 10 + (1 + 3 * 3) * 4)
    # sampling: what it begins with, two prompts (3 tokens, one of each with logits), setting up for three rows and, as
    # they have halved, for one, and each step by its rows
    sampled = planning.Phase("x", "x", samples=(Decoding(((2, 3),), (3, 2, 1), 6, 6),))
    assert estimator.seconds(sampled) == 2.0 + 0.25 * (24 + 20 + 72) + 4.0 + 0.0 + 2.0 + 1.5 + 1.0
    assert (
        calibration.sampling_seconds([6]) == 4.0 + 4.0
    )  # beyond what was measured: as many times more as there are rows


def test_the_largest_pieces(encoded):
    run = planned(encoded, settings())
    load = load_of(run)
    assert load.sft == max(((len(batch.texts), batch.num_tokens) for batch in run.batches()), key=lambda one: one[1])
    assert load.update.tokens == max(sum(group.num_tokens for group in row) for row in run.micro_batches())
    assert load.scoring.tokens == max(sum(group.num_tokens for group in row) for row in run.scored())
    assert load.rows >= 7
    assert load.columns <= max(len(ids) for ids in encoded.prompts.values()) + encoded.max_new_tokens
    assert torch.is_grad_enabled()
