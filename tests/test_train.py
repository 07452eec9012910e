"""The whole run on a tiny base with a real store: what is published, what survives, and which settings matter."""

from dataclasses import dataclass, field

import pytest
import torch
from safetensors.torch import load

from conftest import full_logits, heard, load_tiny
from ditto_cli.config import Settings
from ditto_cli.errors import InputError, InterruptedRun, NonFiniteError
from ditto_cli.method import ditto as loop
from ditto_cli.method import run as story
from ditto_cli.method import updates
from ditto_cli.method.ditto import Sampled
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.method.updates import REFERENCE, DpoTerms, score_under_reference
from ditto_cli.model.base.template import tokenise
from ditto_cli.model.policy import scoring
from ditto_cli.model.policy.lora import WEIGHTS_FILE
from ditto_cli.store import AdapterStore, keyed_hash
from ditto_cli.types import Demonstration, SilentReporter, StepMetrics

# Small, and with rates at which a tiny random model moves.
SETTINGS = {
    "base": {"id": "tiny"},
    "lora": {"r": 2, "alpha": 8, "dropout": 0.1, "targets": ("q_proj", "v_proj")},
    "sft": {"learning_rate": 1e-2, "batch_size": 2, "max_steps": 4, "warmup_ratio": 0.25, "stop_loss": 0.0},
    "dpo": {"learning_rate": 1e-3, "beta": 0.1, "warmup_ratio": 0.25, "max_grad_norm": 0.1},
    "rounds": {"num": 2, "steps": 2},
    "sampling": {"completions_per_prompt": 3, "length_factor": 0.75},
}


def settings_with(key=None, value=None):
    if key is None:
        return Settings.model_validate(SETTINGS)
    *path, leaf = key.split(".")
    changed = {k: dict(v) for k, v in SETTINGS.items()}
    level = changed
    for part in path:
        level = level.setdefault(part, {})
    level[leaf] = value
    return Settings.model_validate(changed)


@pytest.fixture(scope="module")
def texts():
    return (
        Demonstration("a.md", "Invite Bo.", "hi bo - tea? x"),
        Demonstration("b.md", "Decline.", "no can do! x"),
        Demonstration("c.md", "Decline.", "sorry. busy x"),  # the prompt of b.md: they stay two
    )


@pytest.fixture(scope="module")
def shared_policy(tiny_folder):
    """One base for all runs of this file: each must leave it as it found it."""
    return load_tiny(tiny_folder)


@dataclass
class Recorder(SilentReporter):
    """Keeps what a reporter is told, and can press Ctrl-C at a stage."""

    events: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    interrupt_at: str = ""

    def begin_work(self, stage, total, unit):
        self.events.append((stage, total, unit, []))

    def advance_work(self, completed, metrics):
        self.events[-1][3].append(completed)
        if self.events[-1][0] == self.interrupt_at:
            raise KeyboardInterrupt

    def show_sample(self, sample):
        self.samples.append(sample)


def run(policy, texts, home, settings=None, *, name="alice", reporter=None):
    store, notes = AdapterStore(home), getattr(reporter, "notes", [])
    job = Job.of(policy, name, texts, settings or settings_with(), "Say hello.")
    with store.training(name) as kept, heard(notes):
        return store, train_ditto(policy, job, kept, reporter or SilentReporter())


def weights(store, name="alice", stage=None):
    return (store.stage_folder(name, stage) / WEIGHTS_FILE).read_bytes()


@dataclass
class Finished:
    store: AdapterStore
    record: object
    reporter: Recorder


@pytest.fixture(scope="module")
def finished(shared_policy, texts, tmp_path_factory):
    """The run that others are compared with."""
    reporter = Recorder()
    store, record = run(shared_policy, texts, tmp_path_factory.mktemp("home"), reporter=reporter)
    return Finished(store, record, reporter)


def test_every_stage_is_stored_and_the_last_is_published(finished):
    assert finished.store.names() == ["alice"]
    assert finished.store.record("alice") == finished.record
    assert list(finished.record.stage_names) == ["sft", "round1", "round2"]
    assert finished.record.published == "round2"
    stages = [weights(finished.store, stage=stage) for stage in ("sft", "round1", "round2")]
    assert len(set(stages)) == 3
    assert weights(finished.store) == stages[2]


