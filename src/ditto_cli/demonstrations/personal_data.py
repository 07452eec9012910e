"""Text -> the personal data in it that can be told by its form: addresses of mail and web, numbers. No torch.

Names, street addresses and dates of birth have no form of their own and are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAIL, WEB, IBAN, CARD, PHONE = "mail address", "web address", "IBAN", "card number", "phone number"

_MAIL = re.compile(r"[\w.%+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}")
# With a scheme or www, or else with a path behind the name of a server.
_WEB = re.compile(r"\b(?:(?:https?://|www\.)[^\s<>\"'()\[\]{}]+|(?:[\w-]+\.)+[a-z]{2,}/[^\s<>\"'()\[\]{}]+)", re.I)
# Two letters, two check digits, then groups of four and a rest, with or without spaces between them.
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?![\w-])")
_PHONE = re.compile(r"(?<![\w.,:/+-])\+? ?[\d(][\d ()./-]{5,24}\d(?![\w:]|[.,/-]\d)")
_DATE = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([./-])\d{1,2}\2\d{1,2})(?![\d/-]|\.\d)"
)
_AMOUNTS = re.compile(r"[1-9]\d*\.\d+(?:[ -]+\d+\.\d+)*")  # 12.50 - 13.50, as prices or hours
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


def personal_data(text: str) -> dict[str, set[str]]:
    """What personal data a text holds, by kind, in a form that can be compared: lower case, or digits only.

    Kinds without a find are left out.
    """
    found: dict[str, set[str]] = {}
    rest = text
    # In this order, each kind taken out of the text, so that a part of an IBAN is no phone number.
    for kind, find in ((MAIL, _mails), (WEB, _webs), (IBAN, _ibans), (CARD, _cards), (PHONE, _phones)):
        for matched, value in list(find(rest)):
            found.setdefault(kind, set()).add(value)
            rest = rest.replace(matched, "|")
    return found


def _mails(text: str) -> Iterator[tuple[str, str]]:
    for match in _MAIL.finditer(text):
        yield match[0], match[0].lower()


def _webs(text: str) -> Iterator[tuple[str, str]]:
    for match in _WEB.finditer(text):
        yield match[0], re.sub(r"^https?://|^www\.", "", match[0].lower()).removeprefix("www.").rstrip("/.,;:!?")


def _ibans(text: str) -> Iterator[tuple[str, str]]:
    for match in _IBAN.finditer(text):
        groups = match[0].split(" ")
        # A capitalised word behind the number can look like its last group.
        for candidate in (match[0], match[0].removesuffix(f" {groups[-1]}")):
            value = candidate.replace(" ", "")
            if 15 <= len(value) <= 34 and _mod_97(value) == 1:
                yield candidate, value.lower()
                break


def _cards(text: str) -> Iterator[tuple[str, str]]:
    for match in _CARD.finditer(text):
        value = _digits(match[0])
        if _luhn(value):
            yield match[0], value


def _phones(text: str) -> Iterator[tuple[str, str]]:
    for match in _PHONE.finditer(_DATE.sub("|", text)):
        value = _digits(match[0].replace("(0)", ""))
        if 7 <= len(value) <= 15 and _looks_dialled(match[0].strip()):  # E.164 allows 15 digits
            yield match[0], value.removeprefix("00")


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
