"""A text -> the language that it is written in, and how many words it has. The model is inside the package py3langid.

The first question loads it (0.6 s, 100 MB); nothing is written and nothing is fetched.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ditto_cli.demonstrations.words import words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]

MIN_WORDS = 4  # below, names and greetings decide, not a language
_MIN_SHARE = 0.7  # of the probability
_MAX_CHARACTERS = 300  # more change no answer and cost time
# Addresses, file names and numbers are of no language.
_NO_LANGUAGE = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|\S*\d\S*")
# Scripts without spaces between words; a word has about two of their characters.
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(f"[{UNSPACED}]")
_HAS_WORD = re.compile(r"\w")


def count_words(text: str) -> int:
    """Words between spaces; of Chinese, Japanese, Thai and their like two characters count as one."""
    unspaced = len(_UNSPACED.findall(text)) if not text.isascii() else 0
    spaced = _UNSPACED.sub(" ", text) if unspaced else text
    num = sum([word[0].isalnum() or _HAS_WORD.search(word) is not None for word in spaced.split()])
    return num + (unspaced + 1) // 2


def language_of(text: str) -> str | None:
    """The language's ISO 639-1 code; None if it is unsure or the text has fewer than `MIN_WORDS` words."""
    plain = _NO_LANGUAGE.sub(" ", text[: 2 * _MAX_CHARACTERS])
    plain = " ".join(plain.split())[:_MAX_CHARACTERS]
    if count_words(plain) < MIN_WORDS:
        return None
    ranked: list[tuple[str, float]] = _identifier().rank(plain)
    best = ranked[0][0]
    share = sum(probability for code, probability in ranked if language_group(code) == language_group(best))
    return best if share >= _MIN_SHARE else None


def language_name(code: str) -> str:
    """The English name; of a language without an entry the code itself."""
    name: str = words("languages")["names"].get(code, code)
    return name


@cache
def language_group(code: str) -> str:
    """One code for languages that a short text does not tell apart; else the code itself."""
    groups: list[list[str]] = words("languages")["close"]
    return next((group[0] for group in groups if code in group), code)


@cache
def function_words(code: str) -> frozenset[str]:
    """Words of a language that say little about a topic, with straight apostrophes; empty where there is no list."""
    return frozenset(words("function_words").get(code, "").split())


@cache
def _identifier() -> LanguageIdentifier:
    # Here, not at the top: numpy and the model cost what `ditto --help` need not pay.
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The others are dialects and creoles, which take probability from their big relatives, and "no language".
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    # As it is left, looking up its rows is five times slower.
    identifier.nb_ptc = np.ascontiguousarray(identifier.nb_ptc)
    return identifier
