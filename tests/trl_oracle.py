"""TRL's own DPO trainer on a few pairs, as the oracle of ours."""

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer


def adapter_folder(policy, name, folder):
    folder.mkdir()
    for file, data in policy.serialise(name).items():
        (folder / file).write_bytes(data)
    return folder


def trl_dpo(policy, rows, settings, base_folder, scratch, num_steps):
    """Losses, metrics and final weights of `policy`'s adapter by TRL's trainer, all rows in every step.

    A row is prompt, chosen and rejected text; the adapter "reference" is the reference.
    """

    def from_trl(name, **options):
        base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
        return PeftModel.from_pretrained(base, adapter_folder(policy, name, scratch / name), **options)

    def prompt_text(prompt):
        return policy.chat.tokenizer.decode(policy.chat.prompt_ids(prompt))

    model = from_trl("policy", is_trainable=True)
    reference = from_trl("reference").merge_and_unload()
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(
            output_dir=str(scratch / "out"),
            beta=settings.beta,
            loss_type="sigmoid",
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=settings.max_grad_norm,
            per_device_train_batch_size=len(rows),
            max_steps=num_steps,
            gradient_checkpointing=False,
            max_length=None,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": prompt_text(prompt), "chosen": chosen, "rejected": rejected}
                for prompt, chosen, rejected in rows
            ]
        ),
        processing_class=policy.chat.tokenizer,
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    weights = {key: value.detach() for key, value in model.named_parameters() if "lora_" in key}
    return logs, weights
