"""How old a face looks: one interface, behind which CLIP and any network that reads years off face crops may sit."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from ..ages import AGE_CLASSES, CLASS_YEARS, DISPLAY_NAMES, AgeEstimate, class_middle, class_of
from ..errors import UserError
from ..pictures.photos import to_tensor
from .crops import FaceCrop, landmarks_of
from .find import Face, cut_square

CLIP_SIDE, CLIP_MARGIN = 224, 0.4  # px, and face sizes around the face: hair and neck tell an age too


@dataclass(frozen=True)
class ClassError:
    """How an estimator did on real faces of one age class."""

    faces: int
    right: float  # share that it put into this class
    mean_absolute: float  # years


@dataclass(frozen=True)
class AgeErrors:
    """How an estimator did on real faces of known age; ``tools/judges.py`` measures it."""

    source: str
    faces: int
    mean_absolute: float  # years
    classes: dict[str, ClassError]

    @property
    def cannot_tell(self) -> list[str]:
        """The classes of which it put fewer than half of the faces where they belong."""
        return [name for name, error in self.classes.items() if error.right < 0.5]

    @property
    def sentence(self) -> str:
        """All of it in one."""
        classes = ", ".join(
            f"{DISPLAY_NAMES[name]} {100 * error.right:.0f} % right and {error.mean_absolute:.0f} years off"
            for name, error in self.classes.items()
        )
        told = (
            f"Measured on {self.faces} real faces ({self.source}), it is {self.mean_absolute:.1f} years off: {classes}."
        )
        names = " and ".join(DISPLAY_NAMES[name] for name in self.cannot_tell)
        return f"{told} It cannot tell {names}: its word on them counts little." if names else told


class AgeEstimator(Protocol):
    """Anything that says how old a face in a picture looks."""

    name: str
    errors: AgeErrors | None  # what was measured of it

    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """The estimate for ``face`` in ``image``."""


class YearsNetwork(Protocol):
    """A network that turns crops [B, 3, size, size] in [-1, 1] into years [B], such as the world's."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def crop(self) -> FaceCrop:
        """How the faces that it reads are cut out."""

    def __call__(self, crops: Tensor) -> Tensor:
        """The years [B] of ``crops``. Gradients flow through."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights, which tell it from others."""

    def to(self, device: torch.device) -> "YearsNetwork":
        """This network, on ``device``."""


class CropAgeEstimator:
    """A YearsNetwork that looks at pictures."""

    def __init__(self, network: YearsNetwork, errors: AgeErrors | None = None, device: torch.device | str = "cpu"):
        self.network, self.name, self.errors, self.device = network, network.name, errors, device

    @torch.no_grad()
    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """Years from the crop that the network reads."""
        crop = self.network.crop
        square = torch.tensor([crop.square(face)], device=self.device)
        years = self.network(crop(to_tensor(image).to(self.device), square, landmarks_of([face]))).item()
        return AgeEstimate(years, class_of(years))


def years_network(estimator: AgeEstimator) -> YearsNetwork:
    """What tells years with a gradient in ``estimator``, as a copy. Raises UserError for one that has none."""
    if not isinstance(estimator, CropAgeEstimator):
        raise UserError(
            f"{estimator.name} tells ages, but not which way a face would look older, which the reward is made of. Use "
            "face-api's network, or set reward_age to 0."
        )
    return copy.deepcopy(estimator.network)


PROMPTS = {
    name: (
        f"a photo of the face of a {DISPLAY_NAMES[name]} person",
        f"a photo of a person who is {CLASS_YEARS[name][0]} to {CLASS_YEARS[name][1]} years old",
    )
    for name in AGE_CLASSES
}


class ZeroShotAgeEstimator:
    """CLIP's zero-shot classification (Radford et al. 2021), the mean of two prompts standing for each class.

    ``encode_image`` takes a picture, ``encode_text`` N prompts, to embeddings [D] and [N, D] of one space; ``scale`` is
    CLIP's learned one, exp(logit_scale). The class is the most probable; the years are the mean of the classes' middles
    under their probabilities, so never the youngest or oldest.
    """

    errors = None

    def __init__(
        self,
        name: str,
        encode_image: Callable[[Image.Image], Tensor],
        encode_text: Callable[[list[str]], Tensor],
        scale: float = 100.0,
    ):
        self.name, self.encode_image, self.scale = name, encode_image, scale
        normalize = torch.nn.functional.normalize
        prompts = [normalize(encode_text(list(PROMPTS[age])).float(), dim=-1).mean(0) for age in AGE_CLASSES]
        self.classes = normalize(torch.stack(prompts), dim=-1)

    def probabilities(self, image: Image.Image, face: Face) -> Tensor:
        """The probability [6] of each age class, in their order."""
        picture, _ = cut_square(image, face, CLIP_SIDE, CLIP_MARGIN)
        embedding = self.encode_image(picture).float().to(self.classes.device)
        if embedding.shape[-1] != self.classes.shape[-1]:
            raise UserError(
                f"The image encoder of {self.name} gives {embedding.shape[-1]} numbers and its text encoder "
                f"{self.classes.shape[-1]}: they are not two halves of one CLIP. Load two that belong together."
            )
        return (self.scale * self.classes @ torch.nn.functional.normalize(embedding, dim=-1)).softmax(0)

    @torch.no_grad()
    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """The estimate from the face and its surroundings."""
        found = self.probabilities(image, face).tolist()
        years = sum(part * class_middle(name) for part, name in zip(found, AGE_CLASSES, strict=True))
        return AgeEstimate(years, AGE_CLASSES[found.index(max(found))])


def clip_in(folder: Path) -> ZeroShotAgeEstimator:
    """The CLIP that transformers saved into ``folder``; nothing is downloaded.

    Raises UserError where there is no such folder or no whole CLIP in it.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    if not (folder / "config.json").is_file():
        raise UserError(
            f"There is no CLIP in {folder}: it has no config.json. Give a folder with a CLIP model, its "
            "tokenizer and its preprocessor_config.json as transformers saves them."
        )
    try:
        opened: Any = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0][:150]
        raise UserError(f"{folder} cannot be opened as a CLIP ({reason}). Get it again, whole.") from error
    model, found = opened
    if missing := sorted(found["missing_keys"]):  # transformers makes up random ones
        raise UserError(f"The CLIP in {folder} lacks {len(missing)} weights, among them {missing[0]}. Get it whole.")
    model.eval()

    @torch.no_grad()
    def encode_text(prompts: list[str]) -> Tensor:
        words = tokenizer(prompts, padding=True, return_tensors="pt")
        pooled = model.text_model(input_ids=words.input_ids, attention_mask=words.attention_mask).pooler_output
        return model.text_projection(pooled)

    @torch.no_grad()
    def encode_image(picture: Image.Image) -> Tensor:
        pixels = processor(picture, return_tensors="pt").pixel_values
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)[0]

    return ZeroShotAgeEstimator(
        f"CLIP {folder.name}, zero-shot", encode_image, encode_text, model.logit_scale.exp().item()
    )
