"""face-api's age network (Muehler; maintained by Mandic), read from its published manifest and weights."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..published import Published
from .age_estimators import AgeErrors, ClassError
from .crops import SquareCrop

_SOURCE = "https://raw.githubusercontent.com/vladmandic/face-api/f587b44f66eae5a8fbd74f593171882378c14ddc/model/"
FACE_API = Published(
    "age_gender_model.bin",
    _SOURCE + "age_gender_model.bin",
    "49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
    "MIT",
    429_708,
)
MANIFEST = Published(
    "age_gender_model-weights_manifest.json",
    _SOURCE + "age_gender_model-weights_manifest.json",
    "74b60bf3ebf981bf4e661e9cca3a185614e10b25d797118b62e2a68d3ff2569f",
    "MIT",
    8_392,
)
ERRORS = AgeErrors(
    "FairFace",
    538,
    7.2,
    {
        "child": ClassError(120, 0.92, 3.4),
        "teenager": ClassError(60, 0.37, 6.4),
        "youngadults": ClassError(59, 0.73, 5.8),
        "middleaged": ClassError(60, 0.73, 8.4),
        "elderly": ClassError(59, 0.61, 9.0),
        "old": ClassError(60, 0.25, 13.2),
    },
)
MEAN_COLOUR = (122.782, 117.001, 104.298)


class FaceApiAge(nn.Module):
    """A small Xception (Chollet 2017): crops [B, 3, 112, 112] in [-1, 1] to years [B]. A YearsNetwork."""

    name, crop = "face-api", SquareCrop(112, scale=1.0)
    mean: Tensor

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, stride=2)
        self.entry = nn.ModuleList([_Reduction(32, 64, False), _Reduction(64, 128)])
        self.middle = nn.ModuleList(_Residual(128) for _ in range(2))
        self.exit = _Reduction(128, 256)
        self.last = _Separable(256, 512)
        self.age = nn.Linear(512, 1)
        self.register_buffer("mean", torch.tensor(MEAN_COLOUR).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Returns the years [B]."""
        x = ((crops + 1) * 127.5 - self.mean) / 255
        x = self.first(_padded(x, 3, 2)).relu()
        for block in (*self.entry, *self.middle, self.exit):
            x = block(x)
        return self.age(functional.avg_pool2d(self.last(x).relu(), 7, 2).flatten(1)).squeeze(1)


class _Separable(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1),
        )


class _Reduction(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, activated: bool = True):
        super().__init__()
        self.activated = activated
        self.first, self.second = _Separable(in_channels, out_channels), _Separable(out_channels, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        result = self.second(self.first(x.relu() if self.activated else x).relu())
        result = functional.max_pool2d(_padded(result, 3, 2, float("-inf")), 3, 2)
        return result + self.shortcut(x)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.parts = nn.ModuleList(_Separable(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        result = x
        for part in self.parts:
            result = part(result.relu())
        return x + result


def _padded(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pads square images as TensorFlow does: odd padding puts the extra pixel at the right and bottom."""
    pad = max(0, (-(-x.shape[3] // stride) - 1) * stride + kernel - x.shape[3])
    return functional.pad(x, (pad // 2, pad - pad // 2) * 2, value=value)


def read_face_api(weights: Path, manifest: Path) -> FaceApiAge:
    """Reads the network from verified files. Raises ValueError if the shapes in them differ."""
    network, tensors = FaceApiAge(), _tensors(weights.read_bytes(), json.loads(manifest.read_text()))
    values = [value for name, value in tensors.items() if not name.startswith("fc/gender")]
    state = network.state_dict()
    if len(values) != len(state):
        raise ValueError(f"{weights.name} has {len(values)} age weights instead of {len(state)}")
    for (name, expected), value in zip(state.items(), values, strict=True):
        if value.ndim == 4:  # [h, w, in, out], or [h, w, channels, 1] if depthwise
            value = value.permute((2, 3, 0, 1) if value.shape[3] == 1 else (3, 2, 0, 1))
        elif value.ndim == 2:
            value = value.T
        if value.shape != expected.shape:
            raise ValueError(
                f"{name} in {weights.name} has shape {tuple(value.shape)} instead of {tuple(expected.shape)}"
            )
        state[name] = value.contiguous()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _tensors(content: bytes, manifest: list[dict]) -> dict[str, Tensor]:
    """Returns the tensors by name. tensorflow.js stores float32 values, or bytes b that stand for b * scale + min."""
    tensors, offset = {}, 0
    for spec in manifest[0]["weights"]:
        quantised = spec.get("quantization")
        values = np.frombuffer(content, "u1" if quantised else "<f4", int(np.prod(spec["shape"])), offset)
        offset += values.nbytes
        if quantised:
            values = (values * quantised["scale"] + quantised["min"]).astype(np.float32)
        tensors[spec["name"]] = torch.from_numpy(values.reshape(spec["shape"]).copy())
    if offset != len(content):
        raise ValueError(f"The weights have {len(content)} bytes, but the manifest describes {offset}")
    return tensors
