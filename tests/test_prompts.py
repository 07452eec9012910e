"""The prompts of an evaluation: texts kept back first, then new ones, which are made once."""

import json
import stat

from ditto_cli.evaluation.new_prompts import new_prompts
from ditto_cli.evaluation.prompts import PROMPTS_FILE, evaluation_prompts, given_prompts
from ditto_cli.evaluation.types import Author
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
