"""Every setting of a training run, with its default, unit and help; the command line and the nodes read these."""

from dataclasses import dataclass

from .ages import INSTANCE_PROMPT, REGULARIZATION_PROMPT
from .errors import UserError
from .options import check, option

IDENTITY_LOSSES = ("biometric", "triplet")  # read faces out of the predicted picture
LATENT_LOSSES = ("contrastive", "cosine")  # compare the prediction with its target
LOSSES = (*IDENTITY_LOSSES, *LATENT_LOSSES, "none")
METHODS = ("lora", "full")
LORA_LAYERS = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0"),
    "feed-forward": ("ff.net.0.proj", "ff.net.2"),
    "convolution": ("conv1", "conv2", "conv_shortcut"),
}
TIMESTEP_SAMPLINGS = ("uniform", "logit_normal", "shifted")
PRECISIONS = ("no", "bf16", "fp16")
CROPS = ("face", "photo", "aspect")
PHOTO_SETTINGS = ("photo_years", "background_weight", "face_mask")  # change nothing but what is known of photos
REWARD_SETTINGS = (  # mean nothing where the first is 0
    "reward_every",
    "reward_start",
    "reward_pictures",
    "reward_steps",
    "reward_identity",
    "reward_age",
    "reward_anchor",
)
MAX_SEED = 2**64 - 1  # of torch's generators


@dataclass(frozen=True)
class TrainingConfig:
    """Names are those of diffusers' DreamBooth scripts where these have one."""

    loss: str = option("biometric", help="identity loss beside the reconstruction", choices=LOSSES)
    loss_weight: float = option(
        0.02,
        help="weight of the identity loss; 0.02 suits biometric, 0.1 the others, and the reconstruction has 1",
        low=0,
    )
    temperature: float = option(0.5, help="temperature of the contrastive loss", low=1e-3)
    triplet_margin: float = option(1.0, help="margin of the triplet loss, in 1 - cosine", low=0)
    prior_loss_weight: float = option(1.0, help="weight of the reconstruction on the regularization set", low=0)
    method: str = option("lora", help="train a small LoRA or every weight (a full checkpoint)", choices=METHODS)
    rank: int = option(16, help="rank of the LoRA", low=1)
    lora_alpha: float = option(16.0, help="the LoRA is multiplied by this over its rank", low=1e-3)
    lora_layers: tuple[str, ...] = option(("attention",), help="UNet layers with a LoRA", choices=tuple(LORA_LAYERS))
    train_text_encoder: bool | None = option(
        None, help="train the text encoder too (default: only with the full method)"
    )
    max_train_steps: int = option(800, help="optimizer steps", low=1)
    learning_rate: float | None = option(None, help="learning rate (default: 1e-4 for lora, 1e-6 for full)", low=1e-12)
    lr_scheduler: str = option(
        "constant", help="course of the learning rate", choices=("constant", "constant_with_warmup", "linear", "cosine")
    )
    lr_warmup_steps: int = option(
        0, help="steps until the learning rate is reached, for schedulers that warm up", low=0
    )
    train_batch_size: int = option(
        1, help="photos a step and process; as many regularization images go with them", low=1
    )
    gradient_accumulation_steps: int = option(1, help="batches added up before the weights change", low=1)
    max_grad_norm: float = option(1.0, help="longest gradient; longer ones are shortened to it; 0: none is", low=0)
    resolution: int | None = option(
        None,
        help="side of the training pictures, px, a multiple of 64 (default: the model's own)",
        low=64,
        high=2048,
        multiple=64,
    )
    crop: str = option(
        "face",
        help="cut photos to the face with a margin, to the largest square, or keep their aspect ratio, in buckets",
        choices=CROPS,
    )
    face_margin: float = option(0.5, help="margin on each side of the face, in face sizes", low=0)
    random_flip: bool = option(True, help="mirror half of the pictures")
    seed: int = option(0, help="seed of every random choice", low=0, high=MAX_SEED)
    mixed_precision: str | None = option(
        None,
        help="number format of the network's work (default: bf16 on a GPU that has it, else no)",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = option(False, help="compute some things twice to need much less memory")
    use_8bit_adam: bool = option(False, help="AdamW with 8-bit state (needs bitsandbytes and a GPU)")
    checkpointing_steps: int = option(500, help="steps between saved states that a run can resume from", low=1)
    token: str = option("sks", help="rare token that comes to mean the subject")
    class_word: str = option("person", help="what the subject is: person, man, woman ...")
    instance_prompt: str = option(
        INSTANCE_PROMPT,
        help="prompt of the photos; {token} and {class_word} are filled in, and 'as {age}' follows where that is known",
    )
    regularization_prompt: str = option(
        REGULARIZATION_PROMPT, help="prompt of the regularization images; {age} is filled in"
    )
    photo_years: bool = option(
        False, help="say the age of a photo in years where these are known (as 34-year-old) instead of as its class"
    )
    background_weight: float = option(
        0.1, help="weight of what lies around the person, in photos with a mask; the person has 1", low=0, high=1
    )
    face_mask: bool = option(
        False, help="in photos without a mask, take a soft region around face and hair for the person"
    )
    timestep_sampling: str | None = option(
        None,
        help="how often each noise level is trained: all alike, more in the middle, or that shifted as the model's own "
        "sampling is (default: logit_normal for flow models, else uniform)",
        choices=TIMESTEP_SAMPLINGS,
    )

    reward_every: int = option(
        0,
        help="draw some of the six ages every so many steps and train on how alike and how old they are; 0: never",
        low=0,
    )
    reward_start: float = option(0.5, help="share of the training after which the reward begins", low=0, high=1)
    reward_pictures: int = option(2, help="pictures that the reward draws at a time, of different ages", low=1, high=6)
    reward_steps: int = option(2, help="sampling steps of these pictures; the last one is trained", low=1, high=50)
    reward_identity: float = option(
        1.0, help="the reward's pull towards the photos, at most, as a share of the reconstruction's", low=0
    )
    reward_age: float = option(
        3.0, help="the reward's pull towards the years of the age, at most, as a share of the reconstruction's", low=0
    )
    reward_anchor: float = option(
        0.0, help="weight of staying with the base model on the same drawings of other people", low=0
    )

    def __post_init__(self):
        check(self)
        if not self.token.strip() or not self.class_word.strip():
            raise UserError("token and class_word cannot be empty: the prompts are made of them.")

    @property
    def reads_faces(self) -> bool:
        """Whether faces are compared in training."""
        return self.loss in IDENTITY_LOSSES or self.reward_every > 0

    @property
    def trains_text_encoder(self) -> bool:
        """The paper fine-tunes the text encoder too; a LoRA learns a face without."""
        return self.method == "full" if self.train_text_encoder is None else self.train_text_encoder

    @property
    def rate(self) -> float:
        """The learning rate: the paper's 1e-6 for every weight, ID-Booth's 1e-4 for a LoRA."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-4 if self.method == "lora" else 1e-6
