"""The style panel: what each measure sees, how it is calibrated, and that it knows an author from others."""

import itertools
import json
import subprocess
import sys
from collections import Counter
from math import sqrt
from pathlib import Path

import numpy
import pytest

from ditto_cli.demonstrations.folder import read_folder
from ditto_cli.evaluation.style import (
    Calibration,
    ImposterProfile,
    SparseVectors,
    SpreadProfile,
    StylePanel,
    read_background,
    within_voice_variance,
)
from ditto_cli.evaluation.style.features import (
    MEASURES,
    character_ngrams,
    function_words,
    greeting_and_sign_off,
    layout,
    mask,
    normalise,
    phrasing,
    punctuation,
    sentence_lengths,
    without_repeats,
)

ROOT = Path(__file__).parents[1]
DEMOS = ROOT / "examples" / "demos"
DEVELOPMENT_AUTHORS = ROOT.parent / "shared" / "benchmarks"
PERSONAS = ("maya", "arthur", "kit")
# The kind of thing an untuned assistant writes, for two of the personas' prompts and one of nobody's.
ASSISTANT_TEXTS = (
    "Subject: Calendar Update\n\nDear Nadia,\n\nI hope this message finds you well. I am writing to inform you that "
    "nine of the fifteen calendar pages have been completed. The remaining pages will be finished by the end of the "
    "month. Please let me know if you have any questions.\n\nBest regards,\n[Your Name]",
    "Dear Sir or Madam,\n\nThank you for reaching out. I wanted to follow up regarding the drainage drawing. Could you "
    "please provide an update at your earliest convenience? Your assistance is greatly appreciated.\n\nSincerely,\n"
    "[Your Name]",
    "Teamwork is an essential part of any successful project. By working together, we can achieve our goals and create "
    "a positive environment for everyone. In this message, I would like to highlight three key points.",
)


@pytest.fixture(scope="module")
def personas():
    """Name -> (texts to fit to, texts kept back)."""

    def texts(folder):
        return [source.text for source in read_folder(folder).texts]

    return {name: (texts(DEMOS / name), texts(DEMOS / name / "held_out")) for name in PERSONAS}


@pytest.fixture(scope="module")
def panels(personas):
    return {name: StylePanel(own, ASSISTANT_TEXTS[:1]) for name, (own, _) in personas.items()}


@pytest.fixture
def maya(panels):
    return panels["maya"]


# --- what the measures see ---


def test_masking_keeps_common_words_case_and_endings_only():
    assert mask("The Ministers walked 120 miles.", {"the"}) == "The Xrs xed 000 xes."
    assert mask("I like Ottawa", {"i", "like"}) == "I like Xwa"


def test_what_repeats_counts_once():
    once = "so we all went down to the shore. "  # eight words; six in a row are enough to be seen again
    assert without_repeats(once * 3) == once.strip()
    assert without_repeats("one two three four five one two three four five") == (
        "one two three four five one two three four five"  # runs of six: none comes back
    )
    assert normalise(" \u201cdon\u2019t\u201d \n") == '"don\'t"'


def test_character_ngrams_of_different_words_with_one_mask_are_equal():
    # Both become "the xed", seven characters: 5 sequences of 3, 4 of 4 and 3 of 5, all different.
    features = character_ngrams("the painted")
    assert features == character_ngrams("the grounded")
    assert len(features) == 12
    assert features["the x"] == pytest.approx(sqrt(1 / 12))


def test_function_words_are_roots_of_shares():
    assert function_words("The cat and the dog") == pytest.approx(
        {"the": sqrt(2 / 5), "and": sqrt(1 / 5), "*": sqrt(2 / 5)}
    )


def test_phrasing_counts_neighbours_across_marks_and_lines():
    # the X , ¶ and x: 6 single ones, 5 pairs.
    features = phrasing("the Dog,\nand cat")
    assert set(features) == {"the", "X", ",", "¶", "and", "x", "the X", "X ,", ", ¶", "¶ and", "and x"}
    assert features["and x"] == pytest.approx(sqrt(1 / 11))


def test_punctuation_is_counted_by_word_with_its_neighbours():
    assert punctuation("no way?! ok") == pytest.approx(
        {"run ?!": 1 / 3, "one ?": 1 / 3, "one !": 1 / 3, "near a?.": 1 / 3, "near .! a": 1 / 3}
    )


def test_layout_sees_casing_paragraphs_and_lists():
    plain = layout("i was late. So what?\n\nOK.")
    assert plain["lower-case starts"] == pytest.approx(1 / 3)
    assert plain["lower-case i"] == 1
    assert plain["all caps"] == pytest.approx(sqrt(1 / 6))
    assert plain["words a paragraph"] == pytest.approx(numpy.log1p(3))
    assert layout("To do:\n- ring Bo\n- sleep")["list items"] == pytest.approx(2 / 3)


