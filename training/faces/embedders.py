"""Face embedders: aligned crops to unit vectors whose cosine says how alike two faces are."""

import warnings
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import UserError
from ..files import file_sha256, read_state_dict
from ..pictures.photos import to_tensor
from .find import CROP_SCALE, Face, FaceDetector, crop_squares


class FaceEmbedder(Protocol):
    """Anything that turns face crops into unit vectors."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def size(self) -> int:
        """Side of the crops it reads, px."""

    @property
    def detector(self) -> FaceDetector | None:
        """Finds the faces it was made for, where that is not MTCNN's work."""

    def __call__(self, crops: Tensor) -> Tensor:
        """Unit vectors [B, D] of RGB ``crops`` [B, 3, size, size] in [-1, 1]. Gradients flow through."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights, which tell it from others."""

    def to(self, device: torch.device) -> "FaceEmbedder":
        """This embedder, on ``device``."""


# facenet-pytorch's release v2.2.9; hashes where one is publicly recorded.
_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
WEIGHTS = {
    "vggface2": ("20180402-114759-vggface2.pt", "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"),
    "casia-webface": ("20180408-102900-casia-webface.pt", None),
}
_PUBLISHED = {file: (name, sha256) for name, (file, sha256) in WEIGHTS.items()}


class FaceNet(nn.Module):
    """InceptionResnetV1 of facenet-pytorch, frozen (Schroff et al. 2015; Szegedy et al. 2016)."""

    size = 160
    detector = None

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.name = name
        self.network = network.eval().requires_grad_(False)

    def forward(self, crops: Tensor) -> Tensor:
        """Unit vectors [B, 512]. FaceNet reads (x - 127.5) / 128, which is 127.5 / 128 of our range."""
        return self.network(crops * (127.5 / 128))


def weights_folder() -> Path:
    """Where facenet-pytorch itself keeps its weights."""
    return Path(torch.hub.get_dir()).parent / "checkpoints"


def check_weights(path: Path, download: bool = False) -> None:
    """Raises UserError, which says where to get them, where the weights are missing and cannot be fetched either."""
    if path.is_file():
        return
    if path.name not in _PUBLISHED:
        raise UserError(f"There are no FaceNet weights {path.name} in {path.parent}.")
    if not download:
        raise UserError(
            f"The FaceNet weights {path.name} are not in {path.parent}. Have them fetched with the option download "
            f"(110 MB), or put {_RELEASE + path.name} into that folder."
        )


def open_facenet(path: Path, download: bool = False) -> FaceNet:
    """FaceNet with the weights in ``path``; a published file that is missing is fetched with ``download``.

    Raises UserError where they are missing, damaged or of another shape; warns when the SHA-256 is not the known one.
    """
    from facenet_pytorch import InceptionResnetV1

    name, known_sha256 = _PUBLISHED.get(path.name, (path.stem, None))
    check_weights(path, download)
    if not path.is_file():
        _download(_RELEASE + path.name, path)
    if known_sha256 and (sha256 := file_sha256(path)) != known_sha256:
        warnings.warn(f"{path} has SHA-256 {sha256}, but {path.name} is recorded as {known_sha256}.", stacklevel=2)
    network = InceptionResnetV1()
    weights = {key: value for key, value in read_state_dict(path).items() if not key.startswith("logits.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} holds weights of another network than FaceNet's InceptionResnetV1.") from error
    return FaceNet(f"FaceNet {name}", network)


def _download(url: str, path: Path) -> None:
    """Fetch ``url`` to ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path))  # to a temporary name, then renamed
    except OSError as error:
        raise UserError(f"{url} could not be downloaded ({error}). Download it by hand into {path.parent}.") from error


@torch.no_grad()
def embed_face(embedder: FaceEmbedder, image: Image.Image, face: Face, device: torch.device | str = "cpu") -> Tensor:
    """The unit vector [D] of one face in one picture, on the CPU."""
    square = torch.tensor([face.square(CROP_SCALE)])
    crop = crop_squares(to_tensor(image).to(device), square.to(device), embedder.size)
    return embedder(crop)[0].float().cpu()
