"""Texts -> demonstrations: a prompt that is stored, that a base model proposes, or that is made of the first line.

DITTO needs the instruction that each text answers. Knows no model: it says of which form the text is, writes the
question, cleans the answer, and says what is wrong with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.types import Demonstration, SourceText

Kind = Literal["email", "letter", "post", "news report", "essay", "note", "text"]

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
    r"(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening)|hallo|liebe[rs]?|sehr geehrte[rs]?"
    r"|guten (?:tag|morgen|abend)|moin|servus|bonjour|bonsoir|salut|chers?|chères?|hola|estimad[oa]s?|querid[oa]s?"
    r"|buenos días|ciao|car[oa])\b[\s,]*)+",
    re.IGNORECASE,
)
_SIGN_OFF = re.compile(
    r"(?:(?:with |my |our )*(?:kind|best|warm|kindest|warmest) (?:regards|wishes)|best|all the best|many thanks"
    r"|regards|cheers|thanks|thank you|love|yours(?: truly| sincerely| faithfully)?|sincerely|respectfully|take care"
    r"|x{1,5}|xoxo|(?:viele |liebe |beste |mit \w+ )?gr(?:ü|ue)(?:ß|ss)en?|lg|mfg|vg|cordialement|bien à \w+|bises"
    r"|saludos|un abrazo|atentamente|cordiali saluti|un abbraccio)"
    r"(?: (?-i:[A-Z])[\w.]{0,20}| \w)?(?:[,.!]+\s*(?:[\w.]{1,20}\s*){0,3})?",
    re.IGNORECASE,
)
_NAME_END = re.compile(
    r"[,!?:;()\u2013\u2014]|\s-\s|(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bProf)(?<!\bSt)\.(?:\s|$)"
)
_NAME_ALONE = re.compile(r"[A-Z][a-z'-]+(?: [A-Z][a-z'-]+)?[.,]")  # "Dave." on a line of its own
_SIGNATURE = re.compile(r"\W{0,3}[A-Z][\w'-]*(?: [A-Z][\w'-]*){0,2}\.?")
# Who is greeted by these is not a person to name.
_NOBODY = frozenset(
    """again all alle amis both colleagues everybody everyone folks friends guys just love madam morning sir sirs so
    sorry team thanks there this to together whom yes zusammen""".split()  # noqa: SIM905
)
_DATELINE = re.compile(
    r"[A-Z][A-Z .'-]{2,30}(?:, [^(\n]{2,30})?\s*\([\w ]{2,20}\)\s*[-\u2013\u2014]"
    r"|[A-Z][A-Z .'-]{2,30}, (?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.? \d"
)
_REPORTING = re.compile(r"\b(?:said|says|told|reported|according to|announced)\b", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]{0,400}\"|\u201c[^\u201d]{0,400}\u201d")
_FIRST_PERSON = re.compile(
    r"\b(?:I|[Mm]y|[Mm]e|[Mm]ine|[Mm]yself|[Ww]e|[Oo]urs?|us|ich|mich|mir|mein\w*|wir|uns\w*|je|nous|yo)\b"
)
_HEADING = re.compile(r"#{1,6}\s")
_LIST_ITEM = re.compile(r"(?:[-*•+]|\d{1,2}[.)]|\[[ x]\])\s")
_HASHTAG = re.compile(r"(?:^|\s)#[^\W\d_]\w+")
_OF_ITSELF = re.compile(
    r"\b(?:the|this|that) (?:(?:above|following|given) )?(?:text|author|writer|passage|prompt|request)\b", re.IGNORECASE
)
_DANGLING = frozenset(
    """a about an and as at because by for from her his in is its of on or that the their to with""".split()  # noqa: SIM905
)
# Words of four letters or more that an instruction for any text may hold.
_WORDS_OF_ANY_INSTRUCTION = frozenset(
    """about addressee asked asking author begins copy email essay following headline letter mail message news nothing
    else note person please post recipient reply report request sender short sentence someone story text that them this
    title with write written your""".split()  # noqa: SIM905
)
_MIN_WORDS, _MAX_WORDS = 4, 60
_MOST_WORDS = 45  # of an instruction that a model wrote; longer ones retell the text
_COPIED_WORDS, _BORROWED_WORDS = 6, 3
_HEAD_WORDS = 12
_HEAD_CHARACTERS = 120
_REQUEST_CHARACTERS = 2000  # enough to see what a text is about; a small base model has a short context

# Texts of four kinds, made up, with the instructions that they answer: what is asked for is easier shown than said.
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Hi Marta,\n\nthe ladder is back in your shed, dry and in one piece. The gutter took us all Sunday, and we "
        "found two tennis balls in it! Could I have it once more in May, when we do the back of the house?\n\n"
        "Cheers, Ollie",
        "Write an email to Marta about returning her ladder and borrowing it again in May.",
    ),
    (
        "Shares of Norvik Shipping fell 8 percent on Tuesday after the company said that it would close its yard in "
        "Bergen.\nThe yard employs 340 people, the company said.\nAnalysts said that high steel prices had left it "
        "little choice.",
        "Write a news report about the fall of Norvik Shipping's shares after it said it would close its Bergen yard.",
    ),
    (
        "School uniforms are often praised as a cure for envy. The argument is weak. Children who cannot compare "
        "shirts will compare shoes, phones and holidays. What a uniform does change is the morning of the parents, "
        "and this is no small thing.",
        "Write an essay about whether school uniforms are good for children and parents.",
    ),
    (
        "Day three without coffee. I have alphabetised the spices and cried at an advert for gravel. Tea is not the "
        "same, whatever my sister says. #coffee #help",
        "Write a post about the third day of giving up coffee.",
    ),
)


@dataclass(frozen=True)
class Form:
    """What a text is, as its layout shows; two texts of one kind get prompts of one form.

    Attributes:
        kind: as an instruction names it.
        addressee: who is greeted, if it is a person with a name.
        title: the heading or head line, if there is one.
    """

    kind: Kind
    addressee: str | None = None
    title: str | None = None

    @property
    def task(self) -> str:
        """What every instruction for such a text begins with: "Write an email to Tom"."""
        article = "an" if self.kind[0] in "aeiou" else "a"
        addressee = f" to {self.addressee}" if self.addressee else ""
        return f"Write {article} {self.kind}{addressee}"

    @property
    def opening(self) -> str:
        """What a model's instruction begins with; the model says what comes next."""
        return f"{self.task} about"


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