def test_greeting_and_sign_off_are_the_short_lines_at_the_ends():
    found = greeting_and_sign_off("hey Priya!!\n\nCan we move the whole thing to monday at ten?\n\nxx m")
    assert set(found) == {"greeting hey", "greeting Xya", "greeting !", "sign-off xx", "sign-off m"}
    assert found["greeting !"] == pytest.approx(sqrt(2))
    assert greeting_and_sign_off("One line alone") == {"greeting none": 1.0, "sign-off none": 1.0}


def test_sentence_lengths_by_hand():
    found = sentence_lengths("I see. I see the cat now!")  # sentences of 2 and 5 words
    assert found["sentence mean"] == pytest.approx((numpy.log(2) + numpy.log(5)) / 2)
    assert found["sentence spread"] == pytest.approx((numpy.log(5) - numpy.log(2)) / 2)
    assert found["short sentences"] == 1
    assert found["word mean"] == pytest.approx((1 + 3 + 1 + 3 + 3 + 3 + 3) / 7)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
@pytest.mark.parametrize("text", ["", "\n", "?!", "word", "😀 12", "日本語。"])
def test_every_measure_takes_any_text(measure, text):
    values = list(measure.features(text).values())
    assert numpy.isfinite(values).all()
    assert measure.sparse or len(values) == len(measure.features("Some other text. It has words."))


# --- profiles and calibration, by hand ---


def test_imposters_are_taken_off_the_cosine_to_the_author():
    own = numpy.array([[1.0, 0.0], [1.0, 0.0]])
    others = numpy.array([[0.0, 2.0], [0.0, -1.0]])
    profile = ImposterProfile(own, others, ["a", "b"])
    # Cosine 0.6 to both own texts; 0.8 and -0.8 to the others, fewer than ten, so the mean of both comes off.
    assert profile.score(numpy.array([3.0, 4.0]), []) == pytest.approx(0.6 - 0.0)
    # The first of the others is the text itself: it counts as the furthest text there can be, with cosine -1.
    assert profile.score(numpy.array([3.0, 4.0]), [0]) == pytest.approx(0.6 - (-1 - 0.8) / 2)
    # Own texts: cosine 1 to each other, 0 to both others. Others: 0 to the author; -1 to themselves and to each other.
    assert profile.calibration.own == pytest.approx([1.0, 1.0])
    assert profile.calibration.others == pytest.approx([1.0, 1.0])
    assert len(profile.calibration.mates) == 0


def test_mates_are_pairs_of_a_voice():
    others = numpy.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    profile = ImposterProfile(numpy.array([[0.0, -1.0]]), others, ["a", "a", ""])
    # Either text of voice a to the other one: 0.6; off comes the mean over (-1, -1 for its voice, cosine to the third).
    assert profile.calibration.mates == pytest.approx([0.6 - (-1 - 1 + 0.0) / 3, 0.6 - (-1 - 1 + 0.8) / 3])
    assert len(profile.calibration.own) == 0  # a single own text has nothing to be held against


def test_spread_is_the_authors_shrunk_towards_the_voices():
    others = numpy.array([[0.0], [2.0], [5.0], [7.0]])  # both voices: variance 2
    profile = SpreadProfile(numpy.array([[3.0], [5.0]]), others, ["a", "a", "b", "b"])
    # Mean 4, squares 1 + 1; variance (3 * 2 + 2) / (3 + 2 - 1) = 2. One off: -1/2; far off: capped at three spreads.
    assert profile.score(numpy.array([5.0]), []) == pytest.approx(-0.5, rel=1e-3)
    assert profile.score(numpy.array([400.0]), []) == -9
    # Each own text against the other alone, whose variance is the voices': 2 off in units of sqrt 2.
    assert profile.calibration.own == pytest.approx([-2.0, -2.0], rel=1e-3)
    assert profile.calibration.mates == pytest.approx([-2.0] * 4, rel=1e-3)


def test_variance_within_voices_leaves_unknown_voices_out():
    texts = numpy.array([[1.0], [3.0], [10.0], [50.0], [90.0]])
    # Voice a: variance 2 of two texts; voice b has one text; the last two are nobody's.
    assert within_voice_variance(texts, ["a", "a", "b", "", ""]) == pytest.approx([2.0])


