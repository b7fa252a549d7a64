"""Training batches: what is random in a step, and what is computed once and kept."""

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..ages import AGE_CLASSES, fill_prompt, nearest_to
from ..config import IDENTITY_LOSSES, TrainingConfig
from ..data.dataset import RegularizationSet, SubjectSet
from ..data.prompts import instance_prompt
from ..data.quality import PhotoQuality, quality_remarks
from ..errors import UserError
from ..faces.crops import landmarks_of
from ..faces.embedders import FaceEmbedder, embed_face
from ..faces.find import Face, FaceDetector, cut_shape, cut_square
from ..models.interface import Codec
from ..models.levels import TIMESTEPS
from ..pictures.buckets import Shape, bucket_of, shapes_remark
from ..pictures.masks import face_mask, mask_of
from ..pictures.photos import Bar, Photo, to_tensor
from .losses import decode_probability
from .negatives import Negatives
from .order import Order


class DecodeProbability(Protocol):
    """A function: of each timestep, how often an identity loss decodes there. Its name is among a run's inputs."""

    __qualname__: str

    def __call__(self, t: Tensor, timesteps: int, /) -> Tensor:
        """The probabilities [B]."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch: B instances first, then B regularization images (or none). Tensors on the training device."""

    x_0: Tensor  # clean latents [N, C, h, w], or [N, C, 1, h, w] of a model of videos
    noise: Tensor  # the same shape
    t: Tensor  # quantiles of the noise level, int64 [N]
    prompts: list[str]
    weight: Tensor | None  # of each place of the instances' reconstruction [B, h, w]; None: all alike
    instances: int  # B
    decode: Tensor  # indices of the instances that the identity loss decodes this time, int64 [K], on the CPU
    squares: Tensor  # the squares around what is read of their faces in the training picture [K, 4], px, on the CPU
    landmarks: Tensor  # of these faces [K, 5, 2], px, on the CPU; nan where the detector has none
    references: Tensor  # their photos' embeddings [K, D]
    negatives: Tensor  # for each an embedding of a regularization face of the nearest age [K, D]


