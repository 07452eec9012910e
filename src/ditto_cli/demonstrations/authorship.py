"""Texts -> which of them somebody else wrote: by sign-offs, not by style.

Who does not sign is never suspected, and "Anna", "A. Smith", "Annie" and "AS" may be one person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ditto_cli.demonstrations.closings import closing_in, name_in, plain_word
from ditto_cli.types import SourceText

MAJORITY = 0.6  # of those that sign; below, it is not known who "the person" is
_MIN_SIGNED = 3
_TAIL_LINES = 8
_MAX_GREETING_WORDS = 6
_TITLES = frozenset("dr prof mr mrs ms miss herr frau dipl ing phd md mme mlle sr sra jr".split())  # noqa: SIM905


def signature_of(text: str) -> str | None:
    """The name that a text is signed with, as it is written; None if it is not signed.

    A name is what stands below a closing, else what stands behind it ("Best, Anna") unless the text greets it ("Hi
    Mia", "Thanks Mia!"), or what stands alone on the last line behind a blank one.
    """
    whole = [line.strip() for line in text.strip().split("\n")]
    greeting = whole[0].split() if len(whole[0].split()) <= _MAX_GREETING_WORDS else []
    greeted = set(map(plain_word, greeting))
    lines = whole[-_TAIL_LINES:]
    found = [(index, closing) for index, line in enumerate(lines) if index > 0 and (closing := closing_in(line))]
    for index, closing in reversed(found):
        below = next((line for line in lines[index + 1 :] if line), "")
        name = None if closing_in(below) else name_in(below)
        if name and (not name[0].islower() or lines[index][0].islower()):
            return name
        name = name_in(closing.rest)
        if name and not set(map(plain_word, name.split())) <= greeted:
            return name
    is_set_apart = len(lines) >= 3 and not lines[-2] and lines[-1][0].isupper() and not closing_in(lines[-1])
    return name_in(lines[-1], max_words=2) if is_set_apart else None


def other_authors(texts: Sequence[SourceText]) -> dict[str, str]:
    """By id, why a text seems to be by another person than most; empty if there is no clear majority.

    Addresses say nothing here: by them `people.own_texts` has told whose texts they are.
    """
    names = {source.id: name for source in texts if (name := signature_of(source.text))}
    ours = _majority(Counter(names.values()))
    return {
        identity: "signed by somebody else than most"
        for identity, name in names.items()
        if ours and not any(are_one_person(name, own) for own in ours)
    }


def are_one_person(one: str, other: str) -> bool:
    """Whether two signatures can be of one person: a shared name, a short form of it, or the same initials."""
    left, right = _words_of(one), _words_of(other)
    if not left or not right:
        return True
    for first, second in ((left, right), (right, left)):
        if len(first) == 1 and 1 < len(first[0]) <= 3 and first[0] == "".join(word[0] for word in second):
            return True  # AS
    if len(left) > 1 and len(right) > 1:
        return _match(left[0], right[0]) and _match(left[-1], right[-1])
    single, several = sorted((left, right), key=len)
    return any(_match(single[0], word) for word in several)


def _majority(names: Counter[str]) -> list[str]:
    """The signatures of the person whom most are of; none if fewer than `MAJORITY` of the texts agree."""
    most = min(names, key=lambda name: (-names[name], name), default="")
    ours = [name for name in names if are_one_person(most, name)]
    total = sum(names[name] for name in ours)
    return ours if total >= _MIN_SIGNED and total >= MAJORITY * names.total() else []


def _words_of(name: str) -> list[str]:
    return [word for part in re.split(r"[\s._+-]+", name) if (word := plain_word(part)) and word not in _TITLES]


def _match(one: str, other: str) -> bool:
    """One name and the other: the same, an initial, or a short form that begins alike."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) or (len(short) > 2 and short[:3] == long[:3])