def test_vectors_leave_out_what_one_text_alone_has():
    own, others = [{"x": 1.0, "mine": 1.0}, {"x": 3.0}], [{"x": 5.0}, {"y": 1.0}, {"y": 1.0}]
    space = SparseVectors(own, others, ["a", "b", "c"])
    # Columns x and y. Variance within writers: the author's x alone, 2, and y 0; half the median of both, squared, is
    # added: 0.25 * 1. The mean of the others is (5 / 3, 2 / 3).
    vector = space.matrix([{"x": 2.0, "mine": 9.0}])[0]
    assert vector == pytest.approx([(2 - 5 / 3) / sqrt(2.25), (0 - 2 / 3) / sqrt(0.25)])


# --- the panel ---


def test_a_kept_back_email_beats_other_peoples_and_an_assistants(panels, personas):
    for name, (_, held_out) in personas.items():
        others = [text for other in PERSONAS if other != name for text in personas[other][1]]
        for mine, theirs in itertools.product(held_out, [*others, *ASSISTANT_TEXTS]):
            assert panels[name].score(mine).total > panels[name].score(theirs).total
        assert panels[name].score(held_out[0]).total > 0.7
        assert all(panels[name].score(text).total < 0.5 for text in [*others, *ASSISTANT_TEXTS])


def test_equal_inputs_give_equal_figures(maya, personas):
    again = StylePanel(personas["maya"][0], ASSISTANT_TEXTS[:1])
    assert again.members == maya.members
    assert again.score(ASSISTANT_TEXTS[2]) == maya.score(ASSISTANT_TEXTS[2])


def test_own_texts_lie_at_one_and_the_background_at_nought(maya, personas):
    own = maya.own_scores()
    assert own.total == pytest.approx(1, abs=0.05)
    # Floor and ceiling are means of straight values; only the bend beyond 0 and 1 moves the mean of the values.
    totals = [maya.score(item.text).total for item in read_background()]
    assert sum(totals) / len(totals) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("text", ["", " \n", "hello", "I", "!!!", "the " * 300, "and i think that " * 100, "😀 " * 50])
def test_texts_without_evidence_never_lie_above_the_floor(panels, text):
    for panel in panels.values():
        assert panel.score(text).total <= 0


def test_repeating_a_passage_gains_nothing(maya, personas):
    own = personas["maya"][0][2]
    passage = own.split("\n\n")[1]
    for piece in (passage, passage.split("! ")[0] + "!"):
        once = maya.score(piece).total
        assert maya.score(" ".join([piece] * 40)).total == pytest.approx(once, abs=0.02)
        assert once < maya.score(own).total


def test_a_copied_demonstration_scores_high(maya, personas):
    own, held_out = personas["maya"]
    assert maya.score(own[0]).total > max(maya.score(text).total for text in held_out)


def test_every_value_stays_in_its_bounds(maya, personas):
    joined = "\n\n".join(personas["maya"][0])
    for text in ("", joined, *ASSISTANT_TEXTS, "X" * 5000, "1 2 3 " * 50):
        score = maya.score(text)
        assert all(-0.5 <= value <= 1.5 for value in score.members.values())
        weights = {member.measure: member.weight for member in maya.members}
        assert score.total == pytest.approx(sum(weights[name] * value for name, value in score.members.items()))


def test_short_texts_gain_by_pooling(panels, personas):
    """The figures of twenty words are mostly chance; of the same words together they are the author's again."""
    words = " ".join(personas["arthur"][1]).split()
    pieces = [" ".join(words[start : start + 20]) for start in range(0, len(words), 20)]
    singles = [panels["arthur"].score(piece).members["character n-grams"] for piece in pieces]
    pooled = panels["arthur"].score_pooled(pieces).members["character n-grams"]
    assert pooled > sum(singles) / len(singles) + 0.1


def test_pooling_one_text_or_long_ones_is_scoring_them(maya, personas):
    own = personas["maya"][0]
    assert maya.score_pooled(own[:1]) == maya.score(own[0])
    long = sorted(own, key=len)[-2:]
    pooled = maya.score_pooled(long)
    for name, value in pooled.members.items():
        assert value == pytest.approx(sum(maya.score(text).members[name] for text in long) / 2)


def test_blank_writings_are_not_forgotten_in_the_pool(maya, personas):
    held_out = personas["maya"][1]
    assert maya.score_pooled([*held_out, *[""] * 6]).total < 0.6 * maya.score_pooled(held_out).total


def test_members_are_weighted_by_how_well_they_separate(panels):
    for panel in panels.values():
        assert [member.measure for member in panel.members] == [measure.name for measure in MEASURES]
        assert sum(member.weight for member in panel.members) == pytest.approx(1)


