"""Texts -> demonstrations: a prompt that is stored, that a base model proposes, or that is made of the first line.

DITTO needs the instruction that each text answers. Knows no model: it writes the question and cleans the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.types import Demonstration, SourceText

_VERBS = (
    "Write|Compose|Draft|Reply|Respond|Answer|Create|Send|Email|Tell|Ask|Explain|Describe|Thank|Invite|Announce"
    "|Apologise|Apologize|Share|Discuss|Summarise|Summarize|Argue|Review|Report|Inform|Remind|Congratulate"
)
_BEGINS_WITH_VERB = re.compile(rf"({_VERBS})\b", re.IGNORECASE)
# "Instruction: Write ..." or "Sure, here it is: Write ..."
_PREAMBLE = re.compile(rf"[^:]{{1,60}}:[*\s]*(?=[\"'\u201c\u00ab]?({_VERBS})\b)", re.IGNORECASE)
_MARKS_BEFORE = " \t*_#>-•`"
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "«": "»"}
_SENTENCE_END = re.compile(r"[.!?][\"'\u2019\u201d»)]*\s+(?=[\"'\u2018\u201c«A-Z])")
_ABBREVIATION = re.compile(r"(\b(Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|No|etc|e\.g|i\.e)|\b[A-Z])\.\s+$")
_GREETING = re.compile(
    r"(hi|hello|hey|dear|good (morning|afternoon|evening)|hallo|liebe[rs]?|sehr geehrte[rs]?|guten (tag|morgen|abend)"
    r"|moin|servus|bonjour|bonsoir|salut|chers?|chères?|hola|estimad[oa]s?|querid[oa]s?|buenos días|ciao|car[oa])\b",
    re.IGNORECASE,
)
# Words of four letters or more that an instruction for any text may hold.
_WORDS_OF_ANY_INSTRUCTION = frozenset(
    """about addressee asked asking author begins copy email following letter message mail nothing else note person
    please post recipient reply request sender short sentence someone story text that them this with write written
    your""".split()  # noqa: SIM905
)
_MIN_WORDS, _MAX_WORDS = 4, 60
_HEAD_WORDS = 12
_HEAD_CHARACTERS = 120
_REQUEST_CHARACTERS = 2000  # enough to see what a text is about; a small base model has a short context


def attach_prompts(
    texts: Sequence[SourceText], stored: Mapping[str, str]
) -> tuple[list[Demonstration], list[SourceText]]:
    """Give each text its prompt.

    Args:
        texts: what a folder held.
        stored: prompts by id, as ditto.yaml keeps them; they win over a prompt in the file itself.

    Returns:
        The demonstrations, and the texts that still have no prompt, both in the order of `texts`.
    """
    demonstrations: list[Demonstration] = []
    without: list[SourceText] = []
    for source in texts:
        prompt = stored.get(source.id, "").strip() or (source.prompt or "").strip()
        if prompt:
            demonstrations.append(Demonstration(id=source.id, prompt=prompt, completion=source.text))
        else:
            without.append(source)
    return demonstrations, without


def stale_prompts(texts: Sequence[SourceText], stored: Mapping[str, str]) -> list[str]:
    """Ids in `stored` that no text has, in their order: a file that was renamed or deleted."""
    present = {source.id for source in texts}
    return [identity for identity in stored if identity not in present]


def reverse_instruction_request(text: str) -> str:
    """The message that asks a base model for the instruction which `text` answers; a long text is cut."""
    excerpt = text
    if len(text) > _REQUEST_CHARACTERS:
        excerpt = text[:_REQUEST_CHARACTERS].rsplit(maxsplit=1)[0] + " ..."
    return (
        "Somebody was asked to write the text below. What was the request? "
        'Answer with one short sentence that begins with "Write", and nothing else.\n\n'
        f'"{excerpt}"'
    )


def clean_instruction(raw: str) -> str | None:
    """The one-line instruction in a base model's answer; None if there is none of 4 to 60 words."""
    for line in normalise_text(raw).split("\n"):
        candidate = " ".join(line.split()).strip(_MARKS_BEFORE)
        if not _BEGINS_WITH_VERB.match(candidate):
            candidate = _PREAMBLE.sub("", candidate, count=1)
            if not candidate or candidate.endswith(":"):
                continue  # "Sure, here it is:" on a line of its own
        candidate = _first_sentence(_inside_quotes(candidate)).strip(_MARKS_BEFORE)
        if not _BEGINS_WITH_VERB.match(candidate) or not _MIN_WORDS <= len(candidate.split()) <= _MAX_WORDS:
            return None
        return candidate[0].upper() + candidate[1:]
    return None


def is_about(instruction: str, text: str) -> bool:
    """Whether an instruction shares a word of substance with the text; a small model's answer often does not."""
    return bool(_substance(instruction) & _substance(text))


def plain_instruction(text: str) -> str:
    """An instruction made of the text's own first line, for when no model proposes a better one."""
    head = next((line.strip(_MARKS_BEFORE) for line in text.split("\n") if line.strip(_MARKS_BEFORE)), "")
    begin = " ".join(head.split()[:_HEAD_WORDS])[:_HEAD_CHARACTERS].rstrip().replace('"', "'")
    if not begin:
        return "Write a short text."
    kind = "an email" if _GREETING.match(head) else "a text"
    return f'Write {kind} that begins with "{begin}".'


def _inside_quotes(line: str) -> str:
    """What the quotation marks around an answer enclose; marks inside a sentence are its own."""
    closing = _QUOTES.get(line[:1])
    if closing is None:
        return line
    inner = line[1:]
    end = re.search(rf"(?<=[.!?]){re.escape(closing)}(?=\s|$)", inner)
    if end is not None:
        return inner[: end.start()]
    return inner[: inner.rindex(closing)] if closing in inner else inner


def _first_sentence(line: str) -> str:
    for end in _SENTENCE_END.finditer(line):
        before = line[: end.end()]
        is_inside_quotes = before.count('"') % 2 == 1 or before.count("\u201c") > before.count("\u201d")
        if not is_inside_quotes and not _ABBREVIATION.search(before):
            return before.rstrip()
    return line


def _substance(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{4,}", text.casefold())) - _WORDS_OF_ANY_INSTRUCTION
