"""One round of DITTO on the embedded base, ours against the plain way, each in a fresh process; and a switch's time.

The plain way is the algorithm as the paper's released code runs it: completions sampled for two prompts at a time with
`generate`, both sequences of every comparison scored in full by themselves, the reference computed anew in every step.
Both start from the same SFT policy, sample from the same distribution and make the same number of updates on the same
comparisons' mixture. Samples are random, so the token counts differ a little; they are printed.

    python benchmarks/round.py [--demonstrations 3] [--samples 4] [--updates 10]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from ditto_cli.config import FolderFile, Settings, resolve_settings
from ditto_cli.demonstrations import attach_prompts, read_folder
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.losses import dpo_terms
from ditto_cli.method.rounds import (
    POLICY,
    REFERENCE,
    Encoded,
    encode_demonstrations,
    sample_round,
    score_demonstrations,
    score_under_reference,
    update_policy,
)
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.method.updates import Updater
from ditto_cli.model.hardware import GIB, detect
from ditto_cli.model.policy import Policy, load_policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import cache_home
from ditto_cli.types import Completion

PERSONA = Path(__file__).parents[1] / "examples" / "demos" / "maya"
SWITCHES = 20


def prepare(settings: Settings, num_demonstrations: int) -> tuple[Policy, Encoded]:
    """The embedded base with an SFT policy and its frozen copy, as a run has them before round one."""
    policy = load_policy(settings.base, detect("cpu"), cache_home(os.environ), print)
    demonstrations = attach_prompts(read_folder(PERSONA).texts, {})[0][:num_demonstrations]
    encoded = encode_demonstrations(
        policy.chat, demonstrations, settings.sampling, context_tokens=policy.context_tokens
    )
    policy.add_adapter(POLICY, settings.lora, derive_seed(settings.seed, "lora"))
    examples = [Imitation(encoded.prompts[name], ids) for name, ids in encoded.completions.items()]
    imitate(policy, examples, settings.sft, seed=settings.seed, on_step=lambda step, loss: None)
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)
    return policy, encoded


def our_round(policy: Policy, encoded: Encoded, settings: Settings) -> dict[str, float]:
    """The round as `ditto train` runs it."""
    budget = settings.dpo.micro_batch_tokens
    start = time.perf_counter()
    sampled = sample_round(policy, encoded, settings, round_number=0)
    after_sampling = time.perf_counter()
    history = History(score_demonstrations(policy, encoded, max_tokens=budget))
    history.add_round(score_under_reference(policy, sampled, encoded.prompts, max_tokens=budget))
    after_reference = time.perf_counter()
    updater = Updater(policy, settings.dpo, settings.rounds, seed=settings.seed)
    for _ in update_policy(updater, history, encoded.prompts, settings):
        pass
    return _timings(start, after_sampling, after_reference, time.perf_counter(), sampled)


def plain_round(policy: Policy, encoded: Encoded, settings: Settings) -> dict[str, float]:
    """The same round the plain way; the reference's time is part of the updates."""
    start = time.perf_counter()
    sampled = _plain_sampling(policy, encoded, settings)
    after_sampling = time.perf_counter()
    own = tuple(Completion(name, None, 0, ids, True, math.nan) for name, ids in encoded.completions.items())
    history = History(own)
    history.add_round(sampled)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.dpo.learning_rate, weight_decay=0.0)
    for step in range(settings.rounds.steps):
        optimizer.zero_grad()
        comparisons = draw_comparisons(history, settings.dpo, seed=settings.seed, step=step)
        for comparison in comparisons:
            sides = (comparison.chosen, comparison.rejected)
            prompt = encoded.prompts[comparison.chosen.demonstration_id]
            with policy.using(REFERENCE):
                reference = [_full_logp(policy, prompt, side.token_ids) for side in sides]
            policy.model.train()
            logps = [_full_logp(policy, prompt, side.token_ids) for side in sides]
            terms = dpo_terms(*(value[None] for value in (*logps, *reference)), beta=settings.dpo.beta)
            (terms.losses_P.sum() / len(comparisons)).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.dpo.max_grad_norm)
        optimizer.step()
    return _timings(start, after_sampling, after_sampling, time.perf_counter(), sampled)


