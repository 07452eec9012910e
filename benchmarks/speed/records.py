"""What a measuring process tells its parent, and what `--json` keeps: checked records. No torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SAMPLING, REFERENCE_PHASE, UPDATES = "sampling", "reference", "updates"
PHASES = (SAMPLING, REFERENCE_PHASE, UPDATES)


class Record(BaseModel):
    """A record of a measurement; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class PhaseFigures(Record):
    """One phase of one way.

    Attributes:
        seconds: wall-clock time; None when there is no result.
        peak_bytes: most memory in use during the phase.
        tokens: sampled tokens, or completion tokens on both sides of all comparisons that were trained on.
        padding: share of the computed token places that held no token of their own.
        problem: why there is no result.
    """

    seconds: float | None = None
    peak_bytes: int = 0
    tokens: int = 0
    padding: float | None = None
    problem: str | None = None


class Work(Record):
    """The arithmetic of a round, see `floor.py`; FLOPs count a multiplication and an addition as two."""

    prefill_flops: float
    decode_flops: list[float]
    weight_bytes: float
    reference_flops: float
    update_flops: float
    description: str
    num_distinct: int
    num_naive: int

    @property
    def flops(self) -> dict[str, float]:
        """FLOPs of each phase."""
        sampling = self.prefill_flops + sum(self.decode_flops)
        return {SAMPLING: sampling, REFERENCE_PHASE: self.reference_flops, UPDATES: self.update_flops}


class Ceilings(Record):
    """What the machine does at best: FLOP/s of the base's own products, and bytes read and written a second."""

    flops_per_second: float
    bytes_per_second: float
    dtype: str


class Outcome(Record):
    """All that one process measured of one way on one shape; without phases it says in `problem` why."""

    shape: str
    way: str
    machine: str = ""
    problem: str | None = None
    phases: dict[str, PhaseFigures] = {}
    step_seconds: list[float] = []
    notes: list[str] = []
    checks: dict[str, float] = {}
    work: Work | None = None
    ceilings: Ceilings | None = None

    @property
    def seconds(self) -> float | None:
        """Of all phases; None when one of them has no result."""
        values = [phase.seconds for phase in self.phases.values()]
        return None if not values or None in values else sum(value for value in values if value is not None)


class Report(Record):
    """A whole run of the benchmark."""

    command: str
    date: str
    versions: dict[str, str]
    outcomes: list[Outcome]
    left_out: list[str] = []
