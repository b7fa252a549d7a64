"""Runs in ComfyUI's own Python: trains tiny GGUF files that the real ComfyUI-GGUF pack has loaded. Writes JSON.

usage: python gguf_pack.py COMFYUI REPOSITORY FOLDER PACK
"""

import importlib.util
import json
import sys
from pathlib import Path

pack = Path(sys.argv.pop())
import in_place  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.argv = [sys.argv[0], "--cpu"]
import folder_paths  # noqa: E402
import gguf  # noqa: E402
from architectures import Architecture, RandomClip, flux, load, load_vae, network_state, stable_diffusion_3  # noqa: E402
from checkpoints import open_checkpoint  # noqa: E402
from in_place import (  # noqa: E402
    ComfyModel,
    TrainedSubject,
    apply_subject,
    flat,
    gradients,
    randomise,
    read_subject,
    run_id,
    trainer_of,
    used_again,
)
from pack.nodes.in_place.copy import open_comfy  # noqa: E402
from pack.training.errors import UserError  # noqa: E402
from pack.training.runs.memory import memory_remarks  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

folder = Path(in_place.folder)
# Large enough for Q4_K, whose blocks have 256 weights.
NETWORKS = {"flux": flux(hidden_size=256, num_heads=2), "sd3": stable_diffusion_3(depth=4)}
PROMPT = "photo of a sks person as old"


def load_pack():
    """The nodes of the pack, imported as ComfyUI imports it."""
    spec = importlib.util.spec_from_file_location(
        "real_gguf", pack / "__init__.py", submodule_search_locations=[str(pack)]
    )
    module = sys.modules["real_gguf"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder_paths.add_model_folder_path("diffusion_models", str(folder))
    return module.NODE_CLASS_MAPPINGS


def quantised(weight: np.ndarray, number_format: gguf.GGMLQuantizationType, random) -> np.ndarray:
    """The bytes of ``weight`` in this format; in Q4_K, which gguf only reads, random bytes with small scales."""
    if number_format == gguf.GGMLQuantizationType.Q8_0:
        return gguf.quants.quantize(weight, number_format)
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[number_format]
    blocks = random.integers(0, 256, (weight.size // block_size, block_bytes), dtype=np.uint8)
    scales = np.array([weight.shape[1] ** -0.5 / 256, weight.shape[1] ** -0.5 / 32], dtype=np.float16)
    blocks[:, :4] = scales.view(np.uint8)  # of the weights and of their minima
    return blocks.reshape(weight.shape[0], -1)


def write(name: str, architecture: str, state, number_format, seed: int = 0):
    """Writes a GGUF file. Returns its numbers as gguf itself reads them."""
    writer, random, numbers = gguf.GGUFWriter(folder / name, architecture), np.random.default_rng(seed), {}
    block = gguf.GGML_QUANT_SIZES[number_format][0]
    for key, value in state.items():
        weight = value.numpy()
        if "block" in key and value.ndim == 2 and value.shape[1] % block == 0:
            stored = quantised(weight, number_format, random)
            writer.add_tensor(key, stored, raw_dtype=number_format)
            weight = gguf.quants.dequantize(stored, number_format).reshape(value.shape)
        else:
            writer.add_tensor(key, weight)
        numbers[key] = torch.from_numpy(np.array(weight, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return numbers


def measure(nodes, architecture: Architecture, name: str, number_format) -> dict:
    state = network_state(architecture)
    file, other = (f"{name}-{number_format.name}{suffix}.gguf" for suffix in ("", "-other"))
    numbers = write(file, name, state, number_format)
    write(other, name, {key: value.flip(0) for key, value in state.items()}, number_format, seed=1)

    def loaded(file):
        with torch.inference_mode():
            return nodes["UnetLoaderGGUF"]().load_unet(file)[0]

    clip, vae = RandomClip(architecture.text), load_vae(architecture.vae)
    trainer, again = (trainer_of(ComfyModel(loaded(file), clip, vae)) for _ in range(2))
    result = {"same run": run_id(trainer) == run_id(again)}
    again.model.close()
    result["memory"], _ = memory_remarks(trainer)
    trainer.run()
    result["steps"] = len(trainer.history)
    randomise(trainer)
    exact = trainer_of(ComfyModel(load(architecture, numbers, torch.float32), clip, vae))
    randomise(exact)
    packed, float32 = (flat(gradients(one)) for one in (trainer, exact))
    result["cosine"] = torch.nn.functional.cosine_similarity(packed, float32, dim=0).item()
    exact.model.close()
    lora = folder / f"{file}.safetensors"
    result |= used_again(trainer, loaded(file), loaded(other), lora)
    subject = TrainedSubject("anna", lora, read_subject(lora))
    trained = trainer.model.generate([PROMPT], in_place.SIDE, 0)
    trainer.model.close()
    patched, _ = apply_subject(subject, loaded(file), None)
    native, plain = (drawn(source, clip, vae) for source in (patched, loaded(file)))
    result["image"], result["lora changes"] = ((one - trained).abs().max().item() for one in (native, plain))
    return result


def drawn(source, clip, vae):
    model = ComfyModel(source, clip, vae)
    model.freeze_text(["", PROMPT])
    return model.generate([PROMPT], in_place.SIDE, 0)


def copied(nodes) -> list[str]:
    """The error for training a GGUF file in full, with the MODEL's other parts from its checkpoint."""
    _, clip, vae = open_checkpoint("SD1", folder)
    prefix, state = "model.diffusion_model.", load_file(folder / "sd1.safetensors")
    network = {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}
    write("sd1.gguf", "sd1", network, gguf.GGMLQuantizationType.Q8_0)
    with torch.inference_mode():
        model = nodes["UnetLoaderGGUF"]().load_unet("sd1.gguf")[0]
    try:
        open_comfy(model, clip, vae)
    except UserError as error:
        return [type(error).__name__, str(error)]
    return []


def main():
    nodes = load_pack()
    in_place.accept_tiny()
    with torch.inference_mode(False):
        results = {
            f"{name} {number_format.name}": measure(nodes, architecture, name, number_format)
            for name, architecture in NETWORKS.items()
            for number_format in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_K)
        }
        results["full"] = copied(nodes)
    (folder / "gguf_pack.json").write_text(json.dumps(results))


main()
