"""Who wrote it: the closing and the name that a text ends with, and of texts of several people those of one.

Whose texts they are is told by addresses, names and ids that files know, and by how texts are signed. Who does not sign
is never suspected, and "Anna", "A. Smith", "Annie" and "AS" may be one person. The closings of forty languages are in
words/closings.yaml; whether a line stands at the end of a text is for the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ditto_cli.demonstrations.encoding import BY_OTHERS, readable_name
from ditto_cli.demonstrations.language import count_words
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Skipped, SourceText

_MAX_CHARACTERS, _MAX_WORDS = 80, 9
_MAX_MORE = 6  # characters that stand at once behind a closing of a script without spaces
_STOPS = ".,!?;:\u3002\uff0c\u3001\uff01\u060c\u2026"
_AROUND = " \t\u3000\u200e\u200f*_~>-\u2013\u2014()<>\"'" + _STOPS
_ROLE = re.compile(r"\s*[|/(;:@\u2022\u00b7]\s*|\s+[\u2013\u2014-]\s+")
_COMMA = re.compile(r"\s*[,\uff0c\u3001\u060c]\s*")
_KISSES = re.compile(r"x{1,5}(?:o{1,3}x{0,3}){0,3}", re.IGNORECASE)
_SEPARATORS = frozenset("|/\u2022\u00b7\u2013\u2014-")
_SMILEY = re.compile(r"x+d+|[:;=8]['-]?\w|<3", re.IGNORECASE)
_PARTICLES = frozenset("von van de der den da di del della la el al bin ibn af av zu ter ten".split())  # noqa: SIM905


def closing_in(line: str) -> str | None:
    """The name or names behind the closing that the line is, "" for a closing alone; None where it is none.

    A line is one if it begins with a closing and nothing follows but names ("Best, Anna"), or when, where and what for
    ("See you Thursday", "Thanks for the cake, Anna").
    """
    text = line.strip(_AROUND)
    if not 0 < len(text) <= _MAX_CHARACTERS:
        return None
    unspaced, behind = _phrases("unspaced"), _phrases("behind")
    if phrase := next((phrase for phrase in unspaced if text.startswith(phrase)), None):
        rest = text[len(phrase) :]
        if rest[:1] not in _AROUND:  # more of the closing, or a sentence
            return "" if len(rest) <= _MAX_MORE else None
        rest = rest.strip(_AROUND)
        return rest if not rest or name_in(rest) or closing_in(rest) == "" else None
    if text.endswith(behind) and (name := name_in(re.sub(rf"(?:{'|'.join(behind)})\Z", "", text))):
        return name
    pieces = [piece for piece in text.split() if not _SMILEY.fullmatch(piece)]
    keys = [plain_word(piece) for piece in pieces]  # "" for a dash or an emoji
    return _spaced_closing(pieces, keys) if 0 < len(pieces) <= _MAX_WORDS else None


def name_in(text: str, max_words: int = 4) -> str | None:
    """The name that a line begins with, up to a comma, a bar or what else leads to a role; None if it is none.

    A name of several words has no small letters in front but those of "van" and its like.
    """
    head = _COMMA.split(_ROLE.split(_without_kisses(text.split()), maxsplit=1)[0], maxsplit=1)[0].strip(_AROUND)
    pieces = head.split()
    if not 1 <= len(pieces) <= max_words or not all(map(_is_name_word, pieces)):
        return None
    if len(pieces) > 1 and any(piece[0].islower() and piece not in _PARTICLES for piece in pieces):
        return None
    return head


def plain_word(word: str) -> str:
    """The letters and digits of a word, in lower case and without accents: what two spellings of it share."""
    decomposed = unicodedata.normalize("NFKD", word.casefold()).replace("\u0131", "i")  # Turkish
    return "".join(character for character in decomposed if character.isalnum())


def _without_kisses(pieces: Sequence[str]) -> str:
    """The words behind a closing, or of a line that may be a name, without what may stand around a name."""
    kept = [
        piece
        for piece in pieces
        if not _SMILEY.fullmatch(piece) and (len(pieces) == 1 or not _KISSES.fullmatch(piece.strip(_AROUND)))
    ]
    return " ".join(piece for piece in kept if plain_word(piece) or piece in _SEPARATORS).strip(_AROUND)


def _phrase_length(keys: Sequence[str], start: int, phrases: frozenset[str]) -> int:
    for length in range(min(4, len(keys) - start), 0, -1):
        if " ".join(keys[start : start + length]) in phrases:
            return length
    return 0


def _spaced_closing(pieces: Sequence[str], keys: Sequence[str]) -> str | None:
    """What follows the closing; None where there is none, or a sentence follows."""
    position = end = 0  # of closings and of what stands around them
    while position < len(keys):
        if length := _phrase_length(keys, position, _plain("closings")):
            position = end = position + length
        elif length := _phrase_length(keys, position, _plain("around")) or int(not keys[position]):
            position += length
            end = position if end else 0
        else:
            break
    if not end:
        return None
    is_set_off = pieces[end - 1][-1] in _AROUND
    if end < len(pieces):
        is_name = is_set_off and not pieces[end][0].islower()  # "Best, June"
        is_time = _phrase_length(keys, end, _plain("after")) or any(map(str.isdigit, keys[end]))
        if is_time and not is_name and not pieces[end - 1].endswith((".", "!", "?")):
            end = next((n + 1 for n in range(end, len(pieces)) if pieces[n][-1] in _STOPS), len(pieces))
            is_set_off = True
        elif keys[end] in _plain("of"):
            end += 1
    rest = _without_kisses(pieces[end:])
    if not rest:
        return ""
    head, *behind = _COMMA.split(_ROLE.split(rest, maxsplit=1)[0].strip(_AROUND))
    # "Best, Anna Roth, CEO", but not "Thanks Anna, I will".
    if any(word[:1].islower() for part in behind for word in part.split()):
        return None
    names = [word for word in head.split() if plain_word(word) and plain_word(word) not in _plain("around")]
    # A name is written as its closing is: "thanks mia", but not "Best idea".
    may_be_lower = len(names) == 1 and (is_set_off or pieces[0][0].islower())
    are_names = 0 < len(names) <= 5 and all(
        _is_name_word(word) and (may_be_lower or not word[0].islower() or word in _PARTICLES) for word in names
    )
    return head if are_names else None


def _is_name_word(word: str) -> bool:
    """Letters of any script with their marks, hyphens, and the dot of an initial."""
    if len(word) > 5 and "\u3040" <= word[0] <= "\u9fff":  # no name is longer
        return False
    return word[0].isalpha() and all(
        character in "'\u2019-." or unicodedata.category(character)[0] in "LM" for character in word
    )


@cache
def _phrases(field: str) -> tuple[str, ...]:
    """What words/closings.yaml, where the fields are explained, has of one for all languages; the longest first."""
    found = {phrase for language in words("closings").values() for phrase in language.get(field, ())}
    return tuple(sorted(found, key=lambda phrase: (-len(phrase), phrase)))


@cache
def _plain(field: str) -> frozenset[str]:
    return frozenset(" ".join(map(plain_word, phrase.split())) for phrase in _phrases(field))


# --- whose texts

_NUM_SHOWN = 8
_NUMBER = re.compile(r"\+?[\d ()./-]{7,20}")


@dataclass(frozen=True)
class ChatWriter:
    """One who wrote in what was given, by the name that people see."""

    name: str
    num_texts: int
    num_words: int


class UnknownAuthorError(InputError):
    """Texts of several people, and nobody said which of them is the person; `writers` wrote them, most words first."""

    def __init__(self, message: str, writers: tuple[ChatWriter, ...]) -> None:
        super().__init__(message)
        self.writers = writers


def own_texts(texts: Sequence[SourceText], me: Sequence[str]) -> tuple[list[SourceText], list[Skipped]]:
    """What the person wrote, and the rest as skipped; a text of which nobody says who wrote it counts as own.

    Args:
        texts: mails of the person's archives, chats, tables, and texts of their own.
        me: addresses, names, user names or ids of the person; found out for mails if there are none.

    Raises:
        UnknownAuthorError: several people wrote, and `me` names none of them or cannot be told from the mails.
    """
    mailed = [source for source in texts if source.mail is not None]
    mails = [source.mail for source in mailed if source.mail is not None]
    authored = [source for source in texts if source.mail is None and source.authors]
    wanted = [_fold(value) for value in me if value.strip()]
    mine = _keys_of(authored, wanted)
    owners = _keys_of(mailed, wanted)
    if authored and not mine:
        if wanted or len({_key(source) for source in authored}) > 1:
            raise _unknown_author(authored, me)
        mine = {_key(source) for source in authored}
    if mails and not owners:
        if wanted and not authored:
            raise _unknown_author(mailed, me)
        owners = _owner_addresses(mails)
        if not owners and not any(mail.is_sent for mail in mails):
            raise _unknown_author(mailed, ())

    def is_own(source: SourceText) -> bool:
        mail = source.mail
        if mail is None:
            return not source.authors or _key(source) in mine
        return _key(source) in owners or (not wanted and bool(mail.is_sent) and not mail.sender)

    others = [source for source in texts if not is_own(source)]
    skipped = [Skipped(source.id, BY_OTHERS if source.mail is None else "received, not sent") for source in others]
    return [source for source in texts if is_own(source)], skipped


def _key(source: SourceText) -> str:
    """What tells a writer from others: the address, else the last of the names, which is the one that never changes."""
    if source.mail is not None:
        return source.mail.sender or ""
    return _fold(source.authors[-1])


def _keys_of(texts: Sequence[SourceText], wanted: Sequence[str]) -> set[str]:
    """The writers that bear one of the names; where none does, the only one who bears it as first or last name."""
    found: set[str] = set()
    named = [(_key(source), {_fold(name) for name in source.authors} | {_key(source)}) for source in texts]
    for value in wanted:
        exact = {key for key, names in named if value in names}
        by_part = {key for key, names in named if any(value in name.split(" ") for name in names)}
        found |= exact or (by_part if len(by_part) == 1 else set())
    return found - {""}


def _fold(name: str) -> str:
    """A name as it is compared: without case, "@", brackets, invisible marks; of a telephone number only the digits."""
    plain = re.sub("[<>\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", name)
    plain = " ".join(plain.split()).casefold().removeprefix("mailto:").removeprefix("@")
    if _NUMBER.fullmatch(plain):
        return re.sub(r"\D", "", plain).removeprefix("00")
    return re.sub(r"#(?:0|\d{4})$|^user(?=\d+$)", "", plain)  # Discord: ada#1234; Telegram: user22


def _unknown_author(texts: Sequence[SourceText], me: Sequence[str]) -> UnknownAuthorError:
    """What is said of mails, or of chats and tables, of which it is not known whose words count."""
    is_mail = texts[0].mail is not None
    names: dict[str, str] = {}
    num_texts: Counter[str] = Counter()
    num_words: Counter[str] = Counter()
    for source in texts:
        if not (key := _key(source)):
            continue  # a mail without a sender
        if key not in names or len(source.authors) > 1:  # Slack says a name with some of the messages only
            names[key] = key if is_mail else source.authors[0]
        num_texts[key] += 1
        num_words[key] += count_words(source.text)
    writers = tuple(ChatWriter(readable_name(names[key]), num_texts[key], num) for key, num in num_words.most_common())
    shown = ", ".join(f"{one.name} ({one.num_texts:,}, {one.num_words:,} words)" for one in writers[:_NUM_SHOWN])
    shown += f" and {len(writers) - _NUM_SHOWN} more" if len(writers) > _NUM_SHOWN else ""
    where = "in these mails" if is_mail else "in these chats or tables"
    said = f"Nobody {where} is called {readable_name(', '.join(me))}" if me else f"Several people wrote {where}"
    return UnknownAuthorError(
        f"{said}: {shown or 'no sender'}: say which is you: --me NAME or ADDRESS, or me: in ditto.yaml.", writers
    )


def _owner_addresses(mails: Sequence[Mail]) -> set[str]:
    """The addresses that are surely the owner's; none if that cannot be told."""
    # One mail of somebody else in a folder of sent ones, moved there or redirected, makes nobody an owner.
    sent = Counter(mail.sender for mail in mails if mail.is_sent and mail.sender)
    if sent:
        return {address for address, count in sent.items() if count >= 0.2 * sent.total()}
    senders = Counter(mail.sender for mail in mails if mail.sender)
    if senders and senders.most_common(1)[0][1] >= 0.9 * len(mails):
        return {senders.most_common(1)[0][0]}
    taking_part = Counter(address for mail in mails for address in {mail.sender, *mail.recipients} if address)
    # Two people who write to each other and to hardly anybody else: either may be the owner.
    often = [address for address, count in taking_part.items() if count >= 0.8 * len(mails)]
    return {often[0]} if len(often) == 1 and senders[often[0]] else set()


