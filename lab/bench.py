"""Times a training step on one checkpoint in our node, in ComfyUI's Train LoRA on the same server, and in diffusers.

The last is what the command line runs, with the node's settings, in this Python. Give both the same number of threads.

usage: python -m lab.bench COMFYUI BASE CHECKPOINT [STEPS]
BASE is a ComfyUI base directory with the pack in custom_nodes, the checkpoint in models/checkpoints, a FaceNet file in
models/facenet, photo0.png to photo2.png in input and age images in input/ages. tests/comfyui/conftest.py makes one.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path

from tests.comfyui.graphs import Studio
from tools.server import Server
from training.catalogue import UNTRAINED_FACENET, load_embedder
from training.config import TrainingConfig
from training.data.dataset import find_faces, read_regularization_set
from training.faces.find import MTCNNDetector
from training.models.stable_diffusion.checkpoint import open_model
from training.pictures.photos import Photo
from training.runs.build import FaceNetworks, build_trainer

SIDE, RANK, BATCH = 128, 16, 2
LAYERS = "attention", "attention + feed-forward + convolution"


class Bench(Studio):
    """A graph that loads the checkpoint to be timed."""

    def __init__(self, checkpoint: str):
        super().__init__()
        self[self.checkpoint]["inputs"]["ckpt_name"] = checkpoint

    def native(self, steps: int, node_inputs: dict, bypass: bool) -> str:
        photos = self.add(
            "ImageScale", image=self.photos(), upscale_method="area", width=SIDE, height=SIDE, crop="center"
        )
        latents = self.add("VAEEncode", pixels=(photos, 0), vae=(self.checkpoint, 2))
        text = self.add("CLIPTextEncode", clip=(self.checkpoint, 1), text="photo of a sks person")
        settings = {
            "batch_size": BATCH, "grad_accumulation_steps": 1, "steps": steps, "learning_rate": 1e-4, "rank": RANK,
            "optimizer": "AdamW", "loss_function": "MSE", "seed": 0, "training_dtype": "fp32", "lora_dtype": "fp32",
            "algorithm": "LoRA", "gradient_checkpointing": False, "existing_lora": "[None]", "bucket_mode": False,
            "quantized_backward": False, "checkpoint_depth": 1, "offloading": False, "bypass_mode": bypass,
        }  # fmt: skip
        settings = {name: value for name, value in settings.items() if name in node_inputs}
        return self.add(
            "TrainLoraNode", model=(self.checkpoint, 0), latents=(latents, 0), positive=(text, 0), **settings
        )


def seconds(server: Server, graph: Bench, node: str) -> float:
    """Returns the median time between steps of ``node`` in seconds, without the first step."""
    stamps = {}

    def listen(outcome):
        for where, value, _ in outcome.progress:
            if where == node:
                stamps.setdefault(value, time.perf_counter())
        return False

    outcome = server.run(graph, until=listen)
    listen(outcome)
    if outcome.status != "success":
        raise SystemExit(outcome.error.get("exception_message", outcome.status))
    times = [stamps[step] for step in sorted(stamps) if step >= 1]
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(times))


def through_diffusers(base: Path, checkpoint: str, steps: int, layers: str) -> float:
    """Returns the median seconds per step of the command line with the node's settings, without the first step."""
    config = TrainingConfig(
        resolution=SIDE, rank=RANK, lora_layers=tuple(layers.split(" + ")), max_train_steps=steps, learning_rate=1e-3,
        loss="biometric", loss_weight=0.1, crop="face", face_margin=0.5,
    )  # fmt: skip
    names, detector = [f"photo{number}.png" for number in range(3)], MTCNNDetector()
    trainer = build_trainer(
        open_model(base / "models/checkpoints" / checkpoint),
        find_faces([Photo(name, base / "input" / name) for name in names], detector),
        read_regularization_set(base / "input/ages"),
        config,
        FaceNetworks(detector, load_embedder(UNTRAINED_FACENET)),
        cpu=True,
    )
    stamps = []
    trainer.run(callbacks=[lambda progress: stamps.append(time.perf_counter())])
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(stamps))


def main(comfyui: str, base: str, checkpoint: str, steps: str = "5") -> None:
    python = next(Path(comfyui, name, "bin", "python") for name in (".venv", "venv") if Path(comfyui, name).is_dir())
    server = Server(python, Path(comfyui), Path(base))
    ours: dict[str, float] = {}
    try:
        print(f"{checkpoint}, {SIDE} px, batch {BATCH}, rank {RANK}, without gradient checkpointing; seconds per step")
        for layers in LAYERS:
            graph = Bench(checkpoint)
            node = graph.train(
                max_train_steps=3 * int(steps), resolution=SIDE, rank=RANK, lora_layers=layers, name="bench"
            )
            graph.save((node, 5), "bench")
            ours[layers] = seconds(server, graph, node)
            print(f"  Train Aging Subject, biometric, {layers}: {ours[layers]:.2f}", flush=True)
        node_inputs = server.get("/object_info/TrainLoraNode")["TrainLoraNode"]["input"]["required"]
        for bypass in (False, True) if "bypass_mode" in node_inputs else (False,):
            graph = Bench(checkpoint)
            node = graph.native(int(steps), node_inputs, bypass)
            graph.add("LossGraphNode", loss=(node, 1), filename_prefix="bench")
            _compare(f"Train LoRA, every layer{', bypass' if bypass else ''}", seconds(server, graph, node), ours)
    finally:
        server.stop()
    for layers in LAYERS:
        measured = through_diffusers(Path(base), checkpoint, 3 * int(steps), layers)
        _compare(f"the command line, biometric, {layers}", measured, {layers: ours[layers]})


def _compare(name: str, measured: float, ours: dict[str, float]) -> None:
    factors = " and ".join(f"{measured / own:.2f}" for own in ours.values())
    print(f"  {name}: {measured:.2f}, {factors} times ours", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
