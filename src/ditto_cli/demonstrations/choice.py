"""Many texts -> what a person should know of each, and the few that represent their writer, with a reason for each.

The audit gives a row a text: its size, its language, its prompt, and warnings. Messages name files and kinds, never
words of a text. Knows no model; what counts tokens is handed in.

The choice:
1. Never taken: what the person did not write, and what is in another language than most.
2. Taken first: texts within the limits of length that are like no other. Where these are too few, then one after the
   other: what is too short or too long, the nearest in length first; very short ones, several joined to one; what is
   nearly the same as another; form letters. A very short one alone is taken only where there is nothing else.
3. Where there are more than wanted: one after the other, what is near the middle of all and far from those taken.

The outcome depends on the texts alone, not on their order or the process, and the cost grows with the words, not with
the pairs of texts. Knows no file. How a judge measures style is the business of evaluation, which knows the author.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from sys import intern
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

from ditto_cli.demonstrations import language
from ditto_cli.demonstrations.authorship import other_authors
from ditto_cli.demonstrations.encoding import damaged_places
from ditto_cli.demonstrations.quotes import remove_quoted
from ditto_cli.demonstrations.redaction import personal_data
from ditto_cli.types import Preference, Skipped, SourceText

TOO_SHORT_WORDS = 25
MAX_TOKENS = 2048


@dataclass(frozen=True)
class Warning:
    """Something that a person should look at: a `code` for programs, a `message` of one line for people."""

    code: str
    message: str


@dataclass(frozen=True)
class AuditRow:
    """What there is to know of one text."""

    id: str
    words: int
    tokens: int | None  # None if nothing was given that counts them
    language: str | None  # ISO 639-1 code; None if unsure
    prompt: str | None
    warnings: tuple[Warning, ...] = ()  # in a fixed order of their codes

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


def audit(
    texts: Sequence[SourceText], prompts: Mapping[str, str], count_tokens: Callable[[str], int] | None = None
) -> tuple[AuditRow, ...]:
    """A row for each text, in their order; `prompts`, by id, win over a text's own."""
    firsts = near_duplicates([source.text for source in texts])
    others = other_authors(texts)
    languages = [language.language_of(source.text) for source in texts]
    groups = Counter(language.language_group(code) for code in languages if code is not None)
    usual = next((group for group, num in groups.items() if 2 * num > groups.total()), None)
    most_words = language.Limits().max_words
    rows: list[AuditRow] = []
    for index, (source, code) in enumerate(zip(texts, languages, strict=True)):
        num_words = language.count_words(source.text)
        tokens = None if count_tokens is None else count_tokens(source.text)
        found: dict[str, str] = {}
        if firsts[index] != index:
            found["duplicate"] = f"nearly the same as {texts[firsts[index]].id}: keep one of them"
        if num_words < TOO_SHORT_WORDS:
            found["too_short"] = f"fewer than {TOO_SHORT_WORDS} words: there is little style to learn"
        elif num_words > most_words or (tokens is not None and tokens > MAX_TOKENS):
            found["too_long"] = f"more than {most_words} words or {MAX_TOKENS} tokens: --split cuts it at paragraphs"
        if source.id in others:
            found["other_author"] = f"{others[source.id]}: is it the same person?"
        if code is not None and usual is not None and language.language_group(code) != usual:
            found["other_language"] = f"in {language.language_name(code)}, the others are not"
        found |= _about_text(source.text)
        if (num := len(language.split_note(source.text))) > 1:
            found["several_texts"] = (
                f"looks like {num} texts in one file, divided by lines of ---: --split divides them"
            )
        if source.mail is not None and source.mail.not_written is not None:
            found["written_by_machine"] = source.mail.not_written
        if any(line.startswith(">") for line in source.text.split("\n")) or remove_quoted(source.text).original:
            found["quoted"] = "quoted lines, or the head of another message: take out what others wrote"
        prompt = prompts.get(source.id, "").strip() or (source.prompt or "").strip() or None
        rows.append(AuditRow(source.id, num_words, tokens, code, prompt, tuple(map(Warning, found, found.values()))))
    return tuple(rows)


