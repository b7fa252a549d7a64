"""Training batches: what is random per step, and what is computed once and kept."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from ..ages import AGE_CLASSES, fill_prompt, nearest_to
from ..config import IDENTITY_LOSSES, TrainingConfig
from ..data.dataset import RegularizationSet
from ..data.instances import Instance, crop, faces_in
from ..faces.crops import landmarks_of
from ..faces.embedders import FaceEmbedder, embed_face
from ..models.finite import require_finite
from ..models.interface import Codec
from ..models.levels import ALL, TIMESTEPS
from ..pictures.buckets import Shape
from ..pictures.photos import to_tensor
from .losses import decode_probability
from .negatives import Negatives
from .order import Order


class DecodeProbability(Protocol):
    """How often an identity loss decodes at each timestep. The function's name is one of a run's inputs."""

    __qualname__: str

    def __call__(self, t: Tensor, timesteps: int, /) -> Tensor:
        """The probabilities [B]."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch: B instances, then B regularization images or none. Tensors are on the training device."""

    x_0: Tensor  # clean latents [N, C, h, w]; [N, C, 1, h, w] for video models
    noise: Tensor  # like x_0
    t: Tensor  # quantiles of the noise level, int64 [N]
    prompts: list[str]
    weight: Tensor | None  # of the instances' reconstruction [B, h, w]; None: 1 everywhere
    instances: int  # B
    decode: Tensor  # indices of the K instances that the identity loss decodes, int64 [K], on the CPU
    squares: Tensor  # the squares read around their faces [K, 4], px of the training image, on the CPU
    landmarks: Tensor  # of these faces [K, 5, 2], px, on the CPU; nan if the detector gives none
    references: Tensor  # embeddings of their photos [K, D]
    negatives: Tensor  # embeddings of regularization faces of the nearest age [K, D]


