"""How much memory a training needs, counted before its first step.

A step is run at three small sizes, and every tensor that comes and goes is noted. What is alive after an operation is a
polynomial of the number of latents: constant for text, linear for activations, square where attention keeps its matrix.
So the same moment of the real step follows, and with it the moment at which most is alive. What a GPU's libraries take
beside tensors, such as cuDNN's workspace, is not counted, and neither are a reward's drawings.
"""

import gc
import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from ..config import TrainingConfig
from ..dreambooth.batches import Batch
from ..dreambooth.face_reader import FaceReader
from ..dreambooth.trainer import Trainer
from ..faces.crops import landmarks_of
from ..models.levels import TIMESTEPS

SMALL = ((16, 16), (16, 24), (16, 32))  # latents; networks want whole patches, some of them in groups of 32
WINDOWS = ((8, 8), (12, 12), (16, 16))  # of what is decoded and encoded
Counted = tuple[Tensor, int]  # bytes alive at every moment, and the moment at which the forward pass ends
RESOLUTIONS = range(256, 4096, 64)  # px, that are suggested


class Ledger(TorchDispatchMode):
    """Bytes alive after each operation, of tensors that were made since it was entered."""

    def __init__(self):
        super().__init__()
        self.alive = 0
        self.moments: list[int] = []
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        """Runs ``func``; quantised tensors first say of which operations theirs is made."""
        if any(hasattr(kind, "__tensor_flatten__") for kind in types):
            return NotImplemented
        if args and isinstance(args[0], Tensor):  # whose memory views and operations in place give back
            self._note(args[0], new=False)
        result = func(*args, **(kwargs or {}))
        for value in (result,) if isinstance(result, Tensor) else tree_leaves(result):
            if isinstance(value, Tensor):
                self._note(value)
        self.moments.append(self.alive)
        return result

    def _note(self, tensor: Tensor, new: bool = True) -> None:
        if is_traceable_wrapper_subclass(tensor):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if new else 0

        def forget(_: Any) -> None:
            del self._known[key]
            self.alive -= size

        if key not in self._known:
            self._known[key] = weakref.ref(storage, forget)
            self.alive += size

    def __enter__(self) -> "Ledger":
        """Begins without what only waits for Python to notice that nobody holds it."""
        gc.collect()
        return super().__enter__()

    @property
    def result(self) -> Tensor:
        """The moments [M], float64."""
        return torch.tensor(self.moments, dtype=torch.float64)


@dataclass(frozen=True)
class Growth:
    """Bytes alive at every moment [M] of the same work at a few sizes, each a number of latents.

    ``turn`` is the moment at which its forward pass ends.
    """

    moments: dict[int, Tensor]
    turn: int = -1

    def at(self, size: int) -> Tensor:
        """The same at any size: Lagrange's polynomial through those that are known, moment by moment."""
        return torch.stack(
            [
                alive * math.prod((size - other) / (known - other) for other in self.moments if other != known)
                for known, alive in self.moments.items()
            ]
        ).sum(0)

    def peak(self, size: int) -> int:
        """Bytes, at the moment at which most is alive."""
        return int(self.at(size).max())