def audit_pair(pair: Preference) -> list[Warning]:
    """What a person should look at in a given pair."""
    most_words = language.Limits().max_words
    found = _about_text(pair.chosen) | _about_text(pair.rejected)
    if max(language.count_words(pair.chosen), language.count_words(pair.rejected)) > most_words:
        found["too_long"] = f"more than {most_words} words: take a shorter pair"
    return list(map(Warning, found, found.values()))


def _about_text(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if num := damaged_places(text):
        found["damaged"] = f"places that were decoded wrongly ({num}): save the original again as UTF-8"
    if kinds := personal_data(text):
        listed = ", ".join(f"{kind} ({len(values)})" for kind, values in sorted(kinds.items()))
        found["personal_data"] = f"{listed}: --redact puts stand-ins for such"
    return found


# --- choice

NOT_AS_TYPICAL = "not as typical as those picked"
NEARLY_THE_SAME = "nearly the same as another"
FORM_LETTER = "a form letter sent many times"
JOINED_WORDS = 15  # a text of fewer words teaches nothing alone
_WITHIN, _LENGTH, _JOINED, _ALIKE, _FORM, _TINY = range(6)  # what is taken first
_FORMS = {"new": "emails", "reply": "replies", "forward": "forwarded emails"}


@dataclass(frozen=True)
class Picked:
    """A text that represents its writer, and why it does, in one line without words of the text."""

    text: SourceText
    reason: str
    num_texts: int = 1  # more where short texts were joined to this one


@dataclass(frozen=True)
class Choice:
    """What was picked, the most typical first, what was left out and why, and what the person should know of it."""

    picked: tuple[Picked, ...]
    left_out: tuple[Skipped, ...]
    note: str = ""


@dataclass
class _Entry:
    """A text on its way through the rules."""

    text: SourceText
    words: int
    members: tuple[SourceText, ...]  # more than one where short ones were joined
    refusal: str = ""  # why it is never taken
    doubt: str = ""  # why it is taken only where too few others are left
    rank: tuple[float, ...] = (_WITHIN,)  # of entries in doubt, the lowest are taken first


def pick(texts: Sequence[SourceText], num: int, limits: language.Limits | None = None) -> Choice:
    """The `num` texts that represent their writer; all usable ones if there are fewer."""
    assert num >= 1
    limits = limits or language.Limits()
    least, most = limits.min_words, limits.max_words
    ordered = sorted(texts, key=lambda source: (_natural_key(source.id), source.text))
    entries = [_Entry(source, language.count_words(source.text), (source,)) for source in ordered]
    for entry in entries:
        entry.refusal = (entry.text.mail.not_written or "") if entry.text.mail is not None else ""
        if entry.words < least:
            entry.doubt, entry.rank = f"shorter than {least} words", (_LENGTH, least / max(1, entry.words))
        elif entry.words > most:
            entry.doubt, entry.rank = f"longer than {most} words", (_LENGTH, entry.words / most)
    # Those that are taken first come first, so that a text is never doubted for one that is itself in doubt.
    by_rank = sorted(entries, key=lambda entry: entry.rank)
    _doubt_alike([entry for entry in by_rank if not entry.refusal])
    others = other_authors([entry.text for entry in entries if not entry.refusal and entry.rank[0] < _FORM])
    for entry in entries:
        entry.refusal = entry.refusal or others.get(entry.text.id, "")
    entries = _join_short(entries, limits)
    # Of a few words nobody can tell the language.
    long = [entry for entry in entries if not entry.refusal and entry.words >= 12]
    codes = [(entry, code) for entry in long if (code := language.language_of(entry.text.text)) is not None]
    groups = Counter(language.language_group(code) for _, code in codes)
    main = min(groups, key=lambda group: (-groups[group], group), default="")
    for entry, code in codes:
        if language.language_group(code) != main:
            entry.refusal = f"in another language than most ({language.language_name(code)})"
    usable = sorted((entry for entry in entries if not entry.refusal), key=lambda entry: entry.rank)
    chosen: list[_Entry] = []
    for rank, group in groupby(usable, key=lambda entry: entry.rank):
        if len(chosen) < num and not (chosen and rank == (_TINY,)):
            chosen += _represent(list(group), num - len(chosen))
    ids = {entry.text.id for entry in chosen}
    left_out = [
        Skipped(member.id, entry.refusal or entry.doubt or NOT_AS_TYPICAL)
        for entry in entries
        if entry.text.id not in ids
        for member in entry.members
    ]
    picked: list[Picked] = []
    for entry in chosen:
        what = f"one of the most typical of {len(usable)}"
        if entry.doubt:
            what = f"{entry.doubt}, but too few others are left"
        if len(entry.members) > 1:
            what = f"{len(entry.members)} short {_form(entry.text)} in one; {what}"
        picked.append(Picked(entry.text, f"{entry.words} words, {what}", len(entry.members)))
    note = ""
    if doubts := Counter(entry.doubt for entry in chosen if entry.doubt):
        which = ", ".join(f"{doubt} ({count})" for doubt, count in doubts.most_common())
        note = f"Too few texts are as they should be, so others were taken: {which}. Look at them."
    return Choice(tuple(picked), tuple(left_out), note)


def _doubt_alike(entries: Sequence[_Entry]) -> None:
    """Doubt all texts but the first of those that are nearly the same, and of a form letter the first as well."""
    firsts = near_duplicates([entry.text.text for entry in entries])
    groups: dict[int, list[_Entry]] = {}
    for entry, first in zip(entries, firsts, strict=True):
        groups.setdefault(first, []).append(entry)
    for members in groups.values():
        mails = [entry.text.mail for entry in members if entry.text.mail is not None]
        is_sent_often = len(mails) >= 5 or len({mail.recipients for mail in mails if mail.recipients}) >= 3
        for place, entry in enumerate(members):
            if is_sent_often and entry.words >= JOINED_WORDS:
                entry.doubt, entry.rank = FORM_LETTER, (_FORM, place, *entry.rank)
            elif place:
                entry.doubt = NEARLY_THE_SAME
                entry.rank = (_ALIKE, place, *entry.rank)


def _join_short(entries: Sequence[_Entry], limits: language.Limits) -> list[_Entry]:
    """Make of neighbours of one form with fewer than `JOINED_WORDS` words one text that is within the limits."""
    most = min(JOINED_WORDS, limits.min_words)
    found: list[_Entry] = []
    groups: dict[str, list[list[_Entry]]] = {}
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
            entry, num = members[0], len(members)
            if num > 1:
                names = "messages" if entry.text.mail is None else _form(entry.text)
                texts = tuple(member.text for member in members)
                joined = replace(
                    entry.text,
                    id=f"{entry.text.id} and {num - 1} more",
                    text="\n\n".join(text.text for text in texts),
                    prompt=f"Write {num} short {names}, with a blank line between them.",
                )
                entry = _Entry(joined, sum(member.words for member in members), texts, doubt=entry.doubt)
            entry.rank = (_JOINED if entry.words >= most else _TINY,)
            found.append(entry)
    return found


def _represent(entries: Sequence[_Entry], num: int) -> list[_Entry]:
    """The `num` entries that stand for all of these, the most typical first."""
    figures = style_figures([entry.text.text for entry in entries])
    scores = typicality(figures)
    ranked = sorted(range(len(entries)), key=lambda row: (-scores[row], row))
    left = ranked[: max(num, round(0.5 * len(ranked)))]  # the others are taken only where nothing else is left
    chosen: list[int] = []
    while left and len(chosen) < num:
        near = (figures[left] @ figures[chosen].T).max(axis=1) if chosen else np.zeros(len(left))
        chosen.append(left.pop(int((np.array([scores[row] for row in left]) - near).argmax())))
    return [entries[row] for row in ranked if row in set(chosen)]


def _form(source: SourceText) -> str:
    return "texts" if source.mail is None else _FORMS[source.mail.form]


def _natural_key(identity: str) -> tuple[list[tuple[int, str]], str]:
    # "mail 9" before "mail 10".
    pieces = re.split(r"([0-9]+)", identity.casefold())
    return [(int(piece) if piece.isdecimal() and piece.isascii() else -1, piece) for piece in pieces], identity


# --- likeness

SAME_SHARE = 0.85  # of the words of two texts, in the same order, from which on they are nearly the same
_MIN_WORDS = 6  # shorter texts are nearly the same only if their words are
_MAX_CHARACTERS = 20_000  # texts that begin with as many of the same are the same
_RUN_WORDS = 4
_NUM_RUNS = 64  # that are looked up of each text: those with the smallest hashes, which two that are alike share
_WORD = re.compile(rf"[{language.UNSPACED}]|[^\W{language.UNSPACED}]+")

_NUM_FIGURES = 2048
# Odd, so that multiplying loses nothing modulo 2^64; one for each place in a run of three characters.
_FACTORS = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))

