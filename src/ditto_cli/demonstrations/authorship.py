"""Texts -> which of them somebody else, or a language model, wrote: by sign-offs, addresses and phrases, not by style.

Who does not sign is never suspected, and "Anna", "A. Smith", "Annie" and "AS" may be one person.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from ditto_cli.types import SourceText

MAJORITY = 0.6  # of those that sign; below, it is not known who "the person" is
_MIN_SIGNED = 3
_MAX_LINE_WORDS = 6
_TAIL_LINES = 8
_CLOSINGS = (
    "best|best wishes|best regards|kind regards|warm regards|warmest regards|regards|cheers|thanks|many thanks"
    "|thank you|thanks again|thanks so much|thx|ta|yours|yours sincerely|sincerely|sincerely yours|yours truly"
    "|yours faithfully|love|lots of love|all my love|much love|hugs|xx|xxx|x|xo|xoxo|take care|all the best|all best"
    "|talk soon|see you|see you soon|speak soon|warmly|br|kr|rgds|bw|cordially|respectfully|ttyl|bye"
    "|lg|vg|mfg|viele grüße|liebe grüße|beste grüße|herzliche grüße|schöne grüße|freundliche grüße|mit besten grüßen"
    "|mit freundlichen grüßen|mit herzlichen grüßen"
    "|mit freundlichem gruß|gruß|grüße|danke|vielen dank|alles liebe|alles gute|bis bald|bis dann|herzlich|deine|dein"
    "|ihr|ihre|cordialement|bien cordialement|bien à vous|bien à toi|amicalement|bises|bisous|merci|à bientôt"
    "|salutations|sincères salutations|saludos|un saludo|saludos cordiales|atentamente|un abrazo|abrazos|besos|gracias"
    "|cordiali saluti|distinti saluti|saluti|un abbraccio|baci|grazie|a presto|groeten|groetjes|met vriendelijke groet"
    "|vriendelijke groet|mvg|liefs|atenciosamente|abraços|beijos|obrigado|obrigada|hilsen|mvh|hälsningar"
)
_CLOSINGS = "|".join(sorted(_CLOSINGS.split("|"), key=len, reverse=True))  # "best wishes" before "best"
# "Best,", "Best, Anna", "xx m", "Many thanks and best wishes": a closing, more of them, and perhaps a name.
_CLOSING = re.compile(
    rf"(?:{_CLOSINGS})(?:(?:\s*[,&+/]\s*|\s+(?:and|und|et|y|e|en)\s+)(?:{_CLOSINGS}))*"
    r"(?:\s+(?:from|von|de|aus)\s+(?=\S))?\s*(?:[,.!;:)*\u2013\u2014-]+\s*|\s+|$)(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(r"(?:[^\W\d_][\w'\u2019-]*\.?)(?: [^\W\d_][\w'\u2019-]*\.?){0,3}")
_AROUND_NAME = " \t,.!;:*_~-\u2013\u2014()<>\"'"
_KISSES = re.compile(r"(?:^|\s)[x]{1,5}o?x*(?=\s|$)", re.IGNORECASE)
_TITLES = frozenset(
    "dr prof mr mrs ms miss herr frau dipl ing phd md mme mlle sr sra jr your deine dein ihr ihre".split()  # noqa: SIM905
)
_NO_NAMES = frozenset(
    """you all everyone team again soon later then today tomorrow there here it this that so much in advance for the
    and alle euch dir ihnen tous vous todos""".split()  # noqa: SIM905
)

# What language models say of themselves or begin an answer with, in lower case; each with words that must be there, as
# looking for these first saves nearly all of the time.
_OF_MODELS = tuple(
    (hints, re.compile(pattern, re.MULTILINE))
    for hints, pattern in (
        (("as an",), r"\bas an? (?:ai|artificial intelligence)(?:[ -](?:language )?(?:model|assistant)|,| i )"),
        (("language model",), r"\b(?:as a|i am a|i'm a|i\u2019m a) large language model"),
        ((" an ai",), r"\bi(?:'m|\u2019m| am) an ai\b(?! (?:engineer|researcher|developer|student|expert))"),
        (("my knowledge",), r"\bmy knowledge cut-?off\b"),
        (
            ("certainly", "sure", "of course", "absolutely"),
            r"^\s*(?:certainly|sure|of course|absolutely)[!,][^\n]{0,40}\bhere(?:['\u2019]s| is| are)\b[^\n]*:\s*$",
        ),
        (("als ",), r"\bals (?:ki(?:-|\s)(?:sprach)?modell|ki-assistent|(?:ein )?(?:großes )?sprachmodell)\b"),
        (("en tant qu",), r"\ben tant qu(?:e |['\u2019])(?:ia|modèle (?:de langage|linguistique)|intelligence artif)"),
        (("como ",), r"\bcomo (?:una? )?(?:ia|modelo de (?:lenguaje|linguagem)|intelig[eê]ncia artificial)\b"),
        (("in quanto ",), r"\bin quanto (?:ia|modello linguistico|intelligenza artificiale)\b"),
        (("als ",), r"\bals (?:een )?ai-(?:taalmodel|assistent)\b"),
    )
)


def by_language_model(text: str) -> bool:
    """Whether a text has one of the phrases that language models say of themselves, or begin an answer with."""
    low = text.lower()
    return any(any(hint in low for hint in hints) and pattern.search(low) is not None for hints, pattern in _OF_MODELS)


def signature_of(text: str) -> str | None:
    """The name that a text is signed with, as it is written; None if it is not signed.

    A name is what stands behind or below a closing ("Best, Anna"), or alone on the last line behind a blank one.
    """
    lines = [line.strip() for line in text.strip().split("\n")][-_TAIL_LINES:]
    closings = [
        (index, match["rest"])
        for index, line in enumerate(lines)
        if index > 0 and len(line.split()) <= _MAX_LINE_WORDS and (match := _CLOSING.fullmatch(line))
    ]
    for index, rest in reversed(closings):
        if name := _name_in(rest):
            return name
        below = next((line for line in lines[index + 1 :] if line), "")
        if len(below.split()) <= _MAX_LINE_WORDS and (name := _name_in(below)):
            return name
    is_set_apart = len(lines) >= 3 and not lines[-2]
    return _name_in(lines[-1], max_words=2) if is_set_apart and lines[-1][:1].isupper() else None


def other_authors(texts: Sequence[SourceText]) -> dict[str, str]:
    """By id, why a text seems to be by another person than most; empty if there is no clear majority.

    A mail that its archive marks as sent by its owner is suspected by its signature only.
    """
    names = {source.id: name for source in texts if (name := signature_of(source.text))}
    ours = _majority(Counter(names.values()))
    found: dict[str, str] = {}
    if ours:
        found = {
            identity: "signed by somebody else than most"
            for identity, name in names.items()
            if not any(are_one_person(name, own) for own in ours)
        }
    senders = {
        source.id: source.mail.sender
        for source in texts
        if source.mail is not None and source.mail.sender is not None and source.mail.is_sent is not True
    }
    own_addresses = _own_addresses(senders, names, found, ours)
    if own_addresses:
        for identity, sender in senders.items():
            if sender not in own_addresses and names.get(identity) is None:
                found[identity] = "sent from another address than most"
    return found


def are_one_person(one: str, other: str) -> bool:
    """Whether two signatures can be of one person: a shared name, a short form of it, or the same initials."""
    left, right = _words_of(one), _words_of(other)
    if not left or not right:
        return True
    for first, second in ((left, right), (right, left)):
        if len(first) == 1 and 1 < len(first[0]) <= 3 and first[0] == "".join(word[0] for word in second):
            return True  # AS
    if len(left) > 1 and len(right) > 1:
        return _match(left[0], right[0]) and _match(left[-1], right[-1])
    single, several = sorted((left, right), key=len)
    return any(_match(single[0], word) for word in several)


def _own_addresses(
    senders: Mapping[str, str], names: Mapping[str, str], others: Mapping[str, str], ours: Sequence[str]
) -> set[str]:
    """The addresses of the majority; empty if no address is clearly it.

    Addresses from which the person signed, and those that hold the name, are the person's as well.
    """
    counts = Counter(senders.values())
    address, count = max(counts.items(), key=lambda entry: (entry[1], entry[0]), default=("", 0))
    if count < _MIN_SIGNED or count < MAJORITY * len(senders):
        return set()
    signed = {senders[identity] for identity in names if identity in senders and identity not in others and ours}
    known = [word for name in (*ours, _local_part(address)) for word in _words_of(name) if len(word) >= 3]
    named = {sender for sender in counts if any(word in _plain(_local_part(sender)) for word in known)}
    return {address} | signed | named


def _majority(names: Counter[str]) -> list[str]:
    """The signatures of the person whom most are of; none if fewer than `MAJORITY` of the texts agree."""
    best: list[str] = []
    ordered = sorted(names, key=lambda name: (-names[name], name))
    for center in ordered[:20]:
        group = [name for name in ordered if are_one_person(center, name)]
        if sum(names[name] for name in group) > sum(names[name] for name in best):
            best = group
    total = sum(names[name] for name in best)
    return best if total >= _MIN_SIGNED and total >= MAJORITY * names.total() else []


def _name_in(line: str, max_words: int = 4) -> str | None:
    """The name that a line begins with, up to a comma, a bar or what else leads to a role; None if it is none."""
    head = re.split(r"\s*[,|/(;:@\u2022\u00b7]\s*|\s+[\u2013\u2014-]\s+", _KISSES.sub(" ", line).strip(_AROUND_NAME))[0]
    head = head.strip(_AROUND_NAME)
    if not _NAME.fullmatch(head) or len(head.split()) > max_words:
        return None
    words = _words_of(head)
    if not words or any(word in _NO_NAMES for word in words) or _CLOSING.fullmatch(head):
        return None
    return head


def _words_of(name: str) -> list[str]:
    return [word for part in re.split(r"[\s._+-]+", name) if (word := _plain(part)) and word not in _TITLES]


def _plain(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in decomposed if char.isalpha())


def _match(one: str, other: str) -> bool:
    """One name and the other: the same, an initial, or a short form that begins alike."""
    short, long = sorted((one, other), key=len)
    if len(short) <= 2:
        return long.startswith(short)
    return long.startswith(short) or short[:3] == long[:3]


def _local_part(address: str) -> str:
    return re.sub(r"\d+", " ", address.partition("@")[0])
