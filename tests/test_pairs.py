"""Given pairs: what pairs.jsonl may hold, what a training makes of them, and how `ditto` keeps and shows them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli_helpers import SMALL
from conftest import load_tiny, shake
from ditto_cli.cli.demos import keep_pair
from ditto_cli.cli.eval import _author, keep_picks
from ditto_cli.config import DpoSettings, FolderFile, Settings
from ditto_cli.demonstrations.choice import audit_pair
from ditto_cli.demonstrations.folder import pair_line, read_folder, read_pairs, without_kept_back
from ditto_cli.errors import InputError
from ditto_cli.evaluation.contestants import Contestant
from ditto_cli.evaluation.judgements import Author, EvalPrompt, Judgement, Pair, Writing
from ditto_cli.evaluation.soundness import recitation_check
from ditto_cli.fleet.tasks import TrainTask, is_trained
from ditto_cli.method.comparisons import History, check_comparable, draw_comparisons
from ditto_cli.method.ditto import Place, ditto
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.model.base.template import tokenise
from ditto_cli.store import AdapterStore
from ditto_cli.types import ComparisonKind, Completion, Demonstration, Preference, SilentReporter, StepMetrics
from trl_oracle import trl_dpo

pytest_plugins = ["cli_helpers"]

GIVEN = ComparisonKind.GIVEN
PAIRS = (
    Preference("pairs.jsonl#1", "Invite Bo.", "hi bo - tea at 4? x", "Dear Bo, I am writing to you"),
    Preference("pairs.jsonl#2", "Thank Di.", "ta di!! x", "Thank you very much, Di."),
    Preference("pairs.jsonl#3", "Thank Di.", "ta di!! x", "I would like to thank you"),
)
OWN = (Demonstration("a.md", "Decline.", "no can do! x"),)


def line(prompt="Thank Di.", chosen="ta di!", rejected="Thank you, Di."):
    return pair_line(prompt, chosen, rejected)


def folder_with(tmp_path, *lines, texts=()):
    (tmp_path / "pairs.jsonl").write_text("".join(f"{one}\n" for one in lines))
    for name, text in dict(texts).items():
        (tmp_path / name).write_text(text)
    return tmp_path


# --- the file


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{", "not a line of JSON"),
        ("[" * 100_000, "not a line of JSON"),
        ('"hi"', "not an object"),
        ('{"prompt": "a", "chosen": "b"}', "no rejected in it"),
        ('{"prompt": 1, "chosen": "b", "rejected": "c"}', "no prompt in it"),
        (line(chosen="Thank you, Di. "), "both texts are the same"),
        (line(prompt=" "), "no prompt in it"),
    ],
)
def test_a_line_that_is_no_pair_is_named_with_its_reason(tmp_path, written, reason):
    pairs, skipped = read_pairs(folder_with(tmp_path, line(), written))
    assert [pair.id for pair in pairs] == ["pairs.jsonl#1"]
    assert [entry.name for entry in skipped] == ["pairs.jsonl#2"]
    assert reason in skipped[0].reason


def test_of_equal_pairs_one_counts_and_of_contradicting_ones_none(tmp_path):
    lines = (line(), "", line(), line(chosen="a", rejected="b"), line(chosen="b", rejected="a"))
    pairs, skipped = read_pairs(folder_with(tmp_path, *lines))
    assert [pair.id for pair in pairs] == ["pairs.jsonl#1"]
    assert [(entry.name, entry.reason) for entry in skipped] == [
        ("pairs.jsonl#3", "the same as pairs.jsonl#1"),
        ("pairs.jsonl#4", "it contradicts pairs.jsonl#5: remove one of them"),
    ]


def test_conversations_of_one_turn_are_read_and_longer_ones_are_not(tmp_path):
    def turn(role, text):
        return [{"role": role, "content": text}]

    one = {"prompt": turn("user", "Hi?"), "chosen": turn("assistant", "yo"), "rejected": turn("assistant", "Hello.")}
    longer = one | {"prompt": [*turn("user", "Hi?"), *turn("assistant", "what")]}
    pairs, skipped = read_pairs(folder_with(tmp_path, json.dumps(one), json.dumps(longer)))
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs] == [("Hi?", "yo", "Hello.")]
    assert "no prompt" in skipped[0].reason


def test_a_file_that_is_not_text_is_refused_in_a_line(tmp_path):
    (tmp_path / "pairs.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="not UTF-8"):
        read_pairs(tmp_path)


def test_pairs_are_no_texts_and_where_there_are_no_texts_the_preferred_ones_are_imitated(tmp_path):
    folder = folder_with(tmp_path, line(), line(rejected="Many thanks."), line(chosen="cheers!"))
    reading = read_folder(folder)
    assert [(text.text, text.prompt) for text in reading.texts] == [("ta di!", "Thank Di."), ("cheers!", "Thank Di.")]
    (tmp_path / "a.md").write_text("no can do! x")
    reading = read_folder(folder)
    assert [text.id for text in reading.texts] == ["a.md"]
    assert len(reading.pairs) == 3


def test_pairs_are_redacted_as_the_texts_are(tmp_path):
    folder = folder_with(tmp_path, line(chosen="ta! call 0171 2345678 x"), texts={"a.md": "mail bo@example.org x"})
    (pair,) = read_folder(folder, FolderFile(redact=True)).pairs
    assert "2345678" not in pair.chosen
    assert "2345678" in read_folder(folder).pairs[0].chosen


def test_a_pair_whose_sides_differ_only_by_what_is_redacted_is_none(tmp_path):
    folder = folder_with(tmp_path, line(chosen="call 0171 2345678", rejected="call 0171 9345678"))
    with pytest.raises(InputError, match="both texts are the same"):
        read_folder(folder, FolderFile(redact=True))


@pytest.mark.parametrize("redact", [False, True])
def test_nothing_that_is_kept_back_is_learnt_from_pairs(tmp_path, redact):
    """Nor where the prompt stands in ditto.yaml, the mail address has another stand-in, or there are no texts."""
    texts = {"x.md": "for ed", "y.md": "mail bo@example.org or cy@example.org x"}
    (tmp_path / "held_out").mkdir()
    folder_with(tmp_path / "held_out", texts=texts)
    lines = (line(chosen="mail di@example.org"), line(prompt="To Ed."), line(chosen=texts["y.md"]))
    settings = FolderFile(redact=redact, prompts={"held_out/x.md": "To Ed."})
    reading = read_folder(folder_with(tmp_path, *lines), settings)
    assert [pair.id for pair in reading.pairs] == ["pairs.jsonl#1"]
    assert [text.id for text in reading.texts] == ["pairs.jsonl#1"]
    assert [entry.name for entry in reading.skipped if "kept back" in entry.reason] == [
        "held_out",
        "pairs.jsonl#2",
        "pairs.jsonl#3",
    ]


def test_pairs_of_texts_that_are_kept_back_are_left_out():
    kept, skipped = without_kept_back(PAIRS, ["Invite Bo.", "Thank you very much, Di."])
    assert [pair.id for pair in kept] == ["pairs.jsonl#3"]
    assert [entry.name for entry in skipped] == ["pairs.jsonl#1", "pairs.jsonl#2"]


def test_the_audit_knows_pairs():
    long = Preference("pairs.jsonl#1", "p", "word " * 2000, "mail bo@example.org")
    assert [warning.code for warning in audit_pair(long)] == ["personal_data", "too_long"]
    assert audit_pair(PAIRS[0]) == []


def test_a_preferred_text_counts_as_recited():
    text = (
        "hi bo, could you bring the green ladder and both of the buckets on friday, and a rope if there is one left x"
    )
    learnt = Author(OWN, (), (Preference("pairs.jsonl#1", "Ask Bo.", text, "Hello."),)).learnt
    assert recitation_check(learnt, [])(text)
    assert not recitation_check(OWN, [])(text)


# --- the loop


def history(num_given, num_rounds=1, num_completions=4):
    own = [Completion(name, None, 0, (1,), True, -1.0) for name in ("a.md", "b.md", "c.md")]
    sides = [
        Completion(f"pairs.jsonl#{n}", None, side, (n, side), True, -1.0) for n in range(num_given) for side in (0, 1)
    ]
    found = History.of([*own, *sides], len(own))
    for number in range(num_rounds):
        found.add_round(
            [
                Completion(one.demonstration_id, number, i, (2, i), True, -1.0)
                for one in own
                for i in range(num_completions)
            ]
        )
    return found


def test_given_pairs_have_their_share_over_the_run_and_none_twice_in_a_step():
    counts = Counter()
    for step in range(20):
        drawn = draw_comparisons(history(9, num_rounds=2), DpoSettings(), seed=0, step=step)
        given = [one.chosen.demonstration_id for one in drawn if one.kind is GIVEN]
        assert len(given) == len(set(given))
        assert all(one.chosen.index == 0 and one.rejected.index == 1 for one in drawn if one.kind is GIVEN)
        counts.update(one.kind for one in drawn)
    assert counts.total() == 180
    assert counts[GIVEN] == pytest.approx(180 * 0.2 / 1.2, abs=1)
    assert counts[ComparisonKind.REPLAY] == pytest.approx(180 * 0.2 / 1.2, abs=1)


def test_few_given_pairs_come_once_a_step_and_the_rest_of_their_share_is_online():
    drawn = draw_comparisons(history(1), DpoSettings(mixture={"given": 0.7}), seed=0, step=0)
    assert Counter(one.kind for one in drawn) == {GIVEN: 1, ComparisonKind.ONLINE: 8}


def test_without_samples_all_are_given():
    drawn = draw_comparisons(history(4, num_completions=0), DpoSettings(), seed=0, step=0)
    assert Counter(one.kind for one in drawn) == {GIVEN: 4}


SETTINGS = Settings.model_validate(
    {
        "base": {"id": "tiny"},
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "sft": {"learning_rate": 1e-2, "batch_size": 2, "max_steps": 2, "stop_loss": 0.0},
        "dpo": {"learning_rate": 3e-3, "warmup_ratio": 0.0, "beta": 0.05},
        "rounds": {"num": 1, "steps": 5},
        "sampling": {"completions_per_prompt": 0},
    }
)


def test_plain_dpo_has_the_losses_of_trls_dpo_trainer(tiny_folder, tmp_path):
    """The same pairs through our loop and through TRL's trainer, from the same SFT policy: five steps."""
    policy = load_tiny(tiny_folder)
    policy.add_adapter("policy", SETTINGS.lora, seed=1)
    shake(policy, seed=2)
    policy.copy_adapter("policy", "reference")
    rows = [(pair.prompt, pair.chosen, pair.rejected) for pair in PAIRS]
    logs, _ = trl_dpo(policy, rows, SETTINGS.dpo, tiny_folder, tmp_path, num_steps=5)
    policy.switch("policy", trainable=True)
    texts = tokenise(policy.chat, OWN, SETTINGS.sampling, context_tokens=policy.context_tokens, pairs=PAIRS)
    events = ditto(policy, texts, SETTINGS, [], Place(), SilentReporter())
    ours = [event.values for event in events if isinstance(event, StepMetrics)]
    assert len(ours) == 5
    assert ours[4]["loss"] < ours[0]["loss"] - 0.01
    assert ours[4]["rewards/accuracies"] == 1.0
    for step, (own, trl) in enumerate(zip(ours, logs, strict=True)):
        for name in ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins"):
            assert own[name] == pytest.approx(trl[name], abs=1e-5), (step, name)