Figures = NDArray[np.float32]


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it is nearly the same as; its own where there is none.

    Two texts are nearly the same if they share `SAME_SHARE` of their words in the same order. Only texts that share
    runs of four words are compared: with the first text that has the run, and with the latest.
    """
    spelt: list[list[str]] = []
    firsts: list[int] = []
    owners: dict[int, tuple[int, int]] = {}
    for index, text in enumerate(texts):
        words = [intern(word) for word in _WORD.findall(text[:_MAX_CHARACTERS].casefold())]
        runs = (" ".join(words[start : start + _RUN_WORDS]) for start in range(max(1, len(words) - _RUN_WORDS + 1)))
        shared: Counter[int] = Counter()
        for key in sorted({crc32(run.encode("utf-8", "surrogatepass")) for run in runs})[:_NUM_RUNS] if words else ():
            first, latest = owners.get(key, (index, index))
            owners[key] = first, index
            if first != index:
                shared.update({firsts[first], firsts[latest]})
        spelt.append(words)
        firsts.append(index)
        for other, _ in shared.most_common(4):  # texts that share the most of them are compared
            is_long = min(len(spelt[other]), len(words)) >= _MIN_WORDS
            if spelt[other] == words or (is_long and ratio(spelt[other], words, score_cutoff=100 * SAME_SHARE) > 0):
                firsts[index] = other
                break
    return firsts


def style_figures(texts: Sequence[str]) -> Figures:
    """A row of length 1 for each text: TF-IDF of its runs of three characters, of which many stand in one column."""
    figures = np.zeros((len(texts), _NUM_FIGURES), dtype=np.float32)
    for row, text in enumerate(texts):
        plain = f" {' '.join(text.lower().split())} "
        codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        hashes = codes[:-2] * _FACTORS[0] + codes[1:-1] * _FACTORS[1] + codes[2:] * _FACTORS[2]
        # The high bits: the low ones of a product depend on the low ones of its factors only.
        columns = (hashes >> np.uint64(32)) % np.uint64(_NUM_FIGURES)
        figures[row] = np.sqrt(np.bincount(columns.astype(np.int64), minlength=_NUM_FIGURES))
    num_having = np.count_nonzero(figures, axis=0)
    figures *= (np.log((1 + len(texts)) / (1 + num_having)) + 1).astype(np.float32)
    figures /= np.maximum(np.linalg.norm(figures, axis=1, keepdims=True), 1e-12)
    return figures


def typicality(figures: Figures) -> list[float]:
    """The cosine of each row to the middle: 1 is most typical.

    The middle is that of the nearer seven tenths, so that pasted texts of others do not pull it.
    """
    near = figures @ figures.sum(axis=0)
    core = figures[near >= np.quantile(near, 0.3)] if len(near) else figures
    middle = core.sum(axis=0)
    return [round(float(value), 6) for value in figures @ middle / max(np.linalg.norm(middle), 1e-12)]
