"""Which comparisons an update draws: kinds, order, shares, and nothing lost when prompts or demonstrations are few."""

from collections import Counter

import pytest

from ditto_cli.config import DpoSettings, MixtureSettings
from ditto_cli.method.comparisons import History, count_kinds, draw_comparisons
from ditto_cli.types import Comparison, ComparisonKind, Completion

ONLINE, REPLAY, INTER_MODEL = ComparisonKind.ONLINE, ComparisonKind.REPLAY, ComparisonKind.INTER_MODEL


def make_history(num_demonstrations=5, num_rounds=1, num_completions=10):
    names = [f"{i}.md" for i in range(num_demonstrations)]
    history = History(tuple(Completion(name, None, 0, (1,), True, -1.0) for name in names))
    for number in range(num_rounds):
        history.add_round(
            [Completion(name, number, i, (2,), True, -1.0) for name in names for i in range(num_completions)]
        )
    return history


def pair(comparison):
    return tuple((s.demonstration_id, s.round, s.index) for s in (comparison.chosen, comparison.rejected))


@pytest.mark.parametrize(
    ("num_demonstrations", "per_prompt"),
    [(1, 1), (1, 3), (2, 3), (5, 3), (9, 2)],
)
def test_shares_hold_over_the_run(num_demonstrations, per_prompt):
    counts = Counter()
    settings = DpoSettings(comparisons_per_prompt=per_prompt)
    for step in range(10, 40):  # rounds 1, 2, 3 of 10 updates: all three kinds can be had
        history = make_history(num_demonstrations, num_rounds=step // 10 + 1, num_completions=3)
        counts.update(c.kind for c in draw_comparisons(history, settings, seed=0, step=step))
    total = 30 * num_demonstrations * per_prompt
    assert counts.total() == total
    assert counts[ONLINE] == pytest.approx(0.7 * total, abs=1)
    assert counts[REPLAY] == pytest.approx(0.2 * total, abs=1)
    assert counts[INTER_MODEL] == pytest.approx(0.1 * total, abs=1)


def test_round_0_has_online_comparisons_only():
    for step in range(10):
        drawn = draw_comparisons(make_history(), DpoSettings(), seed=0, step=step)
        assert Counter(c.kind for c in drawn) == {ONLINE: 15}


@pytest.mark.parametrize(
    ("mixture", "possible"),
    [
        (MixtureSettings(online=1, replay=0, inter_model=0), {ONLINE}),
        (MixtureSettings(online=0, replay=1, inter_model=0), {REPLAY}),
        (MixtureSettings(online=0, replay=0, inter_model=0.1), {INTER_MODEL}),
        (MixtureSettings(online=0, replay=0.5, inter_model=0.5), {REPLAY, INTER_MODEL}),
    ],
)
def test_shares_of_0_come_never_and_the_others_fill_the_step(mixture, possible):
    seen = Counter()
    for step in range(10, 20):
        drawn = draw_comparisons(make_history(num_rounds=2), DpoSettings(mixture=mixture), seed=0, step=step)
        assert len(drawn) == 15
        seen.update(c.kind for c in drawn)
    assert set(seen) == possible


def test_weights_are_relative():
    doubled = MixtureSettings(online=0.35, replay=0.1, inter_model=0.05)
    for step in range(50):
        assert count_kinds(15, step, doubled, num_rounds=2) == count_kinds(15, step, MixtureSettings(), num_rounds=2)


def test_order_is_demonstration_then_later_then_earlier():
    history = make_history(num_rounds=3)
    newest = 2
    seen = Counter()
    for step in range(20, 40):
        for comparison in draw_comparisons(history, DpoSettings(), seed=0, step=step):
            chosen, rejected = comparison.chosen, comparison.rejected
            assert chosen.demonstration_id == rejected.demonstration_id
            if comparison.kind is INTER_MODEL:
                assert chosen.round > rejected.round
                seen[chosen.round, rejected.round] += 1
            else:
                assert chosen in history.demonstrations
                assert rejected.round == newest if comparison.kind is ONLINE else rejected.round < newest
                seen[rejected.round] += 1
    # Every source is drawn from: all rounds against the demonstration, all pairs of rounds against each other.
    # False alarm: 60 replay draws all from one round, 2 * 2^-60; 30 inter-model draws that miss one of 3 pairs, 2e-5.
    assert set(seen) == {0, 1, 2, (1, 0), (2, 0), (2, 1)}


def test_every_demonstration_gets_its_comparisons_in_each_step_grouped():
    history = make_history(num_rounds=2)
    for step in range(10, 20):
        drawn = draw_comparisons(history, DpoSettings(comparisons_per_prompt=4), seed=0, step=step)
        assert [c.chosen.demonstration_id for c in drawn] == [f"{i}.md" for i in range(5) for _ in range(4)]


def test_one_demonstration_is_enough():
    seen = Counter()
    for step in range(10, 20):
        drawn = draw_comparisons(make_history(1, num_rounds=2), DpoSettings(), seed=0, step=step)
        assert len(drawn) == 3
        seen.update(c.kind for c in drawn)
    assert seen == {ONLINE: 21, REPLAY: 6, INTER_MODEL: 3}


def test_no_pair_comes_twice_in_a_step_while_its_pool_lasts():
    history = make_history(num_rounds=2, num_completions=4)
    online_only = DpoSettings(comparisons_per_prompt=6, mixture=MixtureSettings(online=1, replay=0, inter_model=0))
    for step in range(20):
        drawn = draw_comparisons(history, DpoSettings(comparisons_per_prompt=4), seed=0, step=step)
        assert len({pair(c) for c in drawn}) == len(drawn)
        # Six of a pool of four: each once, then two of them again.
        counts = Counter(pair(c) for c in draw_comparisons(history, online_only, seed=0, step=step))
        assert sorted(counts.values()) == [1] * 10 + [2] * 10


def test_a_draw_depends_on_seed_and_step_and_on_nothing_else():
    history = make_history(num_rounds=2)
    first = draw_comparisons(history, DpoSettings(), seed=0, step=10)
    draw_comparisons(history, DpoSettings(), seed=0, step=11)
    assert draw_comparisons(make_history(num_rounds=2), DpoSettings(), seed=0, step=10) == first
    # False alarm: 15 draws of at least 10 pairs each agree by chance, below 1e-15.
    assert draw_comparisons(history, DpoSettings(), seed=1, step=10) != first
    assert draw_comparisons(history, DpoSettings(), seed=0, step=11) != first


def test_a_comparison_never_crosses_demonstrations():
    history = make_history(2, num_rounds=1)
    with pytest.raises(AssertionError, match="never crosses prompts"):
        Comparison(ONLINE, history.demonstrations[0], history.rounds[0]["1.md"][0])


def test_a_round_is_filed_under_its_own_number_and_complete():
    history = make_history(2, num_rounds=1)
    with pytest.raises(AssertionError):
        history.add_round([Completion(f"{i}.md", 0, 0, (2,), True, -1.0) for i in range(2)])  # it is round 1
    with pytest.raises(AssertionError):
        history.add_round([Completion("0.md", 1, 0, (2,), True, -1.0)])  # nothing for 1.md
