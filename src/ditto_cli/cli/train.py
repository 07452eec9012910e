"""`ditto train`: the plan, the run as it goes, and what changed."""

from __future__ import annotations

from collections.abc import Mapping

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.context import load_base, open_store, require_training
from ditto_cli.cli.folder import audit_texts, find_prompts, show_audit, warn_of_pairs
from ditto_cli.cli.plan import check_publish, plan_facts, plan_job, read_order
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import print_facts, print_side_by_side, print_table, say, warn
from ditto_cli.cli.tracking import check_tracker, tracked
from ditto_cli.shown import size
from ditto_cli.store import AdapterRecord


def run_train(options: TrainOptions) -> None:
    """See `ditto train --help`."""
    _show_result(train_adapter(options))


def train_adapter(options: TrainOptions, given: Mapping[str, object] | None = None) -> AdapterRecord:
    """Train and publish an adapter; the plan, the progress and what should be known go to stderr.

    `given` are settings by dotted names, besides those of the options.
    """
    check_tracker(options.track)
    order = read_order(options, given)
    store = open_store()
    with store.training(order.adapter) as kept:  # a second training of this name ends here, before it loads anything
        if options.fresh:
            kept.start_over()
        from ditto_cli.model.hardware import detect

        hardware = detect(options.device)
        require_training(hardware)
        from ditto_cli.evaluation.selection import selector_of
        from ditto_cli.method.run import Job, train_ditto

        preset, settings = order.settings(hardware)
        publish = check_publish(options.publish, settings)
        policy = load_base(settings.base, hardware)
        texts = order.view.reading.texts
        demonstrations = find_prompts(options.folder, texts, order.folder_file, settings.base, policy=policy)
        pairs, where = order.view.reading.pairs, str(options.folder.resolve())
        job = Job.of(policy, order.adapter, demonstrations, settings, order.watch_prompt, where, pairs)
        selector = selector_of(policy, demonstrations, pairs, settings, job.texts.max_new_tokens, publish)
        prompts = {demonstration.id: demonstration.prompt for demonstration in demonstrations}
        show_audit(audit_texts(texts, prompts, settings.base), for_log=True)
        warn_of_pairs(pairs)
        plan = plan_job(policy, job, selector, policy.quantize, store)
        print_facts(plan_facts(plan, preset), to_stderr=True)
        for line in (*hardware.notes(), *plan.warnings):
            warn(line)
        if store.exists(job.name):
            there = f"There is an adapter {job.name} already"
            warn(f"{there}: it stays in use until this run is finished, which replaces it.")
        with reporter() as shown, tracked(shown, options.track, settings, store.folder(job.name)) as told:
            record = train_ditto(policy, job, kept, told, selector)
        say(f"Memory: planned {size(plan.need.peak)}, used {size(hardware.peak_memory_bytes())}.")
        return record


def _show_result(record: AdapterRecord) -> None:
    rows = []
    for stage in record.stages:
        metrics = stage.metrics
        rows.append(
            (
                stage.stage,
                f"{stage.seconds:.0f} s",
                f"{metrics['loss']:.2f}",
                f"{metrics['rewards/margins']:.2f}" if "rewards/margins" in metrics else "",
                f"{metrics['selection/style']:.2f} and {metrics['selection/task']:.2f}",
                f"{metrics['selection/ended']:.0%}",
            )
        )
    columns = ("stage", "time", "loss", "reward margin", "style and task on new prompts", "texts that ended")
    print_table("", columns, rows)
    texts = [("base", record.base_sample), *((stage.stage, stage.sample or "") for stage in record.stages)]
    print_side_by_side(record.watch_prompt, texts)
    say(f"{record.published} is published: {record.reason}.")
    say(f"Adapter {record.name} is ready, {record.seconds:.0f} s. Next:")
    say(f'  ditto sample --adapter {record.name} "{record.watch_prompt}"')
    say(f"  ditto eval --adapter {record.name}")
