"""Files of a demonstrations folder: what is written is read back as the same text and prompt."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder import stem_for, text_file
from ditto_cli.demonstrations.sources import READERS


def read_back(file):
    name, content = file
    (read,) = READERS[name[name.rindex(".") :]](name, content.encode()).texts
    return read.text, read.prompt


AWKWARD = [
    "---\nbegins with a rule",
    "---\nprompt: x\n---\nlooks like front matter",
    "a <!-- comment --> that is text",
    "<!-- never ends",
    "tab\there, ümläut, 漢字, \U0001f600",
    "  indented\n\n\n\nmany blank lines  ",
    "key: value\n# not a comment",
    "---\n\n---\na rule twice",
    "---\ntitle: x\n---\n---\nkeys, and a rule",
    "+++\ntitle = 'x'\n+++\nkeys of Hugo",
    '{"title": "x"}\nkeys of Hugo',
    "# My day\n\nTags: a\n\nlines of Notion",
    "Title: My day\nDate: today\n\nlines of Pelican",
    "{% include x %}\n\na line of a tag",
    "a {{< ref x >}} tag [in](x) a line{: .b }",
    "a [[Note|link]] %%and%% ![a picture](a.jpg) of a note ^1a",
    "Title: My day\nDate: today\nSlug: day\n\nmore lines of Pelican",
    "10:15\tAda\thello\n10:16\tBo\thello\n10:17\tAda\tyes\n10:18\tBo\tno",
    "[03.03.25, 10:15:00] Ada: hello\n[03.03.25, 10:16:00] Bo: hello",
    "03/03/2025, 10:15 - Ada: hello\n03/03/2025, 10:16 - Bo: hello",
]


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize(
    "prompt", [None, "Write: it.", 'Say "no".', "two\nlines", "a\n\n---\n\nrule", "# hash", "ends \n"]
)
def test_awkward_texts_come_back(text, prompt):
    file = text_file("01-x", text, prompt)
    assert read_back(file) == (normalise_text(text), None if prompt is None else prompt.strip())


@settings(deadline=None, max_examples=300)
@given(st.text(min_size=1), st.none() | st.text())
def test_any_text_and_prompt_come_back(text, prompt):
    assume(normalise_text(text))
    assume(all(char < "\ud800" or char > "\udfff" for char in text + (prompt or "")))
    file = text_file("01-x", text, prompt)
    assert read_back(file) == (normalise_text(text), normalise_text(prompt or "").strip() or None)


@pytest.mark.parametrize(
    ("about", "taken", "expected"),
    [
        ("Re: The Hens!", [], "01-re-the-hens"),
        ("ünïcode näme", ["01-a.md", "07-b.txt", "x.md"], "08-unicode-name"),
        ("../../etc/passwd", [], "01-etc-passwd"),
        ("漢字", [], "01-text"),
        ("x" * 100, [], "01-" + "x" * 40),
        ("\0\n-rf", [], "01-rf"),
    ],
)
def test_names_of_files_are_numbered_and_plain(about, taken, expected):
    assert stem_for(about, taken) == expected
