"""Texts -> a row each: its size, its language, its prompt, and what a person should know before it is trained on.

Messages name files and kinds, never words of a text. Knows no model; what counts tokens is handed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ditto_cli.demonstrations.authorship import by_language_model, other_authors
from ditto_cli.demonstrations.choice import Limits
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.language import count_words, language_group, language_name, language_of, languages_of
from ditto_cli.demonstrations.personal_data import personal_data
from ditto_cli.demonstrations.similarity import near_duplicates
from ditto_cli.demonstrations.splitting import split_note
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
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u20ac\u201a-\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018-\u201d"
    "\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]|\u00e2\u20ac[\u0080-\uffff]|\u00ef\u00bb\u00bf"
)
_ORIGINAL = re.compile(
    r"^[ \t]*-{2,}\s*(?:original message|forwarded message|ursprüngliche nachricht|weitergeleitete nachricht"
    r"|message d['\u2019]origine|message transféré|mensaje original|messaggio originale|oorspronkelijk bericht)\s*-{2,}"
    r"|^(?:From|Von|De|Da|Van):[^\n]+\n(?:(?:Sent|Date|To|Cc|Subject|Gesendet|Datum|An|Betreff|Envoyé|À|Objet|Enviado"
    r"|Fecha|Para|Asunto|Inviato|Oggetto|Verzonden|Aan|Onderwerp):[^\n]*\n){2}",
    re.IGNORECASE | re.MULTILINE,
)

# Each "mark": something that a person should have filled in.
_TEMPLATE_MARKS = re.compile(
    r"\{\{[^{}\n]{1,60}\}\}|\$\{[\w. ]{1,40}\}|%%[\w. ]{2,40}%%|%(?:first_?name|last_?name|name|vorname|nachname)%"
    r"|\u00ab[A-Z]\w{2,30}\u00bb|<<[\w .]{2,40}>>|\*\|[A-Z_:]{2,40}\|\*|\[%[^\]\n]{1,40}%\]"
    r"|\[(?:your|the recipient|recipient|sender|first|last|full|company|insert|add|date|name|ihr|ihre|dein|deine|euer"
    r"|votre|nom|prénom|su|tu|nombre|fecha|vorname|nachname|datum|firma|firmenname|uw|jouw|naam|tuo|nome|inserisci"
    r"|einfügen|insérer|insertar|xxx+)\b[^\]\n]{0,60}\]"
    r"|<(?:insert|your|enter|add|name|date|first name|vorname|ihr name|votre nom|su nombre)\b[^>\n]{0,60}>"
    r"|\blorem ipsum\b|\bdear (?:sir/madam|sir or madam|madam/sir|mr\.?/mrs\.?|mr\.?/ms\.?)"
    r"|\bto whom it may concern\b|\bsehr geehrte(?:\(r\)|r/e|/r|\*r)? (?:herr/frau|frau/herr)|\bliebe\(r\)\s"
    r"|\bcher\(e\)\s"
    r"|\bmonsieur/madame|\bestimado/a\b|\bestimado\(a\)|\bXX/XX/XXXX\b|\bTT\.MM\.JJJJ\b|\bDD/MM/YYYY\b",
    re.IGNORECASE,
)
# Of ChatML, Llama 2 to 4, Mistral, Gemma, Phi, Zephyr, DeepSeek, Command R, Granite, GPT-2, T5 and BERT.
_CHAT_TOKENS = re.compile(
    r"<\|[\w .\uff5c:\u2581-]{1,40}\|>|<\uff5c[^\uff5c<>\n]{1,40}\uff5c>"
    r"|</?(?:start|end)_of_(?:turn|role|image|audio|text)>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG|PREFIX|MIDDLE|SUFFIX)\]"
    r"|</?s>|<(?:bos|eos|pad|unk|mask|sep|cls)>|\[(?:CLS|SEP|MASK|PAD|UNK)\]|</?(?:think|tool_call|tool_response)>"
    r"|<(?:unused|extra_id_|reserved_special_token_)\d{1,3}>|<\|?(?:BOS|EOS|START_OF_TURN|END_OF_TURN)_TOKEN\|?>"
)
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
        return {
            "id": self.id,
            "words": self.words,
            "tokens": self.tokens,
            "language": self.language,
            "prompt": self.prompt,
            "warnings": [{"code": warning.code, "message": warning.message} for warning in self.warnings],
        }


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
        words = count_words(source.text)
        tokens = None if count_tokens is None else count_tokens(source.text)
        warnings: list[Warning] = []
        if firsts[index] != index:
            warnings.append(Warning("duplicate", f"nearly the same as {texts[firsts[index]].id}: keep one of them"))
        warnings += _about_length(words, tokens, limits, max_tokens)
        if source.id in others:
            warnings.append(Warning("other_author", f"{others[source.id]}: is it the same person?"))
        warnings += _about_language(source.text, languages[index], usual)
        warnings += _about_content(source, special_tokens)
        prompt = prompts.get(source.id, "").strip() or (source.prompt or "").strip() or None
        rows.append(AuditRow(source.id, words, tokens, languages[index], prompt, tuple(warnings)))
    return tuple(rows)


def _usual_group(languages: Sequence[str | None]) -> str | None:
    """The language that more than half of the texts are in; None if no such one."""
    groups = Counter(language_group(code) for code in languages if code is not None)
    if not groups:
        return None
    group, count = min(groups.items(), key=lambda entry: (-entry[1], entry[0]))
    return group if 2 * count > groups.total() else None


def _about_length(words: int, tokens: int | None, limits: Limits, max_tokens: int) -> list[Warning]:
    if words < TOO_SHORT_WORDS:
        return [
            Warning(
                "too_short",
                f"{words} {'word' if words == 1 else 'words'}; below {TOO_SHORT_WORDS} there is little style to learn",
            )
        ]
    advice = "--split cuts it at paragraphs"
    if words > limits.max_words:
        return [Warning("too_long", f"{words} words, more than {limits.max_words}: {advice}")]
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
    if num := len(_TEMPLATE_MARKS.findall(text)):
        marks = "1 mark" if num == 1 else f"{num} marks"
        warnings.append(Warning("template", f"{marks} of a template left in it: fill in, or take the text out"))
    if odd := _odd_characters(text):
        warnings.append(Warning("control_characters", f"{odd}: save the original again as UTF-8, or correct it"))
    if tokens := chat_tokens(text, special_tokens):
        shown = ", ".join(token[:_MAX_TOKEN_SHOWN] for token in tokens[:_NUM_SHOWN])
        shown += " ..." if len(tokens) > _NUM_SHOWN else ""
        warnings.append(Warning("chat_tokens", f"holds {shown}: encoded as plain text, cannot forge a turn"))
    if kinds := {kind: len(values) for kind, values in personal_data(text).items()}:
        listed = ", ".join(f"{num} {_plural(kind, num)}" for kind, num in sorted(kinds.items()))
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
    if quoted := _quoted(text):
        warnings.append(Warning("quoted", f"{quoted}: take out what others wrote"))
    return warnings


def chat_tokens(text: str, special_tokens: Collection[str] = ()) -> tuple[str, ...]:
    """The chat-template tokens in a text, in order and each once: those of the usual families, and `special_tokens`."""
    found = {match[0]: match.start() for match in reversed(list(_CHAT_TOKENS.finditer(text)))}
    # Of special tokens that are plain characters (a tab, "!") every text is full.
    named = [token for token in special_tokens if len(token) > 2 and not token.isalnum()]
    found |= {token: text.index(token) for token in named if token in text and token not in found}
    return tuple(sorted(found, key=lambda token: (found[token], token)))


def _plural(kind: str, num: int) -> str:
    if num == 1:
        return kind
    return kind + ("es" if kind.endswith("s") else "s")


def _odd_characters(text: str) -> str:
    """What characters are in it that a person did not type, in words; "" if none."""
    plain = normalise_text(text)
    controls = sum(unicodedata.category(char) in ("Cc", "Co", "Cn", "Cs") and char not in "\n\t" for char in plain)
    tags = sum(len(_TAGS.findall(piece)) for piece in re.split(f"{_EMOJI_BEFORE_TAGS}[\U000e0020-\U000e007f]+", plain))
    counts = (
        ("control or unassigned character", controls),
        ("invisible character", len(_INVISIBLE.findall(plain)) + tags),
        ("mark that turns the direction of writing", len(_BIDI.findall(plain))),
        ("replacement character of a wrong decoding", plain.count("\ufffd")),
        ("place that was decoded wrongly", len(_MOJIBAKE.findall(plain))),
    )
    return ", ".join(f"{num} {name if num == 1 else _PLURALS.get(name, name + 's')}" for name, num in counts if num)


_PLURALS = {
    "mark that turns the direction of writing": "marks that turn the direction of writing",
    "replacement character of a wrong decoding": "replacement characters of a wrong decoding",
    "place that was decoded wrongly": "places that were decoded wrongly",
}


def _quoted(text: str) -> str:
    num = sum(line.startswith(">") for line in text.split("\n"))
    if num:
        return f"{num} quoted {'line' if num == 1 else 'lines'} that begin{'s' if num == 1 else ''} with >"
    return "the head of another message is left in it" if _ORIGINAL.search(text) else ""