def form_of(text: str, *, is_mail: bool = False) -> Form:
    """What kind of text this is, by its layout alone; `is_mail` where the file itself says that it is an email."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    bare = [line.strip(_MARKS_BEFORE) for line in lines]
    greeted = 0 if _names_both(bare) else next((n for n, line in enumerate(bare[:8]) if _is_greeting(line)), None)
    if greeted is not None and any(len(line.split()) > 8 for line in bare[:greeted]):
        greeted = None  # what stands before a greeting is a date and addresses
    if is_mail or greeted is not None or _signs_off(bare):
        is_letter = bool(greeted) and not is_mail
        return Form("letter" if is_letter else "email", _addressee(bare[greeted]) if greeted is not None else None)
    title = _title(text, lines)
    words = [len(line.split()) for line in (lines[1:] if title else lines)]
    if _is_news(text, words):
        return Form("news report", title=title)
    if words and sum(words) >= 250 and sum(words) / len(words) >= 50:
        return Form("essay", title=title)
    if title or _HASHTAG.search(text):
        return Form("post", title=title)
    if len(lines) > 2 and 2 * sum(bool(_LIST_ITEM.match(line)) for line in lines) > len(lines):
        return Form("note")
    return Form("text")


def reverse_instruction_request(text: str, *, most_characters: int = _REQUEST_CHARACTERS) -> str:
    """The message that asks a base model for the instruction which `text` answers; a long text is cut."""
    excerpt = text
    if len(text) > most_characters:
        excerpt = text[:most_characters].rsplit(maxsplit=1)[0] + " ..."
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


def instruction_problem(instruction: str, text: str, form: Form) -> str | None:
    """Why an instruction that a model wrote does not serve for `text`, in a few words; None if nothing is known.

    It may hold the text's names and facts, but not its wording, and nothing that the text has not.
    """
    words, own = _words(instruction), _words(text)
    said = instruction.removeprefix(form.opening)
    problems = {
        "length": not _MIN_WORDS <= len(words) <= _MOST_WORDS,
        "not finished": bool(words) and words[-1] in _DANGLING,
        "asks": instruction.endswith("?"),
        "speaks of the text itself": bool(_OF_ITSELF.search(said)),
        "speaks of the style": bool({"tone", "manner", "style"} & set(words) - set(own)),
        "speaks as the author": bool(_FIRST_PERSON.search(_QUOTED.sub("", said))),
        "repeats itself": _repeats_itself(words),
        "copies the text": bool(_runs(words, _COPIED_WORDS) & _runs(own, _COPIED_WORDS)),
        "shares no word with the text": not is_about(said, text),
        "a name or number that the text has not": _made_up(said, own),
        # A good one may say it in other words, but not in all.
        "hardly a word of the text": 4 * invented_words(instruction, text, form) > 3 * len(_substance(said)),
        "comes from an example": bool(
            _runs(_words(said), _BORROWED_WORDS) & _of_examples() - _runs(own, _BORROWED_WORDS)
        ),
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)


def invented_words(instruction: str, text: str, form: Form) -> int:
    """How many words of substance an instruction has that the text has not, in any form."""
    known = set(_words(text))
    return sum(not _is_known(word, known) for word in _substance(instruction.removeprefix(form.opening)))


def is_about(instruction: str, text: str) -> bool:
    """Whether an instruction shares a word of substance with the text; a small model's answer often does not."""
    return bool(_substance(instruction) & _substance(text))


