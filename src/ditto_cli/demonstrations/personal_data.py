"""Text -> the personal data in it that can be told by its form: addresses of mail and web, numbers. No torch.

Names, street addresses and dates of birth have no form of their own and are not found (Presidio finds some: redaction).
Patterns of our own, as phonenumbers must be told a country and then misses the numbers of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from ditto_cli.demonstrations.words import words

MAIL, WEB, IBAN, CARD, ACCOUNT, PHONE = (
    *("mail address", "web address", "IBAN", "card number", "account number", "phone number"),
)

# The lookbehinds also keep the search linear: a run of word characters is tried once, not from each of its places.
_MAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}")
# With a scheme or www, or else with a path behind the name of a server.
_WEB = re.compile(
    r"\b(?:https?://|www\.)[^\s<>\"'()\[\]{}]+|(?<![\w.@-])(?:[\w-]+\.)+[a-z]{2,}/[^\s<>\"'()\[\]{}]+", re.I
)
# Two letters, two check digits, then groups of four and a rest, with or without spaces between them.
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(
    r"\b(?:tel|telefon|téléphone|tél|teléfono|telefono|phone|ph|mobile?|handy|móvil|cell|fax)\b[.:]{0,2} ?"
    r"(\+?\d[\d ()./-]{3,20}\d)(?![\w:]|[.,/-]\d)",
    re.I,
)
_PHONE = re.compile(r"(?<![\w.,:/+-])\+? ?[\d(][\d ()./-]{5,24}\d(?![\w:]|[.,/-]\d)")
_DATE = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([./-])\d{1,2}\2\d{1,2})(?![\d/-]|\.\d)"
)
_AMOUNTS = re.compile(r"[1-9]\d*\.\d+(?:[ -]+\d+\.\d+)*")  # 12.50 - 13.50, as prices or hours
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
# What `redaction` writes is nobody's, and is not found again; numbers of zeros are neither.
_STAND_IN_MAIL = re.compile(r"someone\d*@example\.com")
_STAND_IN_WEB = re.compile(r"example\.com(?:/\d+)?")


@dataclass(frozen=True)
class Found:
    """One find: where it stands in the text, and its value in a form that can be compared (lower case, digits only)."""

    kind: str
    start: int
    end: int
    value: str


def find_personal_data(text: str) -> list[Found]:
    """What personal data a text holds, in its order; no two overlap. Stand-ins of `redaction` are not found."""
    found: list[Found] = []
    rest = text
    # In this order, each kind taken out of the text, so that a part of an IBAN is no phone number.
    for find in _FINDERS:
        for found_now in list(find(rest)):
            rest = f"{rest[: found_now.start]}{'|' * (found_now.end - found_now.start)}{rest[found_now.end :]}"
            if not _is_stand_in(found_now):
                found.append(found_now)
    return sorted(found, key=lambda entry: entry.start)


def personal_data(text: str) -> dict[str, set[str]]:
    """What personal data a text holds, by kind, in a form that can be compared: lower case, or digits only.

    Kinds without a find are left out.
    """
    found: dict[str, set[str]] = {}
    for entry in find_personal_data(text):
        found.setdefault(entry.kind, set()).add(entry.value)
    return found


def _is_stand_in(found: Found) -> bool:
    if found.kind == MAIL:
        return _STAND_IN_MAIL.fullmatch(found.value) is not None
    if found.kind == WEB:
        return _STAND_IN_WEB.fullmatch(found.value) is not None
    return set(found.value) == {"0"}


def _mails(text: str) -> Iterator[Found]:
    for match in _MAIL.finditer(text):
        yield Found(MAIL, *match.span(), match[0].lower())


def _webs(text: str) -> Iterator[Found]:
    for match in _WEB.finditer(text):
        written = match[0].rstrip(".,;:!?")  # these end the sentence, not the address
        value = re.sub(r"^https?://|^www\.", "", written.lower()).removeprefix("www.").rstrip("/.,;:!?")
        yield Found(WEB, match.start(), match.start() + len(written), value)


def _ibans(text: str) -> Iterator[Found]:
    for match in _IBAN.finditer(text):
        groups = match[0].split(" ")
        # A capitalised word behind the number can look like its last group.
        for candidate in (match[0], match[0].removesuffix(f" {groups[-1]}")):
            value = candidate.replace(" ", "")
            if 15 <= len(value) <= 34 and _mod_97(value) == 1:
                yield Found(IBAN, match.start(), match.start() + len(candidate), value.lower())
                break


def _cards(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        value = _digits(match[0])
        if _luhn(value):
            yield Found(CARD, *match.span(), value)


def _accounts(text: str) -> Iterator[Found]:
    for match in _named_numbers()[0].finditer(text):
        group = 1 if match[1] is not None else 2
        yield Found(ACCOUNT, *match.span(group), _digits(match[group]))


def _named_phones(text: str) -> Iterator[Found]:
    for match in _named_numbers()[1].finditer(_without_dates(text)):
        yield from _phone(match[1], match.start(1), least=5)


def _phones(text: str) -> Iterator[Found]:
    for match in _PHONE.finditer(_without_dates(text)):
        written = match[0].strip()
        if _looks_dialled(written):
            yield from _phone(written, match.start() + match[0].index(written), least=7)


def _phone(written: str, start: int, least: int) -> Iterator[Found]:
    value = _digits(written.replace("(0)", ""))
    if least <= len(value) <= 15:  # E.164 allows 15 digits
        yield Found(PHONE, start, start + len(written), value.removeprefix("00"))


_FINDERS: tuple[Callable[[str], Iterator[Found]], ...] = (
    *(_webs, _mails, _ibans, _cards, _accounts, _named_phones, _phones),
)


@cache
def _named_numbers() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds numbers of accounts and of phones that a word before them names."""
    names = words("number_names")
    accounts = "|".join(name for of_language in names["account"].values() for name in of_language)
    phones = "|".join(name for of_language in names["phone"].values() for name in of_language)
    number, account_number = "|".join(names["number"]), "|".join(names["account_number"])
    digits = r"(\d[\d -]{4,18}\d)(?![\w-])"
    account = rf"\b(?:{accounts})(?:[ -]?(?:{number}))?[.:# ]{{1,3}}{digits}|\b(?:{account_number})[.: ]{{1,3}}{digits}"
    phone = rf"\b(?:{phones})\b[.:]{{0,2}} ?(\+?\d[\d ()./-]{{3,20}}\d)(?![\w:]|[.,/-]\d)"
    return re.compile(account, re.I), re.compile(phone, re.I)


def _without_dates(text: str) -> str:
    return _DATE.sub(lambda match: "|" * len(match[0]), text)


def _looks_dialled(text: str) -> bool:
    """Whether a row of digits is grouped as people write phone numbers, and not as amounts, years or dates."""
    groups = re.findall(r"\d+", text)
    if text.startswith("+"):
        return True
    if len(groups) == 1:
        return text.startswith("0") and len(groups[0]) >= 9
    years = _YEAR.fullmatch(groups[0]) and all(_YEAR.fullmatch(group) or len(group) == 2 for group in groups[1:])
    date = len(groups) == 3 and len(groups[0]) <= 2 and len(groups[1]) <= 2 and _YEAR.fullmatch(groups[2])
    return not years and not date and not _AMOUNTS.fullmatch(text) and all(len(group) >= 2 for group in groups[1:])


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdecimal())


def _luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1): every second digit from the right doubled."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0 and set(digits) != {"0"}


def _mod_97(iban: str) -> int:
    """The remainder that ISO 13616 wants to be 1: first four characters last, letters as 10 to 35."""
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97
