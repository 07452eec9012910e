"""`make bench` on a tiny shape: the same work in every way, what it checks, the floor by hand, and its tables."""

import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ditto_cli.method import updates
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.model import sampling
from ditto_cli.model.hardware import detect
from ditto_cli.model.loading import load_source
from ditto_cli.model.source import BaseSource

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from speed import child, plain, shapes, ways, workload  # noqa: E402
from speed.checks import GRADIENT_ERROR, SAMPLER_GAP, SWITCH  # noqa: E402
from speed.floor import decode_rows, floor_seconds, forward_flops, update_flops, work_of  # noqa: E402
from speed.phases import Phases  # noqa: E402
from speed.records import Ceilings, Outcome, PhaseFigures, Report, Work  # noqa: E402
from speed.tables import markdown  # noqa: E402


@pytest.fixture(scope="module")
def script():
    """benchmarks/round.py; its name is that of a builtin."""
    spec = importlib.util.spec_from_file_location("benchmark_round", BENCHMARKS / "round.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured(script, monkeypatch):
    """A way's last outcome on the tiny shape, measured in this process."""
    monkeypatch.setattr(child, "limit_memory", lambda hardware, cap_gib: hardware)

    def measure(way, *options):
        arguments = script.parse(["--shape", "tiny", "--samples", "3", "--updates", "2", "--device", "cpu", *options])
        arguments.shape, arguments.way = "tiny", way
        told = []
        child.measure(arguments, lambda outcome: told.append(outcome.model_copy(deep=True)))
        return told[-1]

    return measure


@pytest.fixture
def tiny_workload(script):
    arguments = script.parse(["--shape", "tiny", "--samples", "3"])
    arguments.shape = "tiny"
    return child.build_workload(arguments, num_updates=2)


@pytest.fixture
def bench(tiny_workload):
    hardware = detect("cpu")
    policy = shapes.build_policy("tiny", hardware, "none")
    ways.prepare(policy, tiny_workload)
    return ways.Bench(policy, tiny_workload, Phases(hardware), [], [])


def tokens(outcome):
    return {name: figures.tokens for name, figures in outcome.phases.items()}


def test_every_way_samples_and_trains_on_the_same_tokens_and_says_how_many_places_are_empty(measured, tiny_workload):
    sampled = sum(len(completion.token_ids) for completion in tiny_workload.drawn)
    steps = tiny_workload.comparisons(tiny_workload.unscored_history())
    sides = [side for step in steps for one in step for side in (one.chosen, one.rejected)]
    trained = sum(len(side.token_ids) for side in sides)
    assert len(sides) == 2 * 2 * 3 * 3  # updates, sides, demonstrations, comparisons of each
    lengths = [[7 + len(side.token_ids) for one in step for side in (one.chosen, one.rejected)] for step in steps]
    padding = 1 - sum(map(sum, lengths)) / sum(len(step) * max(step) for step in lengths)
    for way in ("ours", "plain", "trl"):
        outcome = measured(way)
        assert outcome.problem is None
        assert outcome.notes == []
        found = tokens(outcome)
        assert (found["sampling"], found["updates"]) == (sampled, trained)
        assert all(figures.seconds > 0 and figures.peak_bytes > 0 for figures in outcome.phases.values())
        assert outcome.phases["updates"].padding == (None if way == "ours" else pytest.approx(padding))
        assert set(outcome.phases) == {"sampling", "updates"} | (set() if way == "plain" else {"reference"})
    assert measured("continuous-batching").phases["sampling"].tokens == sampled


def test_forced_lengths_reach_from_a_part_of_the_demonstration_to_the_limit():
    settings = shapes.settings_of("tiny", {"sampling.completions_per_prompt": 100})
    encoded = workload.made_up_texts(workload.TextSizes(7, 100, 200), settings, 3, vocabulary=320)
    drawn = workload.workload_of(encoded, settings, vocabulary=320).drawn
    limit = encoded.max_new_tokens
    assert limit == pytest.approx(1.5 * max(len(ids) for ids in encoded.completions.values()), abs=1)
    at_limit = 0
    for completion in drawn:
        own = len(encoded.completions[completion.demonstration_id])
        at_limit += len(completion.token_ids) == limit
        assert len(completion.token_ids) == limit or 0.4 * own - 1 <= len(completion.token_ids) <= 1.5 * own + 1
    assert 12 <= at_limit <= 50  # 30 of 300 expected; outside with a probability below 0.0005


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_gradients_and_log_probabilities_are_those_of_the_plain_way(measured, quantize):
    outcome = measured("check", "--quantize", quantize)
    assert outcome.notes == []
    assert outcome.checks[GRADIENT_ERROR] < 1e-5
    assert outcome.checks[SAMPLER_GAP] < 1e-3
    assert outcome.checks[SWITCH] > 0


@pytest.mark.parametrize("name", ways.ABLATIONS)
def test_an_ablation_measures_the_phases_that_it_touches_on_the_same_work(measured, name):
    outcome = measured(name, "--ablation-updates", "1")
    assert outcome.problem is None
    assert tuple(outcome.phases) == ways.ABLATIONS[name].touches
    if "updates" in outcome.phases:
        assert len(outcome.step_seconds) == 1


def test_an_ablation_undoes_what_its_name_says_and_only_while_it_lasts(bench, monkeypatch):
    seen = []
    score_row = updates.score_row

    def counted(policy, groups):
        seen.append([len(completions) for _, completions in groups])
        return score_row(policy, groups)

    with monkeypatch.context() as patch:
        patch.setattr("ditto_cli.model.scoring.score_row", counted)
        with ways.ABLATIONS["no-shared-prompt"].undone(bench):
            ways.our_round(bench, ("reference", "updates"))
        assert {tuple(groups) for groups in seen} == {(1,)}
        seen.clear()
        with ways.ABLATIONS["prompt-by-prompt"].undone(bench):
            ways.our_round(bench, ("updates",))
        assert seen[-6:] == [[4]] * 2 * 3

    monkeypatch.setattr(updates, "score_row", counted)
    seen.clear()
    with ways.ABLATIONS["pair-by-pair"].undone(bench):
        ways.our_round(bench, ("updates",))
    assert seen == [[2]] * 2 * 9
    seen.clear()
    ways.our_round(bench, ("updates",))
    assert seen == [[4, 4, 4]] * 2  # three demonstrations, each with its three completions

    references = []
    score_reference = ways.score_under_reference
    monkeypatch.setattr(
        ways,
        "score_under_reference",
        lambda *given, **options: references.append(len(given[1])) or score_reference(*given, **options),
    )
    with ways.ABLATIONS["reference-each-step"].undone(bench):
        ways.our_round(bench, ("updates",))
    assert references == [9, 12, 12]  # the samples before the updates, not measured; then what each update names

    together = []
    sample = sampling.sample

    def recorded(policy, requests, **options):
        together.append(len(requests))
        return sample(policy, requests, **options)

    monkeypatch.setattr(sampling, "sample", recorded)
    with ways.ABLATIONS["two-prompts"].undone(bench):
        ways.our_round(bench, ("sampling",))
    assert together == [6, 3]

    base = bench.policy.model.get_base_model()
    before = base.config._attn_implementation
    with ways.ABLATIONS["library-attention"].undone(bench):
        assert base.config._attn_implementation == "sdpa"
    assert base.config._attn_implementation == before != "sdpa"


def test_what_cannot_be_done_here_is_a_row_and_not_the_end(measured, monkeypatch):
    @contextmanager
    def impossible(bench):
        raise NotImplementedError("no such kernel")
        yield

    monkeypatch.setitem(ways.ABLATIONS, "own-cache", ways.Ablation(("sampling",), impossible))
    assert measured("own-cache").problem == "not possible: NotImplementedError"


def test_full_memory_halves_the_plain_batch_and_the_figures_say_so(bench, monkeypatch):
    gradient = plain._padded_gradient

    def fits(policy, work, comparisons, num):
        if len(comparisons) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient(policy, work, comparisons, num)

    monkeypatch.setattr(plain, "_padded_gradient", fits)
    plain.plain_updates(bench)
    assert bench.notes == ["updates: out of memory with 18 sequences a batch; measured with 4"]
    assert bench.phases.figures["updates"].seconds > 0
    assert len(bench.step_seconds) == 2


def test_a_batch_that_never_fits_is_a_result_without_a_number(bench, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(plain, "_padded_gradient", full)
    plain.plain_updates(bench)
    figures = bench.phases.figures
    assert figures["updates"] == PhaseFigures(problem="out of memory even with 2 sequences a batch")
    outcome = Outcome(shape="tiny", way="plain", phases=figures)
    assert outcome.seconds is None
    text = markdown(Report(command="x", date="2026-01-01", versions={}, outcomes=[outcome]))
    assert "| in the updates | out of memory even with 2 sequences a batch |" in text


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


@pytest.mark.parametrize(("shape", "num_weights"), [("mistral-7b", 7_241_732_096), ("qwen3-8b", 8_190_735_360)])
def test_the_large_shapes_have_as_many_weights_as_the_published_models(shape, num_weights):
    from transformers import AutoModelForCausalLM

    config = shapes.configuration(shape)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in base.parameters()) == num_weights
    sizes = shapes.architecture(config, "nf4", is_cuda=True)
    linears = [module for module in base.modules() if isinstance(module, torch.nn.Linear)]
    counted = sizes.num_layers * sum(rows * columns for rows, columns in sizes.linears) + sizes.head[0] * sizes.head[1]
    assert counted == sum(module.weight.numel() for module in linears)


SMALL = shapes.Architecture(
    linears=((4, 3), (2, 3)), num_layers=2, num_heads=2, head_size=5, head=(10, 3), weight_bytes=80.0
)


def some_work(prefill, decode, *, reference, updates, weight_bytes=0.0):
    return Work(
        prefill_flops=prefill,
        decode_flops=decode,
        weight_bytes=weight_bytes,
        reference_flops=reference,
        update_flops=updates,
        description="1 demonstration",
        num_distinct=4,
        num_naive=6,
    )


def test_the_floor_is_what_one_counts_by_hand():
    # 18 weights a block, 36 in all, 30 in the head; a position costs 4 x 2 x 5 x 2 = 80 FLOPs of attention.
    # A prompt of 2 tokens and completions of 3 and 1: 6 tokens, 4 of them in a completion.
    linear = 2 * (6 * 36 + 4 * 30)
    positions = (1 + 2) + (3 + 4 + 5) + 3
    assert forward_flops(SMALL, 2, [3, 1]) == linear + 80 * positions
    assert update_flops(SMALL, 2, [3, 1]) == 2 * linear + 3 * 80 * positions
    # Two slots: the second sequence is done with the token that reading its prompt gave, the third takes its slot.
    assert decode_rows([2, 2, 2], [3, 1, 2], 2) == [[3], [4, 3]]
    work = some_work(10.0, [100.0, 4000.0], reference=500.0, updates=2500.0, weight_bytes=80.0)
    # Reading the weights takes 80 / 40 = 2 s: longer than 10 or 100 FLOPs at 1000 a second, shorter than 4000.
    floors = floor_seconds(work, Ceilings(flops_per_second=1000.0, bytes_per_second=40.0, dtype="float32"))
    assert floors == {"sampling": 2.0 + 2.0 + 4.0, "reference": 0.5, "updates": 2.5}


def test_a_rounds_work_counts_each_sequence_of_a_group_once(tiny_workload):
    work = work_of(tiny_workload, SMALL, is_exact=False)
    assert (work.num_distinct, work.num_naive) == (2 * 3 * 4, 2 * 2 * 9)
    groups = {
        name: [len(own)] + [len(c.token_ids) for c in tiny_workload.drawn if c.demonstration_id == name]
        for name, own in tiny_workload.encoded.completions.items()
    }
    assert work.reference_flops == sum(forward_flops(SMALL, 7, group) for group in groups.values())
    alone = [forward_flops(SMALL, 7, group[:1]) for group in groups.values()]
    assert work_of(tiny_workload, SMALL, is_exact=True).reference_flops == sum(alone)
    # Of three completions each with three comparisons, every update names all.
    assert work.update_flops == 2 * sum(update_flops(SMALL, 7, group) for group in groups.values())
    assert len(work.decode_flops) == max(len(completion.token_ids) for completion in tiny_workload.drawn) - 1


def test_a_process_that_dies_is_a_row_with_what_it_had_told(script):
    told = Outcome(shape="tiny", way="plain", phases={"sampling": PhaseFigures(seconds=2.0, tokens=8)})
    dies = f"import os; print({told.model_dump_json()!r}, flush=True); os.kill(os.getpid(), 9)"
    outcome = script.measure_in_child([sys.executable, "-S", "-c", dies], "tiny", "plain", seconds=None)
    assert outcome.problem == "killed by signal 9, most likely as memory was full"
    assert outcome.phases == told.phases
    waits = "import time; time.sleep(60)"
    outcome = script.measure_in_child([sys.executable, "-S", "-c", waits], "tiny", "ours", seconds=0.1)
    assert outcome == Outcome(shape="tiny", way="ours", problem="ended, as the time was over")


def test_no_way_is_begun_that_the_time_left_is_too_short_for(script, monkeypatch, tmp_path):
    clock = [0.0]

    def measure(command, shape, way, *, seconds):
        assert seconds == 100 - clock[0]
        clock[0] += 40
        return Outcome(shape=shape, way=way, phases={"sampling": PhaseFigures(seconds=40.0, tokens=8)})

    monkeypatch.setattr(script, "measure_in_child", measure)
    monkeypatch.setattr(script.time, "monotonic", lambda: clock[0])
    files = {name: tmp_path / name for name in ("tables.md", "figures.json")}
    options = ["--markdown", str(files["tables.md"]), "--json", str(files["figures.json"])]
    arguments = script.parse(["--shape", "tiny", "--ways", "ours,plain,check", "--budget-seconds", "100", *options])
    report = script.run(arguments, "python benchmarks/round.py")
    assert [outcome.way for outcome in report.outcomes] == ["ceilings", "ours"]
    assert report.left_out == ["plain on tiny", "check on tiny"]
    script.write(arguments, report)
    assert Report.model_validate_json(files["figures.json"].read_text()) == report
    assert files["tables.md"].read_text() == markdown(report)
    assert "Left out, as the time was over: plain on tiny, check on tiny." in markdown(report)


def test_large_shapes_have_ten_minutes_unless_told_otherwise(script):
    assert script.parse(["--shape", "mistral-7b"]).budget_seconds == 570
    assert script.parse([]).budget_seconds is None
    assert script.parse(["--shape", "qwen3-8b", "--budget-seconds", "99"]).budget_seconds == 99


def test_the_tables_hold_seconds_multiples_rates_and_shares():
    work = some_work(1e9, [1e9], reference=1e9, updates=7e9)
    ceilings = Ceilings(flops_per_second=1e9, bytes_per_second=2e9, dtype="float32")

    def outcome(way, *seconds, **fields):
        names = ("sampling", "reference", "updates")
        phases = {
            name: PhaseFigures(seconds=value, peak_bytes=2**30, tokens=100)
            for name, value in zip(names, seconds, strict=False)
            if value is not None
        }
        return Outcome(shape="tiny", way=way, machine="a machine", phases=phases, **fields)

    outcomes = [
        outcome("ceilings", work=work, ceilings=ceilings),
        outcome("ours", 4.0, 2.0, 14.0, step_seconds=[2.0, 4.0, 8.0]),
        outcome("plain", 8.0, None, 52.0, notes=["updates: out of memory with 18 sequences a batch"]),
        outcome("own-cache", 6.0),
        outcome("scored-samples", None, 6.0),
        outcome("masked-attention", None, 9.0),
        outcome("pair-by-pair", None, None, 12.0, step_seconds=[6.0, 6.0]),
        outcome("check", checks={"gradient": 1.25e-7}),
    ]
    report = Report(command="python x", date="2026-01-02", versions={"torch": "2.13"}, outcomes=outcomes)
    text = markdown(report)
    assert text.startswith("2026-01-02; a machine; torch 2.13.\n\n    python x\n\n### tiny\n\n1 demonstration; ")
    assert "| ours | 4.00 | 2.00 | 14.0 | 20.0 | 1.00 | 2.00 | 1.0, 1.0, 1.0 | 25 | 7 |  |" in text
    assert "| plain | 8.00 | in the updates | 52.0 | 60.0 | 3.00 | 6.00 | 1.0, -, 1.0 | 12 | 2 |  |" in text
    assert "- plain: updates: out of memory with 18 sequences a batch" in text
    assert "| updates | 0.007 | 50% | 7.00 | 2.00 |" in text  # 7 GFLOP at 1 GFLOP/s
    assert "| own-cache | sampling | 6.00 | 1.50 |" in text
    assert "| scored-samples | reference | 6.00 | 3.00 |" in text
    assert "| masked-attention | reference | 9.00 | 1.50 |" in text  # against that of scored-samples
    assert "| pair-by-pair | an update | 6.00 | 2.00 |" in text  # against ours' first two, of 3 s on average
    assert "| gradient | 1.25e-07 |" in text


def test_the_reference_is_scored_under_the_reference_and_no_adapter_is_zero(bench):
    policy = bench.policy
    copied = policy.weights(REFERENCE)
    for key, value in policy.weights(POLICY).items():
        assert torch.equal(value, copied[key])
        assert value.abs().mean() > 0.01
    assert policy.active == POLICY
