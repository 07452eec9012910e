"""Reports for the tests of their views (realistic, smallest, crowded), and a page read as a tree."""

import re
from html.parser import HTMLParser

from ditto_cli.evaluation.html import render_html
from ditto_cli.evaluation.report import (
    POOL,
    Collapse,
    ContestantReport,
    EvalReport,
    Leakage,
    PanelMember,
    SampleRow,
    StylePoint,
    Task,
    Verdict,
    WhatWasRun,
    WinRate,
)

MEASURES = ("total", "character 3-grams", "function words", "punctuation", "sentence length", "openings and closings")
LONG_TEXT = "\n\n".join(
    [
        "Dear Owen,",
        "I hope this message finds you well. I am writing to kindly remind you that the signed contract for the seed "
        "packet illustrations is still outstanding. As we have discussed previously, the printing house requires all "
        "documentation to be in place before Tuesday in order to guarantee the agreed delivery date.",
        "Please find below a brief summary of the outstanding items:",
        "1. Signed contract (both copies)\n2. Invoice address\n3. Confirmation of the final colour proofs",
        "Should you have any questions or concerns, please do not hesitate to reach out to me at your convenience. I "
        "would be more than happy to arrange a call to discuss the matter in further detail.",
        "Thank you very much for your time and consideration. I look forward to hearing from you soon.",
        "Best regards,\n[Your Name]",
    ]
)


def rate(contestant, opponent, wins, ties, losses, low, high, *, unanswered=0, num_prompts=8):
    return WinRate(
        contestant=contestant,
        opponent=opponent,
        rate=(wins + ties / 2) / (wins + ties + losses),
        low=low,
        high=high,
        wins=wins,
        ties=ties,
        losses=losses,
        unanswered=unanswered,
        num_prompts=num_prompts,
    )


def points(*values):
    return [StylePoint(measure=name, value=value) for name, value in zip(MEASURES, values, strict=True)]


def contestant(title, kind, style, **figures):
    """A sound contestant; what differs is given by name."""
    collapse = {"ended": 0.96, "looping": 0.04, "length_ratio": 1.07}
    leakage = {
        "longest_passage_words": 6,
        "shared_8grams": 0.0,
        "held_out_8grams": 0.004,
        "extracted_words": 3,
        "personal_data": [],
    }
    others = {"held_out_loss": None, "chrf": None, "warnings": [], "task": Task(value=0.61)}
    for name, value in figures.items():
        next(part for part in (collapse, leakage, others) if name in part)[name] = value
    return ContestantReport(
        title=title, kind=kind, style=style, collapse=Collapse(**collapse), leakage=Leakage(**leakage), **others
    )


def what_was_run(**changes):
    facts = {
        "ditto": "0.1.0",
        "base": "mistralai/Mistral-7B-Instruct-v0.2 at 3ad372fc79158a2148299e3318516c786aeded6c",
        "quantize": "nf4",
        "device": "NVIDIA GeForce RTX 4090",
        "judge": "style",
        "judge_sees_texts_elsewhere": False,
        "seed": 0,
        "temperature": 0.8,
        "num_prompts": 8,
        "num_samples": 3,
        "max_new_tokens": 320,
        "num_demonstrations": 7,
        "num_held_out": 2,
        "seconds": 725.4,
    }
    return WhatWasRun(**{**facts, **changes})


