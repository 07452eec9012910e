"""A run's plan and what a machine was measured to need -> seconds of each kind of work, and the largest pieces."""

from __future__ import annotations

from collections.abc import Sequence

from ditto_cli.method.plan import Batch, Decoding, Group, Phase, Row, RunPlan
from ditto_cli.model.calibration import Calibration, work
from ditto_cli.model.footprint import Load, Shape, Weights
from ditto_cli.model.passes import Pass

# TRL goes through the head three times where scoring does so twice: its logits are computed anew on the way back.
_SFT_HEAD = 1.5
_DISK_BYTES_PER_SECOND = 200e6  # an assumption: measuring it would mean to write


class Estimator:
    """Seconds of phases, by the speed that was measured on this machine.

    Args:
        shape: of the base.
        weights: of the base.
        calibration: of the machine.
        save_bytes: of one checkpoint.
    """

    def __init__(self, shape: Shape, weights: Weights, calibration: Calibration, *, save_bytes: int) -> None:
        self._shape, self._weights = shape, weights
        self._calibration = calibration
        self._save_bytes = save_bytes

    def seconds(self, phase: Phase) -> float:
        """One phase."""
        return (
            sum(self._decoding(decoding) for decoding in phase.samples)
            + sum(self._calibration.score.seconds(self.row_work(row)) for row in phase.scored)
            + sum(self._calibration.update.seconds(self.row_work(row)) for update in phase.updates for row in update)
            + self.sft_seconds(phase.sft)
            + phase.saves * self._save_bytes / _DISK_BYTES_PER_SECOND
        )

    def sft_seconds(self, batches: Sequence[Batch]) -> float:
        """Some updates of SFT."""
        return sum(self._calibration.update.seconds(self._batch_work(batch)) for batch in batches)

    def kinds(self, plan: RunPlan) -> dict[str, float]:
        """Seconds by kind of work, in the order in which the kinds come up."""
        kinds: dict[str, float] = {}
        for phase in plan.phases:
            kinds[phase.kind] = kinds.get(phase.kind, 0.0) + self.seconds(phase)
        return kinds

    def row_work(self, row: Row) -> float:
        """Work of scoring a row."""
        one = _pass(row)
        return work(self._shape, self._weights, one.tokens, num_scored=one.num_scored, pairs=one.pairs)

    def _batch_work(self, batch: Batch) -> float:
        tokens, pairs = batch.num_tokens, sum(length**2 for length in batch.texts)
        return work(self._shape, self._weights, tokens, num_scored=_SFT_HEAD * tokens, pairs=pairs)

    def _decoding(self, decoding: Decoding) -> float:
        score = self._calibration.score
        reads = [
            work(self._shape, self._weights, prompts * longest, num_scored=prompts, pairs=prompts * longest**2)
            for prompts, longest in decoding.reads
        ]
        read_seconds = sum(score.seconds(one) for one in reads)
        return self._calibration.sampling_start + read_seconds + self._calibration.sampling_seconds(decoding.rows)


def typical_group(plan: RunPlan) -> Group:
    """A group of middling size, else a demonstration; what the machine is measured with."""
    groups = sorted((group for row in plan.micro_batches() for group in row), key=lambda group: group.num_tokens)
    if groups:
        return groups[len(groups) // 2]
    longest = max(max(batch.texts) for batch in plan.batches())
    return Group(max(1, longest // 4), (longest - longest // 4,))


def load_of(plan: RunPlan) -> Load:
    """The pieces of a run that need most memory."""
    batch = max(plan.batches(), key=lambda one: one.num_tokens)
    widest = max(plan.decodings(), key=lambda one: max(one.rows, default=1) * one.columns)
    return Load(
        (len(batch.texts), batch.num_tokens),
        _largest(list(plan.micro_batches())),
        _largest(list(plan.scored())),
        max(widest.rows, default=1),
        widest.columns,
    )


def _largest(rows: Sequence[Row]) -> Pass:
    if not rows:
        return Pass()
    # Each at its most: a short group under a mask may need more than a longer one that is attended text by text.
    passes = [_pass(row) for row in rows]
    return Pass(
        max(one.tokens for one in passes),
        max(one.num_scored for one in passes),
        max(one.pairs for one in passes),
        max(one.copied for one in passes),
    )


def _pass(row: Row) -> Pass:
    return sum((Pass.of(group.prompt, group.completions) for group in row), Pass())
