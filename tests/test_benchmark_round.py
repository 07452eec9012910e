"""`make bench` on a tiny shape: the same work in every way, what it checks, and its table."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from ditto_cli.method import ditto as loop
from ditto_cli.method.updates import POLICY, REFERENCE, dpo_terms
from ditto_cli.model.base.loading import load_source
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.hardware import detect
from ditto_cli.types import SilentReporter

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from speed import shapes, ways, work  # noqa: E402
from speed.ways import GRADIENT_ERROR, SAMPLER_GAP, SWITCH  # noqa: E402
from speed.work import Figures, Outcome, Phases  # noqa: E402


@pytest.fixture(scope="module")
def script():
    """benchmarks/round.py; its name is that of a builtin."""
    spec = importlib.util.spec_from_file_location("benchmark_round", BENCHMARKS / "round.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured(script):
    """A way's last outcome on the tiny shape, measured in this process."""

    def measure(way, *options):
        told = []
        arguments = script.parse(["--shape", "tiny", "--way", way, "--samples", "3", "--updates", "2", *options])
        script.measure_here(arguments, detect("cpu"), lambda outcome: told.append(outcome.model_copy(deep=True)))
        return told[-1]

    return measure


@pytest.fixture
def tiny_work():
    return work.round_work("tiny", samples=3, updates=2)


@pytest.fixture
def bench(tiny_work):
    policy = shapes.build_policy("tiny", detect("cpu"), "none")
    return ways.Bench(policy, tiny_work, Phases(policy.hardware, {}))


def test_every_way_samples_and_trains_on_the_same_tokens(measured, tiny_work):
    sampled = sum(len(completion.token_ids) for completion in tiny_work.drawn)
    steps = tiny_work.comparisons(tiny_work.unscored_history())
    sides = [side for step in steps for one in step for side in (one.chosen, one.rejected)]
    trained = sum(len(side.token_ids) for side in sides)
    assert len(sides) == 2 * 2 * 3 * 3  # updates, sides, demonstrations, comparisons of each
    for way in ("ours", "plain", "trl"):
        outcome = measured(way)
        assert (outcome.problem, outcome.notes, outcome.checks) == (None, [], {})
        found = {name: figures.tokens for name, figures in outcome.phases.items()}
        assert (found["sampling"], found["updates"]) == (sampled, trained)
        assert all(figures.seconds > 0 and figures.peak_bytes > 0 for figures in outcome.phases.values())
        assert set(outcome.phases) == {"sampling", "updates"} | (set() if way == "plain" else {"reference"})


def test_ours_is_the_first_round_of_the_loop(bench, tiny_work, monkeypatch):
    ways.our_round(bench)
    policy = shapes.build_policy("tiny", detect("cpu"), "none")
    ways.prepare(policy, tiny_work)
    before = {key: value.clone() for key, value in policy.weights(POLICY).items()}
    forced = dict(zip(loop.round_requests(tiny_work.texts, tiny_work.settings, 0), tiny_work.requests(), strict=True))
    monkeypatch.setattr(loop, "round_requests", lambda texts, settings, number: forced)
    list(loop.ditto(policy, tiny_work.texts, tiny_work.settings, [], loop.Place(), SilentReporter()))
    found = policy.weights(POLICY)
    for key, value in bench.policy.weights(POLICY).items():
        assert torch.equal(value, found[key])
        assert not torch.equal(value, before[key])


def test_forced_lengths_reach_from_a_part_of_the_demonstration_to_the_limit():
    settings = shapes.settings_of("tiny", {"sampling.completions_per_prompt": 100})
    texts = work.made_up_texts(work.TextSizes(3, 7, 100, 200), settings, vocabulary=320)
    limit = texts.max_new_tokens
    assert limit == pytest.approx(1.5 * max(len(ids) for ids in texts.completions.values()), abs=1)
    at_limit = 0
    for completion in work.work_of(texts, settings, vocabulary=320).drawn:
        own = len(texts.completions[completion.demonstration_id])
        at_limit += len(completion.token_ids) == limit
        assert len(completion.token_ids) == limit or 0.4 * own - 1 <= len(completion.token_ids) <= 1.5 * own + 1
    assert 12 <= at_limit <= 50  # 30 of 300 expected; outside with a probability below 0.0005


