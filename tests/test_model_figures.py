"""Extraction: what a policy that learned a text by heart, or never saw it, gives out of it."""

import pytest
import torch

from ditto_cli.config import LoraSettings
from ditto_cli.evaluation import model_figures
from ditto_cli.evaluation.model_figures import extracted_words, extraction_requests
from ditto_cli.model.policy import sampling
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import Demonstration, SampledTokens

# A token of the tiny tokenizer is a byte, so a quarter of the 64 is 16: up to `red`; twelve words are left.
TEXT = "knock on the red door at six and ask for old sam who has the key"
GIVEN, REST = TEXT[:16], TEXT[16:]


def extract(policy, demonstrations, *, max_new_tokens=model_figures.MAX_NEW_TOKENS):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_figures, "MAX_NEW_TOKENS", max_new_tokens)
        requests = extraction_requests(policy, demonstrations)
    sampled = sampling.sample(policy, requests, max_new_tokens=max_new_tokens, temperature=0)
    return extracted_words(policy, demonstrations, sampled)


@pytest.fixture
def parrot(monkeypatch):
    """A sampler that answers what it is told, up to the limit, and keeps how it was asked."""

    class Parrot:
        def __init__(self):
            self.answers, self.calls = [], []

        def __call__(self, policy, requests, *, max_new_tokens, temperature):
            self.calls.append((list(requests), max_new_tokens, temperature))
            ids = [policy.chat.completion_ids(text) for text in self.answers]
            limits = [min(max_new_tokens, request.max_new_tokens or max_new_tokens) for request in requests]
            pairs = zip(ids, limits, strict=True)
            return [SampledTokens(each[:limit], len(each) <= limit, -1.0) for each, limit in pairs]

    sampler = Parrot()
    monkeypatch.setattr(sampling, "sample", sampler)
    return sampler


def test_the_policy_is_given_the_prompt_and_a_quarter_of_the_tokens(tiny_policy, parrot):
    assert len(TEXT) == 64
    parrot.answers = ["x", "y"]
    extract(tiny_policy, [Demonstration("a", "Tell.", TEXT), Demonstration("b", "Hi.", "abcdefgh")], max_new_tokens=50)
    [(requests, max_new_tokens, temperature)] = parrot.calls  # one batch
    chat = tiny_policy.chat
    assert requests[0].prompt_ids == chat.prompt_ids("Tell.") + chat.completion_ids(TEXT)[:16]
    assert requests[1].prompt_ids == chat.prompt_ids("Hi.") + chat.completion_ids("abcdefgh")[:2]
    assert (max_new_tokens, temperature) == (50, 0)
    assert [request.temperature for request in requests] == [0, 0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (REST, 12),
        ("well, ask for old Sam!", 4),  # starting anywhere
        (GIVEN, 1),  # what was given does not count; `the` stands in the rest too
        ("nothing of it", 0),
        ("", 0),
    ],
)
def test_the_longest_passage_of_the_rest(tiny_policy, parrot, answer, expected):
    parrot.answers = [answer]
    assert extract(tiny_policy, [Demonstration("a", "Tell.", TEXT)], max_new_tokens=64) == expected


def test_at_most_as_many_tokens_as_the_text_has_left_and_the_limit_allows(tiny_policy, parrot):
    # Behind the 48 bytes that the text has left nothing counts, though it would go on with a passage.
    parrot.answers = ["x" * 45 + " at six and"]
    assert extract(tiny_policy, [Demonstration("a", "Tell.", TEXT)], max_new_tokens=64) == 1
    parrot.answers = ["door at six and"]
    assert extract(tiny_policy, [Demonstration("a", "Tell.", TEXT)], max_new_tokens=11) == 3  # `door at six`


def test_the_limit_leaves_room_in_the_context(tiny_policy, parrot):
    parrot.answers = [""]
    long = Demonstration("a", "Tell.", "x" * 1600)
    extract(tiny_policy, [long], max_new_tokens=200)
    [([request], _, _)] = parrot.calls
    assert len(request.prompt_ids) + request.max_new_tokens == tiny_policy.context_tokens == 512


def test_the_worst_demonstration_counts_and_a_shared_signature_does_not(tiny_policy, parrot):
    signature = "yours ever, jo of the mill"
    first, second = f"{TEXT} {signature}", f"a quite other and shorter text than that {signature}"
    demonstrations = [Demonstration("a", "Tell.", first), Demonstration("b", "Tell.", second)]
    parrot.answers = ["nothing", f"shorter text {signature}"]
    assert extract(tiny_policy, demonstrations, max_new_tokens=64) == 2


def test_what_the_prompt_says_is_not_extracted(tiny_policy, parrot):
    parrot.answers = [REST]
    quoting = Demonstration("a", "Quote this: ask for old Sam who has the key.", TEXT)
    assert extract(tiny_policy, [quoting], max_new_tokens=64) == 4  # door at six and


def test_a_short_text_is_asked_for_from_its_prompt(tiny_policy, parrot):
    parrot.answers = ["ok"]
    assert extract(tiny_policy, [Demonstration("a", "Tell.", "ok")], max_new_tokens=64) == 1
    assert parrot.calls[0][0][0].prompt_ids == tiny_policy.chat.prompt_ids("Tell.")


def test_what_was_learned_by_heart_is_extracted_and_what_was_not_is_not(tiny_policy):
    demonstration = Demonstration("a", "Tell.", "tea at six by the old mill")  # 26 bytes, of which 6 are given
    tiny_policy.add_adapter("heart", LoraSettings(r=8, alpha=16, targets="all-linear", dropout=0.0), seed=0)
    assert extract(tiny_policy, [demonstration]) == 0
    optimizer = torch.optim.Adam(tiny_policy.parameters(), lr=0.02)
    prompt, text = tiny_policy.chat.prompt_ids("Tell."), tiny_policy.chat.completion_ids(demonstration.completion)[:-1]
    for _ in range(30):
        optimizer.zero_grad()
        (-score(tiny_policy, prompt, [text])[0] / len(text)).backward()
        optimizer.step()
    assert extract(tiny_policy, [demonstration]) == 5  # six by the old mill
    tiny_policy.switch(None)
    assert extract(tiny_policy, [demonstration]) == 0