# --- signatures

_TAIL_LINES = 8
_TITLES = frozenset("dr prof mr mrs ms miss herr frau dipl ing phd md mme mlle sr sra jr".split())  # noqa: SIM905


def signature_of(text: str) -> str | None:
    """The name that a text is signed with, as it is written; None if it is not signed.

    A name is what stands below a closing, else what stands behind it ("Best, Anna") unless the text greets it ("Hi
    Mia", "Thanks Mia!"), or what stands alone on the last line behind a blank one.
    """
    whole = [line.strip() for line in text.strip().split("\n")]
    greeting = whole[0].split() if len(whole[0].split()) <= 6 else []
    greeted = set(map(plain_word, greeting))
    lines = whole[-_TAIL_LINES:]
    for index in range(len(lines) - 1, 0, -1):
        if (behind := closing_in(lines[index])) is None:
            continue
        below = next((line for line in lines[index + 1 :] if line), "")
        name = name_in(below) if closing_in(below) is None else None
        if name and (not name[0].islower() or lines[index][0].islower()):
            return name
        name = name_in(behind)
        if name and not set(map(plain_word, name.split())) <= greeted:
            return name
    is_set_apart = len(lines) >= 3 and not lines[-2] and lines[-1][0].isupper() and closing_in(lines[-1]) is None
    return name_in(lines[-1], max_words=2) if is_set_apart else None


def other_authors(texts: Sequence[SourceText]) -> dict[str, str]:
    """By id, why a text seems to be by another person than most; empty if there is no clear majority.

    Addresses say nothing here: by them `own_texts` has told whose texts they are.
    """
    names = {source.id: name for source in texts if (name := signature_of(source.text))}
    counts = Counter(names.values())
    most = min(counts, key=lambda name: (-counts[name], name), default="")
    ours = [name for name in counts if are_one_person(most, name)]
    total = sum(counts[name] for name in ours)
    if total < max(3, 0.6 * counts.total()):  # of those that sign; below, it is not known who "the person" is
        return {}
    return {
        identity: "signed by somebody else than most"
        for identity, name in names.items()
        if not any(are_one_person(name, own) for own in ours)
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


def _words_of(name: str) -> list[str]:
    return [word for part in re.split(r"[\s._+-]+", name) if (word := plain_word(part)) and word not in _TITLES]


def _match(one: str, other: str) -> bool:
    """One name and the other: the same, an initial, or a short form that begins alike."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) or (len(short) > 2 and short[:3] == long[:3])
