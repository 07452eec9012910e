"""Text -> the personal data in it that can be told by its form: addresses of mail and web, long numbers. No torch.

Names, street addresses and dates of birth have no form of their own and are not found (Presidio finds some: redaction).
A number is long from seven digits on, in whatever country's form: of phones, cards, accounts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAIL, WEB, NUMBER = "mail address", "web address", "number"

# The lookbehinds also keep the search linear: a run of word characters is tried once, not from each of its places.
_MAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}")
# With a scheme or www, or else with a path behind the name of a server.
_WEB = re.compile(
    r"\b(?:https?://|www\.)[^\s<>\"'()\[\]{}]+|(?<![\w.@-])(?:[\w-]+\.)+[a-z]{2,}/[^\s<>\"'()\[\]{}]+", re.I
)
# An IBAN, a row of digits, or groups of them as people write phone numbers.
_NUMBER = re.compile(
    r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4}(?: ?(?=[A-Z]{0,3}\d)[A-Z0-9]{4}){2,6}(?: ?\d{1,3})?\b"
    r"|(?<![\w.,:/+-])(?:\d{7,}|\+? ?\(?\d{1,5}\)?(?:(?:[ ./-]{0,2}\(0\) ?|[ ()./-]{1,3})\d{2,})+)(?![\w:]|[.,/-]\d)"
)
_DATE = re.compile(
    r"(?<![\d./+-])(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([./-])\d{1,2}\2\d{1,2}"
    r"|\d{1,2} \d{1,2} (?:19|20)\d\d)(?![\d/-]|\.\d)"
)
_AMOUNTS = re.compile(r"[1-9]\d*\.\d+(?:[ -]+\d+\.\d+)*")  # 12.50 - 13.50, as prices or hours
_LEAST_DIGITS, _LEAST_GROUPED = 7, 9  # the latter where nothing else speaks of a phone: two years have eight
# What `redaction` writes is nobody's, and is not found again; numbers of zeros are neither.
_STAND_IN = re.compile(r"someone\d*@example\.com|example\.com(?:/\d+)?|[a-z]*0+(?:[a-z]+0+)*")


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
    # In this order, each kind taken out of the text, so that a part of an address is no number.
    for kind, pattern in ((WEB, _WEB), (MAIL, _MAIL), (NUMBER, _NUMBER)):
        if kind == NUMBER:
            rest = _DATE.sub(lambda date: "|" * len(date[0]), rest)
        for match in list(pattern.finditer(rest)):
            written = match[0].rstrip(".,;:!?")  # these end the sentence, not the address
            value = _value(kind, written)
            if value:
                start, end = match.start(), match.start() + len(written)
                rest = f"{rest[:start]}{'|' * len(written)}{rest[end:]}"
                found += [] if _STAND_IN.fullmatch(value) else [Found(kind, start, end, value)]
    return sorted(found, key=lambda entry: entry.start)


def personal_data(text: str) -> dict[str, set[str]]:
    """What personal data a text holds, by kind, in a form that can be compared: lower case, or digits only.

    Kinds without a find are left out.
    """
    found: dict[str, set[str]] = {}
    for entry in find_personal_data(text):
        found.setdefault(entry.kind, set()).add(entry.value)
    return found


def _value(kind: str, written: str) -> str:
    """What two spellings of it share; "" where a row of digits is no such number."""
    if kind == MAIL:
        return written.lower()
    if kind == WEB:
        return re.sub(r"^https?://|^www\.", "", written.lower()).removeprefix("www.").rstrip("/.,;:!?")
    value = re.sub(r"[^a-z0-9]", "", written.replace("(0)", "").lower())
    is_marked = written.startswith(("+", "0", "(")) or written.isdigit()
    is_long = len(value) >= (_LEAST_DIGITS if is_marked else _LEAST_GROUPED)
    return value.removeprefix("00") if is_long and not _AMOUNTS.fullmatch(written) else ""