@pytest.fixture(scope="module")
def policy(tiny_folder):
    return load_tiny(tiny_folder)


def trained(policy, home, settings, pairs=PAIRS, interrupt_after=None):
    store = AdapterStore(home)
    reporter = SilentReporter()
    if interrupt_after is not None:
        updates = iter(range(1, interrupt_after + 1))

        def stop(completed, metrics):
            if metrics.get("rewards/margins") is not None and next(updates) == interrupt_after:
                raise KeyboardInterrupt

        reporter.advance_work = stop
    with store.training("alice") as kept:
        record = train_ditto(policy, Job.of(policy, "alice", OWN, settings, "Hi?", None, pairs), kept, reporter, None)
    return store, record


def weights(store, stage="round1"):
    return (store.checked_stage_folder("alice", stage) / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("interrupt_after", "num_completions", "reference"),
    [(2, 0, "previous"), (2, 2, "sft"), (5, 0, "sft"), (5, 2, "previous")],
)
def test_a_run_with_pairs_that_is_interrupted_goes_on_bit_for_bit(
    policy, tmp_path, interrupt_after, num_completions, reference
):
    settings = Settings.model_validate(
        SETTINGS.model_dump()
        | {
            "sampling": {"completions_per_prompt": num_completions},
            "rounds": {"num": 2, "steps": 3, "reference": reference},
        }
    )
    whole, record = trained(policy, tmp_path / "whole", settings)
    assert len(record.pair_hashes) == 3
    assert record.stages[1].metrics["comparisons/given"] > 0
    assert record.stages[1].metrics["given/margins"] > 0
    with pytest.raises(BaseException, match="the same command goes on"):
        trained(policy, tmp_path / "parts", settings, interrupt_after=interrupt_after)
    parts, _ = trained(policy, tmp_path / "parts", settings)
    assert weights(parts, "round2") == weights(whole, "round2")
    without, _ = trained(policy, tmp_path / "other", settings, pairs=PAIRS[:1])
    assert weights(without, "round2") != weights(whole, "round2")