class TrainingData:
    """Draws batches. Every random choice of micro-batch n comes from (seed, n) alone, so a run can go on anywhere.

    Latents, face squares and reference embeddings are computed when first used and kept. ``remarks`` are sentences
    about photos that are not as one would wish.
    """

    def __init__(
        self,
        subject: SubjectSet,
        regularization: RegularizationSet | None,
        config: TrainingConfig,
        resolution: int,
        codec: Codec,
        embedder: FaceEmbedder | None,
        detector: FaceDetector | None,
        device: torch.device,
        decode_probability: DecodeProbability = decode_probability,
        bar: Bar = iter,
    ):
        margin = self._margin = config.face_margin if config.crop == "face" else None
        self.config, self.resolution, self.device = config, resolution, device
        self.order = Order(config.seed)
        self.regularization, self.codec, self.embedder = regularization, codec, embedder
        self.instances, self.shapes, quality = [], list[Shape](), []
        for photo, face in zip(subject.photos, subject.faces, strict=True):
            image = photo.image()
            shape = bucket_of(image.size, resolution) if config.crop == "aspect" else (resolution, resolution)
            self.shapes.append(shape)
            self.instances.append(self._cut(image, face, shape))
            quality.append(PhotoQuality.of(photo.name, image, face, margin))
        self.remarks = quality_remarks(quality, [min(shape) for shape in self.shapes])
        if config.crop == "aspect":
            self.remarks.append(shapes_remark(self.shapes))
        self._masks = [self._mask(*known) for known in zip(subject.photos, subject.faces, self.instances, strict=True)]
        self.reads_faces = config.loss in IDENTITY_LOSSES
        self.decode_probability = decode_probability
        self._photos = subject.photos
        self.instance_prompts = [instance_prompt(config, photo.age, photo.caption) for photo in subject.photos]
        self._others = regularization.photos if regularization else []
        self._latents: dict[tuple[str, int, bool, Shape], tuple[Tensor, Tensor]] = {}
        self._references: dict[tuple[int, bool], Tensor] = {}
        self.negatives = Negatives(torch.empty(0), [])
        if not self.reads_faces:
            return
        if embedder is None:
            raise UserError(f"The {config.loss} loss compares faces and needs a face embedder.")
        if not any(subject.faces):
            raise UserError(
                f"No face was found in any of the {len(subject.photos)} photos, and the {config.loss} loss needs at "
                "least one. Use photos in which the face is larger and seen from the front, or a loss that compares no "
                "faces: contrastive, cosine, none."
            )
        if config.loss == "triplet":
            if regularization is None or detector is None:
                raise UserError("The triplet loss tells the subject from other people and needs a regularization set.")
            self.negatives = Negatives.among(regularization, detector, embedder, resolution, device, bar)
            self.remarks += self.negatives.remarks
        self._negatives_of = [nearest_to(photo.age, self.negatives.ages) for photo in subject.photos]

    @property
    def face_squares(self) -> list[tuple[float, float, float, float]]:
        """The square around what is read of every face, in its training picture, px."""
        crop = self.embedder.crop if self.reads_faces and self.embedder else None
        return [crop.square(face) if crop else face.square() for _, face in self.instances if face]

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of every picture by its name: a photo as it is trained with its face, another's with its age."""
        known = {}
        for photo, (picture, face) in zip(self._photos, self.instances, strict=True):
            known[f"photo {photo.name}"] = _sha256(picture.tobytes(), face)
        if self.regularization:
            for photo, age in zip(self.regularization.photos, self.regularization.ages, strict=True):
                known[f"regularization image {photo.name}"] = _sha256(photo.content(), age)
        return known

    def said(self) -> dict[str, str]:
        """Prompt and age of every photo of which anything is said, by its name."""
        return {
            f"photo {photo.name}": f"{prompt} ({photo.age})"
            for photo, prompt in zip(self._photos, self.instance_prompts, strict=True)
            if photo.age is not None or photo.caption
        }

    def weighted(self) -> dict[str, str]:
        """SHA-256 of every mask with the background's weight, by the name of its photo."""
        return {
            f"mask of {photo.name}": _sha256(mask.tobytes(), self.config.background_weight)
            for photo, mask in zip(self._photos, self._masks, strict=True)
            if mask
        }

    def prompts(self) -> list[str]:
        """Every prompt that a batch can hold."""
        ages = AGE_CLASSES if self.regularization else ()
        return [*dict.fromkeys(self.instance_prompts), *(self._regularization_prompt(age) for age in ages)]

    def draw(self, number: int, process: int = 0, processes: int = 1) -> Batch:
        """Micro-batch ``number``: this process's share of what one process with the whole batch would draw."""
        total = self.config.train_batch_size * processes
        share = slice(process * self.config.train_batch_size, (process + 1) * self.config.train_batch_size)
        kinds = 2 if self.regularization else 1
        generator = self.order.generator(number)
        flips = torch.rand(kinds, total, generator=generator) < 0.5 * self.config.random_flip
        t = torch.randint(TIMESTEPS, (kinds, total), generator=generator)
        chance = torch.rand(total, generator=generator)
        negative = torch.randint(max(1, len(self.negatives.ages)), (total,), generator=generator)
        chosen = [self.order.alike(self.shapes, number, total)[share]]
        shape = self.shapes[chosen[0][0]]
        noise = torch.randn(kinds, 2, total, *self.codec.shape(*shape), generator=generator)

        prompts = [self.instance_prompts[index] for index in chosen[0]]
        if self.regularization:
            positions = range(number * total + share.start, number * total + share.stop)
            chosen.append(self.order.shuffled("regularization", len(self.regularization.photos), positions))
            prompts += [self._regularization_prompt(self.regularization.ages[index]) for index in chosen[1]]
        posteriors = [
            self._posterior(kind, index, bool(flip), shape)
            for kind, indices, row in zip(("instance", "regularization"), chosen, flips[:, share], strict=False)
            for index, flip in zip(indices, row, strict=True)
        ]
        mean, std = (torch.stack(parts) for parts in zip(*posteriors, strict=True))
        posterior_noise, noise = (noise[:, which, share].flatten(0, 1) for which in (0, 1))

        decode, squares, landmarks, references, negatives = [], [], [], [], []
        embedder = self.embedder if self.reads_faces else None
        kept = chance[share] < self.decode_probability(t[0, share], TIMESTEPS)
        for place, (index, flip) in enumerate(zip(chosen[0], flips[0, share].tolist(), strict=True)):
            _, face = self.instances[index]
            if embedder and face and kept[place]:
                if flip:
                    face = face.mirrored(shape[0])
                decode.append(place)
                squares.append(embedder.crop.square(face))
                landmarks.append(landmarks_of([face]))
                references.append(self.reference(index, flip))
                if pool := self._negatives_of[index]:
                    negatives.append(self.negatives.vectors[pool[int(negative[share][place]) % len(pool)]])
        return Batch(
            x_0=(mean + std * posterior_noise).to(self.device),
            noise=noise.to(self.device),
            t=t[:, share].flatten().to(self.device),
            prompts=prompts,
            weight=self._weights(chosen[0], flips[0, share].tolist(), (mean.shape[-2], mean.shape[-1])),
            instances=len(chosen[0]),
            decode=torch.tensor(decode, dtype=torch.int64),
            squares=torch.tensor(squares).reshape(-1, 4),
            landmarks=torch.cat(landmarks) if landmarks else torch.empty(0, 5, 2),
            references=torch.stack(references).to(self.device) if references else torch.empty(0),
            negatives=torch.stack(negatives).to(self.device) if negatives else torch.empty(0),
        )

    def reference(self, index: int, flip: bool = False) -> Tensor:
        """The unit vector [D] of the face in instance ``index``, as it is trained; there must be both."""
        picture, face = self.instances[index]
        assert self.embedder and face
        if (index, flip) not in self._references:
            if flip:
                picture, face = ImageOps.mirror(picture), face.mirrored(picture.width)
            self._references[index, flip] = embed_face(self.embedder, picture, face, self.device)
        return self._references[index, flip]

    def photos_nearest(self, age: str) -> list[int]:
        """Which instances with a face are of the age nearest to ``age``; one of unknown age is of every age."""
        known = [index for index, (_, face) in enumerate(self.instances) if face]
        return [known[place] for place in nearest_to(age, [self._photos[index].age for index in known])]

    def _cut(self, picture: Image.Image, face: Face | None, shape: Shape) -> tuple[Image.Image, Face | None]:
        """What is trained of a picture or its mask, and the face in it."""
        if self.config.crop == "aspect":
            return cut_shape(picture, face, shape)
        return cut_square(picture, face, self.resolution, self._margin)

    def _mask(self, photo: Photo, face: Face | None, instance: tuple[Image.Image, Face | None]) -> Image.Image | None:
        """Where the person is in the training picture, if anything says it: 255 there, 0 around. Raises UserError."""
        picture, found = instance
        mask = mask_of(photo)
        if mask is None:
            return face_mask(found.box, picture.size) if self.config.face_mask and found else None
        cut, _ = self._cut(mask, face, picture.size)
        if cut.getextrema()[1] == 0:
            raise UserError(f"The mask of {photo.name} is black in the part that is trained, which is around the face.")
        return cut

    def _weights(self, indices: list[int], flips: list[bool], shape: tuple[int, int]) -> Tensor | None:
        """The reconstruction's weights [B, *shape] on the training device; None where no photo has a mask."""
        masks = [self._masks[index] for index in indices]
        if not any(masks):
            return None
        width, height = self.shapes[indices[0]]
        rest, weights = self.config.background_weight, torch.ones(len(masks), 1, height, width)
        for weight, mask, flip in zip(weights, masks, flips, strict=True):
            if mask:
                person = torch.from_numpy(np.array(ImageOps.mirror(mask) if flip else mask)) / 255
                weight[:] = rest + (1 - rest) * person
        return torch.nn.functional.adaptive_avg_pool2d(weights, shape)[:, 0].to(self.device)

    @torch.no_grad()
    def _posterior(self, kind: str, index: int, flip: bool, shape: Shape) -> tuple[Tensor, Tensor]:
        key = (kind, index, flip, shape)
        if key not in self._latents:
            if kind == "instance":
                picture = self.instances[index][0]
            else:
                picture, _ = self._cut(self._others[index].image(), None, shape)
            pixels = to_tensor(ImageOps.mirror(picture) if flip else picture).to(self.device)
            mean, std = self.codec.encode(pixels)
            self._latents[key] = mean[0].cpu(), std[0].cpu()
        return self._latents[key]

    def _regularization_prompt(self, age: str) -> str:
        return fill_prompt(self.config.regularization_prompt, age=age, class_word=self.config.class_word)


def latent_window(
    squares: list[tuple[float, float, float, float]], latent_side: int, factor: int, context: int = 2
) -> int:
    """Side of the latent window, ``factor`` px a latent, that holds every face square and ``context`` around it."""
    largest = max(right - left for left, _, right, _ in squares)
    return min(latent_side, math.ceil(largest / factor) + 2 * context)


def _sha256(content: bytes, about: object) -> str:
    return hashlib.sha256(content + repr(about).encode()).hexdigest()
