"""What programs for blogs and notes write above a text: passed over, but for what it says of the text."""

import time

import pytest

from ditto_cli.demonstrations.posts import read_html, read_markdown, read_plain, split_front_matter
from ditto_cli.errors import InputError

SECRET = "zebrafish"  # stands for the person's words: no message may hold it
BODY = "The kettle is mended.\n\n---\n\nIt sings again."
TITLED = 'Write a post with the title "Kettle day".'


def read(content, name="a.md"):
    raw = content if isinstance(content, bytes) else content.encode()
    reader = read_plain if name.endswith(".txt") else read_html if name.endswith(".html") else read_markdown
    (source,) = reader(name, raw).texts
    assert source.id == name
    return source.text, source.prompt


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_our_own_key_gives_the_prompt(name: str) -> None:
    content = f'---\nprompt: "Write to Tom: briefly"\n---\n\n{BODY}\n'
    assert read(content, name) == (BODY, "Write to Tom: briefly")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_it_is_found_in_every_encoding(encoding: str) -> None:
    raw = "\r\n---  \r\nprompt: Schreibe \u00fcber K\u00f6ln\r\n---\r\nSch\u00f6n hier!\r\n".encode(encoding)
    assert read(raw, "a.txt") == ("Schön hier!", "Schreibe über Köln")


HUGO_TOML = """+++
title = 'Kettle day'
date = 2025-03-03T10:15:00+01:00
draft = true
weight = 10
tags = ["house", "tools"]
[params]
  author = "Ada Reed"
[[resources]]
  src = "kettle.jpg"
+++
"""
JEKYLL = """---
layout: post
title:  "Kettle day"
date:   2025-03-03 10:15:00 +0100
categories: house tools
published: false
---
"""
HEXO = (
    "---\ntitle: Kettle day\ndate: 2025-03-03 10:15:00\ntags:\n- house\n- tools\ncategories:\n  - [a, b]\ncover:\n---\n"
)
OBSIDIAN = """---
tags:
  - house
aliases: [Kettle, "The kettle"]
cssclasses: wide
date created: Monday, March 3rd 2025, 10:15:00 am
up: "[[House]]"
---
"""
PANDOC = (
    "---\ntitle: 'Kettle day'\nauthor:\n- Ada Reed\n- Bo Lind\nabstract: |\n  What became of it.\n\n  At last.\n...\n"
)
NOTION = """# Kettle day

Created: March 3, 2025 10:15 AM
Tags: house, tools
Cost (EUR): 12
🔗 Related: Lamp day (https://www.notion.example/Lamp-day-1a2b3c)
Empty:

"""


@pytest.mark.parametrize(
    ("head", "prompt"),
    [
        (HUGO_TOML, TITLED),
        (HUGO_TOML.replace("\n", "\r\n"), TITLED),
        ("\ufeff" + HUGO_TOML, TITLED),
        ('+++\n# made by hugo new\n"title" = """\nKettle day"""\n+++\n', TITLED),
        ("+++\n[menu]\nmain = {weight = 1}\n+++\n", None),
        ("+++\n+++\n", None),
        ('{\n  "title": "Kettle day",\n  "draft": false,\n  "tags": ["house"]\n}\n', TITLED),
        ('{"title": "Kettle day"}\n', TITLED),
        (JEKYLL, TITLED),
        (HEXO, TITLED),
        (OBSIDIAN, None),
        (PANDOC, f"{TITLED} It is about this: What became of it. At last."),
        ("---\ntitle: 'Kettle day'\ndescription: A lid, spout.\n---\n", f"{TITLED} It is about this: A lid, spout."),
        ('+++\ntitle = "Kettle day"\nsummary = "A lid."\n+++\n', f"{TITLED} It is about this: A lid."),
        ("---\nexcerpt: How to mend one\nlayout: post\n---\n", "Write a post about this: How to mend one"),
        # A part of the text itself says nothing of it.
        ("---\ntitle: Kettle day\nexcerpt: The kettle is mended. --- It...\n---\n", TITLED),
        ("---\ntitle: Kettle day\ndescription: Kettle day\n---\n", TITLED),
        ("---\nTitle: 1984\nDate: 2025-13-45\n---\n", 'Write a post with the title "1984".'),
        ("---\ntitel: Kesseltag\nschlagwörter: [haus]\n---\n", 'Write a post with the title "Kesseltag".'),
        ("---\n标题: 水壶\n标签: [家]\n---\n", 'Write a post with the title "水壶".'),
        ("---\ntitle: [a, b]\nauthor: {name: Ada}\nimage: !x y\n? [a]\n: b\n---\n", None),
        ("---\nprompt: 5\n---\n", "5"),
        ("---\ntitle:\ntags: []\n---\n", None),
        # No YAML, but what people write into other programs.
        ("---\nlayout: post\ntitle: Kettle: on\n---\n", None),
        ("---\ncreated: 2025-03-03\nby: @ada\n---\n", None),
        ("---\nuid: 20250303\nmood: good\n---\n", None),
        ("---\ntitle: Kettle day\nprompt: Write to Bo.\n---\n", "Write to Bo."),
        ('+++\nprompt = "Write to Bo."\ntitle = "Kettle day"\n+++\n', "Write to Bo."),
        ("---\nPrompt: Write to Bo.\n---\n", "Write to Bo."),
        ("---\n# only a comment: of somebody\n---\n", None),
        (NOTION, TITLED),
        (NOTION.replace("\n\nCreated", "\nCreated"), TITLED),
        (NOTION.replace("\n", "\r\n"), TITLED),
        ("# Kesseltag\n\nErstellt am: 3. März 2025\nStatus: Fertig\n\n", 'Write a post with the title "Kesseltag".'),
        ("title: Kettle day\ndate: 2025-03-03 10:15:00\ntags:\n- house\n---\n\n", TITLED),  # Hexo
        (';;;\n"title": "Kettle day",\n"tags": ["house"]\n;;;\n', TITLED),
        ('---js\n{\n  title: "Kettle day",\n  tags: ["house"]\n}\n---\n', TITLED),  # Eleventy
        (f"---\nprompt: |-\n  {'word ' * 3000}\n---\n", "word " * 2999 + "word"),
    ],
)  # fmt: skip
def test_keys_of_other_programs_are_passed_over_and_a_title_becomes_the_prompt(head: str, prompt: str | None) -> None:
    assert read(head + BODY) == (BODY, prompt)