def test_dpo_without_samples_and_without_pairs_is_refused():
    with pytest.raises(InputError, match="needs given pairs"):
        check_comparable(SETTINGS, ())


def test_a_pair_that_does_not_fit_the_context_is_named(policy):
    long = Preference("pairs.jsonl#7", "Hi?", "word " * policy.context_tokens, "no")
    with pytest.raises(InputError, match=r"pairs\.jsonl#7 has"):
        Job.of(policy, "alice", OWN, SETTINGS, "Hi?", None, [long])


# --- the commands


def editor(command):
    return {"EDITOR": command, "VISUAL": ""}


def test_a_training_learns_from_pairs_and_says_so(ditto, texts):
    folder_with(texts, line(), "broken")
    result = ditto.train(texts)
    assert result.code == 0, result.err
    assert "pairs.jsonl#2 is left out: not a line of JSON" in result.err
    assert "; pairs: 1" in result.err
    assert len(ditto.record("alice").pair_hashes) == 1


@pytest.mark.parametrize(
    ("changed", "is_known"), [({}, True), ({"rejected": "Thanks."}, False), ({"chosen": "x"}, False)]
)
def test_a_fleet_trains_who_changed_either_side_of_a_pair(ditto, texts, changed, is_known):
    folder_with(texts, line())
    assert ditto.train(texts).code == 0
    reading, record = read_folder(texts, FolderFile()), ditto.record("alice")
    pairs = tuple(replace(pair, **changed) for pair in reading.pairs)
    task = TrainTask("alice", str(texts), reading.texts, {}, record.settings, "", is_on_gpu=False, pairs=pairs)
    assert is_trained(AdapterStore(ditto.home), task) == is_known


