"""A reward on generated images: the subject at the six ages, from the current model.

Every few steps the model generates some of the ages in a few sampling steps and trains the last step (DRaFT-1, Clark et
al. 2024, section 3; ReFL, Xu et al. 2023, algorithm 1). One term pulls the face towards the photos, the other towards
the years of its age class. Both are hinges: a face that reaches its target adds no gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ages import AGE_CLASSES, CLASS_YEARS, SAMPLING_PROMPT, TOLERANCE, fill_prompt
from ..config import TrainingConfig
from ..errors import NoFaceFound
from ..faces.age_estimators import YearsNetwork
from ..faces.crops import landmarks_of
from ..faces.embedders import FaceEmbedder
from ..faces.find import Face, FaceDetector
from ..models.few_steps import before_last_step
from ..models.interface import Codec, TrainableModel
from ..pictures.photos import to_image
from .batches import TrainingData, latent_window
from .face_reader import decode_windows
from .losses import capped, identity_hinge, years_hinge
from .order import STREAMS

NO_FACE = "no face"  # metric: the share of generated images in which no face was found


@dataclass(frozen=True)
class Generated:
    """K images of the subject before their last sampling step. With the anchor, N = 2 K: other people follow."""

    ages: list[str]  # K
    x_t: Tensor  # [N, C, ...]
    t: Tensor  # [N]
    prompts: list[str]  # N
    anchor: Tensor  # the untrained model's prediction for the other people [N - K, C, ...]


@dataclass(frozen=True)
class RewardNetworks:
    """The networks that score generated faces, differentiable and on the training device."""

    detector: FaceDetector
    embedder: FaceEmbedder
    years: YearsNetwork | None  # None: ages are not rewarded


class Reward:
    """Generates images and scores their faces. All randomness comes from the seed and the number of the call.

    ``codec`` decodes the faces, in bfloat16 if ``bf16``. Raises UserError if no photo shows a face.
    """

    def __init__(
        self,
        model: TrainableModel,
        data: TrainingData,
        config: TrainingConfig,
        codec: Codec,
        networks: RewardNetworks,
        bf16: bool = False,
    ):
        self.model, self.data, self.config, self.codec = model, data, config, codec
        self.networks, self.bf16 = networks, bf16
        faces = [index for index, instance in enumerate(data.instances) if instance.face]
        if not faces:
            raise NoFaceFound(
                f"The reward needs a face, and none was found in the {len(data.instances)} photos. Use photos with a "
                "larger face seen from the front, or set reward_every to 0."
            )
        photos = torch.stack([data.reference(index) for index in faces])
        thresholds = networks.embedder.facts.thresholds
        self.threshold = thresholds.fmr_01 if thresholds else _mean_similarity(photos)
        self.references = {
            age: torch.stack([data.reference(index) for index in data.photos_nearest(age)]).mean(0).to(data.device)
            for age in AGE_CLASSES
        }

    def prompts(self) -> list[str]:
        """Every prompt that ``generate`` uses."""
        others = [self._prompt(age, self.config.regularization_prompt) for age in AGE_CLASSES]
        return ["", *(self._prompt(age) for age in AGE_CLASSES), *others]

    def is_due(self, step: int) -> bool:
        """Whether ``step``, counted from 0, has a reward."""
        config = self.config
        return step >= config.reward_start * config.max_train_steps and (step + 1) % config.reward_every == 0

    @torch.no_grad()
    def generate(self, number: int, process: int = 0, processes: int = 1) -> Generated:
        """This process's share of the images of call ``number``."""
        config, data, core = self.config, self.data, self.model.denoiser
        count, total = config.reward_pictures, config.reward_pictures * processes
        share = slice(process * count, (process + 1) * count)
        places = range(number * total + share.start, number * total + share.stop)
        ages = [AGE_CLASSES[place] for place in data.order.shuffled("reward", len(AGE_CLASSES), places)]
        shape = data.codec.shape(data.resolution, data.resolution)
        noise = torch.randn(total, *shape, generator=data.order.generator(number, STREAMS["reward noise"]))[share]
        noise, prompts = noise.to(data.device), [self._prompt(age) for age in ages]
        x_t, t = before_last_step(core, noise, prompts, config.reward_steps, self.model.guidance)
        generated = Generated(ages, x_t, t, prompts, anchor=x_t[:0])
        return self._with_others(generated) if config.reward_anchor else generated

    def terms(
        self, prediction: Tensor, generated: Generated, norm: Tensor, processes: int = 1
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses and metrics of the network's ``prediction`` [N, C, ...], by name.

        ``norm`` is the norm of the reconstruction's gradient at one image's prediction. The gradients of identity and
        age are clipped per image to a share of it. They are summed over images and ``processes``, since the
        accelerator averages over processes afterwards.
        """
        count, core = len(generated.ages), self.model.denoiser
        leaf = prediction[:count].detach().requires_grad_()
        x_0 = core.predicted_x0(leaf, generated.x_t[:count], generated.t[:count])
        faces = self._faces(x_0.detach())
        with_face = [index for index, face in enumerate(faces) if face]
        losses, metrics = {}, {NO_FACE: torch.tensor(1 - len(with_face) / count, device=leaf.device)}
        if with_face:
            ages = [generated.ages[index] for index in with_face]
            shortfalls = self._shortfalls(x_0[with_face], [face for face in faces if face], ages)
            caps = {"reward identity": self.config.reward_identity, "reward age": self.config.reward_age}
            for name, shortfall in shortfalls.items():
                (gradient,) = torch.autograd.grad(processes * shortfall.sum(), leaf, retain_graph=True)
                losses[name] = capped(shortfall.mean(), prediction[:count], gradient, caps[name] * norm)
        if len(generated.anchor):
            losses["anchor"] = torch.nn.functional.mse_loss(prediction[count:], generated.anchor)
        return losses, metrics

    def _shortfalls(self, x_0: Tensor, faces: list[Face], ages: list[str]) -> dict[str, Tensor]:
        """How far each face [K] falls short of its target, per reward term."""
        embedder, network = self.networks.embedder, self.networks.years
        crops = [scorer.crop for scorer in (embedder, network) if scorer]
        squares = [torch.tensor([crop.square(face) for face in faces]) for crop in crops]
        low, high = torch.stack(squares)[..., :2].amin(0), torch.stack(squares)[..., 2:].amax(0)
        around = torch.cat([low, high], dim=1)
        window = latent_window(around.tolist(), x_0.shape[-1], self.codec.factor)
        pixels, shift = decode_windows(self.codec, x_0, around, window, self.bf16)
        landmarks = landmarks_of(faces) - shift[:, None]
        face_crops = [
            crop(pixels, square - shift.repeat(1, 2), landmarks) for crop, square in zip(crops, squares, strict=True)
        ]
        references = torch.stack([self.references[age] for age in ages])
        shortfalls = {"reward identity": identity_hinge(embedder(face_crops[0]), references, self.threshold)}
        if network:
            ranges = torch.tensor([CLASS_YEARS[age] for age in ages], device=pixels.device)
            shortfalls["reward age"] = years_hinge(network(face_crops[1]), ranges) / TOLERANCE
        return shortfalls

    @torch.no_grad()
    def _faces(self, x_0: Tensor) -> list[Face | None]:
        """The main face in each image, or None. Decodes the whole image."""
        images = []
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            for latent in x_0:
                images.append(to_image(self.codec.decode(latent[None])[0].clamp(-1, 1)))
        return [next(iter(self.networks.detector(image)), None) for image in images]

    def _with_others(self, generated: Generated) -> Generated:
        """The same noisy latents a second time, with the prompts of other people."""
        others = [self._prompt(age, self.config.regularization_prompt) for age in generated.ages]
        autocast = torch.autocast(generated.x_t.device.type, torch.bfloat16, enabled=self.bf16)
        with self.model.untrained() as before, autocast:  # accelerate does the same around the trained model
            anchor = before(generated.x_t, generated.t, others)
        return replace(
            generated,
            x_t=generated.x_t.repeat(2, *[1] * (generated.x_t.ndim - 1)),
            t=generated.t.repeat(2),
            prompts=generated.prompts + others,
            anchor=anchor,
        )

    def _prompt(self, age: str, template: str = SAMPLING_PROMPT) -> str:
        return fill_prompt(template, age=age, token=self.config.token, class_word=self.config.class_word)


def reward_remarks(history: Sequence[dict[str, float]]) -> list[str]:
    """A sentence about generated images without a face, from the ``history`` of a training; empty if all had one."""
    shares = [values[NO_FACE] for values in history if NO_FACE in values]
    if not any(shares):
        return []
    return [f"No face was found in {sum(shares) / len(shares):.0%} of the images generated for the reward."]


def _mean_similarity(vectors: Tensor) -> float:
    """The mean similarity between different unit ``vectors`` [N, D]; 1 if there is only one."""
    count = len(vectors)
    return ((vectors.sum(0).square().sum() - count) / (count * (count - 1))).item() if count > 1 else 1.0
