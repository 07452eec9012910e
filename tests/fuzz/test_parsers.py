"""Every parser gets thousands of broken documents: texts or a refusal come of each, nothing else, and soon.

`make fuzz`. FUZZ_SEED repeats a run; FUZZ_SHARE=0.01 makes a short one.
"""

import os
import random
import resource
import signal
import sys
import time
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from mutations import mutated
from targets import TARGETS

SECONDS = 5.0
AT_LEAST = 100_000
SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
SHARE = float(os.environ.get("FUZZ_SHARE") or 1)

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]  # the clock here is a finer one


@dataclass
class Tally:
    """What became of a parser's inputs."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    total: float = 0.0


TALLIES = {name: Tally() for name in TARGETS}


class TooSlowError(BaseException):
    """Ends a parser's work; no Exception, for parsers catch those."""


def _end(number, frame):
    raise TooSlowError


def watched(name, raw):
    """One input for a parser, against the clock."""
    tally = TALLIES[name]
    before = signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    started = time.monotonic()
    try:
        tally.refused += TARGETS[name].read(raw)
    except TooSlowError:
        pytest.fail(f"{name}: an input of {len(raw)} bytes took more than {SECONDS:.0f} s")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        took = time.monotonic() - started
        tally.inputs += 1
        tally.total += took
        tally.slowest = max(tally.slowest, took)


@pytest.mark.parametrize("name", TARGETS)
def test_texts_or_a_refusal(name):
    target = TARGETS[name]
    for document in target.documents:  # libraries and models load here, off the clock
        assert not target.read(document), "what is valid is read"

    @seeded(SEED)
    @settings(
        max_examples=max(10, int(target.num * SHARE)),
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(raw=mutated(target))
    def tried(raw):
        watched(name, raw)

    tried()


def test_all_were_tried(capsys):
    if not all(tally.inputs for tally in TALLIES.values()):
        pytest.skip("only some of the parsers were asked for")
    with capsys.disabled():
        print(f"\n\nFUZZ_SEED={SEED}\n\n| parser | inputs | refused | slowest | mean |\n|---|---|---|---|---|")
        for name, tally in TALLIES.items():
            mean = tally.total / tally.inputs
            print(f"| {name} | {tally.inputs:,} | {tally.refused:,} | {tally.slowest:.2f} s | {1000 * mean:.1f} ms |")
        total = sum(tally.inputs for tally in TALLIES.values())
        # In bytes on a Mac, in kilobytes elsewhere.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        print(f"| all | {total:,} | {sum(tally.refused for tally in TALLIES.values()):,} | | |")
        print(f"\nPeak memory {peak:.0f} MiB.")
    assert total >= AT_LEAST * SHARE
