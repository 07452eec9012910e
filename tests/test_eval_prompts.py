"""The prompts of an evaluation: texts kept back first, then new ones of the same kind, which are made once."""

import json
import re
import stat
from itertools import combinations
from pathlib import Path

import pytest

from ditto_cli.demonstrations.folder import read_folder
from ditto_cli.demonstrations.prompts import attach_prompts
from ditto_cli.errors import InputError
from ditto_cli.evaluation.eval_prompts import (
    PROMPTS_FILE,
    PURPOSES,
    evaluation_prompts,
    given_prompts,
    kind_of,
    new_prompts,
    read_bank,
)
from ditto_cli.evaluation.judgements import Author
from ditto_cli.types import Demonstration


def texts(prefix, prompts):
    return tuple(Demonstration(f"{prefix}{i}", prompt, f"text {i}") for i, prompt in enumerate(prompts))


OWN = texts("own", ["Write an email to Bo about tea.", "Write an email to decline a party."])


def test_kept_back_texts_come_first_and_bring_what_the_author_wrote(tmp_path):
    kept_back = texts("held_out/", ["Write an email to Al.", "Write an email to Cy.", "Write an email to Al."])
    prompts = evaluation_prompts(Author(OWN, kept_back), tmp_path, num=4)
    assert [(p.source, p.prompt, p.author_text) for p in prompts[:2]] == [
        ("held_out", "Write an email to Al.", "text 0"),  # a prompt counts once
        ("held_out", "Write an email to Cy.", "text 1"),
    ]
    assert [p.source for p in prompts[2:]] == ["new", "new"]
    assert len({p.id for p in prompts}) == len({p.prompt for p in prompts}) == 4


def test_new_prompts_are_made_once_and_kept(tmp_path):
    first = evaluation_prompts(Author(OWN, ()), tmp_path, num=3)
    path = tmp_path / PROMPTS_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    changed = {"schema_version": 1, "prompts": ["Write one.", "Write two.", "Write three."]}
    path.write_text(json.dumps(changed))
    assert [p.prompt for p in evaluation_prompts(Author(OWN, ()), tmp_path, num=3)] == changed["prompts"]
    assert [p.prompt for p in evaluation_prompts(Author(OWN, ()), tmp_path, num=2)] == changed["prompts"][:2]
    path.write_text("{broken")
    assert evaluation_prompts(Author(OWN, ()), tmp_path, num=3) == first


def test_a_kept_prompt_that_was_trained_on_since_is_replaced(tmp_path):
    (first, *rest) = evaluation_prompts(Author(OWN, ()), tmp_path, num=3)
    now = Author((*OWN, Demonstration("c", first.prompt, "text")), ())
    again = [p.prompt for p in evaluation_prompts(now, tmp_path, num=3)]
    assert first.prompt not in again
    assert again[:2] == [p.prompt for p in rest]


def test_no_prompt_of_an_evaluation_was_used_to_select_a_round(tmp_path):
    selection = new_prompts([d.prompt for d in OWN], num=4, purpose="selection")
    evaluation = [p.prompt for p in evaluation_prompts(Author(OWN, ()), tmp_path, num=6)]
    assert not set(selection) & set(evaluation)
    assert not set(evaluation) & {d.prompt for d in OWN}


def test_many_kept_back_texts_need_no_new_prompts(tmp_path):
    kept_back = texts("held_out/", [f"Write an email number {i}." for i in range(15)])
    prompts = evaluation_prompts(Author(OWN, kept_back), tmp_path)
    assert [p.prompt for p in prompts] == [d.prompt for d in kept_back[:12]]
    assert not (tmp_path / PROMPTS_FILE).exists()


def test_prompts_of_the_users_own_count_once_each():
    assert [(p.id, p.prompt, p.source) for p in given_prompts(["Write A.", "Write B.", "Write A."])] == [
        ("given-1", "Write A.", "given"),
        ("given-2", "Write B.", "given"),
    ]


EXAMPLES = Path(__file__).parents[1] / "examples" / "demos"
WEEKDAYS = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
MONTHS = {"March", "May", "June", "August", "October", "November", "December"}


def test_the_bank_is_as_large_as_it_should_be():
    kinds = read_bank().kinds
    sizes = {"email": 28, "letter": 24, "essay": 28, "news": 24, "post": 24}
    assert {name: len(kind.tasks) for name, kind in kinds.items()} == sizes


def test_every_prompt_reads_as_one_sentence():
    for kind in read_bank().kinds.values():
        assert kind.opening.split()[-1] in kind.nouns
        for task in kind.tasks:
            assert re.fullmatch(r"(to|about|asking|announcing|offering) .{25,130}[^ .]\.", task), task


