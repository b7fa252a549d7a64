"""Tests whether a matcher's gradient carries identity: moves photos towards another person; other matchers check."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from training.data.dataset import SubjectSet
from training.dreambooth import losses
from training.dreambooth.batches import latent_window
from training.dreambooth.face_reader import FaceReader
from training.errors import NoFaceFound, UnsupportedModel
from training.faces.crops import landmarks_of
from training.faces.embedders import FaceEmbedder, embed_face
from training.faces.find import Face, cut_square
from training.models.stable_diffusion.vae import LatentCodec
from training.pictures.photos import to_image, to_tensor

MARGIN = 0.5  # around the face, in face sizes; the default of training
RATE = 0.03  # Adam's learning rate on latents, whose standard deviation is about 1


@dataclass(frozen=True)
class Pull:
    """One photo before and after; similarities (before, after) are mean cosines with all photos of a person."""

    name: str
    before: Image.Image  # encoded and decoded, so that it differs from ``after`` only by the move
    after: Image.Image
    to_target: dict[str, tuple[float, float]]  # by embedder; only the first one's gradient was used
    to_self: dict[str, tuple[float, float]]


def probe(
    codec: LatentCodec,
    embedders: Sequence[FaceEmbedder],
    subject: SubjectSet,
    target: SubjectSet,
    side: int,
    steps: int,
    photos: int,
) -> list[Pull]:
    """Moves the first ``photos`` of ``subject`` towards ``target``.

    For each photo, encoded at ``side`` px, ``steps`` of Adam on its latents lower the biometric loss between the first
    of ``embedders`` and the target's mean embedding. Raises UserError if a person has no photo with a face.
    """
    if codec.is_tiny and isinstance(codec.vae.encoder, torch.nn.Identity):
        raise UnsupportedModel("The tiny VAE has no encoder. Use a folder that also holds taesd_encoder.safetensors.")
    references = {embedder.name: (_vectors(embedder, subject), _vectors(embedder, target)) for embedder in embedders}
    towards = torch.nn.functional.normalize(references[embedders[0].name][1].mean(0, keepdim=True))
    pulls = []
    for photo, face in _with_face(subject)[:photos]:
        picture, cut = cut_square(photo.image(), face, side, MARGIN)
        assert cut is not None
        z = codec.encode(to_tensor(picture))[0]
        moved = _optimized(codec, embedders[0], z, cut, towards, steps)
        pictures = [_decoded(codec, latents) for latents in (z, moved)]
        to_target, to_self = {}, {}
        for embedder in embedders:
            vectors = torch.stack([embed_face(embedder, picture, cut) for picture in pictures])
            own, other = ((vectors @ reference.T).mean(1).tolist() for reference in references[embedder.name])
            to_self[embedder.name], to_target[embedder.name] = (own[0], own[1]), (other[0], other[1])
        pulls.append(Pull(photo.name, *pictures, to_target, to_self))
    return pulls


def _optimized(
    codec: LatentCodec, embedder: FaceEmbedder, z: Tensor, face: Face, towards: Tensor, steps: int
) -> Tensor:
    square = embedder.crop.square(face)
    reader = FaceReader(codec, embedder, latent_window([square], z.shape[-1], codec.factor))
    squares, landmarks = torch.tensor([square]), landmarks_of([face])
    moved = z.clone().requires_grad_()
    optimizer = torch.optim.Adam([moved], lr=RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        losses.biometric(reader(moved, squares, landmarks), towards).sum().backward()
        optimizer.step()
    return moved.detach()


@torch.no_grad()
def _decoded(codec: LatentCodec, latents: Tensor) -> Image.Image:
    return to_image(codec.decode(latents)[0])


def _with_face(person: SubjectSet) -> list:
    photos = [(photo, face) for photo, face in zip(person.photos, person.faces, strict=True) if face]
    if not photos:
        raise NoFaceFound(
            f"No face found in any of {len(person.photos)} photos, such as {person.photos[0].name}. Use other photos."
        )
    return photos


def _vectors(embedder: FaceEmbedder, person: SubjectSet) -> Tensor:
    return torch.stack([embed_face(embedder, photo.image(), face) for photo, face in _with_face(person)])
