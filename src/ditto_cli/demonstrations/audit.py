"""Texts -> a row each: its size, its language, its prompt, and what a person should know before it is trained on.

Messages name files and kinds, never words of a text. Knows no model; what counts tokens is handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ditto_cli.demonstrations import language
from ditto_cli.demonstrations.authorship import other_authors
from ditto_cli.demonstrations.choice import near_duplicates
from ditto_cli.demonstrations.encoding import damaged_places
from ditto_cli.demonstrations.quotes import remove_quoted
from ditto_cli.demonstrations.redaction import personal_data
from ditto_cli.types import Preference, SourceText

TOO_SHORT_WORDS = 25
MAX_TOKENS = 2048


@dataclass(frozen=True)
class Warning:
    """Something that a person should look at: a `code` for programs, a `message` of one line for people."""

    code: str
    message: str


@dataclass(frozen=True)
class AuditRow:
    """What there is to know of one text."""

    id: str
    words: int
    tokens: int | None  # None if nothing was given that counts them
    language: str | None  # ISO 639-1 code; None if unsure
    prompt: str | None
    warnings: tuple[Warning, ...] = ()  # in a fixed order of their codes

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        return asdict(self)


def audit(
    texts: Sequence[SourceText], prompts: Mapping[str, str], count_tokens: Callable[[str], int] | None = None
) -> tuple[AuditRow, ...]:
    """A row for each text, in their order; `prompts`, by id, win over a text's own."""
    firsts = near_duplicates([source.text for source in texts])
    others = other_authors(texts)
    languages = [language.language_of(source.text) for source in texts]
    groups = Counter(language.language_group(code) for code in languages if code is not None)
    usual = next((group for group, num in groups.items() if 2 * num > groups.total()), None)
    most_words = language.Limits().max_words
    rows: list[AuditRow] = []
    for index, (source, code) in enumerate(zip(texts, languages, strict=True)):
        num_words = language.count_words(source.text)
        tokens = None if count_tokens is None else count_tokens(source.text)
        warnings: list[Warning] = []
        if firsts[index] != index:
            warnings.append(Warning("duplicate", f"nearly the same as {texts[firsts[index]].id}: keep one of them"))
        if num_words < TOO_SHORT_WORDS:
            few = f"fewer than {TOO_SHORT_WORDS} words: there is little style to learn"
            warnings.append(Warning("too_short", few))
        elif num_words > most_words or (tokens is not None and tokens > MAX_TOKENS):
            many = f"more than {most_words} words or {MAX_TOKENS} tokens: --split cuts it at paragraphs"
            warnings.append(Warning("too_long", many))
        if source.id in others:
            warnings.append(Warning("other_author", f"{others[source.id]}: is it the same person?"))
        if code is not None and usual is not None and language.language_group(code) != usual:
            warnings.append(Warning("other_language", f"in {language.language_name(code)}, the others are not"))
        warnings += _about_text(source.text)
        if (num := len(language.split_note(source.text))) > 1:
            several = f"looks like {num} texts in one file, divided by lines of ---: --split divides them"
            warnings.append(Warning("several_texts", several))
        if source.mail is not None and source.mail.not_written is not None:
            warnings.append(Warning("written_by_machine", source.mail.not_written))
        if any(line.startswith(">") for line in source.text.split("\n")) or remove_quoted(source.text).original:
            quoted = "quoted lines, or the head of another message: take out what others wrote"
            warnings.append(Warning("quoted", quoted))
        prompt = prompts.get(source.id, "").strip() or (source.prompt or "").strip() or None
        rows.append(AuditRow(source.id, num_words, tokens, code, prompt, tuple(warnings)))
    return tuple(rows)


def audit_pair(pair: Preference) -> list[Warning]:
    """What a person should look at in a given pair."""
    most_words = language.Limits().max_words
    found = {warning.code: warning for text in (pair.chosen, pair.rejected) for warning in _about_text(text)}
    if max(language.count_words(pair.chosen), language.count_words(pair.rejected)) > most_words:
        found["too_long"] = Warning("too_long", f"more than {most_words} words: take a shorter pair")
    return list(found.values())


def _about_text(text: str) -> Iterator[Warning]:
    """What any text shows, a pair's too."""
    if num := damaged_places(text):
        yield Warning("damaged", f"places that were decoded wrongly ({num}): save the original again as UTF-8")
    if kinds := personal_data(text):
        listed = ", ".join(f"{kind} ({len(values)})" for kind, values in sorted(kinds.items()))
        yield Warning("personal_data", f"{listed}: --redact puts stand-ins for such")
