"""Many texts of a person -> the few that represent them, and for every other text the reason why it is not among them.

Typical is meant in style, not in topic. The outcome depends on the texts alone, not on their order. Knows no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ditto_cli.demonstrations.authorship import by_language_model, other_authors
from ditto_cli.demonstrations.language import count_words, function_words, language_group, language_name, language_of
from ditto_cli.demonstrations.reading import Skipped
from ditto_cli.demonstrations.similarity import content_words, near_duplicates, typicality
from ditto_cli.types import SourceText

NOT_AS_TYPICAL = "not as typical as those picked"
FORM_LETTER = "a form letter sent many times"
MOSTLY_LISTS = "mostly quotes, links or lists"
SHORT_WORDS, LONG_WORDS = 80, 200  # what short and long mean as long as there are too few texts for thirds
_MIN_FOR_THIRDS = 30
_LEAST_WORDS = 5
_LEAST_TYPICAL = -0.5  # robust standard deviations; the rest is picked only where nothing else is left
_LANGUAGE_SHARE, _LANGUAGE_TEXTS = 0.2, 3  # what makes a second language one of the person's own
_MIN_FOR_OWN_MIDDLE = 8
_NUM_CANDIDATES = 60
_USUAL_OVERLAP = 0.3
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
    """A text that represents its writer, and why it does, in one line without words of the text."""

    text: SourceText
    reason: str


@dataclass(frozen=True)
class Choice:
    """What was picked, the most typical first, and what was left out and why."""

    picked: tuple[Picked, ...]
    left_out: tuple[Skipped, ...]


@dataclass(frozen=True)
class Kind:
    """Texts of one form, length and language."""

    form: tuple[str, str]
    length: int
    language: str = ""

    def words(self, num: int) -> str:
        """The kind for one text ("a short reply") or the number of them ("12 short replies")."""
        name = self.form[num != 1]
        article = str(num) if num != 1 else "an" if name[0] in "aeiou" and self.length == 1 else "a"
        sized = (f"short {name}", f"{name} of medium length", f"long {name}")[self.length]
        return f"{article} {sized}{self.language}"


@dataclass
class _Sieve:
    """Texts in the order of their ids, their figures, and why some of them are left out."""

    texts: list[SourceText]
    words: list[int]
    languages: dict[int, str | None] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def left(self) -> list[int]:
        return [index for index in range(len(self.texts)) if index not in self.reasons]


def pick(texts: Sequence[SourceText], num: int, limits: Limits | None = None) -> Choice:
    """The `num` texts that represent their writer; all usable ones if there are fewer.

    Too few texts within the limits widen these, to half and double, then to a quarter and four times; a text that is
    taken for this reason says so.
    """
    assert num >= 1
    limits = limits if limits is not None else Limits()
    ordered = sorted(texts, key=lambda source: (_natural_key(source.id), source.text))
    words = [count_words(source.text) for source in ordered]
    sieve = _Sieve(ordered, words)
    for factor in (1, 2, 4):
        wider = _Sieve(ordered, words, sieve.languages)
        _leave_out(wider, limits, factor)
        if factor == 1 or len(wider.left()) > len(sieve.left()):
            sieve = wider
        if len(sieve.left()) >= num:
            break
    usable = sieve.left()
    scores = _scores(sieve, usable)
    kinds = _kinds(sieve, usable)
    chosen = _spread(sieve, scores, kinds, min(num, len(usable)))
    reasons = _ranked_reasons(scores, kinds)
    picked = [
        Picked(ordered[index], f"{reasons[index]}, {_words(words[index])}{_beyond(words[index], limits)}")
        for index in sorted(chosen, key=lambda index: (-scores[index], index))
    ]
    left_out = [
        Skipped(source.id, sieve.reasons.get(index, NOT_AS_TYPICAL))
        for index, source in enumerate(ordered)
        if index not in chosen
    ]
    return Choice(tuple(picked), tuple(left_out))


def kind_of(text: SourceText, cuts: tuple[int, int] = (SHORT_WORDS, LONG_WORDS)) -> str:
    """A text's form and length, as "a short reply"; of `cuts` words, the first still short, the second not yet long."""
    return _kind(text, count_words(text.text), cuts).words(1)


