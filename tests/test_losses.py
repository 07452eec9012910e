"""The DPO loss against values worked out by hand."""

import math

import pytest
import torch

from ditto_cli.method.losses import dpo_terms


def test_dpo_terms_by_hand():
    terms = dpo_terms(
        torch.tensor([-10.0, -30.0, -5.0]),
        torch.tensor([-20.0, -28.0, -7.0]),
        torch.tensor([-12.0, -30.0, -4.0]),
        torch.tensor([-15.0, -28.0, -9.0]),
        beta=0.1,
    )
    # beta * (logp - ref_logp)
    torch.testing.assert_close(terms.chosen_rewards_P, torch.tensor([0.2, 0.0, -0.1]))
    torch.testing.assert_close(terms.rejected_rewards_P, torch.tensor([-0.5, 0.0, 0.2]))
    expected = [
        math.log(1 + math.exp(-0.7)),  # margin 0.2 - -0.5: preferred as wished
        math.log(2),  # the policy is still the reference
        math.log(1 + math.exp(0.3)),  # margin -0.1 - 0.2: preferred the wrong way
    ]
    torch.testing.assert_close(terms.losses_P, torch.tensor(expected))


def test_gradient_by_hand():
    chosen = torch.tensor([-10.0], requires_grad=True)
    rejected = torch.tensor([-20.0], requires_grad=True)
    terms = dpo_terms(chosen, rejected, torch.tensor([-12.0]), torch.tensor([-15.0]), beta=0.05)
    terms.losses_P.sum().backward()
    # d/dm -log sigmoid(m) = -sigmoid(-m), with margin m = 0.05 * (2 + 5) = 0.35, and dm/dlogp = +-0.05
    slope = 0.05 / (1 + math.exp(0.35))
    assert chosen.grad.item() == pytest.approx(-slope, rel=1e-6)
    assert rejected.grad.item() == pytest.approx(slope, rel=1e-6)
    assert not terms.chosen_rewards_P.requires_grad
    assert not terms.rejected_rewards_P.requires_grad


def test_a_margin_far_out_neither_overflows_nor_becomes_nan():
    # A naive -log(sigmoid(m)) is infinite at m = -200.
    terms = dpo_terms(
        torch.tensor([-2000.0, 0.0]), torch.tensor([0.0, -2000.0]), torch.zeros(2), torch.zeros(2), beta=0.1
    )
    assert terms.losses_P.tolist() == pytest.approx([200.0, 0.0])
