"""MobileFaceNet (Chen et al. 2018), read from a published TensorFlow Lite file."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..published import Published
from .crops import AlignedCrop
from .embedders import Facts, Thresholds

MOBILEFACENET = Published(
    "MobileFaceNet.tflite",
    "https://raw.githubusercontent.com/syaringan357/Android-MobileFaceNet-MTCNN-FaceAntiSpoofing/"
    "d635649e711f5e16e6cd3dc06cbb329cd8d1d3b7/app/src/main/assets/MobileFaceNet.tflite",
    "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
    "MIT",
    5_233_396,
)
# ArcFace's five points in 112 px (Deng et al. 2019).
CROP = AlignedCrop(
    112,
    (
        (0.341916, 0.461574),
        (0.656534, 0.459835),
        (0.500225, 0.640505),
        (0.370976, 0.824692),
        (0.631517, 0.823250),
    ),
)
FACTS = Facts(
    "MobileFaceNet with ArcFace's loss, trained on MS-Celeb-1M according to its authors",
    Thresholds(0.4198, 0.5404, 137_313, 0.176, "FairFace, 538 people"),
    smallest=40,
)
# Inner width, output width, stride, repetitions: Chen et al., table 1, with a halved fifth row.
STAGES = ((128, 64, 2, 1), (128, 64, 1, 4), (256, 128, 2, 1), (256, 128, 1, 6), (512, 128, 2, 1), (256, 128, 1, 2))


class MobileFaceNet(nn.Sequential):
    """Maps crops [B, 3, 112, 112] in [-1, 1] to [B, 192]."""

    def __init__(self):
        layers: list[nn.Module] = [*_convolution(3, 64, 3, 2), *_convolution(64, 64, 3, 1, 64), _conv(64, 64, 1)]
        width = 64
        for hidden_channels, out_channels, stride, count in STAGES:
            for _ in range(count):
                layers.append(_Bottleneck(width, hidden_channels, out_channels, stride))
                width = out_channels
        layers += [*_convolution(128, 512, 1), nn.Conv2d(512, 512, 7, groups=512), _conv(512, 512, 1)]
        super().__init__(*layers, _conv(512, 192, 1), nn.Flatten())

    def forward(self, input: Tensor) -> Tensor:
        """Returns [B, 192]. Inputs are scaled because the network expects (bytes - 127.5) / 128."""
        return super().forward(input * (127.5 / 128))


class _Bottleneck(nn.Sequential):
    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, stride: int):
        self.residual = stride == 1
        super().__init__(
            *_convolution(in_channels, hidden_channels, 1),
            *_convolution(hidden_channels, hidden_channels, 3, stride, hidden_channels),
            _conv(hidden_channels, out_channels, 1),
        )

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return input + result if self.residual else result


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding: odd padding puts the extra pixel at the right and bottom."""

    def forward(self, input: Tensor) -> Tensor:
        step, kernel = self.stride[0], self.kernel_size[0]
        sides = [max(0, (-(-side // step) - 1) * step + kernel - side) for side in (input.shape[3], input.shape[2])]
        return super().forward(functional.pad(input, [part for pad in sides for part in (pad // 2, pad - pad // 2)]))


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return _SameConv2d(in_channels, out_channels, kernel, stride, groups=groups)


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, ...]:
    return _conv(in_channels, out_channels, kernel, stride, groups), nn.PReLU(out_channels)


def read_mobilefacenet(path: Path) -> MobileFaceNet:
    """Reads the network from a verified file. Raises ValueError if the shapes in the file differ."""
    network = MobileFaceNet()
    constants = [value for value in _constants(path.read_bytes()) if value.is_floating_point()]
    state = network.state_dict()
    if len(constants) != len(state):
        raise ValueError(f"{path.name} has {len(constants)} weights instead of {len(state)}")
    modules = dict(network.named_modules())
    for (name, expected), value in zip(state.items(), constants, strict=True):
        module = modules[name.rsplit(".", 1)[0]]
        if value.ndim == 4:  # [out, h, w, in], or [1, h, w, channels] if depthwise
            value = value.permute((3, 0, 1, 2) if len(value) == 1 else (0, 3, 1, 2))
        elif isinstance(module, nn.PReLU):
            value = 2 * value  # the file computes relu(x) + value * (x - |x|)
        if value.shape != expected.shape:
            raise ValueError(f"{name} in {path.name} has shape {tuple(value.shape)} instead of {tuple(expected.shape)}")
        state[name] = value.contiguous()
    network.load_state_dict(state)
    return network


def _constants(content: bytes) -> Iterator[Tensor]:
    """Yields the constants of a TensorFlow Lite model in the order in which its operators use them."""
    model = _Table.root(content)
    buffers, graph = model.tables(4), model.tables(2)[0]
    tensors = graph.tables(0)
    for operator in graph.tables(3):
        for index in operator.numbers(1):
            shape, dtype, buffer = tensors[index].numbers(0), tensors[index].scalar(1), tensors[index].scalar(2)
            if data := buffers[buffer].bytes(0):
                yield torch.from_numpy(np.frombuffer(data, {0: "<f4", 2: "<i4"}[dtype]).reshape(shape).copy())


class _Table:
    """A table in a FlatBuffer. Fields are read by their number in TensorFlow Lite's schema.

    A table starts with the distance back to its vtable. The vtable holds each field's distance from the table's start,
    or 0 if the field is absent.
    """

    def __init__(self, content: bytes, offset: int):
        self.content, self.offset = content, offset
        self.vtable = offset - self._number("<i", offset)

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content)[0])

    def scalar(self, field: int) -> int:
        """Returns a scalar field: a signed byte for field 1 (an enum), else an unsigned 32-bit integer."""
        offset = self._field(field)
        return 0 if offset is None else self._number("<b" if field == 1 else "<I", offset)

    def numbers(self, field: int) -> list[int]:
        start, count = self._vector(field)
        return list(struct.unpack_from(f"<{count}i", self.content, start))

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field)
        return self.content[start : start + count]

    def tables(self, field: int) -> list["_Table"]:
        start, count = self._vector(field)
        offsets = range(start, start + 4 * count, 4)
        return [_Table(self.content, offset + self._number("<I", offset)) for offset in offsets]

    def _vector(self, field: int) -> tuple[int, int]:
        offset = self._field(field)
        if offset is None:
            return 0, 0
        start = offset + self._number("<I", offset)
        return start + 4, self._number("<I", start)

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry >= self._number("<H", self.vtable):
            return None
        distance = self._number("<H", self.vtable + entry)
        return self.offset + distance if distance else None

    def _number(self, layout: str, offset: int) -> int:
        return struct.unpack_from(layout, self.content, offset)[0]