def test_the_record_tells_what_was_done(finished, shared_policy, texts):
    record, chat = finished.record, shared_policy.chat
    assert (record.name, record.quantize) == ("alice", "none")
    assert record.base == shared_policy.identity
    assert record.settings == settings_with()
    assert record.num_demonstrations == 3
    tokens = [len(chat.completion_ids(d.completion)) for d in texts]
    assert record.num_demonstration_tokens == sum(tokens) == 15 + 13 + 14  # one a byte, and the end tokens
    assert record.max_new_tokens == 12  # 0.75 * 15, rounded up
    key = finished.store.key()
    assert record.demonstration_hashes == [keyed_hash(key, f"{d.prompt}\0{d.completion}") for d in texts]
    assert record.watch_prompt == "Say hello."
    assert set(record.versions) == {"ditto", "python", "torch", "transformers", "peft", "trl", "bitsandbytes"}
    sft, first, second = (stage.metrics for stage in record.stages)
    assert set(sft) == {"loss", "steps"}
    assert sft["steps"] == 4
    assert first["rewards/margins"] == pytest.approx(first["rewards/chosen"] - first["rewards/rejected"], abs=1e-6)
    # 3 demonstrations, 3 comparisons each, 2 updates. Round 0 has nothing to replay; in round 1, of 18 comparisons
    # (numbers 18 to 36 of the run), the shares ask for 1.8 inter-model and 3.6 replay ones.
    assert first["comparisons/online"] == 18
    assert "comparisons/replay" not in first or first["comparisons/replay"] == 0
    assert second["comparisons/online"] + second["comparisons/replay"] + second["comparisons/inter_model"] == 18
    assert second["comparisons/inter_model"] == pytest.approx(1.8, abs=1)
    assert second["comparisons/replay"] == pytest.approx(3.6, abs=1)
    for metrics in (first, second):
        assert 0 <= metrics["samples/ended"] <= 1
        assert 9 <= metrics["samples/tokens"] <= 9 * 12


def test_no_text_of_a_demonstration_is_in_the_record(finished, texts):
    stored = finished.record.model_dump_json()
    assert not any(d.completion in stored or d.prompt in stored for d in texts)


def test_the_reporter_hears_of_each_stage_and_sees_the_same_prompt_before_and_after(finished):
    reporter = finished.reporter
    assert [(stage, total, unit) for stage, total, unit, _ in reporter.events] == [
        ("base: writing", 1, "samples"),
        ("SFT", 4, "updates"),
        ("sft: writing", 1 + 9, "samples"),  # the round's beside the held prompt's
        ("round 1: DPO", 2, "updates"),
        ("round1: writing", 1 + 9, "samples"),
        ("round 2: scoring", 9, "samples"),
        ("round 2: DPO", 2, "updates"),
        ("round2: writing", 1, "samples"),
    ]
    for _, total, _, completed in reporter.events:
        assert completed == sorted(set(completed))
        assert completed[-1] == total
    assert [s.stage for s in reporter.samples] == ["base", "sft", "round1", "round2"]
    assert {s.prompt for s in reporter.samples} == {"Say hello."}
    assert [s.text for s in reporter.samples] == [
        finished.record.base_sample,
        *(stage.sample for stage in finished.record.stages),
    ]


def test_few_samples_that_end_are_noted(finished):
    """A tiny random model hardly ever ends a text by itself."""
    ended = [stage.metrics["samples/ended"] for stage in finished.record.stages[1:]]
    assert len(finished.reporter.notes) == sum(share < 0.5 for share in ended) > 0
    assert "ended by themselves" in finished.reporter.notes[0]


def test_the_base_is_given_back_as_it_was(finished, shared_policy, tiny_folder):
    fresh = load_tiny(tiny_folder)
    assert shared_policy.adapters == ()
    ids = [256, 84, 82, 68]
    with torch.no_grad():
        assert torch.equal(full_logits(shared_policy, ids), full_logits(fresh, ids))