def _plain_sampling(policy: Policy, encoded: Encoded, settings: Settings) -> list[Completion]:
    completions: list[Completion] = []
    names = list(encoded.prompts)
    torch.manual_seed(settings.seed)
    num = settings.sampling.completions_per_prompt
    policy.chat.tokenizer.padding_side = "left"
    with policy.using(POLICY):
        for first in range(0, len(names), 2):
            pair = names[first : first + 2]
            batch = policy.chat.tokenizer.pad(
                {"input_ids": [list(encoded.prompts[name]) for name in pair]}, return_tensors="pt"
            )
            output = policy.model.generate(
                **batch,
                do_sample=True,
                temperature=settings.sampling.temperature,
                top_k=0,
                max_new_tokens=encoded.max_new_tokens,
                num_return_sequences=num,
                eos_token_id=list(policy.chat.stop_token_ids),
                pad_token_id=policy.chat.end_token_id,
            )
            for row, ids in enumerate(output[:, batch["input_ids"].shape[1] :].tolist()):
                end = next((i for i, token in enumerate(ids) if token in policy.chat.stop_token_ids), len(ids) - 1)
                ended = ids[end] in policy.chat.stop_token_ids
                name = pair[row // num]
                completions.append(Completion(name, 0, row % num, tuple(ids[: end + 1]), ended, math.nan))
    return completions


def _full_logp(policy: Policy, prompt_ids: tuple[int, ...], completion_ids: tuple[int, ...]) -> torch.Tensor:
    ids = torch.tensor([[*prompt_ids, *completion_ids]])
    logps = torch.log_softmax(policy.model(input_ids=ids).logits[0, :-1].float(), dim=-1)
    return logps.gather(1, ids[0, 1:, None])[len(prompt_ids) - 1 :].sum()


def _timings(
    start: float, after_sampling: float, after_reference: float, end: float, sampled: list[Completion]
) -> dict[str, float]:
    return {
        "sampling_seconds": after_sampling - start,
        "reference_seconds": after_reference - after_sampling,
        "update_seconds": end - after_reference,
        "seconds": end - start,
        "sampled_tokens": sum(len(completion.token_ids) for completion in sampled),
    }


def switch_milliseconds(policy: Policy) -> float:
    """Mean time to switch between two adapters in memory."""
    start = time.perf_counter()
    for step in range(SWITCHES):
        policy.switch((POLICY, REFERENCE)[step % 2])
    return (time.perf_counter() - start) / SWITCHES * 1000


def measure(arguments: argparse.Namespace) -> None:
    """Measure one way in this process; prints JSON."""
    settings = resolve_settings(
        "smollm2-135m-cpu",
        FolderFile(),
        {},
        {
            "sampling.completions_per_prompt": arguments.samples,
            "rounds.steps": arguments.updates,
            "rounds.num": 1,
        },
    )
    policy, encoded = prepare(settings, arguments.demonstrations)
    before = policy.hardware.peak_memory_bytes()
    figures = {"ours": our_round, "plain": plain_round}[arguments.way](policy, encoded, settings)
    figures["peak_gib"] = policy.hardware.peak_memory_bytes() / GIB
    figures["peak_before_gib"] = before / GIB
    figures["switch_milliseconds"] = switch_milliseconds(policy)
    print(json.dumps(figures))


def main() -> None:
    """Measure both ways in fresh processes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demonstrations", type=int, default=3)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--way", choices=("ours", "plain"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        measure(arguments)
        return
    print(
        f"One round on the embedded base: {arguments.demonstrations} demonstrations, {arguments.samples} samples each, "
        f"{arguments.updates} updates; {platform.processor() or platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        flush=True,
    )
    results = {}
    for way in ("ours", "plain"):
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        # Pinned here and not for this process: a child of a pinned process would inherit its one core.
        environment = {**os.environ, "OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
        results[way] = json.loads(answer.splitlines()[-1])
    ours, plain = results["ours"], results["plain"]
    print(f"{'':24}{'ours':>10}{'plain':>10}{'ratio':>8}")
    for key in ("sampling_seconds", "reference_seconds", "update_seconds", "seconds", "sampled_tokens", "peak_gib"):
        ratio = f"{plain[key] / ours[key]:.2f}" if ours[key] and plain[key] else "-"
        print(f"{key:24}{ours[key]:10.1f}{plain[key]:10.1f}{ratio:>8}")
    print("(the plain way computes the reference within its updates)")
    print(f"adapter switch: {ours['switch_milliseconds']:.1f} ms")


if __name__ == "__main__":
    main()