@pytest.mark.parametrize(("quantize", "sft_weight"), [("none", 0.0), ("none", 0.2), ("nf4", 0.0)])
def test_gradients_and_log_probabilities_are_those_of_the_plain_way(measured, quantize, sft_weight, monkeypatch):
    own = {"dpo.sft_weight": sft_weight}
    monkeypatch.setattr(work, "settings_of", lambda shape, given: shapes.settings_of(shape, {**given, **own}))
    outcome = measured("check", "--quantize", quantize)
    assert outcome.checks[GRADIENT_ERROR] < 1e-5
    assert outcome.checks[SAMPLER_GAP] < 1e-3
    assert outcome.checks[SWITCH] > 0


def test_a_wrong_gradient_is_seen(measured, monkeypatch):
    monkeypatch.setattr(ways, "dpo_terms", lambda *given, beta: dpo_terms(*given, beta=1.01 * beta))
    assert measured("check").checks[GRADIENT_ERROR] > 1e-3


def test_full_memory_halves_the_plain_batch_and_the_figures_say_so(bench, monkeypatch):
    gradient = ways.padded_gradient

    def fits(policy, work, comparisons, num):
        if len(comparisons) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient(policy, work, comparisons, num)

    monkeypatch.setattr(ways, "padded_gradient", fits)
    ways.plain_round(bench)
    assert bench.notes == ["updates: out of memory with 18 sequences a batch; measured with 4"]
    assert bench.phases.figures["updates"].seconds > 0


def test_a_batch_that_never_fits_is_a_result_without_a_number(script, bench, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ways, "padded_gradient", full)
    ways.plain_round(bench)
    problem = "out of memory even with 2 sequences a batch"
    assert bench.phases.figures["updates"] == Figures(problem=problem)
    outcome = Outcome(shape="tiny", way="plain", phases=bench.phases.figures)
    assert outcome.seconds is None
    report = {"command": "x", "date": "2026-01-01", "versions": {}, "outcomes": [outcome.model_dump()]}
    assert f"| in the updates | {problem} |  |  |" in script.markdown(report)


def test_a_random_4_bit_base_is_what_loading_from_a_folder_gives(tmp_path):
    hardware = detect("cpu")
    config = shapes.configuration("tiny")
    shapes.random_base(config, hardware, "none", seed=3).save_pretrained(tmp_path)
    shapes.byte_tokenizer().save_pretrained(tmp_path)
    loaded = load_source(BaseSource("local", "tiny", None, tmp_path), "nf4", hardware).model
    built = shapes.random_base(shapes.configuration("tiny"), hardware, "nf4", seed=3)
    pairs = zip(loaded.named_modules(), built.named_modules(), strict=True)
    for (name, one), (same_name, other) in pairs:
        assert (name, type(one)) == (same_name, type(other))
        # What the loader notes of its own work is of no use to anybody after it.
        bookkeeping = {"_is_hf_initialized", "_use_kernels", "_weight_conversions"}
        assert set(vars(one)) - bookkeeping == set(vars(other)) - bookkeeping
        for key in ("compute_dtype", "compute_type_is_set", "quant_storage", "in_features", "out_features", "training"):
            assert vars(one).get(key) == vars(other).get(key)
    for (name, one), (_, other) in zip(loaded.named_parameters(), built.named_parameters(), strict=True):
        assert type(one) is type(other)
        assert torch.equal(one, other), name
        assert (one.requires_grad, one.dtype) == (other.requires_grad, other.dtype)
        for key in ("blocksize", "compress_statistics", "quant_type", "bnb_quantized"):
            assert vars(one).get(key) == vars(other).get(key)
    for (name, one), (_, other) in zip(loaded.named_buffers(), built.named_buffers(), strict=True):
        assert torch.equal(one, other), name
    assert (built.is_loaded_in_4bit, built.is_quantized) == (True, True)
    assert built.config._attn_implementation == loaded.config._attn_implementation
    assert built.config.quantization_config.to_dict() == loaded.config.quantization_config.to_dict()
    assert built.generation_config.to_dict() == loaded.generation_config.to_dict()


@pytest.mark.parametrize(("shape", "num_weights"), [("mistral-7b", 7_241_732_096), ("qwen3-8b", 8_190_735_360)])
def test_the_large_shapes_have_as_many_weights_as_the_published_models(shape, num_weights):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(shapes.configuration(shape))
    assert sum(parameter.numel() for parameter in base.parameters()) == num_weights