def realistic_report(**changes):
    """An adapter that beats base and few-shot prompt, with a first round that is as good and a last one that loops."""
    main, stages = "maya:round2", ("base", "few-shot", "sft", "round1", "round3")
    report = {
        "adapter": "maya",
        "created": "2026-03-14T09:26:53+00:00",
        "verdict": Verdict(
            advice="Keep maya:round2: it is better than the base and the few-shot prompt. The rounds are not shown to "
            "add to SFT.",
            figures=[
                "Style and task (1 is you): maya:round2 0.86 and 0.61; base 0.03 and 0.42, few-shot 0.55 and 0.61.",
                "Win rates of maya:round2: 0.94 (0.79 to 1.00) over the base, 0.77 (0.57 to 0.92) over the few-shot "
                "prompt, 0.58 (0.36 to 0.79) over plain SFT.",
            ],
            keep=main,
        ),
        "participants": [],
        "contestants": [
            contestant(main, "round", points(0.86, 0.81, 0.93, 1.31, 0.64, 0.97), held_out_loss=3.108, chrf=31.4),
            contestant(
                "base",
                "base",
                points(0.03, 0.06, -0.12, 0.01, 0.18, -0.41),
                task=Task(value=0.42),
                ended=0.42,
                length_ratio=2.31,
                held_out_loss=4.431,
                chrf=22.0,
            ),
            contestant(
                "few-shot",
                "few-shot",
                points(0.55, 0.48, 0.61, 0.72, 0.35, 0.58),
                longest_passage_words=27,
                shared_8grams=0.113,
                personal_data=["mail address", "phone number"],
                chrf=27.9,
                warnings=[
                    "It recites: 27 words in a row stand in a demonstration.",
                    "It recites: 11% of its 8-word passages stand in a demonstration; of the author's own other texts, "
                    "0%.",
                    "It gives away personal data of a demonstration: mail address, phone number.",
                ],
            ),
            contestant("sft", "sft", points(0.78, 0.74, 0.8, 1.02, 0.66, 0.9), held_out_loss=3.16, chrf=30.6),
            contestant("round1", "round", points(0.84, 0.8, 0.9, 1.12, 0.62, 0.95), held_out_loss=3.112, chrf=31.2),
            contestant(
                "round3",
                "round",
                points(0.71, 0.66, 0.7, 1.44, 0.41, 0.8),
                ended=0.71,
                looping=0.42,
                length_ratio=1.62,
                held_out_loss=3.236,
                chrf=28.8,
                extracted_words=14,
                warnings=[
                    "It runs into loops in 42% of its texts.",
                    "Given the first quarter of a demonstration, it goes on with 14 words of the rest.",
                ],
            ),
        ],
        "win_rates": [
            rate(main, "base", 22, 1, 1, 0.79, 1.0),
            rate(main, "few-shot", 17, 0, 5, 0.57, 0.92, unanswered=2),
            rate(main, "sft", 13, 2, 9, 0.36, 0.79),
            rate(main, "round1", 11, 3, 10, 0.31, 0.72),
            rate(main, "round3", 20, 0, 4, 0.63, 0.96),
            rate("base", "few-shot", 3, 1, 20, 0.02, 0.32),
            rate("base", "sft", 2, 0, 22, 0.0, 0.24),
            rate("few-shot", "sft", 7, 2, 15, 0.15, 0.55),
        ],
        "pool_rates": [
            rate(main, POOL, 83, 6, 29, 0.6, 0.83, unanswered=2),
            rate("base", POOL, 9, 3, 108, 0.03, 0.17),
            rate("few-shot", POOL, 42, 5, 71, 0.26, 0.5, unanswered=2),
            rate("sft", POOL, 70, 8, 42, 0.5, 0.73),
        ],
        "author_style": points(1.0, 1.02, 0.96, 1.08, 0.91, 1.05),
        "author_task": 0.98,
        "panel": [
            PanelMember(measure="character 3-grams", separation=0.98, weight=0.31),
            PanelMember(measure="function words", separation=0.91, weight=0.26),
            PanelMember(measure="punctuation", separation=0.88, weight=0.24),
            PanelMember(measure="sentence length", separation=0.62, weight=0.08),
            PanelMember(measure="openings and closings", separation=0.71, weight=0.11),
        ],
        "samples": [sample_row(*stages, main=main), new_prompt_row(*stages, main=main)],
        "warnings": ["The panel rests on 9 texts of the author; from 12 on its measures are steadier."],
        "run": what_was_run(),
    }
    return EvalReport(**{**report, **changes})


def sample_row(*rivals, main):
    own = "hey Owen!\n\nsigned copy attached (finally!! sorry - the printer ate the first one).\n\nshout if anything \
looks odd, otherwise see you thursday with CAKE\n\nxx m"
    texts = {
        main: "hey Owen!\n\nthe contract for the seed packets - could you send it over before tuesday?? the printer is \
breathing down my neck (nicely, but STILL).\n\nthank you thank you\n\nxx m",
        "base": LONG_TEXT,
        "few-shot": "Hi Owen,\n\nJust a quick one - could you please send the signed contract by Tuesday? Thanks!! 😊"
        "\n\nxx m",
        "sft": "hey Owen!\n\nhey!\n\ncan you send the contract please? tuesday!\n\nxx m",
        "round1": "hey Owen!\n\nso sorry to chase!! the contract - tuesday - please??\n\nxx m",
        "round3": "hey hey hey Owen!! " + "the contract!! please!! " * 18,
    }
    return SampleRow(
        prompt="Write a short email to Owen asking him to send the signed contract for the seed packets by Tuesday.",
        source="held_out",
        author_text=own,
        texts={title: texts.get(title, texts["base"]) for title in (main, *rivals)},
    )


