"""Trains the world's embedders and age estimators: python -m lab.world.train_matchers {loss,score,age,age-judge}."""

import argparse
import functools
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from training.files import written
from training.world.networks import AgeNetwork, PlainAgeNetwork, PlainEmbedder, ResidualEmbedder
from training.world.render.place import face_crops
from training.world.render.population import AGE_ESTIMATOR, AGE_JUDGE, LOSS_EMBEDDER, SCORE_EMBEDDER
from training.world.render.traits import DISGUISES, IDENTITY_TRAITS, identities
from training.world.shipped import AGE_NETWORKS
from training.world.shipped import FOLDER as WEIGHTS

from .loop import FOLDER, best_device, run
from .pool import Pool, pixels, pool

SCALE, MARGIN = 24.0, 0.20  # of CosFace (Wang et al. 2018)
PER_PERSON = 12  # images

# Network class, first person, random seed.
KINDS = {
    "loss": (ResidualEmbedder, LOSS_EMBEDDER, 11),
    "score": (PlainEmbedder, SCORE_EMBEDDER, 12),
    "age": (AgeNetwork, AGE_ESTIMATOR, 13),
    "age-judge": (PlainAgeNetwork, AGE_JUDGE, 14),
}


class Classifier(nn.Module):
    """An embedder with two losses: CosFace on the person, and regression of the person's traits from the embedding.

    The traits only speed up learning. Traits that a disguise changes are left out.
    """

    traits: Tensor

    def __init__(self, network: nn.Module, first: int, people: int, dimensions: int):
        super().__init__()
        self.network = network
        self.people = nn.Parameter(torch.randn(people, dimensions))
        lasting = [index for index, name in enumerate(IDENTITY_TRAITS) if name not in DISGUISES]
        self.register_buffer("traits", 2 * identities(range(first, first + people))[:, lasting] - 1)
        self.read = nn.Linear(dimensions, len(lasting))

    def losses(self, crops: Tensor, faces: Pool, chosen: Tensor) -> dict[str, Tensor]:
        """Returns the cross-entropy of the person on ``crops`` and the traits' squared error over their variance."""
        who = faces.people[chosen].to(crops.device)
        vectors = self.network(crops)
        cosine = vectors @ nn.functional.normalize(self.people, dim=1).float().T
        margin = MARGIN * nn.functional.one_hot(who, len(self.people))
        identity = nn.functional.cross_entropy(SCALE * (cosine - margin).float(), who)
        return {"identity": identity, "traits": 9 * (self.read(8 * vectors) - self.traits[who]).square().mean()}


class Regressor(nn.Module):
    """An age estimator with its loss."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def losses(self, crops: Tensor, faces: Pool, chosen: Tensor) -> dict[str, Tensor]:
        """Returns the mean absolute error in decades."""
        return {"decades": (self.network(crops) - faces.ages[chosen].to(crops.device)).abs().mean() / 10}


def degraded(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Imitates a decoder's output: softens half of the images; adds noise, colour gain and a small shift to all."""
    count = len(pictures)
    soft = nn.functional.interpolate(nn.functional.avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    share = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.5)
    pictures = torch.lerp(pictures, soft, share[:, None, None, None])
    grain = torch.randn(pictures.shape, generator=generator) * 0.05 * torch.rand(count, 1, 1, 1, generator=generator)
    gain = 1 + 0.12 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    moved = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return torch.roll(((pictures + 1) * gain - 1 + grain).clamp(-1, 1), moved, dims=(2, 3))


def train(kind: str, folder: Path, out: Path, pictures: int, steps: int, batch_size: int) -> None:
    """Trains one network and writes its weights, fp16, to ``out``."""
    network_class, first, seed = KINDS[kind]
    device = best_device()
    estimates_age = kind in AGE_NETWORKS
    faces = pool(folder / "pool", first, pictures, 1 if estimates_age else PER_PERSON, not estimates_age, device)
    torch.manual_seed(seed)
    network = network_class()
    if estimates_age:
        module: Regressor | Classifier = Regressor(network)
    else:
        module = Classifier(network, first, int(faces.people.max()) + 1, network.out.out_features)
    loss = functools.partial(_loss, faces=faces, batch_size=batch_size, device=device)
    trained = run(module, loss, folder / f"{kind}.pt", steps, 2e-3, seed, weight_decay=0.05, ema=0.99).network
    weights = trained.cpu().state_dict()
    state = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    with written(out / f"{kind}.safetensors") as temporary:
        save_file(state, temporary)


def _loss(module, generator: torch.Generator, faces: Pool, batch_size: int, device: torch.device) -> dict[str, Tensor]:
    chosen = torch.randint(len(faces.pictures), (batch_size,), generator=generator)
    return module.losses(face_crops(degraded(pixels(faces.pictures[chosen]), generator)).to(device), faces, chosen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for images, state and log")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder for the weights")
    parser.add_argument("--pictures", type=int, default=14400)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=96)
    train(**vars(parser.parse_args()))
