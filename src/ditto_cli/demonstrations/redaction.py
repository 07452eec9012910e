"""Text -> the same text with stand-ins for the personal data in it: what is learnt is the style and nobody's number.

A stand-in has the form of what it replaces: how a person writes a number stays. Names and places need Presidio.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ditto_cli.demonstrations.language import language_of
from ditto_cli.demonstrations.personal_data import MAIL, WEB, Found, find_personal_data
from ditto_cli.demonstrations.prompt_file import prompt_key
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

NAME, PLACE = "name", "place"
_STAND_INS = {MAIL: "someone{}@example.com", WEB: "https://example.com{}", NAME: "Someone{}", PLACE: "Somewhere{}"}
_NAMED_STAND_IN = re.compile(r"(?:Someone|Somewhere)\d*")
_PRESIDIO_KINDS = {"PERSON": NAME, "LOCATION": PLACE}
_MAX_PASSES = 5  # a stand-in may bring its neighbours together to a number; twice was never seen

Analyser = Callable[[str], list[Found]]


class Redactor:
    """Replaces personal data; the same value gets the same stand-in in every text that one redactor sees."""

    def __init__(self, find: Analyser = find_personal_data) -> None:
        self._find = find
        self._numbers: dict[str, dict[str, int]] = {}

    def redact(self, text: str) -> str:
        """The text with stand-ins; a second time changes nothing."""
        for _ in range(_MAX_PASSES):
            # From the end, so that the places of the others stay.
            stand_ins = [(found, self._stand_in(found, text[found.start : found.end])) for found in self._find(text)]
            if not stand_ins:
                break
            for found, stand_in in reversed(stand_ins):
                text = text[: found.start] + stand_in + text[found.end :]
        return text

    def redacted(self, source: SourceText) -> SourceText:
        """The same with stand-ins in text and prompt."""
        prompt = None if source.prompt is None else self.redact(source.prompt)
        return replace(source, text=self.redact(source.text), prompt=prompt, prompt_key=prompt_key(source))

    def _stand_in(self, found: Found, written: str) -> str:
        if found.kind not in _STAND_INS:
            return re.sub(r"\d", "0", written)
        values = self._numbers.setdefault(found.kind, {})
        number = values.setdefault(found.value, len(values) + 1)
        mark = "" if number == 1 else f"/{number}" if found.kind == WEB else str(number)
        return _STAND_INS[found.kind].format(mark)


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
