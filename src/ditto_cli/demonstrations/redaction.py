"""Text -> the same text with stand-ins for the personal data in it: what is learnt is the style and nobody's number.

A stand-in has the form of what it replaces: how a person writes a number stays. Names and places need Presidio.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ditto_cli.demonstrations.language import language_of
from ditto_cli.demonstrations.personal_data import IBAN, MAIL, WEB, Found, find_personal_data
from ditto_cli.demonstrations.prompt_file import prompt_key
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

NAME, PLACE = "name", "place"
PRESIDIO_ADVICE = "pip install 'ditto-cli[presidio]'"
_PRESIDIO_KINDS = {"PERSON": NAME, "LOCATION": PLACE}
_SPACY_MODELS = {
    "en": "en_core_web_sm", "de": "de_core_news_sm", "fr": "fr_core_news_sm", "es": "es_core_news_sm",
    "it": "it_core_news_sm", "nl": "nl_core_news_sm", "pt": "pt_core_news_sm",
}  # fmt: skip
_STAND_IN_NAMES = frozenset({"Someone", "Somewhere"})
_MAX_PASSES = 5  # a stand-in may bring its neighbours together to a number; twice was never seen

Analyser = Callable[[str], list[Found]]


class Redactor:
    """Replaces personal data; the same value gets the same stand-in in every text that one redactor sees."""

    def __init__(self, find: Analyser = find_personal_data) -> None:
        self._find = find
        self._numbers: dict[str, dict[str, int]] = {}

    def redact(self, text: str) -> tuple[str, dict[str, int]]:
        """The text with stand-ins, and how many places of each kind were replaced; a second time changes nothing."""
        counts: dict[str, int] = {}
        for _ in range(_MAX_PASSES):
            found = self._find(text)
            if not found:
                break
            pieces: list[str] = []
            end = 0
            for entry in found:
                pieces += [text[end : entry.start], self._stand_in(entry, text[entry.start : entry.end])]
                end = entry.end
                counts[entry.kind] = counts.get(entry.kind, 0) + 1
            text = "".join(pieces) + text[end:]
        return text, counts

    def redacted(self, source: SourceText) -> SourceText:
        """The same with stand-ins in text and prompt."""
        prompt = None if source.prompt is None else self.redact(source.prompt)[0]
        return replace(source, text=self.redact(source.text)[0], prompt=prompt, prompt_key=prompt_key(source))

    def _stand_in(self, found: Found, written: str) -> str:
        numbered = {
            MAIL: "someone{}@example.com",
            WEB: "https://example.com{}",
            NAME: "Someone{}",
            PLACE: "Somewhere{}",
        }
        if found.kind in numbered:
            values = self._numbers.setdefault(found.kind, {})
            number = values.setdefault(found.value, len(values) + 1)
            mark = "" if number == 1 else f"/{number}" if found.kind == WEB else str(number)
            return numbered[found.kind].format(mark)
        if found.kind == IBAN:
            return written[:2] + re.sub(r"[^ ]", "0", written[2:])  # the country stays
        return re.sub(r"\d", "0", written)


def redactor_for(setting: bool | str, texts: Sequence[str]) -> Redactor | None:
    """What ditto.yaml's `redact` asks for: nothing, what has a form of its own, or (`names`) names and places too.

    Args:
        setting: the value.
        texts: all that will be redacted; most of them say which language the names are in.

    Raises:
        InputError: names are asked for, and what finds them is not installed.
    """
    if not setting:
        return None
    if setting is True:
        return Redactor()
    languages = Counter(language for text in texts if (language := language_of(text)))
    return Redactor(analyse_with_presidio(languages.most_common(1)[0][0] if languages else "en"))


def redact(text: str) -> tuple[str, dict[str, int]]:
    """One text alone: with stand-ins, and how many places of each kind were replaced."""
    return Redactor().redact(text)


def has_presidio() -> bool:
    """Whether the extra that finds names and places is installed."""
    return importlib.util.find_spec("presidio_analyzer") is not None


def analyse_with_presidio(language: str = "en") -> Analyser:
    """What finds, beside our own patterns, names and places by Presidio and the language's spaCy model.

    Presidio is asked for these two only: its other finders would fetch a list of domain names.

    Raises:
        InputError: Presidio or the model is not installed; nothing is fetched for it.
    """
    model = _SPACY_MODELS.get(language)
    if model is None:
        raise InputError(
            f"Names in {language!r} cannot be found: there is a model for {', '.join(_SPACY_MODELS)}; "
            "replace the names by hand."
        )
    if not has_presidio():
        raise InputError(f"Names are found by Presidio, which is not installed: {PRESIDIO_ADVICE}.")
    # Presidio would download a model that is missing.
    try:
        importlib.metadata.distribution(model)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"Names are found by the spaCy model {model}, which is not installed: python -m spacy download {model}."
        ) from None
    library = importlib.import_module("presidio_analyzer")
    provider = importlib.import_module("presidio_analyzer.nlp_engine").NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": language, "model_name": model}]}
    )
    engine = library.AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=[language])

    def find(text: str) -> list[Found]:
        results = engine.analyze(text=text, language=language, entities=list(_PRESIDIO_KINDS))
        named = [_named(text, result.entity_type, result.start, result.end) for result in results]
        return _apart([*find_personal_data(text), *(entry for entry in named if entry.value)])

    return find


def _named(text: str, entity: str, start: int, end: int) -> Found:
    written = text[start:end]
    value = "" if written.rstrip("0123456789") in _STAND_IN_NAMES else " ".join(written.split()).casefold()
    return Found(_PRESIDIO_KINDS[entity], start, end, value)


def _apart(found: Sequence[Found]) -> list[Found]:
    """In the order of the text, without those that lie over an earlier entry of `found`."""
    kept: list[Found] = []
    for entry in found:
        if all(entry.end <= other.start or entry.start >= other.end for other in kept):
            kept.append(entry)
    return sorted(kept, key=lambda entry: entry.start)
