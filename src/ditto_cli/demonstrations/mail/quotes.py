"""The body of an email -> the part that its sender wrote: no quoted reply, no forwarded message, no signature.

Attributions ("On Monday Anna wrote:") and message headers are known in English, German, French and Spanish.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ATTRIBUTION_START = re.compile(r"(On|Am|Le|El)\s")
_ATTRIBUTION = re.compile(
    r"On .{3,300}\bwrote ?:|Am .{3,300}\bschrieb\b.{0,150}:|Le .{3,300}\ba écrit ?:|El .{3,300}\bescribió ?:"
)
_ATTRIBUTION_LINES = 3  # a long name and address push "wrote:" down
# Without a ">" below it, only a date or an address tells an attribution from "On the wall somebody wrote:".
_DATE_OR_ADDRESS = re.compile(r"\b(19|20)\d\d\b|\b\d{1,2}[:.]\d\d\b|\S@\S")
_MESSAGE_RULE = re.compile(
    r"-{2,}\s*(original message|forwarded message|ursprüngliche nachricht|original-nachricht|weitergeleitete nachricht"
    r"|message d['\u2019]origine|message transféré|mensaje original|mensaje reenviado)\s*-{2,}"
    r"|(begin forwarded message|anfang der weitergeleiteten nachricht|début du message (transféré|réexpédié)"
    r"|inicio del mensaje reenviado)\s*:",
    re.IGNORECASE,
)
_SENDER_FIELD = re.compile(r"\*?(From|Von|De)\s*:\*?\s*\S")
_OTHER_FIELD = re.compile(
    r"\*?(Sent|Date|To|Cc|Subject|Gesendet|Datum|An|Betreff|Envoyé|À|Objet|Enviado|Fecha|Para|Asunto)\s*:",
    re.IGNORECASE,
)
_FIELD_LINES = 6  # the lines below From: that may hold its fellow fields
_RULE_LINE = re.compile(r"[_\-=*]{5,}")


def remove_quoted(body: str) -> str:
    r"""The sender's own lines of `body`, whose line ends are \n.

    A signature, a forwarded message and an unmarked original end the text; lines that begin with ">" are taken out, and
    what was written below or between them stays.
    """
    lines = body.split("\n")
    own: list[str] = []
    index = 0
    while index < len(lines):
        if _ends_own_text(lines, index):
            return "\n".join(_without_rule_at_end(own))
        if height := _attribution_height(lines, index):
            if not _is_quoted(lines, index + height):
                return "\n".join(_without_rule_at_end(own))  # the original follows without marks
            index += height
            continue
        if not lines[index].startswith(">"):
            own.append(lines[index])
        index += 1
    return "\n".join(own)


def unwrap_flowed(body: str, *, delete_space: bool) -> str:
    r"""Paragraphs of a format=flowed body (RFC 3676) as one line each; quoted ones keep a ">".

    Args:
        body: the decoded part, with \n line ends.
        delete_space: the part's DelSp parameter: the space that marks a soft line end is no part of the text.
    """
    paragraphs: list[str] = []
    open_depth: int | None = None  # quote depth of the paragraph that the next line may continue
    for line in body.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        is_stuffed_mark = content.startswith(" >")  # keeps its space, or it would be taken for a quote
        content = content if is_stuffed_mark else content.removeprefix(" ")
        is_signature = content == "-- "
        is_soft = content.endswith(" ") and not is_signature
        if is_soft and delete_space:
            content = content[:-1]
        if depth == open_depth and not is_signature:
            paragraphs[-1] += content
        else:
            paragraphs.append(f"{'>' * depth} {content}" if depth else content)
        open_depth = depth if is_soft else None
    return "\n".join(paragraphs)


def _ends_own_text(lines: Sequence[str], index: int) -> bool:
    line = lines[index].strip()
    if lines[index].rstrip() == "--" or _MESSAGE_RULE.fullmatch(line):
        return True
    if not _SENDER_FIELD.match(line):
        return False
    following = [below.strip() for below in lines[index + 1 : index + 1 + _FIELD_LINES]]
    return sum(bool(_OTHER_FIELD.match(below)) for below in following) >= 2


def _attribution_height(lines: Sequence[str], index: int) -> int:
    """How many lines from `index` on are an attribution; 0 if none."""
    if not _ATTRIBUTION_START.match(lines[index]):
        return 0
    for height in range(1, _ATTRIBUTION_LINES + 1):
        window = lines[index : index + height]
        if not all(line.strip() for line in window):
            return 0
        joined = re.sub(r"\s+", " ", " ".join(window)).strip()
        if _ATTRIBUTION.fullmatch(joined):
            certain = _is_quoted(lines, index + height) or _DATE_OR_ADDRESS.search(joined)
            return height if certain else 0
    return 0


def _is_quoted(lines: Sequence[str], index: int) -> bool:
    """Whether the first line with text from `index` on is a quoted one."""
    return next((line.startswith(">") for line in lines[index:] if line.strip()), False)


def _without_rule_at_end(lines: list[str]) -> list[str]:
    # Outlook draws a line of underscores above the original.
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept[:-1] if kept and _RULE_LINE.fullmatch(kept[-1].strip()) else kept
