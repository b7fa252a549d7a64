"""The settings of a training run, with defaults, units and help texts, for the command line and the nodes."""

from dataclasses import dataclass

from .ages import INSTANCE_PROMPT, REGULARIZATION_PROMPT
from .errors import InvalidSetting
from .options import check, option

IDENTITY_LOSSES = ("biometric", "triplet")  # compare faces in the predicted image
LATENT_LOSSES = ("contrastive", "cosine")  # compare the prediction with its target, in latent space
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
PHOTO_SETTINGS = ("photo_years", "background_weight", "face_mask")  # how the photos' ages and masks are used
REWARD_SETTINGS = (  # unused if the first is 0
    "reward_every",
    "reward_start",
    "reward_pictures",
    "reward_steps",
    "reward_identity",
    "reward_age",
    "reward_anchor",
)
MAX_SEED = 2**64 - 1  # the largest seed that torch's generators accept


@dataclass(frozen=True)
class TrainingConfig:
    """All training settings, named as in diffusers' DreamBooth scripts if those have an equivalent.

    Raises UserError for a value that its option does not allow, and for an empty token or class word.
    """

    loss: str = option("biometric", help="identity loss, added to the reconstruction loss", choices=LOSSES)
    loss_weight: float = option(
        0.02,
        help="weight of the identity loss, relative to 1 for the reconstruction; 0.02 suits biometric, 0.1 the others",
        low=0,
    )
    temperature: float = option(0.5, help="temperature of the contrastive loss", low=1e-3)
    triplet_margin: float = option(1.0, help="margin of the triplet loss, in units of 1 - cosine similarity", low=0)
    prior_loss_weight: float = option(1.0, help="weight of the reconstruction loss on the regularization images", low=0)
    method: str = option(
        "lora", help="train a small LoRA (lora), or every weight, for a full checkpoint (full)", choices=METHODS
    )
    rank: int = option(16, help="rank of the LoRA", low=1)
    lora_alpha: float = option(16.0, help="alpha of the LoRA, which is scaled by alpha / rank", low=1e-3)
    lora_layers: tuple[str, ...] = option(
        ("attention",), help="UNet layers that get a LoRA", choices=tuple(LORA_LAYERS)
    )
    train_text_encoder: bool | None = option(
        None, help="also train the text encoder (default: only with the full method)"
    )
    max_train_steps: int = option(800, help="number of optimizer steps", low=1)
    learning_rate: float | None = option(None, help="learning rate (default: 1e-4 for lora, 1e-6 for full)", low=1e-12)
    lr_scheduler: str = option(
        "constant", help="learning rate schedule", choices=("constant", "constant_with_warmup", "linear", "cosine")
    )
    lr_warmup_steps: int = option(0, help="number of warmup steps, for schedules with warmup", low=0)
    train_batch_size: int = option(
        1, help="photos per batch and process; each batch also gets as many regularization images", low=1
    )
    gradient_accumulation_steps: int = option(1, help="batches to accumulate before each optimizer step", low=1)
    max_grad_norm: float = option(1.0, help="clip the gradient norm to this value; 0 disables clipping", low=0)
    resolution: int | None = option(
        None,
        help="side of the training images in px, a multiple of 64 (default: the model's own)",
        low=64,
        high=2048,
        multiple=64,
    )
    crop: str = option(
        "face",
        help="crop photos to the face with a margin, which leaves clothes out (face), to the largest square (photo), "
        "or to the bucket nearest to their aspect ratio (aspect)",
        choices=CROPS,
    )
    face_margin: float = option(0.5, help="margin on each side of the face, in face sizes", low=0)
    random_flip: bool = option(True, help="mirror half of the images")
    seed: int = option(0, help="seed for all random choices", low=0, high=MAX_SEED)
    mixed_precision: str | None = option(
        None,
        help="number format of the network's computations (default: bf16 on a GPU that supports it, else no)",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = option(False, help="compute some activations twice to use much less memory")
    use_8bit_adam: bool = option(False, help="use AdamW with 8-bit state (needs bitsandbytes and a GPU)")
    checkpointing_steps: int = option(500, help="steps between saved states, from which a run can resume", low=1)
    token: str = option("sks", help="rare token that stands for the subject")
    class_word: str = option("person", help="class of the subject: person, man, woman ...")
    instance_prompt: str = option(
        INSTANCE_PROMPT,
        help="prompt for the photos; {token} and {class_word} are filled in, and 'as {age}' is added for photos of "
        "known age",
    )
    regularization_prompt: str = option(
        REGULARIZATION_PROMPT, help="prompt for the regularization images; {age} is filled in"
    )
    photo_years: bool = option(
        False, help="in prompts, give a photo's age in years if known (as 34-year-old), instead of its age class"
    )
    background_weight: float = option(
        0.1, help="weight of the background in photos with a mask, relative to 1 for the person", low=0, high=1
    )
    face_mask: bool = option(False, help="in photos without a mask, use a soft region around face and hair as the mask")
    timestep_sampling: str | None = option(
        None,
        help="how often to train each noise level: all equally (uniform), middle levels more often (logit_normal), or "
        "the latter with the shift of the model's own sampling (shifted) (default: logit_normal for flow models, else "
        "uniform)",
        choices=TIMESTEP_SAMPLINGS,
    )

    reward_every: int = option(
        0,
        help="every this many steps, generate images at some of the six ages and train on their similarity and age; 0 "
        "disables the reward",
        low=0,
    )
    reward_start: float = option(0.5, help="fraction of the training after which the reward starts", low=0, high=1)
    reward_pictures: int = option(
        2, help="number of reward images to generate at a time, of different ages", low=1, high=6
    )
    reward_steps: int = option(2, help="sampling steps per reward image; the last one is trained", low=1, high=50)
    reward_identity: float = option(
        1.0,
        help="largest gradient of the reward for similarity to the photos, as a multiple of the reconstruction's",
        low=0,
    )
    reward_age: float = option(
        3.0,
        help="largest gradient of the reward for the requested age, as a multiple of the reconstruction's",
        low=0,
    )
    reward_anchor: float = option(
        0.0, help="weight of a penalty that keeps images of other people close to the base model's", low=0
    )

    def __post_init__(self):
        check(self)
        if not self.token.strip() or not self.class_word.strip():
            raise InvalidSetting("token and class_word cannot be empty. The prompts contain both.")

    @property
    def reads_faces(self) -> bool:
        """Whether training compares faces."""
        return self.loss in IDENTITY_LOSSES or self.reward_every > 0

    @property
    def trains_text_encoder(self) -> bool:
        """Whether the text encoder is trained. By default only with the full method, as in the paper."""
        return self.method == "full" if self.train_text_encoder is None else self.train_text_encoder

    @property
    def rate(self) -> float:
        """The learning rate. The defaults are the paper's 1e-6 (full) and ID-Booth's 1e-4 (LoRA)."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-4 if self.method == "lora" else 1e-6
