"""Texts of several people -> those of one: the owner of the mail archives, or one of those who wrote in a chat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.language import count_words
from ditto_cli.demonstrations.prompt_forms import BY_OTHERS
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Skipped, SourceText

RECEIVED = "received, not sent"

_MOSTLY, _ALMOST_ALWAYS = 0.8, 0.9
_OWN_SHARE = 0.2
_NUM_SHOWN = 8
_NUMBER = re.compile(r"\+?[\d ()./-]{7,20}")


@dataclass(frozen=True)
class Writer:
    """One who wrote in what was given, by the name that people see."""

    name: str
    num_texts: int
    num_words: int


class UnknownAuthorError(InputError):
    """Texts of several people, and nobody said which of them is the person; `writers` wrote them, most words first."""

    def __init__(self, message: str, writers: tuple[Writer, ...]) -> None:
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
    mails = [source.mail for source in texts if source.mail is not None]
    mailed = [source for source in texts if source.mail is not None]
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
    skipped = [Skipped(source.id, BY_OTHERS if source.mail is None else RECEIVED) for source in others]
    return [source for source in texts if is_own(source)], skipped


def _key(source: SourceText) -> str:
    """What tells a writer from others: the address, else the last of the names, which is the one that never changes."""
    if source.mail is not None:
        return source.mail.sender or ""
    return _fold(source.authors[-1])


def _names_of(source: SourceText) -> Iterable[str]:
    sender = (source.mail.sender,) if source.mail is not None and source.mail.sender else ()
    return map(_fold, (*source.authors, *sender))


def _keys_of(texts: Sequence[SourceText], wanted: Sequence[str]) -> set[str]:
    """The writers that bear one of the names; where none does, the only one who bears it as first or last name."""
    found: set[str] = set()
    for value in wanted:
        exact = {_key(source) for source in texts if value in _names_of(source)}
        by_part = {_key(source) for source in texts if any(value in name.split(" ") for name in _names_of(source))}
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
    writers = tuple(Writer(readable_name(names[key]), num_texts[key], num) for key, num in num_words.most_common())
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
        return {address for address, count in sent.items() if count >= _OWN_SHARE * sent.total()}
    senders = Counter(mail.sender for mail in mails if mail.sender)
    if senders and senders.most_common(1)[0][1] >= _ALMOST_ALWAYS * len(mails):
        return {senders.most_common(1)[0][0]}
    taking_part = Counter(address for mail in mails for address in {mail.sender, *mail.recipients} if address)
    # Two people who write to each other and to hardly anybody else: either may be the owner.
    often = [address for address, count in taking_part.items() if count >= _MOSTLY * len(mails)]
    return {often[0]} if len(often) == 1 and senders[often[0]] else set()
