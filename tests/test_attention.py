"""Attention and cache of the sampling: the library's own numbers, with less copying."""

import pytest
import torch
from transformers.cache_utils import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ditto_cli.model import attention
from ditto_cli.model.attention import GROUPED_SDPA, grouped_sdpa, growing_cache

ROWS, SIZE, CACHED = 3, 8, 11


class Module(torch.nn.Module):
    num_key_value_groups = 3
    is_causal = True
    training = False


def states(heads, tokens, seed):
    return torch.randn(ROWS, heads, tokens, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("heads", [2, 6])  # one query head a key head; three
@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_the_numbers_are_the_librarys(heads, tokens, masked, monkeypatch):
    module = Module()
    module.num_key_value_groups = heads // 2
    query, key, value = states(heads, tokens, 1), states(2, CACHED, 2), states(2, CACHED, 3)
    mask = torch.rand(ROWS, 1, tokens, CACHED, generator=torch.Generator().manual_seed(4)) > 0.3 if masked else None
    if not masked and tokens > 1:
        pytest.skip("several tokens without a mask are causal, which needs as many keys as queries")
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    calls = []
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *a, **k: calls.append(1) or (expected, None))
    actual, weights = grouped_sdpa(module, query, key, value, mask, scaling=0.3)
    assert weights is None
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)
    assert bool(calls) == (tokens > 1 or heads == 2)  # else the library's way is not taken at all


def test_the_loaded_base_uses_it(tiny_policy):
    assert tiny_policy.model.config._attn_implementation == GROUPED_SDPA
    assert tiny_policy.model.config.num_key_value_heads < tiny_policy.model.config.num_attention_heads


def test_the_growing_cache_holds_what_the_librarys_holds():
    ours, theirs = growing_cache(), DynamicCache()
    for step, (rows, tokens) in enumerate([(None, 5), (None, 1), ([2, 0], 1), (None, 80), ([1], 1)]):
        if rows is not None:
            for cache in (ours, theirs):
                cache.batch_select_indices(torch.tensor(rows))
        num_rows = theirs.layers[0].keys.shape[0] if theirs.layers else ROWS
        for layer in range(2):
            new = [states(2, tokens, 10 * step + layer + part)[:num_rows] for part in (0, 5)]
            for one, other in zip(ours.update(*new, layer), theirs.update(*new, layer), strict=True):
                assert torch.equal(one, other)
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_step_copies_no_earlier_token():
    cache = growing_cache()
    cache.update(states(2, 5, 1), states(2, 5, 2), 0)
    place = cache.layers[0].keys.data_ptr()
    for step in range(64):
        cache.update(states(2, 1, step), states(2, 1, step), 0)
        assert cache.layers[0].keys.data_ptr() == place
    cache.update(states(2, 1, 99), states(2, 1, 99), 0)  # the spare room is used up
    assert cache.layers[0].keys.data_ptr() != place