def train_by(method, ditto, folder):
    """The smallest training by another method, without the setting that it decides."""
    decided = {"sft": "rounds.num", "dpo": "sampling.completions_per_prompt"}[method]
    options = zip(SMALL[::2], SMALL[1::2], strict=True)
    small = [word for option in options if not option[1].startswith(decided) for word in option]
    return ditto("train", folder, "--base", ditto.base, *small, "--method", method)


@pytest.mark.parametrize(("method", "stages"), [("sft", ["sft"]), ("dpo", ["sft", "round1"])])
def test_the_other_methods(ditto, texts, method, stages):
    folder_with(texts, line(), line(chosen="cheers"))
    result = train_by(method, ditto, texts)
    assert result.code == 0, result.err
    record = ditto.record("alice")
    assert list(record.stage_names) == stages
    assert len(record.pair_hashes) == {"sft": 0, "dpo": 2}[method]
    assert _author("alice", record, texts, AdapterStore(ditto.home))[1] == []  # the folder is the one it learnt
    if method == "dpo":
        assert record.stages[1].metrics["comparisons/given"] == 2
        assert record.stages[1].metrics["samples/tokens"] == 0
        assert record.settings.dpo.sft_weight == 0


def test_pairs_alone_train_an_adapter(ditto, tmp_path):
    folder = tmp_path / "only"
    folder.mkdir()
    folder_with(folder, line(), line(chosen="cheers di", prompt="Thank Di again."))
    result = train_by("dpo", ditto, folder)
    assert result.code == 0, result.err
    assert len(ditto.record("only").demonstration_hashes) == 2


