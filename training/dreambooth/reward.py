"""A reward on what is asked for in the end: the subject at the six ages, drawn by the model as it is.

Every few steps the model draws some of the ages in a few sampling steps, of which the last one is trained (DRaFT-1,
Clark et al. 2024, section 3; ReFL, Xu et al. 2023, algorithm 1), so that a face comes to be as alike as a matcher asks
for, and as old as its class is. Both terms are hinges: what is good enough is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ages import AGE_CLASSES, CLASS_YEARS, SAMPLING_PROMPT, TOLERANCE, fill_prompt
from ..config import TrainingConfig
from ..errors import UserError
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


@dataclass(frozen=True)
class Drawn:
    """Pictures before their last sampling step; N = K, or 2 K with the same of other people, for the anchor."""

    ages: list[str]  # K
    x_t: Tensor  # [N, C, ...]
    t: Tensor  # [N]
    prompts: list[str]  # N
    kept: Tensor  # what the untrained model predicts of the other people [N - K, C, ...]


@dataclass(frozen=True)
class Judges:
    """Whoever says how good a drawn face is, with gradient, on the training device."""

    detector: FaceDetector
    embedder: FaceEmbedder
    network: YearsNetwork | None  # None where nobody judges ages


class Reward:
    """Draws and judges. Every random choice comes from (seed, number of the drawing) alone.

    ``codec`` decodes the faces, in bfloat16 with ``bf16``. Raises UserError where the photos show no face.
    """

    def __init__(
        self,
        model: TrainableModel,
        data: TrainingData,
        config: TrainingConfig,
        codec: Codec,
        judges: Judges,
        bf16: bool = False,
    ):
        self.model, self.data, self.config, self.codec, self.judges, self.bf16 = (
            model, data, config, codec, judges, bf16,
        )  # fmt: skip
        faces = [index for index, (_, face) in enumerate(data.instances) if face]
        if not faces:
            raise UserError(
                f"No face was found in any of the {len(data.instances)} photos, and the reward compares faces. Use "
                "photos in which the face is larger and seen from the front, or set reward_every to 0."
            )
        photos = torch.stack([data.reference(index) for index in faces])
        thresholds = judges.embedder.facts.thresholds
        self.threshold = thresholds.fmr_01 if thresholds else _among(photos)
        self.references = {
            age: torch.stack([data.reference(index) for index in data.photos_nearest(age)]).mean(0).to(data.device)
            for age in AGE_CLASSES
        }

    def prompts(self) -> list[str]:
        """Every prompt that a drawing needs."""
        others = [self._prompt(age, self.config.regularization_prompt) for age in AGE_CLASSES]
        return ["", *(self._prompt(age) for age in AGE_CLASSES), *others]

    def drawings(self, step: int) -> bool:
        """Whether ``step``, counted from 0, is rewarded."""
        config = self.config
        return step >= config.reward_start * config.max_train_steps and (step + 1) % config.reward_every == 0

    @torch.no_grad()
    def draw(self, number: int, process: int = 0, processes: int = 1) -> Drawn:
        """Drawing ``number``: this process's share of what one process would draw for all."""
        config, data, core = self.config, self.data, self.model.denoiser
        count, total = config.reward_pictures, config.reward_pictures * processes
        share = slice(process * count, (process + 1) * count)
        places = range(number * total + share.start, number * total + share.stop)
        ages = [AGE_CLASSES[place] for place in data.order.shuffled("reward", len(AGE_CLASSES), places)]
        shape = data.codec.shape(data.resolution, data.resolution)
        noise = torch.randn(total, *shape, generator=data.order.generator(number, STREAM))[share].to(data.device)
        prompts = [self._prompt(age) for age in ages]
        x_t, t = before_last_step(core, noise, prompts, config.reward_steps, self.model.guidance)
        drawn = Drawn(ages, x_t, t, prompts, kept=x_t[:0])
        return self._with_others(drawn) if config.reward_anchor else drawn

    def terms(self, prediction: Tensor, drawn: Drawn, length: Tensor, processes: int = 1) -> dict[str, Tensor]:
        """The reward's terms of the network's ``prediction`` [N, C, ...], by name.

        ``length`` is that of the reconstruction's gradient at the prediction of one picture. Gradients of identity and
        age are capped there, picture by picture, and added up, also over ``processes``, whose mean is taken afterwards.
        Beside them UNSEEN.
        """
        count, core = len(drawn.ages), self.model.denoiser
        leaf = prediction[:count].detach().requires_grad_()
        x_0 = core.predicted_x0(leaf, drawn.x_t[:count], drawn.t[:count])
        faces = self._faces(x_0.detach())
        seen = [place for place, face in enumerate(faces) if face]
        terms = {UNSEEN: torch.tensor(1 - len(seen) / count, device=leaf.device)}
        if seen:
            found = [face for face in faces if face]
            judged = self._judged(x_0[seen], found, [drawn.ages[place] for place in seen])
            caps = {"reward identity": self.config.reward_identity, "reward age": self.config.reward_age}
            for name, each in judged.items():
                (gradient,) = torch.autograd.grad(processes * each.sum(), leaf, retain_graph=True)
                terms[name] = capped(each.mean(), prediction[:count], gradient, caps[name] * length)
        if len(drawn.kept):
            terms["anchor"] = torch.nn.functional.mse_loss(prediction[count:], drawn.kept)
        return terms

    def _judged(self, x_0: Tensor, faces: list[Face], ages: list[str]) -> dict[str, Tensor]:
        """What is missing to a face that is good enough [K], by the names of the terms."""
        embedder, network = self.judges.embedder, self.judges.network
        crops = [judge.crop for judge in (embedder, network) if judge]
        squares = [torch.tensor([crop.square(face) for face in faces]) for crop in crops]
        low, high = torch.stack(squares)[..., :2].amin(0), torch.stack(squares)[..., 2:].amax(0)
        around = torch.cat([low, high], dim=1)
        window = latent_window(around.tolist(), x_0.shape[-1], self.codec.factor)
        pixels, shift = decode_windows(self.codec, x_0, around, window, self.bf16)
        landmarks = landmarks_of(faces) - shift[:, None]
        crop_of = [
            crop(pixels, square - shift.repeat(1, 2), landmarks) for crop, square in zip(crops, squares, strict=True)
        ]
        references = torch.stack([self.references[age] for age in ages])
        judged = {"reward identity": identity_hinge(embedder(crop_of[0]), references, self.threshold)}
        if network:
            ranges = torch.tensor([CLASS_YEARS[age] for age in ages], device=pixels.device)
            judged["reward age"] = years_hinge(network(crop_of[1]), ranges) / TOLERANCE
        return judged

    @torch.no_grad()
    def _faces(self, x_0: Tensor) -> list[Face | None]:
        """The main face of every picture, which is decoded whole for it."""
        pictures = []
        with torch.autocast(x_0.device.type, torch.bfloat16, enabled=self.bf16):
            for latent in x_0:
                pictures.append(to_image(self.codec.decode(latent[None])[0].clamp(-1, 1)))
        return [next(iter(self.judges.detector(picture)), None) for picture in pictures]

    def _with_others(self, drawn: Drawn) -> Drawn:
        """The same noisy pictures again, of which the prompts name nobody."""
        others = [self._prompt(age, self.config.regularization_prompt) for age in drawn.ages]
        autocast = torch.autocast(drawn.x_t.device.type, torch.bfloat16, enabled=self.bf16)
        with self.model.untrained() as before, autocast:  # as accelerate has it around the model that is trained
            kept = before(drawn.x_t, drawn.t, others)
        return replace(
            drawn,
            x_t=drawn.x_t.repeat(2, *[1] * (drawn.x_t.ndim - 1)),
            t=drawn.t.repeat(2),
            prompts=drawn.prompts + others,
            kept=kept,
        )

    def _prompt(self, age: str, template: str = SAMPLING_PROMPT) -> str:
        return fill_prompt(template, age=age, token=self.config.token, class_word=self.config.class_word)


STREAM = 7  # of the seed's: the drawings' noise
UNSEEN = "no face"  # the share of a step's pictures that were not judged


def reward_remarks(history: Sequence[dict[str, float]]) -> list[str]:
    """What is worth saying of the reward after a training with the losses ``history``."""
    shares = [losses[UNSEEN] for losses in history if UNSEEN in losses]
    if not any(shares):
        return []
    return [f"No face was found in {sum(shares) / len(shares):.0%} of the reward's pictures, which gave none."]


def _among(vectors: Tensor) -> float:
    """The mean similarity of different ``vectors`` [N, D] of length 1; 1 where there is one alone."""
    count = len(vectors)
    return ((vectors.sum(0).square().sum() - count) / (count * (count - 1))).item() if count > 1 else 1.0