def new_prompt_row(*rivals, main):
    text = "hello lovely people!\n\ntwo things: saturday is ON, and bring a jumper, the studio is freezing."
    return SampleRow(
        prompt="Tell your studio neighbours that the open day on Saturday takes place in spite of the weather.",
        source="new",
        author_text=None,
        texts={title: "" if title == "base" else f"{text}\n\nxx m" for title in (main, *rivals)},
    )


def smallest_report(**changes):
    """Base and adapter only, no judge, no held-out texts, a panel of one measure."""
    unknown = {"held_out_8grams": None, "extracted_words": None}
    total = [StylePoint(measure="total", value=0.5)]
    return realistic_report(
        **{
            "adapter": "bo",
            "verdict": Verdict(
                advice="Nothing was judged, so nothing is shown for or against bo.", figures=[], keep="bo"
            ),
            "contestants": [
                contestant("bo", "adapter", total, **unknown),
                contestant("base", "base", total, **unknown),
            ],
            "win_rates": [],
            "pool_rates": [],
            "author_style": total,
            "samples": [],
            "warnings": [],
            "run": what_was_run(num_held_out=0),
            **changes,
        }
    )


def crowded_report():
    """Twelve contestants with long names."""
    name = "correspondence-of-a-very-long-winded-author"
    titles = [f"{name}:round5", "base", "few-shot", "sft", *(f"round{n}" for n in (1, 2, 3, 4, 6, 7, 8))]
    titles.append("another-adapter-of-somebody-with-a-name-that-does-not-end:round12")
    kinds = ["round", "base", "few-shot", "sft", *["round"] * 7, "adapter"]
    contestants = [
        contestant(title, kind, points(*((0.1 * n + 0.05 * k) % 1.2 for k in range(6))), held_out_loss=4 - 0.1 * n)
        for n, (title, kind) in enumerate(zip(titles, kinds, strict=True))
    ]
    main = titles[0]
    return realistic_report(
        adapter=name,
        verdict=Verdict(advice=f"Keep the base: {main} is not shown to be better.", figures=[], keep="base"),
        contestants=contestants,
        win_rates=[rate(main, t, 8 + n, n % 3, 12 - n, 0.03 * n, 0.6 + 0.03 * n) for n, t in enumerate(titles[1:])],
        pool_rates=[rate(title, POOL, 50 + n, 4, 60, 0.3, 0.6) for n, title in enumerate(titles)],
        samples=[sample_row(*titles[1:], main=main)],
    )


VOID = {"meta", "br", "img", "link", "input", "hr"}


class Element:
    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent, self.children = tag, attributes, parent, []

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    def all(self, tag=None, style=None):
        """Descendants of a tag and a class, in the order of the document."""
        for child in self.children:
            if not isinstance(child, str):
                if tag in (None, child.tag) and (style is None or style in child.classes):
                    yield child
                yield from child.all(tag, style)

    def one(self, tag=None, style=None):
        found = list(self.all(tag, style))
        assert len(found) == 1, (tag, style, len(found))
        return found[0]


class Tree(HTMLParser):
    """The page as a tree; fails where a tag is closed that is not open."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.root = self.open = Element("document", {}, None)
        self.feed(page)
        self.close()
        assert self.open is self.root, f"{self.open.tag} is never closed"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice"
        element = Element(tag, dict(attributes), self.open)
        self.open.children.append(element)
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag):
        assert tag == self.open.tag, f"</{tag}> closes <{self.open.tag}>"
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.children.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def tree_of(report):
    return Tree(render_html(report)).root


def section(page, heading):
    (found,) = [s for s in page.all("section") if any(h.text == heading for h in s.all("h2"))]
    return found


def percent(value):
    assert re.fullmatch(r"-?\d+(\.\d+)?%", value), value
    return float(value[:-1])
