"""Does a matcher's gradient carry identity? Photos are pulled towards another person, and somebody else judges."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from training.data.dataset import SubjectSet
from training.dreambooth import losses
from training.dreambooth.batches import latent_window
from training.dreambooth.face_reader import FaceReader
from training.errors import UserError
from training.faces.crops import landmarks_of
from training.faces.embedders import FaceEmbedder, embed_face
from training.faces.find import Face, cut_square
from training.models.stable_diffusion.vae import LatentCodec
from training.pictures.photos import to_image, to_tensor

MARGIN = 0.5  # face sizes around the face, as the training's default
RATE = 0.03  # of Adam, in latents, whose spread is about 1


@dataclass(frozen=True)
class Pull:
    """One photo before and after; similarities are mean cosines with all photos of a person, (before, after)."""

    name: str
    before: Image.Image  # encoded and decoded, so that only the pull differs
    after: Image.Image
    to_target: dict[str, tuple[float, float]]  # by embedder, of which only the first was asked
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
    """Pulls the first ``photos`` of ``subject`` towards ``target``.

    From the latents of a photo of ``side`` px, ``steps`` of Adam lower the biometric loss of the first of
    ``embedders`` to the mean of the target's embeddings. Raises UserError where a person has no face.
    """
    if codec.is_tiny and isinstance(codec.vae.encoder, torch.nn.Identity):
        raise UserError("The tiny VAE has no encoder: give a folder that holds taesd_encoder.safetensors too.")
    known = {embedder.name: (_vectors(embedder, subject), _vectors(embedder, target)) for embedder in embedders}
    towards = torch.nn.functional.normalize(known[embedders[0].name][1].mean(0, keepdim=True))
    pulls = []
    for photo, face in _with_face(subject)[:photos]:
        picture, cut = cut_square(photo.image(), face, side, MARGIN)
        assert cut is not None
        z = codec.encode(to_tensor(picture))[0]
        moved = _pulled(codec, embedders[0], z, cut, towards, steps)
        pictures = [_decoded(codec, latents) for latents in (z, moved)]
        to_target, to_self = {}, {}
        for embedder in embedders:
            vectors = torch.stack([embed_face(embedder, one, cut) for one in pictures])
            own, other = ((vectors @ of.T).mean(1).tolist() for of in known[embedder.name])
            to_self[embedder.name], to_target[embedder.name] = (own[0], own[1]), (other[0], other[1])
        pulls.append(Pull(photo.name, *pictures, to_target, to_self))
    return pulls


def _pulled(codec: LatentCodec, embedder: FaceEmbedder, z: Tensor, face: Face, towards: Tensor, steps: int) -> Tensor:
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
    found = [(photo, face) for photo, face in zip(person.photos, person.faces, strict=True) if face]
    if not found:
        raise UserError(
            f"No face was found in any of the {len(person.photos)} photos, such as {person.photos[0].name}."
        )
    return found


def _vectors(embedder: FaceEmbedder, person: SubjectSet) -> Tensor:
    return torch.stack([embed_face(embedder, photo.image(), face) for photo, face in _with_face(person)])