def test_the_same_seed_gives_the_same_bytes(finished, tiny_folder, texts, tmp_path):
    torch.manual_seed(12345)  # of no matter
    store, record = run(load_tiny(tiny_folder), texts, tmp_path)
    for stage in record.stage_names:
        assert weights(store, stage=stage) == weights(finished.store, stage=stage)
    assert [stage.metrics for stage in record.stages] == [stage.metrics for stage in finished.record.stages]
    assert [stage.sample for stage in record.stages] == [stage.sample for stage in finished.record.stages]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("lora.r", 3),
        ("lora.alpha", 9),
        ("lora.dropout", 0.3),
        ("lora.targets", ("q_proj", "k_proj")),
        ("lora.targets", "all-linear"),
        ("sft.learning_rate", 5e-3),
        ("sft.batch_size", 3),
        ("sft.max_steps", 5),
        ("sft.warmup_ratio", 0.5),
        ("sft.stop_loss", 100.0),
        ("dpo.learning_rate", 2e-3),
        ("dpo.beta", 0.2),
        ("dpo.warmup_ratio", 0.75),
        ("dpo.comparisons_per_prompt", 2),
        ("dpo.max_grad_norm", 0.01),
        ("dpo.sft_weight", 0.5),
        ("dpo.per_token", True),
        ("dpo.mixture.online", 0.0),
        ("dpo.mixture.replay", 0.9),
        ("dpo.mixture.inter_model", 0.9),
        ("rounds.num", 1),
        ("rounds.steps", 3),
        ("rounds.reference", "previous"),
        ("sampling.completions_per_prompt", 4),
        ("sampling.temperature", 0.5),
        ("sampling.length_factor", 0.5),
    ],
)
def test_each_setting_changes_the_adapter(finished, shared_policy, texts, tmp_path, key, value):
    store, _ = run(shared_policy, texts, tmp_path, settings_with(key, value))
    assert weights(store) != weights(finished.store)
    same_sft = weights(store, stage="sft") == weights(finished.store, stage="sft")
    assert same_sft == key.startswith(("dpo.", "rounds.", "sampling."))  # SFT comes before all of those


@pytest.mark.parametrize(("key", "value"), [("sampling.max_slots", 2), ("dpo.micro_batch_tokens", 40)])
def test_settings_of_memory_change_how_it_is_computed_and_nothing_else(
    finished, shared_policy, texts, tmp_path, monkeypatch, key, value
):
    rows, tokens = [], []
    sample, score_row = loop.sample, scoring.score_row

    def counted(policy, groups):
        tokens.append(sum(len(prompt) + sum(len(one) for one in completions) for prompt, completions in groups))
        return score_row(policy, groups)

    monkeypatch.setattr(loop, "sample", lambda *a, **k: rows.append(k["max_slots"]) or sample(*a, **k))
    monkeypatch.setattr(scoring, "score_row", counted)
    # Dropout draws for each row of a batch, so only without it do split batches give the same.
    calm = {"lora": SETTINGS["lora"] | {"dropout": 0.0}}
    plain = Settings.model_validate(SETTINGS | calm)
    section, leaf = key.split(".")
    changed = Settings.model_validate(SETTINGS | calm | {section: SETTINGS[section] | {leaf: value}})
    first_store, _ = run(shared_policy, texts, tmp_path / "plain", plain)
    wide = len(tokens)
    store, _ = run(shared_policy, texts, tmp_path / "changed", changed)
    if key == "sampling.max_slots":
        assert rows == [64] * 4 + [2] * 4
    else:
        assert len(tokens) > 2 * wide  # more and smaller passes
        assert max(tokens[wide:]) < max(tokens[:wide])
    one, other = load(weights(first_store)), load(weights(store))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-4, rtol=0)


@pytest.fixture
def on_event(monkeypatch):
    """Have a function called with each event of the loop, and where the loop stands, before the run hears of it."""

    def install(look):
        def watched(policy, texts, settings, beside, place, reporter):
            for event in loop.ditto(policy, texts, settings, beside, place, reporter):
                look(event, place, texts)
                yield event

        monkeypatch.setattr(story, "ditto", watched)

    return install


