"""Two face embedders and two age estimators for face crops, each with its own architecture."""

import torch
from torch import Tensor, nn

from .render.place import CROP


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


def _plain(in_width: int, width: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(in_width, width, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.GELU()]


def _residual_trunk(widths: tuple[int, ...]) -> nn.Sequential:
    layers, in_width = [], 3
    for width in widths:
        down = nn.Conv2d(in_width, width, 3, stride=2, padding=1, bias=False)
        layers += [down, nn.BatchNorm2d(width), nn.ReLU(), _Residual(width)]
        in_width = width
    return nn.Sequential(*layers)


class ResidualEmbedder(nn.Module):
    """A three-level ResNet whose output layer keeps the spatial positions of the last 6x6 map."""

    def __init__(self, dimensions: int = 128):
        super().__init__()
        self.trunk = _residual_trunk((32, 64, 128))
        self.narrow = nn.Conv2d(128, 32, 1)
        self.out = nn.Linear(32 * (CROP // 8) ** 2, dimensions)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns unit vectors [B, 128] for ``crops`` [B, 3, 48, 48] in [-1, 1]."""
        return self.head(self.trunk(crops))

    def head(self, features: Tensor) -> Tensor:
        """Returns unit vectors [B, 128] for the trunk's last ``features`` [B, 128, 6, 6]."""
        return nn.functional.normalize(self.out(self.narrow(features).flatten(1)).float(), dim=1)

    def levels(self, crops: Tensor) -> list[Tensor]:
        """Returns the trunk's features after each level; ``head`` takes the last."""
        features = []
        for layer in self.trunk:
            crops = layer(crops)
            if isinstance(layer, _Residual):
                features.append(crops)
        return features


class PlainEmbedder(nn.Module):
    """A VGG without shortcuts: a wide first kernel, then convolutions and max pooling."""

    def __init__(self, dimensions: int = 96):
        super().__init__()
        self.trunk = nn.Sequential(
            *_plain(3, 48, kernel=5, stride=2),
            *_plain(48, 64),
            nn.MaxPool2d(2),
            *_plain(64, 96),
            *_plain(96, 96),
            nn.MaxPool2d(2),
            *_plain(96, 192),
            nn.Conv2d(192, 24, 1),
        )
        self.out = nn.Linear(24 * (CROP // 8) ** 2, dimensions)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns unit vectors [B, 96] for ``crops`` [B, 3, 48, 48] in [-1, 1]."""
        return nn.functional.normalize(self.out(self.trunk(crops).flatten(1)).float(), dim=1)


class AgeNetwork(nn.Module):
    """A narrower ResNet with one output, the age."""

    def __init__(self):
        super().__init__()
        self.trunk = _residual_trunk((24, 48, 96))
        self.out = nn.Linear(96, 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns ages [B] in years for ``crops`` [B, 3, 48, 48] in [-1, 1]."""
        return 100 * torch.sigmoid(self.out(self.trunk(crops).mean((2, 3))).float()[:, 0])


class PlainAgeNetwork(nn.Module):
    """A VGG that predicts a distribution over every fifth year; the age is its mean (DEX, Rothe et al. 2018)."""

    years: Tensor

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            *_plain(3, 32, kernel=5, stride=2),
            *_plain(32, 48),
            nn.MaxPool2d(2),
            *_plain(48, 64),
            *_plain(64, 64),
            nn.MaxPool2d(2),
            *_plain(64, 128),
            nn.Conv2d(128, 16, 1),
        )
        self.register_buffer("years", torch.arange(0.0, 101.0, 5.0), persistent=False)
        self.out = nn.Linear(16 * (CROP // 8) ** 2, len(self.years))

    def forward(self, crops: Tensor) -> Tensor:
        """Returns ages [B] in years for ``crops`` [B, 3, 48, 48] in [-1, 1]."""
        return self.out(self.trunk(crops).flatten(1)).float().softmax(1) @ self.years
