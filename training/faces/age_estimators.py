"""How old a face looks: one interface for CLIP and for networks that estimate years from a face crop."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from ..ages import AGE_CLASSES, CLASS_YEARS, DISPLAY_NAMES, AgeEstimate, as_class, class_middle, class_of
from ..errors import DamagedFile, MissingFile, ModelMismatch, UnsupportedModel
from ..pictures.photos import to_tensor
from .crops import FaceCrop, landmarks_of
from .find import Face, cut_square

# Of normally distributed errors, 95 % are below 2.5 times their mean absolute value (1.96 / sqrt(2 / pi)).
LARGEST = 2.5
UNMEASURED = 20.0  # years; the largest error of an estimator whose accuracy on real faces is not measured
CLIP_SIDE, CLIP_MARGIN = 224, 0.4  # px; margin in face sizes, because hair and neck show age too


@dataclass(frozen=True)
class ClassError:
    """Accuracy of an estimator on real faces of one age class."""

    faces: int
    right: float  # share classified correctly
    mean_absolute: float  # years


@dataclass(frozen=True)
class AgeErrors:
    """Accuracy of an estimator on real faces of known age, as measured by ``lab/judges.py``."""

    source: str
    faces: int
    mean_absolute: float  # years
    classes: dict[str, ClassError]

    @property
    def unreliable_classes(self) -> list[str]:
        """Classes in which fewer than half of the faces are classified correctly."""
        return [name for name, error in self.classes.items() if error.right < 0.5]

    @property
    def summary(self) -> str:
        """One or two sentences for a report."""
        classes = "; ".join(
            f"{DISPLAY_NAMES[name]} {100 * error.right:.0f} % correct, off by {error.mean_absolute:.0f} years"
            for name, error in self.classes.items()
        )
        accuracy = (
            f"On {self.faces} real faces ({self.source}) the age estimator is off by {self.mean_absolute:.1f} years on "
            f"average: {classes}."
        )
        names = " and ".join(DISPLAY_NAMES[name] for name in self.unreliable_classes)
        return f"{accuracy} It is unreliable for {names}." if names else accuracy


class AgeEstimator(Protocol):
    """Estimates how old a face in an image looks."""

    name: str
    errors: AgeErrors | None  # measured accuracy; None if not measured

    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """Returns the estimate for ``face`` in ``image``."""


def largest_error(estimator: AgeEstimator, age: str | int) -> float:
    """Returns the error in years that about 95 % of the estimates for faces of the true age ``age`` stay below."""
    if estimator.errors is None:
        return UNMEASURED
    return LARGEST * estimator.errors.classes[as_class(age)].mean_absolute


class YearsNetwork(Protocol):
    """A network that turns crops [B, 3, size, size] in [-1, 1] into years [B]."""

    @property
    def name(self) -> str:
        """The name shown in reports."""

    @property
    def crop(self) -> FaceCrop:
        """The crop that the network expects."""

    def __call__(self, crops: Tensor) -> Tensor:
        """Returns the years [B] for ``crops``. Differentiable."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, which identify the network."""

    def to(self, device: torch.device) -> "YearsNetwork":
        """Moves the network to ``device``."""


class CropAgeEstimator:
    """Applies a YearsNetwork to the face in an image."""

    def __init__(self, network: YearsNetwork, errors: AgeErrors | None = None, device: torch.device | str = "cpu"):
        self.network, self.name, self.errors, self.device = network, network.name, errors, device

    @torch.no_grad()
    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """Returns the estimate for ``face`` in ``image``."""
        crop = self.network.crop
        square = torch.tensor([crop.square(face)], device=self.device)
        years = self.network(crop(to_tensor(image).to(self.device), square, landmarks_of([face]))).item()
        return AgeEstimate(years, class_of(years))


def years_network(estimator: AgeEstimator) -> YearsNetwork:
    """Returns a copy of the differentiable network in ``estimator``. Raises UserError if it has none."""
    if not isinstance(estimator, CropAgeEstimator):
        raise UnsupportedModel(
            f"{estimator.name} is not differentiable, and the reward needs an age gradient. Use face-api's network, or "
            "set reward_age to 0."
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
    """CLIP zero-shot classification (Radford et al. 2021) with the mean embedding of two prompts per class.

    ``encode_image`` maps an image to an embedding [D], ``encode_text`` maps N prompts to embeddings [N, D] in the same
    space. ``scale`` is CLIP's learned exp(logit_scale). The estimated class is the most probable one. The estimated
    years are the probability-weighted mean of the class middles, so they never reach the lowest or highest age.
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
        """Returns the probability [6] of each age class, in the order of AGE_CLASSES.

        Raises UserError if the image and text embeddings differ in size.
        """
        square, _ = cut_square(image, face, CLIP_SIDE, CLIP_MARGIN)
        embedding = self.encode_image(square).float().to(self.classes.device)
        if embedding.shape[-1] != self.classes.shape[-1]:
            raise ModelMismatch(
                f"{self.name}: image embeddings have {embedding.shape[-1]} dimensions, text embeddings "
                f"{self.classes.shape[-1]}. Load an image encoder and a text encoder from the same CLIP model."
            )
        return (self.scale * self.classes @ torch.nn.functional.normalize(embedding, dim=-1)).softmax(0)

    @torch.no_grad()
    def __call__(self, image: Image.Image, face: Face) -> AgeEstimate:
        """Returns the estimate for ``face`` in ``image``, from a crop that includes its surroundings."""
        shares = self.probabilities(image, face).tolist()
        years = sum(share * class_middle(name) for share, name in zip(shares, AGE_CLASSES, strict=True))
        return AgeEstimate(years, AGE_CLASSES[shares.index(max(shares))])


def clip_in(folder: Path) -> ZeroShotAgeEstimator:
    """Loads the CLIP that transformers saved in ``folder``. Downloads nothing.

    Raises UserError if the folder holds no complete CLIP.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    if not (folder / "config.json").is_file():
        raise MissingFile(
            f"No CLIP in {folder}: config.json is missing. The folder needs a CLIP model, its tokenizer and its "
            "preprocessor_config.json, as transformers saves them."
        )
    try:
        loaded: Any = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0][:150]
        raise DamagedFile(f"Cannot load the CLIP in {folder} ({reason}). Download it again.") from error
    model, info = loaded
    if missing := sorted(info["missing_keys"]):  # transformers fills these with random weights
        raise DamagedFile(
            f"The CLIP in {folder} lacks {len(missing)} weights, such as {missing[0]}. Download it again."
        )
    model.eval()

    @torch.no_grad()
    def encode_text(prompts: list[str]) -> Tensor:
        tokens = tokenizer(prompts, padding=True, return_tensors="pt")
        pooled = model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return model.text_projection(pooled)

    @torch.no_grad()
    def encode_image(image: Image.Image) -> Tensor:
        pixels = processor(image, return_tensors="pt").pixel_values
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)[0]

    return ZeroShotAgeEstimator(
        f"CLIP {folder.name}, zero-shot", encode_image, encode_text, model.logit_scale.exp().item()
    )
