"""Loads the weights that ship with the project, after checking their SHA-256."""

from pathlib import Path

from torch import Tensor, nn

from ..errors import DamagedFile, MissingFile
from ..faces.crops import SquareCrop
from ..faces.embedders import UNKNOWN
from ..files import file_sha256
from ..weights import read_state_dict
from .networks import AgeNetwork, PlainAgeNetwork, PlainEmbedder, ResidualEmbedder
from .render.place import CROP, known_place

FOLDER = Path(__file__).parent / "weights"
SHA256 = {
    "base.safetensors": "c5bce130183ab8ebbdd13aa182ad906c5e5cc0ea88f69b99295ac7c463318b51",
    "loss.safetensors": "460b757c136b77e56a5c13c8c60bbced5de6bfc3e9bca84a8c85c336cfbb36af",
    "score.safetensors": "5d92c22cb9a047a330a4126b8ea7d8fc6e54ba48ba19402a72948203e641258c",
    "age.safetensors": "4cbaf2965bdcd177b19b5f69f520ac7bf4f6006a58d51c903dba47a70b0adfa3",
    "age-judge.safetensors": "7dd88978791a8adc233f214f6c96b27bfa2a68de58e2bb162d4d6b69b3082ab9",
}
EMBEDDERS = {"loss": ResidualEmbedder, "score": PlainEmbedder}
AGE_NETWORKS = {"age": AgeNetwork, "age-judge": PlainAgeNetwork}


def shipped(name: str, folder: Path = FOLDER) -> dict[str, Tensor]:
    """Returns the tensors of a shipped file. Raises UserError if it is missing or its SHA-256 is wrong."""
    path = folder / name
    if not path.is_file():
        raise MissingFile(f"{path} ships with this project but is missing. Install the project again.")
    if (sha256 := file_sha256(path)) != SHA256[name]:
        raise DamagedFile(
            f"{path} is damaged or was changed: its SHA-256 is {sha256}, expected {SHA256[name]}. Install the project "
            "again."
        )
    return read_state_dict(path)


class WorldEmbedder(nn.Module):
    """A frozen FaceEmbedder for the world's faces."""

    crop = SquareCrop(CROP)
    detector = staticmethod(known_place)
    facts = UNKNOWN

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.name = name
        self.network = network.eval().requires_grad_(False)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns unit vectors [B, D] for ``crops`` [B, 3, 48, 48] in [-1, 1]; gradients flow back to the crops."""
        return self.network(crops)


class AgeEstimator(WorldEmbedder):
    """Returns ages [B] in years, instead of vectors, for the same crops."""


def world_embedder(name: str) -> WorldEmbedder:
    """Loads ``loss`` to train with or ``score`` to score with; they differ in architecture and in training people.

    Raises UserError; see shipped.
    """
    return WorldEmbedder(f"drawn-{name}", _with_weights(EMBEDDERS[name](), f"{name}.safetensors"))


def age_estimator(name: str = "age") -> AgeEstimator:
    """Loads ``age`` to train with or ``age-judge`` to score what it trained. Raises UserError; see shipped."""
    return AgeEstimator(f"drawn-{name}", _with_weights(AGE_NETWORKS[name](), f"{name}.safetensors"))


def _with_weights(network: nn.Module, name: str) -> nn.Module:
    network.load_state_dict(shipped(name))  # converts fp16 to float32
    return network