def _leave_out(sieve: _Sieve, limits: Limits, factor: int) -> None:
    """Enter the reason for every text that is not to be picked; each test sees those that the ones before it left."""
    least = max(min(_LEAST_WORDS, limits.min_words), limits.min_words // factor)
    most = limits.max_words * factor
    for index in sieve.left():
        if reason := _own_reason(sieve.texts[index], sieve.words[index], least, most, limits):
            sieve.reasons[index] = reason
    _leave_out_repeated(sieve)
    _leave_out_languages(sieve)
    left = sieve.left()
    others = other_authors([sieve.texts[index] for index in left])
    sieve.reasons |= {index: others[sieve.texts[index].id] for index in left if sieve.texts[index].id in others}


def _own_reason(source: SourceText, words: int, least: int, most: int, limits: Limits) -> str | None:
    if source.mail is not None and source.mail.not_written is not None:
        return source.mail.not_written
    if source.mail is not None and source.mail.is_sent is False:
        return "received, not sent"
    if words < least:
        return f"shorter than {limits.min_words} words"
    if words > most:
        return f"longer than {limits.max_words} words"
    if _is_mostly_lists(source.text):
        return MOSTLY_LISTS
    return "written by a language model" if by_language_model(source.text) else None


def _is_mostly_lists(text: str) -> bool:
    running = other = 0
    for line in text.split("\n"):
        prose, num_links = _LINK.subn("", line)
        num = len(prose.split())
        other += 8 * num_links  # a link takes the place of a clause
        if _LIST_LINE.match(line):
            other += num
        else:
            running += num
    return other > running


def _leave_out_repeated(sieve: _Sieve) -> None:
    left = sieve.left()
    firsts = near_duplicates([sieve.texts[index].text for index in left])
    groups: dict[int, list[int]] = {}
    for index, first in zip(left, firsts, strict=True):
        groups.setdefault(left[first], []).append(index)
    for first, members in groups.items():
        mails = [mail for index in members if (mail := sieve.texts[index].mail) is not None]
        is_form_letter = len(mails) >= 5 or len({mail.recipients for mail in mails if mail.recipients}) >= 3
        for index in members:
            if is_form_letter:
                sieve.reasons[index] = FORM_LETTER
            elif index != first:
                sieve.reasons[index] = f"nearly the same as {sieve.texts[first].id}"


def _leave_out_languages(sieve: _Sieve) -> None:
    """Leave out texts in languages that few of the texts are in; of unsure ones nothing is thought."""
    left = sieve.left()
    for index in left:
        if index not in sieve.languages:
            sieve.languages[index] = language_of(sieve.texts[index].text)
    counts = Counter(language_group(code) for index in left if (code := sieve.languages[index]) is not None)
    main = min(counts, key=lambda group: (-counts[group], group), default="")
    own = {
        group
        for group, count in counts.items()
        if group == main or (count >= _LANGUAGE_TEXTS and count >= _LANGUAGE_SHARE * counts.total())
    }
    for index in left:
        code = sieve.languages[index]
        if code is not None and language_group(code) not in own:
            sieve.reasons[index] = f"in another language than most ({language_name(code)})"


def _by_language(sieve: _Sieve, usable: Sequence[int]) -> dict[str, list[int]]:
    """The usable texts by group of languages; unsure ones are with the most frequent."""
    codes = {index: sieve.languages.get(index) for index in usable}
    counts = Counter(language_group(code) for code in codes.values() if code is not None)
    main = min(counts, key=lambda group: (-counts[group], group), default="")
    groups: dict[str, list[int]] = {}
    for index, code in codes.items():
        groups.setdefault(main if code is None else language_group(code), []).append(index)
    return groups


def _scores(sieve: _Sieve, usable: Sequence[int]) -> dict[int, float]:
    """How typical each text is among those in its language."""
    groups = _by_language(sieve, usable)
    own = [members for members in groups.values() if len(members) >= _MIN_FOR_OWN_MIDDLE or len(groups) == 1]
    rest = sorted(index for members in groups.values() if members not in own for index in members)
    scores: dict[int, float] = {}
    for members in (*own, rest):
        codes = {code for index in members if (code := sieve.languages.get(index)) is not None}
        known = function_words(codes.pop()) if len(codes) == 1 else frozenset()
        values = typicality([sieve.texts[index].text for index in members], known)
        scores |= dict(zip(members, values, strict=True))
    return scores


def _kinds(sieve: _Sieve, usable: Sequence[int]) -> dict[int, Kind]:
    cuts = (SHORT_WORDS, LONG_WORDS)
    if len(usable) >= _MIN_FOR_THIRDS:
        lower, upper = np.quantile([sieve.words[index] for index in usable], (1 / 3, 2 / 3), method="lower")
        cuts = int(lower), int(upper)
    groups = _by_language(sieve, usable)
    kinds: dict[int, Kind] = {}
    for members in groups.values():
        codes = Counter(code for index in members if (code := sieve.languages.get(index)) is not None)
        name = min(codes, key=lambda code: (-codes[code], code), default="")
        language = f" in {language_name(name)}" if len(groups) > 1 and name else ""
        for index in members:
            kinds[index] = _kind(sieve.texts[index], sieve.words[index], cuts, language)
    return kinds


def _kind(source: SourceText, words: int, cuts: tuple[int, int], language: str = "") -> Kind:
    form = _NO_MAIL if source.mail is None else _FORMS[source.mail.form]
    return Kind(form, (words > cuts[0]) + (words > cuts[1]), language)


def _spread(sieve: _Sieve, scores: Mapping[int, float], kinds: Mapping[int, Kind], num: int) -> set[int]:
    """`num` texts, of each kind as many as its slots, in it the typical ones that are not about the same."""
    ranked = sorted(scores, key=lambda index: (-scores[index], index))
    core = [index for index in ranked if scores[index] >= _LEAST_TYPICAL]
    core += [index for index in ranked if scores[index] < _LEAST_TYPICAL][: max(0, num - len(core))]
    by_kind: dict[Kind, list[int]] = {}
    for index in core:
        by_kind.setdefault(kinds[index], []).append(index)
    chosen: dict[int, frozenset[str]] = {}
    for kind, slots in _slots({kind: len(members) for kind, members in by_kind.items()}, num).items():
        members = by_kind[kind]
        # The typical half is enough to find different ones in.
        candidates = members[: max(slots, min(_NUM_CANDIDATES, (len(members) + 1) // 2))]
        contents = {index: content_words(sieve.texts[index].text) for index in candidates}
        for _ in range(slots):
            best = max(
                (index for index in candidates if index not in chosen),
                key=lambda index: (
                    -candidates.index(index) / len(candidates) - _overlap(contents[index], chosen.values()),
                    -index,
                ),
            )
            chosen[best] = contents[best]
    return set(chosen)


def _overlap(content: frozenset[str], others: Collection[frozenset[str]]) -> float:
    """How far a text shares more of its longer words with another than any two texts of a person: 0 for most pairs."""
    shares = [len(content & other) / max(1, min(len(content), len(other))) for other in others]
    return max(0.0, max(shares, default=0.0) - _USUAL_OVERLAP)


def _slots(sizes: Mapping[Kind, int], num: int) -> dict[Kind, int]:
    """Slots by the square roots of the kinds' sizes (Sainte-Laguë), to none more than its texts; large kinds first."""
    order = sorted(sizes, key=lambda kind: (-sizes[kind], kind.form, kind.length, kind.language))
    slots = dict.fromkeys(order, 0)
    for _ in range(num):
        open_kinds = [kind for kind in order if slots[kind] < sizes[kind]]
        # max takes the first of equals.
        slots[max(open_kinds, key=lambda kind: sizes[kind] ** 0.5 / (2 * slots[kind] + 1))] += 1
    return slots


def _ranked_reasons(scores: Mapping[int, float], kinds: Mapping[int, Kind]) -> dict[int, str]:
    sizes = Counter(kinds.values())
    seen: Counter[Kind] = Counter()
    reasons: dict[int, str] = {}
    for index in sorted(scores, key=lambda index: (-scores[index], index)):
        kind = kinds[index]
        seen[kind] += 1
        if sizes[kind] == 1:
            reasons[index] = f"the only one that is {kind.words(1)}"
        else:
            place = "" if seen[kind] == 1 else f"{_ordinal(seen[kind])} "
            reasons[index] = f"{place}most typical of {kind.words(sizes[kind])}"
    return reasons


def _beyond(words: int, limits: Limits) -> str:
    if words < limits.min_words:
        return f"; shorter than {limits.min_words}, as too few are longer"
    if words > limits.max_words:
        return f"; longer than {limits.max_words}, as too few are shorter"
    return ""


def _words(num: int) -> str:
    return "1 word" if num == 1 else f"{num} words"


def _ordinal(num: int) -> str:
    ending = "th" if 10 <= num % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(num % 10, "th")
    return f"{num}{ending}"


def _natural_key(identity: str) -> tuple[list[tuple[int, str]], str]:
    # "mail 9" before "mail 10".
    pieces = re.split(r"([0-9]+)", identity.casefold())
    return [(int(piece) if piece.isdecimal() and piece.isascii() else -1, piece) for piece in pieces], identity