def test_dpo_in_a_folder_without_pairs_is_an_error_of_input(ditto, texts):
    result = train_by("dpo", ditto, texts)
    assert result.code == 2
    assert "needs given pairs" in result.error


def test_far_too_many_pairs_are_an_error_of_input(ditto, texts):
    folder_with(texts, *(line(chosen=f"cheers {number}") for number in range(1001)))
    result = ditto.train(texts)
    assert result.code == 2
    assert "pairs.jsonl has 1,001 pairs: keep those that matter, at most 1,000." in result.error


def test_what_a_method_decides_cannot_be_set_besides(ditto, texts):
    result = ditto("train", texts, "--method", "sft", "--set", "rounds.num=2")
    assert result.code == 2
    assert "--method sft decides rounds.num itself" in result.error


def test_the_plan_counts_the_memory_of_long_pairs(ditto, texts):
    def peak():
        planned = [
            "plan",
            texts,
            "--base",
            ditto.base,
            "--device",
            "cpu",
            "--set",
            "dpo.micro_batch_tokens=16",
            "--json",
        ]
        return json.loads(ditto(*planned).out)["memory"]["phases"]["an update"]

    before = peak()
    folder_with(texts, line(chosen="word " * 60))
    assert peak() > before


def test_pairs_are_listed_edited_and_removed(ditto, texts):
    folder_with(texts, line(chosen="ta di!"), line(chosen="cheers di"))
    shown = ditto("demos", "pairs", texts)
    assert shown.code == 0, shown.err
    assert "cheers di" in shown.out
    assert [pair["id"] for pair in json.loads(ditto("demos", "pairs", texts, "--json").out)["pairs"]] == [
        "pairs.jsonl#1",
        "pairs.jsonl#2",
    ]
    assert ditto("demos", "pairs", texts, "--edit", 2, environment=editor("sed -i s/cheers/thx/")).code == 0
    assert ditto("demos", "pairs", texts, "--remove", 1).code == 0
    (pair,) = read_pairs(texts)[0]
    assert (pair.prompt, pair.chosen, pair.rejected) == ("Thank Di.", "thx di", "Thank you, Di.")
    assert "no pair in line 9" in ditto("demos", "pairs", texts, "--remove", 9).error
    assert "not both" in ditto("demos", "pairs", texts, "--edit", 1, "--remove", 1).error
    assert "is not a folder" in ditto("demos", "pairs", texts / "nowhere").error
    empty = ditto("demos", "pairs", texts, "--edit", 1, environment=editor("truncate -s 0"))
    assert "the text is empty" in empty.error


def test_lines_around_the_edited_one_stay_where_they_are_and_what_is_kept_meanwhile_is_not_lost(ditto, tmp_path):
    folder = folder_with(tmp_path, line(), "", line(chosen="cheers di"), line(chosen="bye"))
    file = folder / "pairs.jsonl"
    meanwhile = f"printf '%s\\n' '{line(chosen='kept')}' >> {file}; sed -i s/cheers/thx/ "
    script = tmp_path / "editor.sh"
    script.write_text(f'{meanwhile} "$1"')
    assert ditto("demos", "pairs", folder, "--edit", 3, environment=editor(f"sh {script}")).code == 0
    expected = [line(), "", line(chosen="thx di"), line(chosen="bye"), line(chosen="kept")]
    assert file.read_text().split("\n") == [*expected, ""]
    script.write_text(f'echo >> "$1"; sed -i 1d {file}; echo more >> "$1"')
    result = ditto("demos", "pairs", folder, "--edit", 3, environment=editor(f"sh {script}"))
    assert result.code == 2
    assert "was changed meanwhile" in result.error
    assert file.read_text().split("\n") == [*expected[1:], ""]


