"""Texts of several people -> those of one person, the owner of the archives in which they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.reading import Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, SourceText

RECEIVED = "received, not sent"

_MOSTLY, _ALMOST_ALWAYS = 0.8, 0.9
_OWN_SHARE = 0.2
_NUM_SHOWN = 3


def own_mails(texts: Sequence[SourceText], me: Sequence[str]) -> tuple[list[SourceText], list[Skipped]]:
    """What the owner of the archive sent, and the rest as skipped.

    Args:
        texts: mails of one person's archives; a text that is no mail counts as own.
        me: the owner's addresses; if there are none, they are found out.

    Raises:
        InputError: no mail is from `me`, or it cannot be told who the owner is.
    """
    mails = [source.mail for source in texts if source.mail is not None]
    if not mails:
        return list(texts), []
    mine = {address.strip().strip("<>").lower() for address in me}
    owners = mine or _owner_addresses(mails)
    if not any(mail.sender in owners for mail in mails) and (mine or not any(mail.is_sent for mail in mails)):
        raise InputError(_unknown_owner(mails, sorted(mine)))
    own: list[SourceText] = []
    skipped: list[Skipped] = []
    for source in texts:
        mail = source.mail
        if mail is None or mail.sender in owners or (not mine and mail.is_sent and mail.sender is None):
            own.append(source)
        else:
            skipped.append(Skipped(source.id, RECEIVED))
    return own, skipped


def _owner_addresses(mails: Sequence[Mail]) -> set[str]:
    """The addresses that are surely the owner's; none if that cannot be told."""
    # One mail of somebody else in a folder of sent ones, moved there or redirected, makes nobody an owner.
    sent = Counter(mail.sender for mail in mails if mail.is_sent and mail.sender)
    if sent:
        return {address for address, count in sent.items() if count >= _OWN_SHARE * sent.total()}
    senders = Counter(mail.sender for mail in mails if mail.sender)
    if senders and senders.most_common(1)[0][1] >= _ALMOST_ALWAYS * len(mails):
        return {senders.most_common(1)[0][0]}
    taking_part = Counter(address for mail in mails for address in {mail.sender, *mail.recipients} if address)
    # Two people who write to each other and to hardly anybody else: either may be the owner.
    often = [address for address, count in taking_part.items() if count >= _MOSTLY * len(mails)]
    return {often[0]} if len(often) == 1 and senders[often[0]] else set()


def _unknown_owner(mails: Sequence[Mail], given: Sequence[str]) -> str:
    senders = Counter(mail.sender for mail in mails if mail.sender).most_common(_NUM_SHOWN)
    shown = ", ".join(readable_name(address) for address, _ in senders) or "none"
    if given:
        named = readable_name(", ".join(given))
        return f"None of {len(mails)} mails is from {named} (most are from {shown}): say which is yours: --me ADDRESS."
    return (
        f"Who owns these {len(mails)} mails cannot be told (most are from {shown}): say which is yours: --me ADDRESS."
    )