def test_a_process_that_dies_is_a_row_with_what_it_had_told(script):
    told = Outcome(shape="tiny", way="plain", phases={"sampling": Figures(seconds=2.0, tokens=8)})
    dies = f"import os; print({told.model_dump_json()!r}, flush=True); os.kill(os.getpid(), 9)"
    outcome = script.measure_in_child([sys.executable, "-S", "-c", dies], "tiny", "plain")
    problem = "killed by signal 9, most likely as memory was full"
    assert outcome == told.model_copy(update={"problem": problem})
    outcome = script.measure_in_child([sys.executable, "-S", "-c", "raise SystemExit(3)"], "tiny", "ours")
    assert outcome == Outcome(shape="tiny", way="ours", problem="failed with status 3")


def test_each_way_is_a_process_of_its_own_and_the_file_is_written_after_each(script, monkeypatch, tmp_path):
    path, seen = tmp_path / "figures.json", []

    def measure(command, shape, way):
        child = script.parse(command[2:])
        seen.append((child.shapes, child.way, child.samples, child.updates, child.quantize, child.cap_gib))
        assert len(json.loads(path.read_text())["outcomes"] if path.exists() else []) == len(seen) - 1
        return Outcome(shape=shape, way=way, phases={"sampling": Figures(seconds=40.0, tokens=8)})

    monkeypatch.setattr(script, "measure_in_child", measure)
    options = ["--samples", "4", "--updates", "3", "--quantize", "nf4", "--cap-gib", "11.5", "--json", str(path)]
    report = script.run(script.parse(["--shape", "tiny", "--ways", "ours,plain", *options]), "python x")
    assert seen == [(["tiny"], way, 4, 3, "nf4", 11.5) for way in ("ours", "plain")]
    assert json.loads(path.read_text()) == report


def test_unknown_ways_are_refused(script, capsys):
    with pytest.raises(SystemExit):
        script.parse(["--ways", "ours,floor"])
    assert "--ways floor: the ways are ours, plain, trl, check" in capsys.readouterr().err


def test_the_table_holds_seconds_multiples_and_rates(script):
    def outcome(way, *seconds, **fields):
        names = ("sampling", "reference", "updates")
        phases = {
            name: Figures(seconds=value, peak_bytes=2**30, tokens=100)
            for name, value in zip(names, seconds, strict=False)
            if value is not None
        }
        return Outcome(shape="tiny", way=way, machine="a machine", work="some work", phases=phases, **fields)

    outcomes = [
        outcome("ours", 4.0, 2.0, 14.0),
        outcome("plain", 8.0, None, 52.0, notes=["updates: out of memory with 18 sequences a batch"]),
        outcome("trl", 8.0, problem="killed by signal 9"),
        outcome("check", checks={"gradient": 1.25e-7}),
    ]
    report = {"command": "python x", "date": "2026-01-02", "versions": {"torch": "2.13"}}
    text = script.markdown(report | {"outcomes": [one.model_dump() for one in outcomes]})
    assert text.startswith("2026-01-02; a machine; torch 2.13.\n\n    python x\n\ntiny: some work.\n\n| shape | way |")
    assert "| tiny | ours | 4.00 | 2.00 | 14.0 | 20.0 | 1.00 | 1.0 | 25 | 7 |" in text
    assert "| tiny | plain | 8.00 | in the updates | 52.0 | 60.0 | 3.00 | 1.0 | 12 | 2 |" in text
    assert "| tiny | trl | 8.00 |  |  |  |  | 1.0 | 12 |  |" in text
    assert "- tiny, plain: updates: out of memory with 18 sequences a batch" in text
    assert "- tiny, trl: killed by signal 9" in text
    assert "- tiny, gradient: 1.25e-07" in text


def test_the_reference_is_scored_under_the_reference_and_no_adapter_is_zero(bench):
    policy = bench.policy
    ways.prepare(policy, bench.work)
    copied = policy.weights(REFERENCE)
    for key, value in policy.weights(POLICY).items():
        assert torch.equal(value, copied[key])
        assert value.abs().mean() > 0.01
    assert policy.active == POLICY
