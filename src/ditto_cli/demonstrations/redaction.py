"""Text -> the personal data in it that can be told by its form, and the same text with stand-ins for it.

Addresses of mail and web and long numbers (from seven digits on: phones, cards, accounts) have a form of their own.
Names and places have none; Presidio finds some. A stand-in has the form of what it replaces: how a person writes a
number stays.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.language import language_of
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

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
_STAND_IN = re.compile(r"someone\d*@example\.com|example\.com(?:/\d+)?|[a-z]*0+(?:[a-z]+0+)*[a-z]*")


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
    """The values in a text by kind, in a form that can be compared; kinds without a find are left out."""
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


_STAND_INS = {MAIL: "someone{}@example.com", WEB: "https://example.com{}", "name": "Someone{}", "place": "Somewhere{}"}
_NAMED_STAND_IN = re.compile(r"(?:Someone|Somewhere)\d*")
_PRESIDIO_KINDS = {"PERSON": "name", "LOCATION": "place"}

Analyser = Callable[[str], list[Found]]


def text_hash(text: str) -> str:
    """What a text is known by, in 16 hexadecimal digits; how its words are spaced does not matter."""
    return hashlib.sha256(" ".join(normalise_text(text).split()).encode("utf-8")).hexdigest()[:16]


def prompt_key(source: SourceText) -> str:
    """The hash of a text as it lies in its file: redaction, which stand-ins of other texts change, moves no prompt."""
    return source.prompt_key or text_hash(source.text)


class Redactor:
    """Replaces personal data; the same value gets the same stand-in in every text that one redactor sees."""

    def __init__(self, find: Analyser = find_personal_data) -> None:
        self._find = find
        self._numbers: dict[str, dict[str, int]] = {}

    def redact(self, text: str) -> str:
        """The text with stand-ins; a second time changes nothing."""
        for _ in range(5):  # a stand-in may bring its neighbours together to a number; twice was never seen
            pieces: list[str] = []
            end = 0
            for found in self._find(text):
                stand_in = re.sub(r"\d", "0", text[found.start : found.end])
                if found.kind in _STAND_INS:
                    values = self._numbers.setdefault(found.kind, {})
                    number = values.setdefault(found.value, len(values) + 1)
                    mark = "" if number == 1 else f"/{number}" if found.kind == WEB else str(number)
                    stand_in = _STAND_INS[found.kind].format(mark)
                pieces += [text[end : found.start], stand_in]
                end = found.end
            if not pieces:
                break
            text = "".join([*pieces, text[end:]])
        return text

    def redacted(self, source: SourceText) -> SourceText:
        """The same with stand-ins in text and prompt."""
        prompt = None if source.prompt is None else self.redact(source.prompt)
        return replace(source, text=self.redact(source.text), prompt=prompt, prompt_key=prompt_key(source))


def redactor_for(setting: bool | str, texts: Sequence[str]) -> Redactor | None:
    """What ditto.yaml's `redact` asks for: nothing, what has a form of its own, or (`names`) names and places too.

    Most of `texts`, all that will be redacted, say which language the names are in.
    """
    if not setting:
        return None
    if setting is True:
        return Redactor()
    languages = Counter(language for text in texts if (language := language_of(text)))
    return Redactor(analyse_with_presidio(languages.most_common(1)[0][0] if languages else "en"))


def analyse_with_presidio(language: str = "en") -> Analyser:
    """What finds, beside our own patterns, names and places by Presidio and the language's spaCy model.

    Presidio is asked for these two only: its other finders would fetch a list of domain names.

    Raises:
        InputError: Presidio or the model is not installed; nothing is fetched for it.
    """
    model = f"{language}_core_{'web' if language in ('en', 'zh') else 'news'}_sm"
    try:
        importlib.metadata.distribution(model)  # Presidio would download one that is missing
        library = importlib.import_module("presidio_analyzer")
        provider = importlib.import_module("presidio_analyzer.nlp_engine").NlpEngineProvider
    except ImportError:
        raise InputError(
            f"Names are found by Presidio and the spaCy model {model}, which are not both installed: "
            f"pip install 'ditto-cli[presidio]', then python -m spacy download {model}."
        ) from None
    models = [{"lang_code": language, "model_name": model}]
    nlp_engine = provider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    engine = library.AnalyzerEngine(nlp_engine=nlp_engine, supported_languages=[language])

    def find(text: str) -> list[Found]:
        kept = find_personal_data(text)
        for result in engine.analyze(text=text, language=language, entities=list(_PRESIDIO_KINDS)):
            written = text[result.start : result.end]
            is_apart = all(result.end <= other.start or result.start >= other.end for other in kept)
            if is_apart and not _NAMED_STAND_IN.fullmatch(written):
                value = " ".join(written.split()).casefold()
                kept.append(Found(_PRESIDIO_KINDS[result.entity_type], result.start, result.end, value))
        return sorted(kept, key=lambda entry: entry.start)

    return find
