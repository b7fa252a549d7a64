"""Every setting of a training run, with its default, unit and help; the command line and the nodes read these."""

from dataclasses import dataclass, field, fields
from typing import Any

from .ages import INSTANCE_PROMPT, REGULARIZATION_PROMPT
from .errors import UserError
from .losses import LOSSES

METHODS = ("lora", "full")
LORA_LAYERS = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0"),
    "feed-forward": ("ff.net.0.proj", "ff.net.2"),
    "convolution": ("conv1", "conv2", "conv_shortcut"),
}
PRECISIONS = ("no", "bf16", "fp16")
CROPS = ("face", "photo")


def _option(default: Any, help: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class TrainingConfig:
    """Names are those of diffusers' DreamBooth scripts where these have one."""

    loss: str = _option("biometric", "identity loss beside the reconstruction", choices=LOSSES)
    loss_weight: float = _option(
        0.02, "weight of the identity loss; 0.02 suits biometric, 0.1 the others, and the reconstruction has 1", low=0
    )
    temperature: float = _option(0.5, "temperature of the contrastive loss", low=1e-3)
    triplet_margin: float = _option(1.0, "margin of the triplet loss, in 1 - cosine", low=0)
    prior_loss_weight: float = _option(1.0, "weight of the reconstruction on the regularization set", low=0)
    method: str = _option("lora", "train a small LoRA or every weight (a full checkpoint)", choices=METHODS)
    rank: int = _option(16, "rank of the LoRA", low=1)
    lora_alpha: float = _option(16.0, "the LoRA is multiplied by this over its rank", low=0)
    lora_layers: tuple[str, ...] = _option(("attention",), "UNet layers with a LoRA", choices=tuple(LORA_LAYERS))
    train_text_encoder: bool | None = _option(None, "train the text encoder too (default: only with the full method)")
    max_train_steps: int = _option(800, "optimizer steps", low=1)
    learning_rate: float | None = _option(None, "learning rate (default: 1e-4 for lora, 1e-6 for full)", low=0)
    lr_scheduler: str = _option(
        "constant", "course of the learning rate", choices=("constant", "constant_with_warmup", "linear", "cosine")
    )
    lr_warmup_steps: int = _option(0, "steps until the learning rate is reached, for schedulers that warm up", low=0)
    train_batch_size: int = _option(1, "photos a step and process; as many regularization images go with them", low=1)
    gradient_accumulation_steps: int = _option(1, "batches added up before the weights change", low=1)
    max_grad_norm: float = _option(1.0, "longest gradient; longer ones are shortened to it", low=0)
    resolution: int | None = _option(
        None, "side of the training pictures, px, a multiple of 64 (default: the model's own)", low=64, high=2048
    )
    crop: str = _option(
        "face", "cut photos to the face with a margin, or use as much of the photo as fits", choices=CROPS
    )
    face_margin: float = _option(0.5, "margin on each side of the face, in face sizes", low=0)
    random_flip: bool = _option(True, "mirror half of the pictures")
    seed: int = _option(0, "seed of every random choice", low=0)
    mixed_precision: str | None = _option(
        None, "number format of the network's work (default: bf16 on a GPU that has it, else no)", choices=PRECISIONS
    )
    gradient_checkpointing: bool = _option(False, "compute some things twice to need much less memory")
    use_8bit_adam: bool = _option(False, "AdamW with 8-bit state (needs bitsandbytes and a GPU)")
    checkpointing_steps: int = _option(500, "steps between saved states that a run can resume from", low=1)
    token: str = _option("sks", "rare token that comes to mean the subject")
    class_word: str = _option("person", "what the subject is: person, man, woman ...")
    instance_prompt: str = _option(INSTANCE_PROMPT, "prompt of the photos; {token} and {class_word} are filled in")
    regularization_prompt: str = _option(
        REGULARIZATION_PROMPT, "prompt of the regularization images; {age} is filled in"
    )

    def __post_init__(self):
        for option in fields(self):
            value, limits = getattr(self, option.name), option.metadata
            if value is None:
                continue
            for part in value if isinstance(value, tuple) else (value,):
                if "choices" in limits and part not in limits["choices"]:
                    raise UserError(f"{option.name} cannot be '{part}'. Use one of: {', '.join(limits['choices'])}.")
            if "low" in limits and not limits["low"] <= value < float("inf"):
                raise UserError(f"{option.name} is {value}; it must be a number of at least {limits['low']}.")
            if value > limits.get("high", value):
                raise UserError(f"{option.name} is {value}; it must be at most {limits['high']}.")
        if self.resolution and self.resolution % 64:
            raise UserError(f"resolution is {self.resolution}; it must be a multiple of 64, such as 512.")
        if not self.token.strip() or not self.class_word.strip():
            raise UserError("token and class_word cannot be empty: the prompts are made of them.")

    @property
    def trains_text_encoder(self) -> bool:
        """The paper fine-tunes the text encoder too; a LoRA learns a face without."""
        return self.method == "full" if self.train_text_encoder is None else self.train_text_encoder

    @property
    def rate(self) -> float:
        """The learning rate: the paper's 1e-6 for every weight, ID-Booth's 1e-4 for a LoRA."""
        return self.learning_rate or (1e-4 if self.method == "lora" else 1e-6)
