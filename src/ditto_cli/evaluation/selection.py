"""Stages of a training run -> the one to publish: the one whose new writings are the author's and say what was asked.

The prompts were not trained on, and they are not those that `ditto eval` uses later. A stage that recites or whose
texts do not end is out; plain SFT may win.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import stdev

from ditto_cli.config import Settings
from ditto_cli.evaluation.appraisal import Appraiser
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, background_plan, writing_requests, writings_of
from ditto_cli.evaluation.eval_prompts import new_prompts
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, Author, EvalPrompt
from ditto_cli.evaluation.model_figures import extracted_words, extraction_requests
from ditto_cli.evaluation.soundness import collapse, leakage, warnings_of
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import Demonstration, Preference, SampledTokens, SampleRequest, StageChoice, StageFigures

BEST, LAST = "best", "last"
NUM_PROMPTS = 8
_BASE = Contestant(BASE_CONTESTANT, "base")


class RoundSelector:
    """Has the base write for the demonstrations' prompts, and every stage for the same new ones with the same draws.

    The same for every training, its plan and a fold. `publish` is `best`, `last`, or a stage's name.
    """

    def __init__(
        self,
        policy: Policy,
        demonstrations: Sequence[Demonstration],
        pairs: Sequence[Preference],
        settings: Settings,
        max_new_tokens: int,
        publish: str = BEST,
    ) -> None:
        self._policy = policy
        self._author = Author(tuple(demonstrations), (), tuple(pairs))
        self._publish = publish
        new = new_prompts([text.prompt for text in self._author.learnt], num=NUM_PROMPTS, purpose="selection")
        prompts = tuple(EvalPrompt(f"selection-{number}", prompt, "new") for number, prompt in enumerate(new, start=1))
        # A training must not end over one of our prompts: there is room for every one.
        longest = max(len(policy.chat.prompt_ids(prompt)) for prompt in (*new, *(d.prompt for d in demonstrations)))
        most = max(1, min(max_new_tokens, policy.context_tokens - longest))
        self._plan = WritingPlan(prompts, 1, settings.seed, settings.sampling.temperature, most)
        self._background = background_plan(demonstrations, self._plan)
        self._appraiser: Appraiser | None = None

    def base_requests(self) -> list[SampleRequest]:
        """The demonstrations' prompts: what the base makes of them is what the author is not."""
        return writing_requests(self._policy, _BASE, self._background)

    def see_base(self, sampled: Sequence[SampledTokens]) -> None:
        """Calibrate both axes between the author's texts and the base's."""
        written = writings_of(self._policy, _BASE, self._background, sampled)
        self._appraiser = Appraiser(self._author, [writing.text for writing in written])

    def requests(self) -> list[SampleRequest]:
        """The new prompts, and the beginnings of the demonstrations, which are gone on with."""
        return [
            *writing_requests(self._policy, Contestant("the adapter", "round"), self._plan),
            *extraction_requests(self._policy, self._author.demonstrations),
        ]

    def look(self, stage: str, sampled: Sequence[SampledTokens]) -> StageFigures:
        """Measure a stage by what it wrote for `requests`; a text without an end counts nothing."""
        assert self._appraiser is not None
        num_extracted = len(self._author.demonstrations)
        writings = writings_of(self._policy, Contestant(stage, "round"), self._plan, sampled[:-num_extracted])
        extracted = extracted_words(self._policy, self._author.demonstrations, sampled[-num_extracted:])
        collapse_figures = collapse(writings, self._author.demonstrations)
        leakage_figures = leakage(writings, self._author.learnt, [], extracted)
        warnings = tuple(warnings_of(collapse_figures, leakage_figures))
        prompts = {prompt.id: prompt.prompt for prompt in self._plan.prompts}
        found = [self._appraiser.appraise(prompts[w.prompt_id], w) for w in writings if w.ended]
        num = len(writings)
        values = (*(one.worth for one in found), *[0.0] * (num - len(found)))
        metrics = {
            "selection/style": round(sum(max(0.0, one.style) for one in found if not one.is_faulty) / num, 4),
            "selection/task": round(sum(max(0.0, one.task) for one in found) / num, 4),
            "selection/ended": round(collapse_figures.ended, 4),
            "selection/looping": round(collapse_figures.looping, 4),
            "selection/longest_passage": float(leakage_figures.longest_passage_words),
            "selection/extracted": float(leakage_figures.extracted_words or 0),
        }
        return StageFigures(metrics, warnings, values)

    def choose(self, looks: Mapping[str, StageFigures]) -> StageChoice:
        """The stage to publish; the earliest of equals."""
        assert looks, "nothing was looked at"
        axes = (
            f"{stage} {look.metrics.get('selection/style', math.nan):.2f} and "
            f"{look.metrics.get('selection/task', math.nan):.2f}"
            for stage, look in looks.items()
        )
        figures = f"style and task on {len(self._plan.prompts)} new prompts: {', '.join(axes)}"
        if self._publish == LAST:
            return StageChoice(list(looks)[-1], f"--publish last ({figures})")
        if self._publish != BEST:
            return StageChoice(self._publish, f"--publish {self._publish} ({figures})")
        means = {stage: sum(look.values) / len(look.values) for stage, look in looks.items()}
        errors = {
            stage: stdev(look.values) / math.sqrt(len(look.values)) if len(look.values) > 1 else 0.0
            for stage, look in looks.items()
        }
        sound = [stage for stage, look in looks.items() if not look.warnings]
        best = max(sound or looks, key=lambda stage: means[stage])
        reason = f"the best of both ({figures})"
        if any(means[best] - means[one] < max(errors[best], errors[one]) for one in sound if one != best):
            reason += ", though not by more than the noise"
        if len(sound) < len(looks):
            out = ", ".join(stage for stage, look in looks.items() if look.warnings)
            reason += f"; over a limit: {out}" if sound else "; every stage is over a limit"
        return StageChoice(best, reason)
