"""Who competes in an evaluation: rivals as `--against` names them, what they are, and what they write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ditto_cli.cli.render import warn
from ditto_cli.errors import InputError
from ditto_cli.evaluation.report import stage_kind
from ditto_cli.evaluation.types import BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, Author
from ditto_cli.store import AdapterRecord, AdapterStore
from ditto_cli.types import Reporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import Writer
    from ditto_cli.evaluation.types import Writing


def rivals_of(name: str, record: AdapterRecord, against: str | None) -> list[str]:
    """Titles to compete against, as `--against` names them; else base, few-shot, texts at hand, SFT, the last round.

    Stages of the adapter itself may be named `round1`, `1` or `alice:round1`; each counts once.
    """
    if against is None:
        first, *_, last = (*record.stage_names, record.stage_names[-1])
        others = [stage for stage in dict.fromkeys((first, last)) if stage != record.published]
        return [BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, *others]
    rivals = []
    for word in against.split(","):
        rival = word.strip()
        own = rival.removeprefix(f"{name}:")
        known = next((s for s in record.stage_names if own in (s, s.removeprefix("round"))), rival)
        if not rival:
            raise InputError("--against has an empty name: give names like base,few-shot,sft,round1,bob.")
        if known in (record.published, name):
            raise InputError(f"--against {rival}: that is the published stage, which is evaluated.")
        if known not in rivals:
            rivals.append(known)
    return rivals


def voice_of(rival: str, record: AdapterRecord, name: str) -> Voice:
    """The voice that a rival speaks with."""
    if rival in record.stage_names:
        return Voice(name, rival)
    voice = Voice.parse(rival)
    if voice.also:  # its texts would belong to several adapters, and be forgotten with one of them
        raise InputError(f"--against {rival}: a mix is not evaluated; take its parts.")
    return voice


def contestant_of(
    rival: str, session: Session, record: AdapterRecord, name: str, author: Author, plan: WritingPlan
) -> Contestant | None:
    """Who competes under a title that `rivals_of` gives; None where it would only be the base once more."""
    from ditto_cli.evaluation.contestants import Contestant, few_shot, with_texts

    if rival == BASE_CONTESTANT:
        return Contestant(rival, "base")
    if rival == FEW_SHOT_CONTESTANT:
        return few_shot(session.policy, author, plan, warn)
    if rival == TEXTS_CONTESTANT:
        adapter = session.load(voice_of(record.published, record, name))
        assert adapter is not None
        return with_texts(adapter, author, record)
    kind = stage_kind(rival) if rival in record.stage_names else "adapter"
    return Contestant(rival, kind, session.load(voice_of(rival, record, name)))


def kept_writer(session: Session, store: AdapterStore, name: str, others: Mapping[str, str], shown: Reporter) -> Writer:
    """Writes as a contestant, or finds what it wrote in an earlier evaluation.

    Writings are kept in `store`; those of other adapters (`others`, by title) with these adapters.
    """
    from ditto_cli.evaluation.contestants import write
    from ditto_cli.evaluation.traces import WritingStore, mark_of

    policy, key = session.policy, store.key()
    base = f"{policy.identity.model_dump_json()} {policy.quantize} {policy.hardware.device.type}"
    folders = {owner: store.evaluation_folder(owner) for owner in (name, *others.values())}
    marks = {owner: mark_of(folder) for owner, folder in folders.items()}
    stores = {
        owner: WritingStore(folder, key=key, base=base, marks=[marks[name], marks[owner]])
        for owner, folder in folders.items()
    }

    def writer(contestant: Contestant, plan: WritingPlan) -> list[Writing]:
        kept = stores[others.get(contestant.title, name)]
        weights = session.digest(contestant.adapter)
        writings = kept.get(contestant, weights, plan)
        if writings is None:
            writings = write(policy, contestant, plan, shown)
            kept.put(contestant, weights, plan, writings)
        return writings

    return writer
