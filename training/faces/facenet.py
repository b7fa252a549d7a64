"""FaceNet (Schroff et al. 2015), with the weights that facenet-pytorch publishes."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import DamagedFile, MissingFile
from ..published import Published, check_there, obtain
from ..weights import read_state_dict
from .crops import SquareCrop
from .embedders import UNKNOWN, Embedder, Facts

# facenet-pytorch's release v2.2.9; sha256 is None if no hash is published.
_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_LICENCE = "published with MIT-licensed code; its training photos were released for research"


def _published(name: str, sha256: str | None) -> Published:
    return Published(name, _RELEASE + name, sha256, _LICENCE)


FACENET = {
    "vggface2": _published(
        "20180402-114759-vggface2.pt", "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"
    ),
    "casia-webface": _published("20180408-102900-casia-webface.pt", None),
}
_NAMES = {weights.name: name for name, weights in FACENET.items()}
FACENET_FACTS = {
    "vggface2": Facts("FaceNet's InceptionResnetV1, trained on VGGFace2"),
    "casia-webface": Facts("FaceNet's InceptionResnetV1, trained on CASIA-WebFace"),
}
CROP = SquareCrop(160)


class FaceNet(Embedder):
    """InceptionResnetV1 of facenet-pytorch, frozen (Szegedy et al. 2016)."""

    def __init__(self, name: str, network: nn.Module, facts: Facts = UNKNOWN):
        super().__init__(name, network, CROP, facts)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns unit vectors [B, 512]. Inputs are scaled because FaceNet expects (bytes - 127.5) / 128."""
        return self.network(crops * (127.5 / 128))


def weights_folder() -> Path:
    """The folder in which facenet-pytorch keeps its weights."""
    return Path(torch.hub.get_dir()).parent / "checkpoints"


def check_facenet(path: Path, download: bool = False) -> None:
    """Raises UserError, with the download address if known, if the weights are missing and ``download`` is off."""
    if path.name in _NAMES:
        check_there(FACENET[_NAMES[path.name]], path.parent, download)
    elif not path.is_file():
        raise MissingFile(f"FaceNet weights {path.name} not found in {path.parent}.")


def open_facenet(path: Path, download: bool = False) -> FaceNet:
    """Loads FaceNet with the weights in ``path``. ``download`` fetches a published file if it is missing.

    Raises UserError if the weights are missing, damaged, of another network, or not the published file of that name.
    """
    check_facenet(path, download)
    name = _NAMES.get(path.name, path.stem)
    if path.name in _NAMES:
        obtain(FACENET[name], path.parent, download, read_facenet)
    return FaceNet(f"FaceNet {name}", read_facenet(path), FACENET_FACTS.get(name, UNKNOWN))


def read_facenet(path: Path) -> nn.Module:
    """Reads the network with the weights in ``path``. Raises UserError if they belong to another network."""
    from facenet_pytorch import InceptionResnetV1

    network = InceptionResnetV1()
    weights = {key: value for key, value in read_state_dict(path).items() if not key.startswith("logits.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DamagedFile(f"The weights in {path} do not fit FaceNet's InceptionResnetV1.") from error
    return network