def test_no_two_tasks_resemble_each_other():
    bank = read_bank()
    contents = [bank.content(task) for kind in bank.kinds.values() for task in kind.tasks]
    assert max(len(one & other) / min(len(one), len(other)) for one, other in combinations(contents, 2)) <= 0.5


def test_nobody_of_the_examples_is_named_in_the_bank():
    texts = [path.read_text(encoding="utf-8") for path in EXAMPLES.rglob("*") if path.suffix in {".md", ".txt"}]
    bank = read_bank()
    # Capitalised words within a sentence; `Write` begins every prompt.
    named = {name for kind in bank.kinds.values() for task in kind.tasks for name in re.findall(r"\b[A-Z]\w+", task)}
    shared = named & {name for text in texts for name in re.findall(r"\b[A-Z]\w+", text)}
    assert shared <= WEEKDAYS | MONTHS | {"Mr", "Mrs", "Dr"}
    assert "Ruth" in named


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (["Write a short email to Bo.", "Write an e-mail to Al.", "Write an essay on tea."], "email"),
        (["Write an email response to somebody who asked: are essays useful?"], "email"),  # the first word counts
        (["Write an article that starts with: The dollar rose."], "news"),
        (["Write an opinion on tea.", "Write an essay on rain."], "essay"),
        (["Write to the town council, a formal letter."], "letter"),
        (["WRITE A BLOG ENTRY"], "post"),
        (["Decline.", "Invite Bo."], "email"),
        ([], "email"),
    ],
)
def test_the_kind_of_most_prompts(prompts, expected):
    assert kind_of(prompts) == expected


@pytest.mark.parametrize(
    ("prompts", "beginning"),
    [
        (["Write a short email to Bo.", "Write a short email: decline."], "Write a short email to "),
        (["Write a short email to Bo.", "Write an email to Bo."], "Write an email to "),  # not alike
        (["Write an approximately 500 word essay to this prompt: tea"], "Write an approximately 500 word essay about "),
        (["Please draft me a friendly but formal letter to Bo."], "Please draft me a friendly but formal letter to "),
        (["Write an email response to somebody who asked you: why?"], "Write an email to "),  # an email what?
        (["Write a thank-you email to Bo."], "Write an email to "),  # would not fit every task
        (["Write a reply to this email: hello"], "Write an email to "),
        (["Write an opinion piece on tea."], "Write an essay about "),
        (["Write an article that starts with: tea"], "Write an article about "),
        ([], "Write an email to "),
    ],
)
def test_a_shared_opening_is_kept_where_every_task_can_follow_it(prompts, beginning):
    for purpose in PURPOSES:
        assert all(prompt.startswith(beginning) for prompt in new_prompts(prompts, num=4, purpose=purpose))


@pytest.mark.parametrize(
    "prompt", ["Write an email.", "Write a letter.", "Write an essay.", "Write an article.", "Post."]
)
def test_the_two_purposes_share_no_prompt(prompt):
    selection, evaluation = (new_prompts([prompt], num=64, purpose=purpose) for purpose in PURPOSES)
    assert len({*selection, *evaluation}) == 128
    assert selection == new_prompts([prompt], num=64, purpose="selection")
    assert new_prompts([prompt], num=5, purpose="selection") == selection[:5]


def test_the_next_kinds_fill_up():
    prompts = new_prompts(["Write a letter to Bo."], num=28, purpose="evaluation")
    openings = [" ".join(prompt.split()[:3]) for prompt in prompts]
    assert openings == ["Write a letter"] * 12 + ["Write an email"] * 14 + ["Write a post"] * 2


def test_more_than_there_are_is_refused():
    with pytest.raises(InputError, match="65 new prompts were asked for and ditto has 64"):
        new_prompts([], num=65, purpose="selection")


def test_what_resembles_a_demonstrations_prompt_is_left_out():
    first, second = new_prompts([], num=2, purpose="selection")
    assert first == "Write an email to Ruth asking her to water your plants from 3 to 10 August while you are away."
    # Content of the task: ruth, water, plants, 3, 10, august, away. Four of seven are more than half, three are not.
    assert new_prompts(["Write an email: water the plants, August, away."], num=1, purpose="selection") == [second]
    assert new_prompts(["Write an email: water the plants in August."], num=1, purpose="selection") == [first]


@pytest.mark.parametrize("persona", ["arthur", "kit", "maya"])
def test_the_examples_get_emails_of_their_own_form(persona):
    demonstrations = attach_prompts(read_folder(EXAMPLES / persona).texts, {})[0]
    known = [demonstration.prompt for demonstration in demonstrations]
    for purpose in PURPOSES:
        prompts = new_prompts(known, num=12, purpose=purpose)
        assert all(prompt.startswith("Write a short email to ") for prompt in prompts)
        assert not set(prompts) & set(known)