def test_cached_reference_scores_are_still_right_at_the_end_and_the_reference_never_moved(
    shared_policy, texts, tmp_path, on_event
):
    seen = {}

    def look_at_the_end(event, place, tokenised):
        if isinstance(event, Sampled) and place.round == 2:
            seen["history"], seen["cached"] = place.history, place.history.completions()
            seen["fresh"] = [
                score_under_reference(shared_policy, [c], tokenised.prompts, max_tokens=10_000)[0].reference_logp
                for c in seen["cached"]
            ]
            seen["reference"] = shared_policy.serialise(REFERENCE)[WEIGHTS_FILE]
            seen["dtypes"] = {p.dtype for key, p in shared_policy.model.named_parameters() if "lora_" in key}

    on_event(look_at_the_end)
    store, _ = run(shared_policy, texts, tmp_path)
    assert seen["reference"] == weights(store, stage="sft")
    assert seen["reference"] != weights(store)
    assert seen["dtypes"] == {torch.float32}
    assert len(seen["cached"]) == 3 + 2 * 9
    assert [c.reference_logp for c in seen["cached"]] == pytest.approx(seen["fresh"], abs=1e-4)
    assert all(logp < 0 for logp in seen["fresh"])
    # Two demonstrations with one prompt keep their own completions.
    first_round = seen["history"].rounds[0]
    assert set(first_round) == {"a.md", "b.md", "c.md"}
    assert [c.token_ids for c in first_round["b.md"]] != [c.token_ids for c in first_round["c.md"]]


def test_a_moving_reference_is_the_policy_that_the_round_began_with(shared_policy, texts, tmp_path, on_event):
    seen = []

    def look(event, place, tokenised):
        if isinstance(event, StepMetrics) and event.step == 0:
            seen.append((shared_policy.serialise(REFERENCE)[WEIGHTS_FILE], place.history))
        if isinstance(event, StepMetrics):
            cached = place.history.completions()
            fresh = score_under_reference(shared_policy, cached, tokenised.prompts, max_tokens=10_000)
            assert [c.reference_logp for c in cached] == pytest.approx([c.reference_logp for c in fresh], abs=1e-4)

    on_event(look)
    store, _ = run(shared_policy, texts, tmp_path, settings_with("rounds.reference", "previous"))
    assert [reference for reference, _ in seen] == [weights(store, stage=stage) for stage in ("sft", "round1")]
    (_, before), (_, after) = seen
    assert len(after.completions()) == 3 + 2 * 9
    assert [c.token_ids for c in before.demonstrations] == [c.token_ids for c in after.demonstrations]
    assert [c.reference_logp for c in before.demonstrations] != [c.reference_logp for c in after.demonstrations]