@dataclass(frozen=True)
class Memory:
    """What a training takes of the memory that its device has, in bytes."""

    resolution: int  # px
    factor: int  # px a latent
    weights: int  # network, VAE and face embedder in their own number formats, and what is trained
    optimizer: int
    update: int  # of the optimizer's step, beside gradients
    step: dict[bool, Growth]  # of forward and backward pass, without and with gradient checkpointing
    window: int  # side of what is decoded of a face, latents
    face: dict[bool, Growth]  # of decoding faces with their gradient; none where nothing does
    embedding: int  # of embedding them
    picture: Growth  # of encoding a photo and decoding a preview

    def needed(self, checkpointing: bool, resolution: int | None = None) -> int:
        """At most alive at any time, at the training's ``resolution`` or another."""
        latents = ((resolution or self.resolution) // self.factor) ** 2
        step = self.step[checkpointing].at(latents)
        peak = max(int(step.max()), int(step[-1]) + self.update, self.picture.peak(latents))
        if self.face:  # decoded, and its gradient taken, while all of the network's activations are kept
            window = math.ceil(self.window * (resolution or self.resolution) / self.resolution)
            face, kept = self.face[checkpointing].at(window**2), int(step[self.step[checkpointing].turn])
            peak = max(peak, kept + int(face.max()), kept + int(face[self.face[checkpointing].turn]) + self.embedding)
        return self.weights + self.optimizer + peak

    def said(self, checkpointing: bool) -> str:
        """A sentence for a report."""
        here, there = ("on", "off") if checkpointing else ("off", "on")
        return (
            f"Memory: about {_text(self.needed(checkpointing))} at {self.resolution} px with gradient_checkpointing "
            f"{here} ({there}: {_text(self.needed(not checkpointing))}); {_text(self.weights)} of it are weights."
        )

    def advice(self, checkpointing: bool, free: int | None) -> str | None:
        """What to do where ``free`` bytes beside the weights are too few; None where they will do, or nobody knows."""
        needed, there = self.needed(checkpointing), (free or 0) + self.weights
        if free is None or needed <= there:
            return None
        fitting = [side for side in RESOLUTIONS if side < self.resolution and self.needed(True, side) <= there]
        if self.needed(True) <= there:
            todo = f"Turn gradient_checkpointing on, which makes it {_text(self.needed(True))}."
        elif fitting:
            lower = _text(self.needed(True, fitting[-1]))
            todo = f"With gradient_checkpointing on and resolution {fitting[-1]} it is {lower}."
        else:
            todo = "Lower train_batch_size, or use a model in a smaller number format (fp8, int8, GGUF)."
        return f"Training needs about {_text(needed)} of memory and there are {_text(there)}. {todo}"


def memory_remarks(trainer: Trainer) -> tuple[str, str | None]:
    """What a training will need, for its report; and what to do where that is more than there is."""
    memory, checkpointing = count_memory(trainer), trainer.config.gradient_checkpointing
    return memory.said(checkpointing), memory.advice(checkpointing, free_memory(trainer.accelerator.device))


def out_of_memory(config: TrainingConfig, done: int) -> str:
    """What to say and do where the device had too little memory for the step after ``done``."""
    where = f"at step {done + 1}; what was trained before it is saved" if done else "before a step was done"
    todo = ["close what else uses it"]
    if not config.gradient_checkpointing:
        todo.append("turn gradient_checkpointing on")
    anew = "lower resolution or train_batch_size"
    if config.method == "full" and not config.use_8bit_adam:
        anew = f"turn use_8bit_adam on, {anew}"
    return f"The GPU ran out of memory {where}. To go on, {' or '.join(todo)}. To start anew with less, {anew}."


def free_memory(device: torch.device) -> int | None:
    """Bytes that a process can still have on ``device``; None where nobody says."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available if device.type == "cpu" else None


def count_memory(trainer: Trainer) -> Memory:
    """What ``trainer`` will need. Its weights stay as they are; call it before the first step."""
    model, reader, resolution = trainer.model, trainer.face_reader, trainer.data.resolution
    config, device, factor = trainer.config, trainer.accelerator.device, trainer.model.codec.factor
    step, face = {}, {}
    for on in (False, True):
        model.checkpoint_blocks(on)
        with model.stepping(resolution):
            step[on] = _growth(partial(_step, trainer), SMALL, resolution // factor)
            if reader:
                face[on] = _growth(partial(_face, trainer, reader), WINDOWS, reader.window)
    model.checkpoint_blocks(config.gradient_checkpointing)
    with model.stepping(resolution), torch.no_grad():
        picture = _growth(partial(_picture, trainer), WINDOWS, resolution // factor)
    trained = sum(weight.numel() for weight in trainer.trainable.values())
    return Memory(
        resolution=resolution,
        factor=factor,
        weights=_size([*model.held(), *([reader.embedder, reader.codec] if reader else [])], device),
        optimizer=trained * (2 if config.use_8bit_adam else 8),  # AdamW's two moments
        update=4 * trained if device.type == "cuda" else 0,  # AdamW takes the roots of all at once there
        step=step,
        window=reader.window if reader else 0,
        face=face,
        embedding=_embedding(trainer, reader) if reader else 0,
        picture=picture,
    )


def _text(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _step(trainer: Trainer, height: int, width: int) -> Counted:
    """Of a step that decodes no face."""
    batch = _batch(trainer, height, width)
    with Ledger() as ledger:
        loss = trainer.total(trainer.losses(batch))
        turn = len(ledger.moments) - 1
        loss.backward()
    trainer.optimizer.zero_grad()
    return ledger.result, turn


def _batch(trainer: Trainer, height: int, width: int) -> Batch:
    """One of the shape that training draws, of noise."""
    data, device, none = trainer.data, trainer.accelerator.device, torch.empty(0)
    instances = trainer.config.train_batch_size
    prompts = [*islice(cycle(data.instance_prompts), instances)]
    if data.regularization:
        prompts += islice(cycle(reversed(data.prompts())), instances)
    codec, count = trainer.model.codec, len(prompts)
    shape = codec.shape(codec.factor * width, codec.factor * height)
    x_0 = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    return Batch(
        x_0=x_0,
        noise=x_0.flip(-1),
        t=torch.full((count,), TIMESTEPS // 2, device=device),
        prompts=prompts,
        weight=None,
        instances=instances,
        decode=torch.empty(0, dtype=torch.int64),
        squares=none,
        landmarks=none,
        references=none,
        negatives=none,
    )


def _face(trainer: Trainer, reader: FaceReader, height: int, width: int) -> Counted:
    """Of decoding the faces of all instances in windows of this size."""
    codec, count, device = trainer.model.codec, trainer.config.train_batch_size, trainer.accelerator.device
    shape = codec.shape(codec.factor * width, codec.factor * height)
    latents = torch.zeros(count, *shape, device=device, requires_grad=True)
    with Ledger() as ledger:
        with torch.autocast(device.type, torch.bfloat16, enabled=reader.bf16):
            pixels = reader.codec.decode(latents)
        turn = len(ledger.moments) - 1
        pixels.backward(torch.ones_like(pixels))
    return ledger.result, turn


def _embedding(trainer: Trainer, reader: FaceReader) -> int:
    """Bytes that embedding the faces of all instances takes at most, beside their pixels."""
    count, side = trainer.config.train_batch_size, trainer.data.resolution
    face = next(face for _, face in trainer.data.instances if face)
    crop, squares = reader.embedder.crop, torch.tensor([reader.embedder.crop.square(face)]).repeat(count, 1)
    pixels = torch.zeros(count, 3, side, side, device=trainer.accelerator.device, requires_grad=True)
    with Ledger() as ledger:
        reader.embedder(crop(pixels, squares, landmarks_of([face]).repeat(count, 1, 1))).sum().backward()
    return int(ledger.result.max())


def _picture(trainer: Trainer, height: int, width: int) -> Counted:
    """Of encoding a photo and decoding a preview."""
    codec, device = trainer.model.codec, trainer.accelerator.device
    width, height = codec.factor * width, codec.factor * height
    with Ledger() as ledger:
        codec.encode(torch.zeros(1, 3, height, width, device=device))
        turn = len(ledger.moments) - 1
        codec.decode(torch.zeros(1, *codec.shape(width, height), device=device))
    return ledger.result, turn


def _growth(count: Callable[[int, int], Counted], sizes: Iterable[tuple[int, int]], side: int) -> Growth:
    """By ``count`` at small sizes, or at the real ``side`` where that is one."""
    small = {height * width: (height, width) for height, width in sizes}
    chosen = small if side**2 > max(small) else {side**2: (side, side)}
    counted = {size: count(*sides) for size, sides in chosen.items()}
    (turn,) = {turn for _, turn in counted.values()}
    return Growth({size: moments for size, (moments, _) in counted.items()}, turn)


def _size(modules: Iterable[Any], device: torch.device) -> int:
    """Bytes of the weights of ``modules`` that are on ``device``, each once and in its own number format."""
    found = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.device.type == device.type:
                found |= {part.untyped_storage()._cdata: part.untyped_storage().nbytes() for part in kept(tensor)}
    return sum(found.values())


def kept(tensor: Tensor) -> list[Tensor]:
    """The tensors that a quantised one is kept in; else itself."""
    tensor = tensor.data
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in kept(getattr(tensor, name))]