@pytest.mark.parametrize(
    "marks",
    [
        "{% include toc.html %}",
        '{% include figure.html src="a.jpg" width="50%" %}',
        "{{ page.excerpt }}",
        '{{< figure src="kettle.jpg" caption="The kettle" >}}',
        '{{< figure\n  src="kettle.jpg"\n>}}',
        "{{% notice tip %}}",
        "  {% raw %}{% endraw %} ",
        "{: .note #a }",
        "* TOC\n{:toc}",
    ],
)
def test_lines_of_tags_are_left_out_below_keys_of_the_program(marks: str) -> None:
    text = f"Before, {{% x %}} in a line.\n\n{marks}\n\nAfter."
    assert read(JEKYLL + text) == ("Before, in a line.\n\nAfter.", TITLED)
    # Where no program wrote, a person did.
    assert read(text)[0] == text.replace(" \n", "\n")
    assert read(f"---\nprompt: x\n---\n{text}")[0] == text.replace(" \n", "\n")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('The {{< ref "a.md" >}}kettle', "The kettle"),
        ("See [the pot]({% post_url 2025-03-03-pot %}) too", "See the pot too"),
        ("On {{ site.title }}, again{: width=5 }", "On, again"),
        ("A %%secret%% note ![[pot.png]] of [[Kettle|the kettle]], [[Tea/Pot]] ^1a2b", "A note of the kettle, Pot"),
        ("id:: 65f1-aa\n- Tea.\n  collapsed:: true\n- Pot std::a", "- Tea.\n- Pot std::a"),
        ('![a pot][pot]Tea <img src="pot.jpg" alt="a pot"/>here', "Tea here"),
        ("Tea.\n\n```dataview\nLIST FROM #tea\n```\n\n![a pot](pot.jpg)\n\nMore.", "Tea.\n\nMore."),
    ],
)  # fmt: skip
def test_marks_of_programs_in_a_line_go_and_words_stay(written: str, text: str) -> None:
    assert read(JEKYLL + written)[0] == text


@pytest.mark.parametrize(
    "head",
    ["Title: Kettle day\nDate: 2025-03-03\nAuthor: Ada Reed\n\n",
     '---json\n{"title": "Kettle day", "author": "Ada Reed"}\n---\n',
     "---\ntitle: Kettle day\nauthors: [Ada Reed, Tom]\n---\n", '{"title": "Kettle day", "author": "Ada Reed"}\n\n'],
)  # fmt: skip
def test_who_wrote_it_is_read_from_every_kind_of_head(head: str) -> None:
    (source,) = read_markdown("a.md", (head + BODY).encode()).texts
    assert (source.text, source.prompt, source.authors) == (BODY, TITLED, ("Ada Reed",))


@pytest.mark.parametrize("properties", ["", "Mood: good\nWhere: at home\n\n", NOTION.partition("\n\n")[2]])
def test_the_name_of_a_file_says_that_it_is_of_notion(properties: str) -> None:
    page = f"# Kettle day\n\n{properties}The kettle.\n\n<aside>\n💡 It sings.\n\n</aside>\n\nAgain."
    name = f"Kettle day {'0a1b2c3d' * 4}.md"
    assert read(page, name) == ("The kettle.\n\n💡 It sings.\n\nAgain.", TITLED)
    assert read(page)[0].startswith("# Kettle day" if "Tags" not in properties else "The kettle.")


