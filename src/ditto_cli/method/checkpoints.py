"""A run in progress -> what the store keeps of it, and back to where it stood, bit for bit.

Two things are not kept, because they are made again exactly: the demonstrations' token ids (from the user's folder,
which the run's identity vouches for) and random states (every draw comes from `derive_seed` and the position).
"""

from __future__ import annotations

from typing import Any

from safetensors.torch import load, save

from ditto_cli.config import Settings
from ditto_cli.method.comparisons import History
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.method.rounds import Encoded, RoundState, begin_updates, own_completions
from ditto_cli.model.policy import Policy
from ditto_cli.store import RunState, SampleState, StepState, UnfinishedRun
from ditto_cli.types import SFT_STAGE, ComparisonKind, Completion, Reporter, StepMetrics

OPTIMIZER_FILE = "optimizer.safetensors"


def round_fields(state: RoundState | None, *, num_finished: int) -> dict[str, Any]:
    """The fields of a `RunState` that tell where the rounds stand; none before they begin.

    Args:
        state: of the rounds.
        num_finished: rounds whose stage is kept; updates of such a round are no longer needed.
    """
    if state is None:
        return {}
    own = state.history.demonstrations
    places = {completion.demonstration_id: place for place, completion in enumerate(own)}
    return {
        "own_logps": [completion.reference_logp for completion in own],
        "samples": [
            SampleState(
                demonstration=places[one.demonstration_id],
                round=one.round,
                index=one.index,
                token_ids=list(one.token_ids),
                ended=one.ended,
                reference_logp=one.reference_logp,
            )
            for one in state.history.completions()
            if one.round is not None
        ],
        "steps": [
            StepState(values=dict(step.values), kinds=dict(step.kinds))
            for step in state.steps
            if step.round == num_finished
        ],
    }


def round_files(policy: Policy, state: RoundState | None) -> dict[str, bytes]:
    """The weights in training and the optimizer's state, as files."""
    contents = policy.serialise(POLICY)
    if state is not None:
        contents[OPTIMIZER_FILE] = save(state.updater.state())
    return contents


def restore_policy(policy: Policy, kept: UnfinishedRun) -> None:
    """Put the weights in training back; POLICY is active and trained."""
    policy.load_adapter(POLICY, kept.newest_folder)
    policy.switch(POLICY, trainable=True)


def restore_rounds(
    policy: Policy, kept: UnfinishedRun, state: RunState, encoded: Encoded, settings: Settings, reporter: Reporter
) -> RoundState | None:
    """Reference, history, optimizer and schedule as they were; None when no round had begun."""
    if not state.own_logps:
        return None
    history = _history(state, encoded)
    number = len(state.stages) - 1
    policy.load_adapter(REFERENCE, kept.generation.stage_folder(_reference_stage(state, history, settings)))
    policy.switch(POLICY, trainable=True)
    updater = begin_updates(policy, settings, reporter)
    num_updates = number * settings.rounds.steps + len(state.steps)
    updater.restore(load((kept.newest_folder / OPTIMIZER_FILE).read_bytes()), num_updates)
    steps = [
        StepMetrics(number, step, one.values, {ComparisonKind(kind): count for kind, count in one.kinds.items()})
        for step, one in enumerate(state.steps)
    ]
    return RoundState(history, updater, number, steps)


def _reference_stage(state: RunState, history: History, settings: Settings) -> str:
    """Stage k is the policy that round k began with; SPIN moves the reference there when it samples the round."""
    if settings.rounds.reference == "sft":
        return SFT_STAGE
    return state.stages[max(0, len(history.rounds) - 1)].stage


def _history(state: RunState, encoded: Encoded) -> History:
    own = [
        Completion(one.demonstration_id, None, 0, one.token_ids, True, logp)
        for one, logp in zip(own_completions(encoded), state.own_logps, strict=True)
    ]
    history = History(tuple(own))
    names = [completion.demonstration_id for completion in own]
    for number in range(1 + max((sample.round for sample in state.samples), default=-1)):
        history.add_round(
            [
                Completion(
                    names[one.demonstration], number, one.index, tuple(one.token_ids), one.ended, one.reference_logp
                )
                for one in state.samples
                if one.round == number
            ]
        )
    return history
