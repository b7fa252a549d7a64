"""What kohya's sd-scripts writes into the header of a LoRA, and LoRA managers show: base model, rank, steps, tags."""

import json
from collections import Counter
from typing import Any

from ..data.prompts import instance_prompt
from ..dreambooth.trainer import Trainer
from ..models.labels import label_of


def kohya_entries(trainer: Trainer, title: str) -> dict[str, str]:
    """The ss_* entries for the LoRA that ``trainer`` has trained so far. They hold no file name and no caption."""
    config, data, optimizer = trainer.config, trainer.data, type(trainer.optimizer.optimizer)
    label = label_of(trainer.model.family.name, trainer.core.prediction_type)
    batch = config.train_batch_size * trainer.accelerator.num_processes
    values: dict[str, Any] = {
        "output_name": title,
        "base_model_version": label.base,
        "v2": label.base.startswith("sd_v2"),
        "network_module": "networks.lora",
        "network_dim": config.rank,
        "network_alpha": config.lora_alpha,
        "steps": trainer.step_number,
        "max_train_steps": config.max_train_steps,
        "learning_rate": config.rate,
        "unet_lr": config.rate,
        "text_encoder_lr": config.rate if config.trains_text_encoder else None,
        "lr_scheduler": config.lr_scheduler,
        "lr_warmup_steps": config.lr_warmup_steps,
        "optimizer": f"{optimizer.__module__}.{optimizer.__name__}",
        "max_grad_norm": config.max_grad_norm,
        "seed": config.seed,
        "mixed_precision": trainer.accelerator.mixed_precision,
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "batch_size_per_device": config.train_batch_size,
        "total_batch_size": batch * config.gradient_accumulation_steps,
        "prior_loss_weight": config.prior_loss_weight,
        "resolution": (data.resolution, data.resolution),
        "flip_aug": config.random_flip,
        "num_train_images": len(data.instances),
        "num_reg_images": len(data.regularization.photos) if data.regularization else 0,
        "tag_frequency": json.dumps({f"1_{config.token} {config.class_word}": _tags(trainer)}),
    }
    return {f"ss_{name}": str(value) for name, value in values.items()}


def _tags(trainer: Trainer) -> dict[str, int]:
    """The number of photos per comma-separated part of their prompts, without captions, which may be private."""
    config = trainer.config
    prompts = [instance_prompt(config, instance.photo.age) for instance in trainer.data.instances]
    return dict(Counter(tag.strip().lower() for prompt in prompts for tag in prompt.split(",") if tag.strip()))
