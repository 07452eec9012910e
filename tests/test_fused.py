"""Layers and adapters in one step of autograd: the library's numbers and gradients, and no trace afterwards."""

import pytest
import torch

from conftest import load_tiny, shake
from ditto_cli.config import LoraSettings
from ditto_cli.model import fused
from ditto_cli.model.fused import fused_adapters
from ditto_cli.model.scoring import score

PROMPT, COMPLETIONS = range(20, 30), [range(40, 70), range(60, 75)]


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0, targets="all-linear"), seed=1)
    shake(tiny_policy, seed=2)
    return tiny_policy


@pytest.fixture
def calls(monkeypatch):
    """The shapes of inputs that went through the fused step."""
    seen = []
    apply = fused._AdaptedLinear.apply
    monkeypatch.setattr(fused._AdaptedLinear, "apply", lambda *inputs: seen.append(inputs[0].shape) or apply(*inputs))
    return seen


def scores_and_gradients(policy):
    scores = score(policy, PROMPT, COMPLETIONS)
    (scores * torch.tensor([1.0, -2.0])).sum().backward()
    gradients = [parameter.grad.clone() for parameter in policy.parameters()]
    for parameter in policy.parameters():
        parameter.grad = None
    return scores.detach(), gradients


@pytest.fixture
def library(monkeypatch):
    """Score by the library's own layers."""

    def compute(policy):
        with monkeypatch.context() as patch:
            patch.setattr(fused, "_is_plain", lambda module: False)
            return scores_and_gradients(policy)

    return compute


def test_scores_and_gradients_are_the_librarys(policy, library, calls):
    expected, gradients = library(policy)
    assert calls == []
    scores, ours = scores_and_gradients(policy)
    assert len(calls) == 7 * 2
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-6)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    for one, other in zip(ours, gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-5)


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 5), (4, 5), (4,), (2, 5), (4, 2)]
    inputs, weight, bias, a, b = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    trained = [tensor.requires_grad_() for tensor in (inputs, a, b)]
    assert torch.autograd.gradcheck(lambda x, a, b: fused._AdaptedLinear.apply(x, weight, bias, a, b, 0.7), trained)


def test_the_active_adapter_counts_and_without_one_the_base(policy, library):
    policy.add_adapter("bob", LoraSettings(r=2, dropout=0.0, targets=("q_proj",)), seed=3)
    shake(policy, seed=4)
    with torch.no_grad():
        for name in ("alice", "bob", None):
            policy.switch(name)
            ours = score(policy, PROMPT, COMPLETIONS)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(fused, "_is_plain", lambda module: False)
                torch.testing.assert_close(ours, score(policy, PROMPT, COMPLETIONS), atol=1e-5, rtol=1e-6)


def test_dropout_is_left_to_the_library(tiny_policy, calls):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.5), seed=1)
    shake(tiny_policy, seed=2)
    tiny_policy.model.train()
    torch.manual_seed(0)
    score(tiny_policy, PROMPT, COMPLETIONS)
    assert calls == []
    tiny_policy.model.eval()
    score(tiny_policy, PROMPT, COMPLETIONS)
    assert calls


def test_four_bit_layers_are_left_to_the_library(tiny_folder, calls):
    policy = load_tiny(tiny_folder, "nf4")
    policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0), seed=1)
    assert torch.isfinite(score(policy, PROMPT, COMPLETIONS)).all()
    assert calls == []


def test_no_trace_is_left_of_it(policy, monkeypatch):
    def changed():
        return [module for module in policy.model.modules() if "forward" in vars(module)]

    with fused_adapters(policy):
        assert changed()
    assert not changed()
    monkeypatch.setattr(policy, "hidden", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score(policy, PROMPT, COMPLETIONS)
    assert not changed()
