"""Many texts of a person -> the few that represent them, and for every other text the reason why it is not among them.

1. Never taken: what the person did not write, and what is in another language than most.
2. Taken first: texts within the limits of length that are like no other. Where these are too few, then one after the
   other: what is too short or too long, the nearest in length first; very short ones, several joined to one; what is
   nearly the same as another; form letters and lists. A very short one alone is taken only where there is nothing else.
3. Where there are more than wanted, each kind (form, length, language) gets places by the root of its number, and in it
   those count that are near the middle of all and far from those that are taken.

The outcome depends on the texts alone, not on their order. Knows no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ditto_cli.demonstrations.authorship import by_language_model, other_authors
from ditto_cli.demonstrations.language import (
    MIN_PARAGRAPH_WORDS,
    count_words,
    language_group,
    language_name,
    language_of,
)
from ditto_cli.demonstrations.similarity import Figures, near_duplicates, style_figures, typicality
from ditto_cli.types import Skipped, SourceText

NOT_AS_TYPICAL = "not as typical as those picked"
FORM_LETTER = "a form letter sent many times"
MOSTLY_LISTS = "mostly quotes, links or lists"
SHORT_WORDS, LONG_WORDS = 80, 200  # up to which a text is short, and from which on it is long
JOINED_WORDS = 15  # a text of fewer words teaches nothing alone
_LANGUAGE_SHARE, _LANGUAGE_TEXTS = 0.2, 3  # what makes a second language one of the person's own
_TYPICAL_SHARE = 2 / 3  # the others are taken only where nothing else is left
_WITHIN, _LENGTH, _JOINED, _ALIKE, _FORM, _TINY = range(6)  # what is taken first
_FORMS = {"new": ("email", "emails"), "reply": ("reply", "replies"), "forward": ("forwarded email", "forwarded emails")}
_NO_MAIL = ("text", "texts")
_LIST_LINE = re.compile(r"\s*(?:>|[-*•·\u2013]\s|\d{1,3}[.)]\s|\|)|[^\t\n]*\t[^\t\n]*\t")
_LINK = re.compile(r"(?:https?://|www\.)\S+")


@dataclass(frozen=True)
class Limits:
    """How long a demonstration should be, in words."""

    min_words: int = 40
    max_words: int = 600


@dataclass(frozen=True)
class Picked:
    """A text that represents its writer, and why it does, in one line without words of the text.

    `num_texts` is more than 1 where short texts were joined to this one.
    """

    text: SourceText
    reason: str
    num_texts: int = 1


@dataclass(frozen=True)
class Choice:
    """What was picked, the most typical first, what was left out and why, and what the person should know of it."""

    picked: tuple[Picked, ...]
    left_out: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Kind:
    """Texts of one form, length and language."""

    form: tuple[str, str]
    length: int
    language: str = ""

    def words(self, num: int) -> str:
        """The kind for one text ("a short reply") or the number of them ("12 short replies")."""
        name = self.form[num != 1]
        article = str(num) if num != 1 else "an" if name[0] in "aeiou" and self.length == 1 else "a"
        return f"{article} {(f'short {name}', f'{name} of medium length', f'long {name}')[self.length]}{self.language}"


@dataclass
class _Entry:
    """A text on its way through the rules.

    Attributes:
        members: the texts in it, more than one where short ones were joined.
        refusal: why it is never taken.
        doubt: why it is taken only where too few others are left.
        rank: of entries in doubt, the lowest are taken first.
        language: its code, the same one for those that are hard to tell apart; where unsure that of most.
    """

    text: SourceText
    words: int
    members: tuple[SourceText, ...]
    refusal: str = ""
    doubt: str = ""
    rank: tuple[float, ...] = (_WITHIN,)
    language: str = ""


def pick(texts: Sequence[SourceText], num: int, limits: Limits | None = None) -> Choice:
    """The `num` texts that represent their writer; all usable ones if there are fewer."""
    assert num >= 1
    limits = limits if limits is not None else Limits()
    ordered = sorted(texts, key=lambda source: (_natural_key(source.id), source.text))
    entries = [_Entry(source, count_words(source.text), (source,)) for source in ordered]
    for entry in entries:
        entry.refusal = _refusal(entry.text)
        _doubt(entry, limits)
    # Those that are taken first come first, so that a text is never doubted for one that is itself in doubt.
    by_rank = sorted(entries, key=lambda entry: entry.rank)
    _doubt_alike([entry for entry in by_rank if not entry.refusal and entry.rank[0] < _FORM])
    others = other_authors([entry.text for entry in entries if not entry.refusal and entry.rank[0] < _FORM])
    for entry in entries:
        entry.refusal = entry.refusal or others.get(entry.text.id, "")
    entries = _join_short(entries, limits)
    _refuse_other_languages([entry for entry in entries if not entry.refusal])
    usable = sorted((entry for entry in entries if not entry.refusal), key=lambda entry: entry.rank)
    chosen: list[_Entry] = []
    reasons: dict[str, str] = {}
    for rank, group in groupby(usable, key=lambda entry: entry.rank):
        if len(chosen) < num and not (chosen and rank == (_TINY,)):
            chosen += _represent(list(group), num - len(chosen), reasons)
    ids = {entry.text.id for entry in chosen}
    left_out = [
        Skipped(member.id, entry.refusal or entry.doubt or NOT_AS_TYPICAL)
        for entry in entries
        if entry.text.id not in ids
        for member in entry.members
    ]
    picked = [Picked(entry.text, reasons[entry.text.id], len(entry.members)) for entry in chosen]
    return Choice(tuple(picked), tuple(left_out), tuple(_notes(chosen, limits)))


def _refusal(source: SourceText) -> str:
    if source.mail is not None and source.mail.not_written is not None:
        return source.mail.not_written
    return "written by a language model" if by_language_model(source.text) else ""


def _doubt(entry: _Entry, limits: Limits) -> None:
    least, most = limits.min_words, limits.max_words
    if _is_mostly_lists(entry.text.text):
        entry.doubt, entry.rank = MOSTLY_LISTS, (_FORM,)
    elif entry.words < least:
        entry.doubt, entry.rank = f"shorter than {least} words", (_LENGTH, least / max(1, entry.words))
    elif entry.words > most:
        entry.doubt, entry.rank = f"longer than {most} words", (_LENGTH, entry.words / most)


def _doubt_alike(entries: Sequence[_Entry]) -> None:
    """Doubt all texts but the first of those that are nearly the same, and of a form letter the first as well."""
    firsts = near_duplicates([entry.text.text for entry in entries])
    groups: dict[int, list[_Entry]] = {}
    for entry, first in zip(entries, firsts, strict=True):
        groups.setdefault(first, []).append(entry)
    for first, members in groups.items():
        mails = [entry.text.mail for entry in members if entry.text.mail is not None]
        is_sent_often = len(mails) >= 5 or len({mail.recipients for mail in mails if mail.recipients}) >= 3
        for place, entry in enumerate(members):
            if is_sent_often and entry.words >= JOINED_WORDS:
                entry.doubt, entry.rank = FORM_LETTER, (_FORM, place, *entry.rank)
            elif place:
                entry.doubt = f"nearly the same as {entries[first].text.id}"
                entry.rank = (_ALIKE, place, *entry.rank)


def _is_mostly_lists(text: str) -> bool:
    num_words = {True: 0, False: 0}
    for line in text.split("\n"):
        prose, num_links = _LINK.subn("", line)
        num_words[_LIST_LINE.match(line) is not None] += len(prose.split())
        num_words[True] += 8 * num_links  # a link takes the place of a clause
    return num_words[True] > num_words[False]


def _join_short(entries: Sequence[_Entry], limits: Limits) -> list[_Entry]:
    """Make of neighbours of one form with fewer than `JOINED_WORDS` words one text that is within the limits."""
    most = min(JOINED_WORDS, limits.min_words)
    found: list[_Entry] = []
    groups: dict[tuple[str, str], list[list[_Entry]]] = {}
    for entry in entries:
        if entry.refusal or entry.rank[0] != _LENGTH or entry.words >= most:
            found.append(entry)
            continue
        parts = groups.setdefault(_form(entry.text), [[]])
        if sum(member.words for member in parts[-1]) >= limits.min_words:
            parts.append([])
        parts[-1].append(entry)
    for parts in groups.values():
        if len(parts) > 1 and sum(member.words for member in parts[-1]) < limits.min_words:
            remainder = parts.pop()
            parts[-1] += remainder
        for members in parts:
            entry = _join(members) if len(members) > 1 else members[0]
            entry.rank = (_JOINED if entry.words >= most else _TINY,)
            found.append(entry)
    return found


def _join(entries: Sequence[_Entry]) -> _Entry:
    first, num = entries[0].text, len(entries)
    names = "messages" if first.mail is None else _form(first)[1]
    joined = replace(
        first,
        id=f"{first.id} and {num - 1} more",
        text="\n\n".join(entry.text.text for entry in entries),
        prompt=f"Write {num} short {names}, with a blank line between them.",
    )
    members = tuple(entry.text for entry in entries)
    return _Entry(joined, sum(entry.words for entry in entries), members, doubt=entries[0].doubt)


def _refuse_other_languages(entries: Sequence[_Entry]) -> None:
    """Refuse what is in languages that few of the texts are in; of a few words nobody can tell."""
    codes = [language_of(entry.text.text) if entry.words >= MIN_PARAGRAPH_WORDS else None for entry in entries]
    counts = Counter(language_group(code) for code in codes if code is not None)
    main = min(counts, key=lambda group: (-counts[group], group), default="")
    # Of languages that are hard to tell apart the most frequent names them all.
    frequent = sorted(Counter(code for code in codes if code is not None).items(), key=lambda item: (item[1], item[0]))
    names = {language_group(code): code for code, _ in frequent}
    for entry, code in zip(entries, codes, strict=True):
        group = main if code is None else language_group(code)
        entry.language = names.get(group, "")
        is_own = counts[group] >= _LANGUAGE_TEXTS and counts[group] >= _LANGUAGE_SHARE * counts.total()
        if code is not None and group != main and not is_own:
            entry.refusal = f"in another language than most ({language_name(code)})"


def _represent(entries: Sequence[_Entry], num: int, reasons: dict[str, str]) -> list[_Entry]:
    """The `num` entries that stand for all of these, the most typical first; `reasons` gets why, by id."""
    figures = style_figures([entry.text.text for entry in entries])
    scores = [0.0] * len(entries)
    for language in {entry.language for entry in entries}:
        rows = [row for row, entry in enumerate(entries) if entry.language == language]
        for row, score in zip(rows, typicality(figures[rows]), strict=True):
            scores[row] = score
    ranked = sorted(range(len(entries)), key=lambda row: (-scores[row], row))
    several = len({entry.language for entry in entries}) > 1
    kinds = [
        Kind(
            _form(entry.text),
            (entry.words > SHORT_WORDS) + (entry.words > LONG_WORDS),
            f" in {language_name(entry.language)}" if several else "",
        )
        for entry in entries
    ]
    chosen = set(ranked if len(ranked) <= num else _spread(ranked, figures, scores, kinds, num))
    sizes, places = Counter(kinds), Counter[Kind]()
    for row in ranked:
        entry, kind = entries[row], kinds[row]
        places[kind] += 1
        if entry.doubt:
            what = kind.words(1) if len(entry.members) == 1 else f"{kind.words(len(entry.members))} in one"
        elif sizes[kind] == 1:
            what = f"the only one that is {kind.words(1)}"
        else:
            what = f"{_ordinal(places[kind])}most typical of {kind.words(sizes[kind])}"
        doubt = f"; {entry.doubt}, but too few others are left" if entry.doubt else ""
        reasons[entry.text.id] = f"{what}, {entry.words} {'word' if entry.words == 1 else 'words'}{doubt}"
    return [entries[row] for row in ranked if row in chosen]


def _form(source: SourceText) -> tuple[str, str]:
    return _NO_MAIL if source.mail is None else _FORMS[source.mail.form]


def _spread(
    ranked: Sequence[int], figures: Figures, scores: Sequence[float], kinds: Sequence[Kind], num: int
) -> list[int]:
    """`num` rows, of each kind as many as its slots; each is the one that is typical and least like those before."""
    by_kind: dict[Kind, list[int]] = {}
    for row in ranked[: max(num, round(_TYPICAL_SHARE * len(ranked)))]:
        by_kind.setdefault(kinds[row], []).append(row)
    chosen: list[int] = []
    for kind, slots in _slots({kind: len(rows) for kind, rows in by_kind.items()}, num).items():
        rows = by_kind[kind]
        candidates = rows[: max(slots, (len(rows) + 1) // 2)]
        for _ in range(slots):
            near = figures[candidates] @ figures[chosen].T if chosen else np.zeros((len(candidates), 1))
            values = np.array([scores[row] for row in candidates]) - near.max(axis=1)
            chosen.append(candidates.pop(int(values.argmax())))
    return chosen


def _slots(sizes: Mapping[Kind, int], num: int) -> dict[Kind, int]:
    """Slots by the square roots of the kinds' sizes (Sainte-Laguë), to none more than its texts; large kinds first."""
    order = sorted(sizes, key=lambda kind: (-sizes[kind], kind))
    slots = dict.fromkeys(order, 0)
    for _ in range(num):
        open_kinds = [kind for kind in order if slots[kind] < sizes[kind]]
        # max takes the first of equals.
        slots[max(open_kinds, key=lambda kind: sizes[kind] ** 0.5 / (2 * slots[kind] + 1))] += 1
    return slots


