"""A neural encoder as one more measure of style: mean-pooled unit vectors, whatever else is in the batch."""

import numpy
import pytest
import torch

from conftest import byte_tokenizer
from ditto_cli.errors import InputError
from ditto_cli.evaluation.style import StylePanel
from ditto_cli.model.encoder import load_style_encoder
from ditto_cli.model.hardware import detect

TEXTS = ["hi bo - tea at 4? x", "Dear Sir or Madam, I am writing to you.", "ok"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A random two-layer BERT with a byte-level tokenizer."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = byte_tokenizer(["<pad>", "</s>"], template="", eos="</s>", pad="<pad>")
    config = BertConfig(
        vocab_size=260,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=256,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_vectors_are_the_mean_of_the_texts_own_tokens(encoder_folder):
    from transformers import AutoModel, AutoTokenizer

    encoder = load_style_encoder(str(encoder_folder), detect("cpu"))
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (3, 16)
    assert numpy.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1])
    model, tokenizer = AutoModel.from_pretrained(encoder_folder), AutoTokenizer.from_pretrained(encoder_folder)
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        assert vector == pytest.approx((states / states.norm()).numpy(), abs=1e-5)


def test_the_encoder_is_a_member_of_the_panel(encoder_folder):
    own = [
        f"hey {name}!! running late - back at {hour} x" for name, hour in (("bo", 4), ("al", 5), ("di", 6), ("ed", 7))
    ]
    others = ["Dear Sir or Madam, I am writing to enquire about the matter.", "The committee met on Friday."]
    encoder = load_style_encoder(str(encoder_folder), detect("cpu"))
    plain, more = StylePanel(own, others), StylePanel(own, others, encoder=encoder)
    assert len(more.members) == len(plain.members) + 1
    assert sum(member.weight for member in more.members) == pytest.approx(1)


def test_what_is_no_encoder_is_one_line(tmp_path):
    with pytest.raises(InputError, match="--style-encoder"):
        load_style_encoder(str(tmp_path), detect("cpu"))
