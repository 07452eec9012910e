"""What the tests share: a tiny random Llama with a byte-level tokenizer, loaded as any base is. No network."""

import gc
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import signal
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from speed.messages import heard

pytest.register_assert_rewrite("cli_helpers")

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("embedded") is None)


def pytest_make_parametrize_id(config, val, argname):
    """A test is not named by bytes: those of an archive hold its time, and every worker must collect the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def said():
    """What is logged for the user in the test, line by line."""
    with heard([]) as lines:
        yield lines


def byte_tokenizer(special_tokens, *, template, eos, bos=None, pad=None, adds_bos=False):
    """One token a byte (byte-level BPE without merges), then the special tokens; they get ids from 256 on."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, bos_token=bos, pad_token=pad or eos, chat_template=template
    )


def save_tiny_base(folder, *, seed=0, hidden_size=32, intermediate_size=64, context_tokens=512, template=CHATML):
    """A random two-layer Llama with sharp enough logits, and its tokenizer, as a Hugging Face folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(
        ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], template=template, eos="<|im_end|>", pad="<|endoftext|>"
    )
    config = LlamaConfig(
        hidden_size=hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=intermediate_size,
        vocab_size=272,  # a few more than the tokenizer has, as in many real models
        max_position_embeddings=context_tokens,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_tiny(folder, quantize="none", *, hardware=None, speed="auto"):
    """The folder as ditto loads it, on a CPU unless told otherwise."""
    from ditto_cli.model.base.loading import load_source
    from ditto_cli.model.base.source import BaseSource
    from ditto_cli.model.hardware import detect

    return load_source(BaseSource("local", str(folder), None, folder), quantize, hardware or detect("cpu"), speed=speed)


@pytest.fixture(autouse=True)
def denormal_numbers():
    """`detect` takes them for 0 in the whole process, where other tests draw them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def no_power_cut():
    """Flushing to a real disk takes a tenth of the tests' time; what is flushed, and when, is seen in test_disk.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def short_collections():
    """Every training looks for cycles, which takes 0.3 s in all that earlier tests left: here among newer objects."""
    collect = gc.collect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda generation=1: collect(generation))
        yield


@pytest.fixture
def ctrl_c_is_heard():
    """A shell starts a background job with SIGINT ignored, and Python leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def tiny_policy(tiny_folder):
    return load_tiny(tiny_folder)


@pytest.fixture(scope="session")
def tiny_demonstrations():
    from ditto_cli.types import Demonstration

    return (
        Demonstration("a.md", "Invite Bo.", "hi bo - tea at 4? x"),
        Demonstration("b.md", "Decline.", "no can do, sorry! x"),
        Demonstration("c.md", "Thank Al for the book.", "al. that book. wow x"),
    )


def tokenised(policy, demonstrations):
    """The demonstrations as a run's texts."""
    from ditto_cli.config import SamplingSettings
    from ditto_cli.model.base.template import tokenise

    return tokenise(policy.chat, demonstrations, SamplingSettings(), context_tokens=policy.context_tokens)


def imitate_texts(policy, demonstrations, sft_settings, *, seed=0, reporter=None):
    """SFT of the active adapter, as a run begins with it."""
    from ditto_cli.config import Settings
    from ditto_cli.method.sft import imitate
    from ditto_cli.types import SilentReporter

    settings = Settings(sft=sft_settings, seed=seed)
    return imitate(policy, tokenised(policy, demonstrations), settings, reporter or SilentReporter())


def shake(policy, *, seed, scale=0.3):
    """Random weights in the active adapter, so that it says something else than the base (B alone starts as 0)."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def full_logits(policy, token_ids):
    """Logits [T, V] of one unpadded sequence by the library's own forward pass."""
    import torch

    return policy.model(input_ids=torch.tensor([token_ids])).logits[0]
