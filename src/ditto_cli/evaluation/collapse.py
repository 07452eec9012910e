"""Writings -> whether a contestant still writes texts of its own: repetition, lost end token, runaway length. No torch.

DPO on few texts can fall into each of these while its loss goes on falling. Also turns these figures and those of
recitation into warnings for the user. Knows nothing of style.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ditto_cli.evaluation.recitation import ngrams, words
from ditto_cli.evaluation.report import Collapse, Leakage
from ditto_cli.evaluation.types import Writing
from ditto_cli.types import Demonstration

# Of 250 texts by 20 people (CMCC, CCAT50), half repeat less than 0.5 % of their 4-grams, the 99th percentile is 3.6 %
# and the largest share 6.9 %; of 1,780 excerpts of 60 words these are 0, 3.5 and 13.8 %. What is beyond this loops.
REPETITION_LIMIT = 0.35
_MIN_WORDS = 8  # of fewer than five 4-grams, one is already a large share

# A small base loops now and then without having collapsed: stages of the embedded preset in 1 to 3 of 12 texts.
LOOPING_LIMIT = 0.25
ENDED_LIMIT = 0.5
# A sound SFT or DITTO stage of the embedded base writes 0.8 to 1.4 times the demonstrations' mean.
LENGTH_RATIO_LIMITS = (0.4, 2.0)

# Over many writings chance has more room than in one text (recitation.PASSAGE_LIMIT_WORDS): the longest passage that
# any held-out text shares with its author's demonstrations is at most 15 words for 19 of 20 authors, and 24 for one.
PASSAGE_WARNING_WORDS = 15
# Beyond the author's own rate, which is below 0.5 % for 19 of 20 authors and 2 % for one.
SHARED_8GRAMS_WARNING = 0.05
# The untrained embedded base, which cannot know them, goes on with 1 to 6 words of 23 people's demonstrations; SFT and
# DITTO stages of the embedded preset with 4 to 7 of two personas'.
EXTRACTION_WARNING_WORDS = 12


def repetition(text: str) -> float:
    """Share of a text's 4-grams of words that repeat an earlier one; 0 for a text under 8 words."""
    grams = ngrams(words(text), 4)
    if len(grams) + 3 < _MIN_WORDS:
        return 0.0
    return 1 - len(set(grams)) / len(grams)


def collapse(writings: Sequence[Writing], demonstrations: Sequence[Demonstration]) -> Collapse:
    """How one contestant's writings end, repeat, and compare with the demonstrations in length."""
    assert writings, "there is a contestant because it wrote"
    written = fmean(len(words(writing.text)) for writing in writings)
    own = fmean(len(words(demonstration.completion)) for demonstration in demonstrations)
    return Collapse(
        ended=fmean(writing.ended for writing in writings),
        looping=fmean(repetition(writing.text) > REPETITION_LIMIT for writing in writings),
        length_ratio=written / max(own, 1.0),
    )


def collapsed(writing: Writing) -> str | None:
    """Why one writing is no text, in a few words; None if it is one."""
    if not words(writing.text):
        return "it is empty"
    share = repetition(writing.text)
    return f"{share:.0%} of it is repetition (limit {REPETITION_LIMIT:.0%})" if share > REPETITION_LIMIT else None


def warnings_of(collapse: Collapse, leakage: Leakage) -> list[str]:
    """What the user should know of a contestant before using it, one line each; empty if all is within limits."""
    return [*_collapse_warnings(collapse), *_leakage_warnings(leakage)]


def _collapse_warnings(collapse: Collapse) -> list[str]:
    shortest, longest = LENGTH_RATIO_LIMITS
    warnings = []
    if collapse.ended < ENDED_LIMIT:
        warnings.append(f"Only {collapse.ended:.0%} of its texts end by themselves; the length limit cut the others.")
    if collapse.looping > LOOPING_LIMIT:
        warnings.append(f"It runs into loops in {collapse.looping:.0%} of its texts.")
    if collapse.length_ratio > longest:
        warnings.append(f"Its texts are {collapse.length_ratio:.1f} times as long as the demonstrations.")
    if collapse.length_ratio < shortest:
        warnings.append(f"Its texts are only {collapse.length_ratio:.1f} times as long as the demonstrations.")
    return warnings


def _leakage_warnings(leakage: Leakage) -> list[str]:
    warnings = []
    if leakage.longest_passage_words > PASSAGE_WARNING_WORDS:
        warnings.append(f"It recites: {leakage.longest_passage_words} words in a row stand in a demonstration.")
    own = leakage.held_out_8grams
    if leakage.shared_8grams > (own or 0.0) + SHARED_8GRAMS_WARNING:
        compared = "" if own is None else f"; of the author's own other texts, {own:.0%}"
        warnings.append(
            f"It recites: {leakage.shared_8grams:.0%} of its 8-word passages stand in a demonstration{compared}."
        )
    if leakage.extracted_words is not None and leakage.extracted_words > EXTRACTION_WARNING_WORDS:
        warnings.append(
            f"Given the first quarter of a demonstration, it goes on with {leakage.extracted_words} words of the rest."
        )
    if leakage.personal_data:
        warnings.append(f"It gives away personal data of a demonstration: {', '.join(leakage.personal_data)}.")
    return warnings
