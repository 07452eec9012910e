"""Texts -> a row each: its size, its language, its prompt, and what a person should know before it is trained on.

Messages name files and kinds, never words of a text. Knows no model; what counts tokens is handed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from ditto_cli.demonstrations.authorship import by_language_model, other_authors
from ditto_cli.demonstrations.choice import Limits
from ditto_cli.demonstrations.encoding import damaged_places, normalise_text
from ditto_cli.demonstrations.language import count_words, language_group, language_name, language_of, languages_of
from ditto_cli.demonstrations.mail.quotes import remove_quoted
from ditto_cli.demonstrations.personal_data import personal_data
from ditto_cli.demonstrations.similarity import near_duplicates
from ditto_cli.demonstrations.splitting import split_note
from ditto_cli.demonstrations.words import words
from ditto_cli.types import SourceText

TOO_SHORT_WORDS = 25
MAX_TOKENS = 2048
_NUM_SHOWN = 3
# Joiners (200c, 200d) are letters of Persian and parts of emoji there; the others are invisible everywhere.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\uffa0]"
)
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_EMOJI_BEFORE_TAGS = "\U0001f3f4"  # the flags of England, Scotland and Wales are spelt in tags
_MAX_TOKEN_SHOWN = 30


@dataclass(frozen=True)
class Warning:
    """Something that a person should look at: a `code` for programs, a `message` of one line for people."""

    code: str
    message: str


@dataclass(frozen=True)
class AuditRow:
    """What there is to know of one text.

    Attributes:
        id: of the text.
        words: how many it has.
        tokens: of the base model; None if nothing was given that counts them.
        language: ISO 639-1 code; None if unsure.
        prompt: that it is the answer to; None if it has none yet.
        warnings: in a fixed order of their codes.
    """

    id: str
    words: int
    tokens: int | None
    language: str | None
    prompt: str | None
    warnings: tuple[Warning, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


def audit(
    texts: Sequence[SourceText],
    prompts: Mapping[str, str],
    *,
    special_tokens: Collection[str] = (),
    count_tokens: Callable[[str], int] | None = None,
    limits: Limits | None = None,
    max_tokens: int = MAX_TOKENS,
) -> tuple[AuditRow, ...]:
    """A row for each text, in their order.

    Args:
        texts: what is to be trained on.
        prompts: by id; they win over a text's own.
        special_tokens: of the chosen base; those of the usual families are known anyway.
        count_tokens: of the chosen base; None leaves tokens out.
        limits: from which on a text is too long; `Limits()` if None.
        max_tokens: from which on a text is too long for the base.
    """
    limits = limits if limits is not None else Limits()
    firsts = near_duplicates([source.text for source in texts])
    others = other_authors(texts)
    languages = [language_of(source.text) for source in texts]
    usual = _usual_group(languages)
    rows: list[AuditRow] = []
    for index, source in enumerate(texts):
        num_words = count_words(source.text)
        tokens = None if count_tokens is None else count_tokens(source.text)
        warnings: list[Warning] = []
        if firsts[index] != index:
            warnings.append(Warning("duplicate", f"nearly the same as {texts[firsts[index]].id}: keep one of them"))
        warnings += _about_length(num_words, tokens, limits, max_tokens)
        if source.id in others:
            warnings.append(Warning("other_author", f"{others[source.id]}: is it the same person?"))
        warnings += _about_language(source.text, languages[index], usual)
        warnings += _about_content(source, special_tokens)
        prompt = prompts.get(source.id, "").strip() or (source.prompt or "").strip() or None
        rows.append(AuditRow(source.id, num_words, tokens, languages[index], prompt, tuple(warnings)))
    return tuple(rows)


def _usual_group(languages: Sequence[str | None]) -> str | None:
    """The language that more than half of the texts are in; None if no such one."""
    groups = Counter(language_group(code) for code in languages if code is not None)
    if not groups:
        return None
    group, count = min(groups.items(), key=lambda entry: (-entry[1], entry[0]))
    return group if 2 * count > groups.total() else None


def _about_length(num_words: int, tokens: int | None, limits: Limits, max_tokens: int) -> list[Warning]:
    if num_words < TOO_SHORT_WORDS:
        counted = "1 word" if num_words == 1 else f"{num_words} words"
        return [Warning("too_short", f"{counted}; below {TOO_SHORT_WORDS} there is little style to learn")]
    advice = "--split cuts it at paragraphs"
    if num_words > limits.max_words:
        return [Warning("too_long", f"{num_words} words, more than {limits.max_words}: {advice}")]
    if tokens is not None and tokens > max_tokens:
        return [Warning("too_long", f"{tokens} tokens, more than {max_tokens}: {advice}")]
    return []


def _about_language(text: str, language: str | None, usual: str | None) -> list[Warning]:
    inside = languages_of(text)
    if len(inside) > 1:
        names = " and ".join(language_name(code) for code in inside[:_NUM_SHOWN])
        return [Warning("mixed_languages", f"paragraphs in {names}: keep one language a text")]
    if language is not None and usual is not None and language_group(language) != usual:
        return [Warning("other_language", f"in {language_name(language)}, the others are not")]
    return []


def _about_content(source: SourceText, special_tokens: Collection[str]) -> list[Warning]:
    """What the text itself shows, in the order in which it should be mended."""
    text = source.text
    warnings: list[Warning] = []
    if num := len(_template_marks().findall(text)):
        marks = "1 mark" if num == 1 else f"{num} marks"
        warnings.append(Warning("template", f"{marks} of a template left in it: fill in, or take the text out"))
    if odd := _odd_characters(text):
        warnings.append(Warning("control_characters", f"{odd}: save the original again as UTF-8, or correct it"))
    if tokens := chat_tokens(text, special_tokens):
        shown = ", ".join(token[:_MAX_TOKEN_SHOWN] for token in tokens[:_NUM_SHOWN])
        shown += " ..." if len(tokens) > _NUM_SHOWN else ""
        warnings.append(Warning("chat_tokens", f"holds {shown}: encoded as plain text, cannot forge a turn"))
    if kinds := {kind: len(values) for kind, values in personal_data(text).items()}:
        endings = {kind: "" if num == 1 else "es" if kind.endswith("s") else "s" for kind, num in kinds.items()}
        listed = ", ".join(f"{num} {kind}{endings[kind]}" for kind, num in sorted(kinds.items()))
        warnings.append(Warning("personal_data", f"{listed}: --redact puts stand-ins for them"))
    if len(parts := split_note(text)) > 1:
        warnings.append(
            Warning(
                "several_texts",
                f"looks like {len(parts)} texts in one file, divided by lines of --- or numbers: --split divides them",
            )
        )
    if source.mail is not None and source.mail.not_written is not None:
        warnings.append(Warning("written_by_machine", source.mail.not_written))
    elif by_language_model(text):
        warnings.append(Warning("written_by_machine", "has a phrase of language models: take it out if one wrote it"))
    if num := sum(line.startswith(">") for line in text.split("\n")):
        lines = "1 quoted line that begins" if num == 1 else f"{num} quoted lines that begin"
        warnings.append(Warning("quoted", f"{lines} with >: take out what others wrote"))
    elif remove_quoted(text).original:
        warnings.append(Warning("quoted", "the head of another message is left in it: take out what others wrote"))
    return warnings


def chat_tokens(text: str, special_tokens: Collection[str] = ()) -> tuple[str, ...]:
    """The chat-template tokens in a text, in order and each once: those of the usual families, and `special_tokens`."""
    found = {match[0]: match.start() for match in reversed(list(_chat_tokens().finditer(text)))}
    # Of special tokens that are plain characters (a tab, "!") every text is full.
    named = [token for token in special_tokens if len(token) > 2 and not token.isalnum()]
    found |= {token: text.index(token) for token in named if token in text and token not in found}
    return tuple(sorted(found, key=lambda token: (found[token], token)))


@cache
def _chat_tokens() -> re.Pattern[str]:
    return re.compile("|".join(words("templates")["chat_tokens"]))


@cache
def _template_marks() -> re.Pattern[str]:
    """Each "mark": something that a person should have filled in."""
    found = words("templates")
    square, angled = (
        "|".join(beginning for beginnings in found[key].values() for beginning in beginnings)
        for key in ("in_square_brackets", "in_angle_brackets")
    )
    hints = [rf"\[(?:{square})\b[^\]\n]{{0,60}}\]", rf"<(?:{angled})\b[^>\n]{{0,60}}>"]
    phrases = [phrase for of_language in found["phrases"].values() for phrase in of_language]
    return re.compile("|".join([*found["marks"], *hints, *phrases]), re.IGNORECASE)


def _odd_characters(text: str) -> str:
    """What characters are in it that a person did not type, in words; "" if none."""
    plain = normalise_text(text)
    controls = sum(unicodedata.category(char) in ("Cc", "Co", "Cn", "Cs") and char not in "\n\t" for char in plain)
    tags = sum(len(_TAGS.findall(piece)) for piece in re.split(f"{_EMOJI_BEFORE_TAGS}[\U000e0020-\U000e007f]+", plain))
    counts = (
        (controls, "control or unassigned character", "control or unassigned characters"),
        (len(_INVISIBLE.findall(plain)) + tags, "invisible character", "invisible characters"),
        (
            len(_BIDI.findall(plain)),
            "mark that turns the direction of writing",
            "marks that turn the direction of writing",
        ),
        (damaged_places(text), "place that was decoded wrongly", "places that were decoded wrongly"),
    )
    return ", ".join(f"{num} {one if num == 1 else several}" for num, one, several in counts if num)