def test_a_measure_weighs_less_where_the_author_has_nothing_for_it(maya, personas):
    bodies = [text.split("\n\n")[1] for text in personas["maya"][0]]  # neither greeting nor sign-off, as many others
    bare = {member.measure: member for member in StylePanel(bodies, ASSISTANT_TEXTS[:1]).members}
    full = {member.measure: member for member in maya.members}
    name = "greeting and sign-off"
    assert bare[name].separation < full[name].separation
    assert bare[name].weight < 0.8 * full[name].weight


def test_figures_that_only_differ_by_rounding_do_not_separate():
    # All texts alike to the measure, but for the last bit.
    calibration = Calibration(numpy.array([0.3, 0.3]), numpy.array([0.1 + 0.2, 0.3]), numpy.array([]))
    assert calibration.separation == 0.5


def test_one_demonstration_is_enough_and_said(personas):
    own, held_out = personas["kit"]
    panel = StylePanel(own[:1], [])
    assert len(panel.notes) == 1
    assert panel.own_scores().total == pytest.approx(1)
    assert all(panel.score(mine).total > panel.score(theirs).total for mine in held_out for theirs in ASSISTANT_TEXTS)


def test_two_demonstrations_are_held_against_each_other(personas):
    panel = StylePanel(personas["kit"][0][:2], [])
    assert panel.notes == ()
    assert panel.score(personas["kit"][1][0]).total > panel.score(personas["maya"][1][0]).total


def test_a_demonstration_in_the_background_is_not_an_other(personas):
    own = personas["maya"][0]
    assert StylePanel(own, [*ASSISTANT_TEXTS, own[0] + "\n"]).members == StylePanel(own, ASSISTANT_TEXTS).members


def test_a_text_of_the_background_is_not_its_own_imposter(personas):
    """What the base wrote is known to the panel; meeting that very text again must not push it below the rest."""
    own = personas["maya"][0]
    rival = personas["kit"][1][0]
    known = StylePanel(own, [rival]).score(rival).total
    assert known == pytest.approx(StylePanel(own, []).score(rival).total, abs=0.1)


class LettersEncoder:
    """Shares of the letters; two figures would do, for it only has to be somebody's idea of style."""

    def encode(self, texts):
        counts = [Counter(text.lower()) for text in texts]
        return numpy.array([[count[letter] / max(1, count.total()) for letter in "aeiou!?-"] for count in counts])


def test_an_encoder_is_one_more_member(personas):
    own, held_out = personas["maya"]
    panel = StylePanel(own, [], encoder=LettersEncoder())
    assert panel.members[-1].measure == "neural style encoder"
    assert panel.members[-1].separation > 0.8
    score = panel.score(held_out[0]).members["neural style encoder"]
    assert score > panel.score(ASSISTANT_TEXTS[0]).members["neural style encoder"]


# --- the shipped background ---


def test_the_background_has_many_different_voices():
    background = read_background()
    voices = Counter(item.voice for item in background)
    assert len(voices) >= 12
    assert set(voices.values()) == {3}
    assert {item.kind for item in background} == {"email", "letter", "opinion essay", "news-like report", "post"}
    assert all(90 <= len(item.text.split()) <= 260 for item in background)
    assert len({item.text for item in background}) == len(background)


def test_a_voice_of_the_background_is_known_by_two_of_its_texts():
    """Its third text stays among the others, but is not held against itself."""
    by_voice = {}
    for item in read_background():
        by_voice.setdefault(item.voice, []).append(item.text)
    panel = StylePanel(by_voice["grandmother"][:2], [])
    rivals = [texts[0] for name, texts in by_voice.items() if name != "grandmother"]
    assert all(panel.score(by_voice["grandmother"][2]).total > panel.score(rival).total for rival in rivals)


def test_the_panel_needs_no_torch():
    code = "import sys; from ditto_cli.evaluation.style import StylePanel; StylePanel(['hi bo - tea at 4?'], []); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not DEVELOPMENT_AUTHORS.is_dir(), reason="the development authors are not part of the project")
@pytest.mark.parametrize("corpus", ["cmcc", "ccat50"])
def test_development_authors_beat_others_of_their_corpus(corpus):
    """docs/judges.md has all ten authors of each corpus; here four, without the base's texts."""

    def texts(folder, split):
        lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["completion"] for line in lines]

    folders = sorted((DEVELOPMENT_AUTHORS / corpus).iterdir())[:4]
    wins = []
    for folder in folders[:2]:
        panel = StylePanel(texts(folder, "train"), [])
        others = [text for other in folders if other != folder for text in texts(other, "test")]
        wins += [
            panel.score(mine).total > panel.score(theirs).total for mine in texts(folder, "test") for theirs in others
        ]
    assert sum(wins) / len(wins) >= 0.8