def test_a_pair_that_is_kept_is_redacted_as_the_text_beside_it(tmp_path):
    (tmp_path / "ditto.yaml").write_text("redact: true\n")
    assert keep_pair(tmp_path, "Hi?", "call 0171 2345678", "Hello.")
    assert not keep_pair(tmp_path, "Hi?", "call 0171 2345678", "Hello.")
    assert "2345678" not in (tmp_path / "pairs.jsonl").read_text()


def test_a_pair_is_kept_once(tmp_path):
    assert keep_pair(tmp_path, "Hi?", "yo ", "Hello.")
    assert not keep_pair(tmp_path, "Hi?", "yo", "Hello.")
    assert not keep_pair(tmp_path, "Hi?", "yo", "yo")
    assert [pair.chosen for pair in read_pairs(tmp_path)[0]] == ["yo"]


def test_clear_picks_are_kept_but_not_of_other_adapters_nor_for_what_is_kept_back(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("ditto_cli.cli.eval.in_terminal", lambda: True)
    monkeypatch.setattr("ditto_cli.cli.eval.confirm", lambda question, _: asked.append(question) or True)

    def judged(score, second="base", source="new"):
        first = Writing("alice", "p", 0, f"mine against {second}", 4, True)
        pair = Pair(EvalPrompt("p", f"{source}?", source), first, Writing(second, "p", 0, "theirs", 2, True))
        return Judgement(pair, score)

    judgements = [
        *(judged(score) for score in (1.0, 0.5, None)),
        judged(0.0, "few-shot"),
        judged(1.0, "bob"),
        judged(1.0, source="held_out"),
    ]
    contestants = [Contestant("alice", "round"), Contestant("base", "base"), Contestant("bob", "adapter")]
    findings = SimpleNamespace(judgements=judgements, contestants=contestants)
    keep_picks(SimpleNamespace(name="style"), findings, tmp_path)
    assert not asked
    keep_picks(SimpleNamespace(name="me"), findings, tmp_path)
    assert "Keep these 2 picks" in asked[0]
    assert [(pair.prompt, pair.chosen, pair.rejected) for pair in read_pairs(tmp_path)[0]] == [
        ("new?", "mine against base", "theirs"),
        ("new?", "theirs", "mine against few-shot"),
    ]


def test_forget_says_that_pairs_hold_what_it_wrote(ditto, texts):
    assert ditto.train(texts).code == 0
    folder_with(texts, line())
    result = ditto("forget", "alice", "--yes")
    assert "What alice wrote may stand in pairs.jsonl there (pairs: 1)" in result.err


def test_pairs_that_cannot_be_read_undo_nothing_of_forget(ditto, texts):
    assert ditto.train(texts).code == 0
    (texts / "pairs.jsonl").write_bytes(b"\xff")
    assert ditto("forget", "alice", "--yes").code == 0


def test_a_text_that_was_edited_is_kept_with_what_it_was_before(trained, tmp_path):
    folder = Path(trained.record("alice").folder)
    asked = ["sample", "--adapter", "alice", "--max-tokens", "12", "--seed", "1", "Write to Bo."]
    written = trained(*asked).out.strip()
    result = trained(*asked[:-1], "--keep", asked[-1], environment=editor("sed -i 1s/^/bo,/"))
    try:
        assert result.code == 0, result.err
        pair = read_pairs(folder)[0][-1]
        assert pair.prompt == "Write to Bo."
        assert pair.chosen == f"bo,{pair.rejected}"
        assert "that you prefer it to what was written" in result.err
    finally:
        for path in (*folder.glob("*-sample.md"), folder / "pairs.jsonl"):
            path.unlink(missing_ok=True)
    assert written