def _notes(chosen: Sequence[_Entry], limits: Limits) -> Iterator[str]:
    """What of the choice is not as it should be, a line each."""
    if short := [
        entry.words for entry in chosen if entry.words < limits.min_words and entry.rank[0] in (_LENGTH, _TINY)
    ]:
        span = str(short[0]) if min(short) == max(short) else f"{min(short)} to {max(short)}"
        yield (
            f"Too few texts have {limits.min_words} words or more: the longest of the others were taken "
            f"({len(short)} of {span} words). Longer ones teach more, if there are any."
        )
    if joined := [entry for entry in chosen if len(entry.members) > 1]:
        num = sum(len(entry.members) for entry in joined)
        yield (
            f"{num} texts of fewer than {JOINED_WORDS} words were joined to {len(joined)}, each with a prompt that "
            "asks for so many: one such text alone teaches nothing."
        )
    if alike := sum(entry.rank[0] in (_ALIKE, _FORM) for entry in chosen):
        yield (
            f"{alike} of the texts taken are form letters, lists or nearly the same as another, as too few others are "
            "left: look whether they should stay."
        )


def _ordinal(num: int) -> str:
    if num == 1:
        return ""
    ending = "th" if 10 <= num % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(num % 10, "th")
    return f"{num}{ending} "


def _natural_key(identity: str) -> tuple[list[tuple[int, str]], str]:
    # "mail 9" before "mail 10".
    pieces = re.split(r"([0-9]+)", identity.casefold())
    return [(int(piece) if piece.isdecimal() and piece.isascii() else -1, piece) for piece in pieces], identity
