"""Seconds a step of our training node and of ComfyUI's own Train LoRA, on one checkpoint, in one run of one server.

usage: python -m tools.bench COMFYUI BASE CHECKPOINT [STEPS]
BASE is a base directory with the pack in custom_nodes, the checkpoint in models/checkpoints, a FaceNet file in
models/facenet, photo0.png to photo2.png in input and age pictures in input/ages: as tests/comfyui/conftest.py makes
one.
"""

import itertools
import statistics
import sys
import time
from pathlib import Path

from tests.comfyui.graphs import Studio
from tools.server import Server

SIDE, RANK, BATCH = 128, 16, 2


class Bench(Studio):
    """A graph on the checkpoint to be timed."""

    def __init__(self, checkpoint: str):
        super().__init__()
        self[self.checkpoint]["inputs"]["ckpt_name"] = checkpoint

    def native(self, steps: int, known: dict) -> str:
        photos = self.add(
            "ImageScale", image=self.photos(), upscale_method="area", width=SIDE, height=SIDE, crop="center"
        )
        latents = self.add("VAEEncode", pixels=(photos, 0), vae=(self.checkpoint, 2))
        text = self.add("CLIPTextEncode", clip=(self.checkpoint, 1), text="photo of a sks person")
        settings = {
            "batch_size": BATCH, "grad_accumulation_steps": 1, "steps": steps, "learning_rate": 1e-4, "rank": RANK,
            "optimizer": "AdamW", "loss_function": "MSE", "seed": 0, "training_dtype": "fp32", "lora_dtype": "fp32",
            "algorithm": "LoRA", "gradient_checkpointing": False, "existing_lora": "[None]", "bucket_mode": False,
            "quantized_backward": False, "checkpoint_depth": 1, "offloading": False, "bypass_mode": False,
        }  # fmt: skip
        settings = {name: value for name, value in settings.items() if name in known}
        return self.add(
            "TrainLoraNode", model=(self.checkpoint, 0), latents=(latents, 0), positive=(text, 0), **settings
        )


def seconds(server: Server, graph: Bench, node: str) -> float:
    """Median time between two steps of ``node``, the first left out."""
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


def main(comfyui: str, base: str, checkpoint: str, steps: str = "5") -> None:
    python = next(Path(comfyui, name, "bin", "python") for name in (".venv", "venv") if Path(comfyui, name).is_dir())
    server = Server(python, Path(comfyui), Path(base))
    try:
        known = server.get("/object_info/TrainLoraNode")["TrainLoraNode"]["input"]["required"]
        graph = Bench(checkpoint)
        node = graph.native(int(steps), known)
        graph.add("LossGraphNode", loss=(node, 1), filename_prefix="bench")
        native = seconds(server, graph, node)
        print(f"{checkpoint}, {SIDE} px, batch {BATCH}, rank {RANK}, without gradient checkpointing")
        print(f"  native Train LoRA, every layer: {native:.2f} s a step")
        for layers in ("attention", "attention + feed-forward + convolution"):
            graph = Bench(checkpoint)
            node = graph.train(
                max_train_steps=3 * int(steps), resolution=SIDE, rank=RANK, lora_layers=layers, name="bench"
            )
            graph.save((node, 5), "bench")
            ours = seconds(server, graph, node)
            print(f"  Train Aging Subject, biometric, {layers}: {ours:.2f} s a step, {native / ours:.1f} times as fast")
    finally:
        server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