def test_a_post_of_jekyll_in_html() -> None:
    assert read(f"{JEKYLL}<p>The kettle</p>", "a.html") == ("The kettle", TITLED)


@pytest.mark.parametrize(
    "text",
    [
        "---\nDear zebrafish, I write\nto you.",
        "---\n\nDear Bo,\n\nPS: this is text",
        "---\nDear Bo, I write\n---\nmore",
        "---\nDear Bo: hello\n---\nmore",
        "---\nPS: hello\n---\nmore",
        "---\nAda: hello\nBo: hello\n---\nmore",
        "---\n- milk\n- eggs\n---\nmore",
        "---\n# My heading\n---\nmore",
        "---\n? [x]\n: b\n---\nmore",
        "---\nhttps://x.example/title\n---\nmore",
        "---\nalone",
        "---",
        "----\ntitle: x\n----\nmore",
        "+++\nBreaking news\n+++\nmore",
        "+++ title = 1",
        "{like this} I begin",
        "{{ name }}, hello",
        '{"title": "x"} is JSON',
        '{"title": "x"',
        "{}\nmore",
        "{" * 2000,
        '{"a":' * 20_000,
        "Hi\n\n---\nprompt: x\n---\nmore",
        "# Play\n\nAda: hello\nBo: hello\n\nmore",
        "# Kettle day\n\nTags: in a sentence\nthat goes on\n\nmore",
        "# Kettle day\n\nNote: it leaks\n\nmore",
        "Title: alone\n\nmore",
        "Title: Kettle day\nDate: 2025-03-03\n\nmore",
        "Subject: tea\nDate: Monday\n\nmore",
        "#title: x\ntags: y\n\nmore",
    ],
)
def test_a_text_that_only_looks_so_at_its_beginning_is_a_text(text: str) -> None:
    assert read(text) == (text, None)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("---\nprompt: zebrafish\n", 1, "never ends"),
        ("---\ntitle: zebrafish\n\nmore", 1, "never ends"),
        ("\n\n---\ntags: [zebrafish]", 3, "never ends"),
        ('+++\ntitle = "zebrafish"\n', 1, "never ends"),
        ("---\nprompt: Write: zebrafish\n---\nmore", 1, "not valid YAML"),
        ("---\ntitle: x\nprompt: 'zebrafish\n---\nmore", 1, "not valid YAML"),
        ("---\nprompt: \x01\n---\nmore", 1, "not valid YAML"),
        (f"---\nprompt: {'[' * 900}\n---\nmore", 1, "not valid YAML"),
        ("+++\nprompt = zebrafish\n+++\nmore", 1, "not valid YAML or TOML"),
        ("---\nprompt:\n---\nmore", 1, "a prompt that is not a text"),
        ("---\nprompt: '  '\n---\nmore", 1, "a prompt that is not a text"),
        ("---\ntitle: x\nprompt: [zebrafish]\n---\nmore", 1, "a prompt that is not a text"),
        ("+++\nprompt = 5\n+++\nmore", 1, "a prompt that is not a text"),
        (f"---\ntitle: {'zebrafish ' * 2100}\n---\nmore", 1, "longer than 20,000 characters"),
        (f"+++\ntitle = '{'zebrafish ' * 2100}'\n+++\nmore", 1, "longer than 20,000 characters"),
    ],
)
def test_broken_keys_are_refused_with_their_line(content: str, line: int, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith(f"a.md line {line}: ")
    assert message.isprintable()
    assert problem in message
    assert "write it as ***" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "text",
    [
        "---\n" + "a: b\n" * 400_000,
        "---\n" + "A b: c\n" * 280_000 + "---\n",
        "---\ntitle: x\n---\n" + "{% a\n{{ b\n" * 200_000,
        "---\ntitle: x\n---\n" + "{{ a }}" * 280_000 + "b",
        "---\n" + "a: &a [*a]\n" * 8_000 + "---\n",
        "---\n" + "".join(f"key{number}: x\n" for number in range(7_000)) + "---\n",
        "+++\n" + "a = 1\n" + ".".join("b" * 4_900) + " = 1\n+++\n",
        "+++\n" + "".join(f"a{number} = [[[]]]\n" for number in range(600)) + "+++\n",
        '{"a": ' + "[" * 1_000_000,
        "# x\n\n" + "Tags: a\n" * 250_000,
        "#" * 2_000_000,
    ],
)
def test_none_takes_long(text: str) -> None:
    start = time.process_time()
    try:
        split_front_matter("a.md", text)
        read(text + "more")
    except InputError:
        pass
    assert time.process_time() - start < 5