class TrainingData:
    """Samples batches. All randomness of micro-batch n comes from the seed and n, so a run can resume at any step.

    Latents and reference embeddings are computed when first used and kept. ``resolution`` is the side of a square
    training image in px. ``embedder`` is needed if ``config`` reads faces, ``negatives`` for the triplet loss.
    ``quantiles``: see Denoiser.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        regularization: RegularizationSet | None,
        config: TrainingConfig,
        resolution: int,
        codec: Codec,
        device: torch.device,
        embedder: FaceEmbedder | None = None,
        negatives: Negatives | None = None,
        decode_probability: DecodeProbability = decode_probability,
        quantiles: tuple[float, float] = ALL,
    ):
        self.instances, self.regularization, self.config = instances, regularization, config
        self.resolution, self.codec, self.device = resolution, codec, device
        self.embedder, self.negatives, self.decode_probability = embedder, negatives, decode_probability
        self.quantiles = quantiles
        self.order = Order(config.seed)
        self.reads_faces = config.loss in IDENTITY_LOSSES
        self._latents: dict[tuple[str, int, bool, Shape], tuple[Tensor, Tensor]] = {}
        self._references: dict[tuple[int, bool], Tensor] = {}
        ages = negatives.ages if negatives else []
        self._negatives_of = [nearest_to(instance.photo.age, ages) for instance in instances]

    @property
    def face_squares(self) -> list[tuple[float, float, float, float]]:
        """The square that is read around each face, in px of its training image."""
        crop = self.embedder.crop if self.reads_faces and self.embedder else None
        return [crop.square(face) if crop else face.square() for face in faces_in(self.instances)]

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 by image name: of each cropped photo with its face, of each regularization image with its age."""
        hashes = {}
        for instance in self.instances:
            hashes[f"photo {instance.photo.name}"] = _sha256(instance.image.tobytes(), instance.face)
        if self.regularization:
            for photo, age in zip(self.regularization.photos, self.regularization.ages, strict=True):
                hashes[f"regularization image {photo.name}"] = _sha256(photo.content(), age)
        return hashes

    def ages_and_captions(self) -> dict[str, str]:
        """Prompt and age by photo name, of the photos that have an age or a caption."""
        return {
            f"photo {instance.photo.name}": f"{instance.prompt} ({instance.photo.age})"
            for instance in self.instances
            if instance.photo.age is not None or instance.photo.caption
        }

    def mask_fingerprints(self) -> dict[str, str]:
        """SHA-256 of each mask with the background's weight, by photo name."""
        return {
            f"mask of {instance.photo.name}": _sha256(instance.mask.tobytes(), self.config.background_weight)
            for instance in self.instances
            if instance.mask
        }

    def prompts(self) -> list[str]:
        """Every prompt that a batch can hold."""
        ages = AGE_CLASSES if self.regularization else ()
        prompts = dict.fromkeys(instance.prompt for instance in self.instances)
        return [*prompts, *(self._regularization_prompt(age) for age in ages)]

    def sample(self, number: int, process: int = 0, processes: int = 1) -> Batch:
        """Micro-batch ``number``: this process's share of the batch that a single process would sample."""
        total = self.config.train_batch_size * processes
        share = slice(process * self.config.train_batch_size, (process + 1) * self.config.train_batch_size)
        sets = 2 if self.regularization else 1
        generator = self.order.generator(number)
        flips = torch.rand(sets, total, generator=generator) < 0.5 * self.config.random_flip
        t = torch.randint(TIMESTEPS, (sets, total), generator=generator)
        chance = torch.rand(total, generator=generator)
        negative = torch.randint(
            max(1, len(self.negatives.ages) if self.negatives else 0), (total,), generator=generator
        )
        shapes = [instance.shape for instance in self.instances]
        chosen = [self.order.alike(shapes, number, total)[share]]
        shape = shapes[chosen[0][0]]
        noise = torch.randn(sets, 2, total, *self.codec.shape(*shape), generator=generator)

        prompts = [self.instances[index].prompt for index in chosen[0]]
        if self.regularization:
            positions = range(number * total + share.start, number * total + share.stop)
            chosen.append(self.order.shuffled("regularization", len(self.regularization.photos), positions))
            prompts += [self._regularization_prompt(self.regularization.ages[index]) for index in chosen[1]]
        posteriors = [
            self._posterior(name, index, bool(flip), shape)
            for name, indices, row in zip(("instance", "regularization"), chosen, flips[:, share], strict=False)
            for index, flip in zip(indices, row, strict=True)
        ]
        mean, std = (torch.stack(parts) for parts in zip(*posteriors, strict=True))
        posterior_noise, noise = (noise[:, part, share].flatten(0, 1) for part in (0, 1))
        flipped = flips[0, share].tolist()
        first, last = self.quantiles  # an expert's t counts its own noise levels, the probability those of all experts
        decoded = chance[share] < self.decode_probability(first * TIMESTEPS + (last - first) * t[0, share], TIMESTEPS)
        return Batch(
            x_0=(mean + std * posterior_noise).to(self.device),
            noise=noise.to(self.device),
            t=t[:, share].flatten().to(self.device),
            prompts=prompts,
            weight=self._weights(chosen[0], flipped, (mean.shape[-2], mean.shape[-1])),
            instances=len(chosen[0]),
            **self._faces(chosen[0], flipped, decoded.tolist(), negative[share].tolist()),
        )

    def _faces(self, indices: list[int], flips: list[bool], decoded: list[bool], negative: list[int]) -> dict[str, Any]:
        """The fields of a Batch that the identity loss reads, for the instances ``indices`` that are ``decoded``."""
        decode, squares, landmarks, references, negatives = [], [], [], [], []
        embedder = self.embedder if self.reads_faces else None
        for place, (index, flip) in enumerate(zip(indices, flips, strict=True)):
            instance = self.instances[index]
            if not (embedder and instance.face and decoded[place]):
                continue
            face = instance.face.mirrored(instance.image.width) if flip else instance.face
            decode.append(place)
            squares.append(embedder.crop.square(face))
            landmarks.append(landmarks_of([face]))
            references.append(self.reference(index, flip))
            if self.negatives and (pool := self._negatives_of[index]):
                negatives.append(self.negatives.vectors[pool[negative[place] % len(pool)]])
        return {
            "decode": torch.tensor(decode, dtype=torch.int64),
            "squares": torch.tensor(squares).reshape(-1, 4),
            "landmarks": torch.cat(landmarks) if landmarks else torch.empty(0, 5, 2),
            "references": torch.stack(references).to(self.device) if references else torch.empty(0),
            "negatives": torch.stack(negatives).to(self.device) if negatives else torch.empty(0),
        }

    def reference(self, index: int, flip: bool = False) -> Tensor:
        """The embedding [D] of the face in instance ``index``, a unit vector. Needs a face and an embedder."""
        image, face = self.instances[index].image, self.instances[index].face
        assert self.embedder and face
        if (index, flip) not in self._references:
            if flip:
                image, face = ImageOps.mirror(image), face.mirrored(image.width)
            self._references[index, flip] = embed_face(self.embedder, image, face, self.device)
        return self._references[index, flip]

    def latents(self, index: int) -> Tensor:
        """The mean of the latents [C, ...] of instance ``index``, on the CPU."""
        return self._posterior("instance", index, False, self.instances[index].shape)[0]

    def photos_nearest(self, age: str) -> list[int]:
        """Indices of the instances with a face whose age is nearest to ``age``; an unknown age is always nearest."""
        with_face = [index for index, instance in enumerate(self.instances) if instance.face]
        nearest = nearest_to(age, [self.instances[index].photo.age for index in with_face])
        return [with_face[place] for place in nearest]

    def _weights(self, indices: list[int], flips: list[bool], shape: tuple[int, int]) -> Tensor | None:
        """The reconstruction's weights [B, *shape] on the training device; None if no photo has a mask."""
        masks = [self.instances[index].mask for index in indices]
        if not any(masks):
            return None
        width, height = self.instances[indices[0]].shape
        background, weights = self.config.background_weight, torch.ones(len(masks), 1, height, width)
        for weight, mask, flip in zip(weights, masks, flips, strict=True):
            if mask:
                person = torch.from_numpy(np.array(ImageOps.mirror(mask) if flip else mask)) / 255
                weight[:] = background + (1 - background) * person
        return torch.nn.functional.adaptive_avg_pool2d(weights, shape)[:, 0].to(self.device)

    @torch.no_grad()
    def _posterior(self, name: str, index: int, flip: bool, shape: Shape) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of an image's latents [C, ...], on the CPU."""
        key = (name, index, flip, shape)
        if key not in self._latents:
            if name == "instance":
                photo, image = self.instances[index].photo, self.instances[index].image
            else:
                assert self.regularization
                photo = self.regularization.photos[index]
                image, _ = crop(photo.image(), None, shape, self.config)
            pixels = to_tensor(ImageOps.mirror(image) if flip else image).to(self.device)
            mean, std = self.codec.encode(pixels)
            require_finite(self.codec, torch.stack([mean, std]), f"encoding {photo.name}")
            self._latents[key] = mean[0].cpu(), std[0].cpu()
        return self._latents[key]

    def _regularization_prompt(self, age: str) -> str:
        return fill_prompt(self.config.regularization_prompt, age=age, class_word=self.config.class_word)


def latent_window(
    squares: list[tuple[float, float, float, float]], latent_side: int, factor: int, context: int = 2
) -> int:
    """The side of a latent window that fits any face square plus ``context`` latents, at ``factor`` px per latent."""
    largest = max(right - left for left, _, right, _ in squares)
    return min(latent_side, math.ceil(largest / factor) + 2 * context)


def _sha256(content: bytes, details: object) -> str:
    return hashlib.sha256(content + repr(details).encode()).hexdigest()