def plain_instruction(text: str, form: Form | None = None) -> str:
    """An instruction made of the text's own title or first words, for when no model proposes a better one."""
    form = form or form_of(text)
    if form.title:
        return f'{form.task} with the {"headline" if form.kind == "news report" else "title"} "{_cited(form.title)}".'
    lines = [line.strip(_MARKS_BEFORE) for line in text.split("\n") if line.strip(_MARKS_BEFORE)]
    if not lines:
        return "Write a short text."
    # Many texts begin with the same greeting, and a prompt should tell them apart.
    greets = _names_both(lines) or (len(lines) > 1 and _is_greeting(lines[0]))
    is_greeting_only = greets and not re.search(r"[,!:;]\s+\S|\s-\s", lines[0])
    return f'{form.task} that begins with "{_cited(" ".join(lines[:2]) if is_greeting_only else lines[0])}".'


def _cited(line: str) -> str:
    return " ".join(line.split()[:_HEAD_WORDS])[:_HEAD_CHARACTERS].rstrip().replace('"', "'")


def _is_greeting(line: str) -> bool:
    """Whether a line greets somebody: short, or with a mark soon after the name ("Hi Tom, quick one")."""
    match = _GREETING.match(line)
    if match is None:
        return False
    rest = line[match.end() :]
    return len(rest.split()) <= 3 or bool(re.match(r"(?:\S+ ){0,3}\S*?(?:[,!:;]| [-\u2013\u2014])", rest))


def _names_both(lines: Sequence[str]) -> bool:
    """Whether a text begins and ends with a name alone, as curt emails do."""
    return len(lines) > 2 and bool(_NAME_ALONE.fullmatch(lines[0])) and bool(_SIGNATURE.fullmatch(lines[-1]))


def _addressee(line: str) -> str | None:
    match = _GREETING.match(line)
    name = _NAME_END.split(line[match.end() :] if match else line, maxsplit=1)[0].split()
    if not 1 <= len(name) <= 4 or {word.casefold() for word in name} & _NOBODY:
        return None
    if len(name) == 1 and name[0].isalpha():
        return name[0][0].upper() + name[0][1:]
    return " ".join(name) if all(word[0].isupper() for word in name) else None


def _signs_off(lines: Sequence[str]) -> bool:
    """Whether a closing formula stands in one of the last three lines, below other text."""
    return len(lines) > 2 and any(len(line.split()) <= 6 and _SIGN_OFF.fullmatch(line) for line in lines[-3:])


def _title(text: str, lines: Sequence[str]) -> str | None:
    if len(lines) < 2:
        return None
    title = lines[0].strip(_MARKS_BEFORE)
    if not title or _LIST_ITEM.match(lines[0]):
        return None
    is_apart = bool(re.match(r"[^\n]*\n\s*\n", text.lstrip()))
    is_short = len(title.split()) <= 12 and title[-1] not in ".!?,;:" and len(lines[1].split()) >= 15
    return title if _HEADING.match(lines[0]) or (is_apart and is_short) else None


def _is_news(text: str, words: Sequence[int]) -> bool:
    """Short paragraphs in which others say things and the author does not; or a dateline."""
    if _DATELINE.match(text.lstrip()):
        return True
    own = _QUOTED.sub(" ", text)
    is_of_paragraphs = len(words) >= 4 and sum(words) / len(words) <= 45
    return (
        is_of_paragraphs and len(_REPORTING.findall(own)) >= 2 and 100 * len(_FIRST_PERSON.findall(own)) <= sum(words)
    )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


def _repeats_itself(words: Sequence[str]) -> bool:
    counts = Counter(word for word in words if len(word) >= 4 and word not in _WORDS_OF_ANY_INSTRUCTION)
    return len(_runs(words, 3)) < len(words) - 2 or any(count > 2 for count in counts.values())


def _made_up(said: str, own: Sequence[str]) -> bool:
    """Whether a number or a capitalised word is not in the text; "Americans" is there where "America" is."""
    known = set(own)
    if not set(re.findall(r"\d+", said)) <= set(re.findall(r"\d+", " ".join(own))):
        return True
    names = {word for word in re.findall(r"[^\W\d_]+", said) if word[0].isupper() and len(word) > 1}
    return any(not _is_known(name, known) for name in {name.casefold() for name in names} - _WORDS_OF_ANY_INSTRUCTION)


def _is_known(word: str, known: Set[str]) -> bool:
    """Whether a text has a word, or another form of it."""
    stem = word[: max(4, len(word) - 3)]
    return word in known or (len(word) >= 4 and any(other.startswith(stem) for other in known))


def _of_examples() -> set[tuple[str, ...]]:
    """What a small base likes to repeat from the examples that it was shown."""
    return {run for _, answer in EXAMPLES for run in _runs(_words(answer.partition(" about ")[2]), _BORROWED_WORDS)}


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