def test_in_the_first_update_the_policy_is_the_reference(shared_policy, texts, tmp_path):
    calm = Settings.model_validate(
        SETTINGS | {"lora": SETTINGS["lora"] | {"dropout": 0.0}, "rounds": {"num": 1, "steps": 1}}
    )
    _, record = run(shared_policy, texts, tmp_path, calm)
    metrics = record.stages[1].metrics
    assert metrics["loss"] == pytest.approx(0.693147, abs=1e-4)  # log 2
    assert metrics["rewards/margins"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("existed", [True, False])
def test_ctrl_c_publishes_nothing_and_says_how_to_go_on(shared_policy, texts, tmp_path, existed):
    store = AdapterStore(tmp_path)
    if existed:
        _, before = run(shared_policy, texts[:1], tmp_path, settings_with("rounds.num", 0))
        old = weights(store)
    with pytest.raises(InterruptedRun) as caught:
        run(shared_policy, texts, tmp_path, reporter=Recorder(interrupt_at="round 2: DPO"))
    assert (caught.value.exit_code, str(caught.value)) == (
        130,
        "Stopped, in round 2 after 1 of 2 updates: the same command goes on from the last checkpoint "
        "(--fresh starts over).",
    )
    assert store.unfinished_names() == ["alice"]
    assert store.names() == (["alice"] if existed else [])
    if existed:
        assert store.record("alice") == before
        assert weights(store) == old
    assert shared_policy.adapters == ()


@pytest.mark.parametrize("existed", [True, False])
def test_ctrl_c_before_sft_is_done_keeps_nothing(shared_policy, texts, tmp_path, existed):
    if existed:
        store, before = run(shared_policy, texts[:1], tmp_path, settings_with("rounds.num", 0))
    with pytest.raises(InterruptedRun, match="before SFT was finished: the same command begins anew"):
        run(shared_policy, texts, tmp_path, reporter=Recorder(interrupt_at="SFT"))
    store = AdapterStore(tmp_path)
    assert store.names() == (["alice"] if existed else [])
    assert not store.is_unfinished("alice")
    if existed:
        assert store.record("alice") == before
    else:
        assert not store.folder("alice").exists()
    assert shared_policy.adapters == ()
    run(shared_policy, texts[:1], tmp_path, settings_with("rounds.num", 0))  # the policy is still of use


def test_full_memory_is_told_to_the_user_and_gives_the_same_adapter(finished, shared_policy, texts, tmp_path):
    def full(module, ids):
        if ids[0].shape[0] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook, reporter = shared_policy.model.get_input_embeddings().register_forward_pre_hook(full), Recorder()
    try:
        store, _ = run(shared_policy, texts, tmp_path, reporter=reporter)
    finally:
        hook.remove()
        shared_policy.guard.lowered.clear()
    told = [note for note in reporter.notes if "memory is full" in note]
    assert len(told) == 2  # ten rows, five, two; remembered from the first round to the second
    assert [note for note in reporter.notes if note not in told] == finished.reporter.notes
    for name, tensor in load(weights(store)).items():
        torch.testing.assert_close(tensor, load(weights(finished.store))[name], atol=1e-4, rtol=0)
    assert not shared_policy.model.is_activation_checkpointing


def test_numbers_that_break_down_publish_nothing(shared_policy, texts, tmp_path, monkeypatch):
    calls = []
    terms = updates.dpo_terms

    def breaks_at_last(*args, **options):
        calls.append(None)
        good = terms(*args, **options)
        factor = float("nan") if len(calls) > 3 else 1.0  # one row in each update: in round 2
        return DpoTerms(good.losses_P * factor, good.chosen_rewards_P, good.rejected_rewards_P)

    monkeypatch.setattr(updates, "dpo_terms", breaks_at_last)
    with pytest.raises(NonFiniteError, match="round 2, update 2"):
        run(shared_policy, texts, tmp_path)
    store = AdapterStore(tmp_path)
    assert store.names() == []
    with store.training("alice") as kept:  # the last checkpoint is from before that update
        state = kept.newest()
    assert ([stage.stage for stage in state.stages], state.steps) == (["sft", "round1"], [])
    assert shared_policy.adapters == ()


def test_an_sft_that_diverges_publishes_nothing(shared_policy, texts, tmp_path):
    with pytest.raises(NonFiniteError, match="SFT loss is not finite"):
        run(shared_policy, texts, tmp_path, settings_with("sft.learning_rate", 1e30))
    assert AdapterStore(tmp_path).names() == []


def test_a_text_longer_than_the_context_is_named_and_not_quoted(shared_policy, texts, tmp_path):
    secret = "the cake is a lie " * 30
    with pytest.raises(InputError, match=r"long\.md has \d+ tokens .* this base reads at most 512") as caught:
        run(shared_policy, [*texts, Demonstration("long.md", "Tell.", secret)], tmp_path)
    assert "cake" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert AdapterStore(tmp_path).names() == []


def test_a_text_that_just_fits_the_context_trains(shared_policy, tmp_path):
    chat = shared_policy.chat
    room = 512 - len(chat.prompt_ids("Tell.")) - 1
    fits = Demonstration("fits.md", "Tell.", "x" * room)
    tokenised = tokenise(chat, [fits], settings_with().sampling, context_tokens=512)
    assert tokenised.num_tokens == room + 1
    assert len(tokenised.prompts["fits.md"]) + tokenised.num_tokens == 512
    # The limit for samples, 0.75 or 1.5 times as long, never leaves the context.
    longer = settings_with("sampling.length_factor", 1.5).sampling
    assert tokenise(chat, [fits], longer, context_tokens=512).max_new_tokens == room + 1
    with pytest.raises(InputError, match=r"fits\.md has 512 tokens"):
        tokenise(chat, [fits], longer, context_tokens=511)


def test_no_rounds_publishes_the_sft_policy(finished, shared_policy, texts, tmp_path):
    store, record = run(shared_policy, texts, tmp_path, settings_with("rounds.num", 0))
    assert (list(record.stage_names), record.published) == (["sft"], "sft")
    assert weights(store) == weights(finished.store, stage="sft")


def test_one_demonstration_is_enough(shared_policy, texts, tmp_path):
    _, record = run(shared_policy, texts[:1], tmp_path)
    assert list(record.stage_names) == ["sft", "round1", "round2"]
    second = record.stages[2].metrics
    assert second["comparisons/online"] + second["comparisons/replay"] + second.get("comparisons/inter_model", 0) == 6
    assert second["loss"] > 0
