"""Runs in ComfyUI's own Python: trains tiny networks of many families in place. Writes measurements to a JSON file.

FOLDER contains sd1, sd2 and sdxl.safetensors from tests.tiny.

usage: python in_place.py COMFYUI REPOSITORY FOLDER [FAMILY ...]
"""

import contextlib
import importlib.util
import json
import logging
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

comfyui, repository, folder, *chosen = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.sd  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from comfy.model_patcher import ModelPatcher  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

logging.disable(logging.CRITICAL)
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("pack", Path(repository) / "__init__.py")
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])
here = str(Path(__file__).parent)
sys.path.append(here)
from architectures import ARCHITECTURES, RandomClip, load, load_vae, network_state  # noqa: E402
from checkpoints import CHECKPOINTS, EDM, V, accept_tiny, open_checkpoint  # noqa: E402
from formats import FORMATS  # noqa: E402
from pack.nodes.in_place.identity import network_fingerprint  # noqa: E402
from pack.nodes.in_place.model import ComfyModel  # noqa: E402
from pack.nodes.in_place.preview_sampler import preview_sampler  # noqa: E402
from pack.nodes.in_place.subject import apply_subject, base_remark  # noqa: E402
from pack.nodes.ui.sockets import TrainedSubject  # noqa: E402
from pack.training.ages import AGE_CLASSES  # noqa: E402
from pack.training.config import TrainingConfig  # noqa: E402
from pack.training.data.dataset import RegularizationSet, SubjectSet  # noqa: E402
from pack.training.faces.crops import SquareCrop  # noqa: E402
from pack.training.faces.embedders import UNKNOWN  # noqa: E402
from pack.training.faces.find import Face  # noqa: E402
from pack.training.models.fingerprint import fingerprint  # noqa: E402
from pack.training.models.subject import read_subject  # noqa: E402
from pack.training.pictures.photos import Photo  # noqa: E402
from pack.training.runs.build import FaceNetworks, build_trainer  # noqa: E402
from pack.training.runs.evaluations import PreviewPlan  # noqa: E402
from pack.training.runs.files import write_subject  # noqa: E402
from pack.training.runs.memory import count_memory, kept  # noqa: E402
from pack.training.runs.state import StateFile, run_id  # noqa: E402
from references import chroma_in_diffusers, chroma_prediction, sampler_step  # noqa: E402
from six_ages import six_ages  # noqa: E402

SIDE, STEPS, STOPPED = 64, 6, 3
# Trained with the reward, also in the step at which training stops: a noise, a flow and a video model.
REWARDED = ("SD1", "Flux", "WAN21_T2V")
# Trained on photos of three shapes: a UNet, a model with position embeddings per patch, and a video model.
SHAPED = ("SDXL", "Flux2", "QwenImage")
GUIDANCE_DISTILLED = ("Flux",)
DECODED = ("Flux2", "SD3")  # measures the memory for decoding a face
SHAPES = ((SIDE, 2 * SIDE), (SIDE, SIDE), (2 * SIDE, SIDE))
ASPECT = {"crop": "aspect", "resolution": 3 * SIDE}  # the smallest resolution with three different buckets
REWARD = {"reward_every": 3, "reward_start": 0.0, "reward_steps": 2, "reward_age": 0.0, "reward_anchor": 0.5}
FACE = Face((16.0, 12.0, 44.0, 48.0))


class Embedder(torch.nn.Module):
    """A random linear map in place of FaceNet."""

    name, crop, facts = "toy", SquareCrop(32), UNKNOWN

    def __init__(self):
        super().__init__()
        matrix = torch.randn(6, 3 * 32 * 32, generator=torch.Generator().manual_seed(1)) / 50
        self.matrix = torch.nn.Parameter(matrix, requires_grad=False)

    def forward(self, crops):
        return torch.nn.functional.normalize(crops.flatten(1) @ self.matrix.T, dim=1)


def photo(seed, size=(SIDE, SIDE)):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Photo(f"{seed}.png", Image.fromarray(pixels).resize(size))


def trainer_of(model, **settings):
    settings = {
        "resolution": SIDE, "crop": "photo", "loss": "biometric", "max_train_steps": STEPS, "learning_rate": 3e-3,
        "rank": 2, "lora_alpha": 4.0, "gradient_checkpointing": False, "train_batch_size": 2,
        "loss_weight": 0.02 * (6 / 512) ** 0.5,  # the loss scales the distance in 6 dimensions to FaceNet's 512
    } | settings  # fmt: skip
    sizes = SHAPES if settings["crop"] == "aspect" else [(SIDE, SIDE)] * 3
    subject = SubjectSet([photo(n, size) for n, size in enumerate(sizes)], [FACE] * 3, [])
    ages = RegularizationSet([photo(10 + n) for n in range(6)], list(AGE_CLASSES))
    return build_trainer(
        model,
        subject,
        ages,
        TrainingConfig(**settings),
        FaceNetworks(lambda image: [FACE], Embedder()),
        PreviewPlan(0),
        cpu=True,
    )


def weights(trainer):
    return {name: weight.detach().clone() for name, weight in trainer.trainable.items()}


def randomise(trainer):
    """Sets random weights, as after training. Initially lora_up is 0, and so is half of the gradient."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in trainer.trainable.values():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)


def gradients(trainer, number=0):
    batch = trainer.data.sample(number)
    with trainer.model.stepping(SIDE):
        loss = trainer.total(trainer.terms(batch).losses)
        loss.backward()
    result = {name: weight.grad.clone() for name, weight in trainer.trainable.items() if weight.grad is not None}
    trainer.optimizer.zero_grad()
    return result


def slope(trainer, number, count=2):
    """The largest relative error of the gradient along random directions, compared with central differences."""
    exact_gradients, errors = gradients(trainer, number), []
    batch = trainer.data.sample(number)

    def loss():
        with torch.no_grad(), trainer.model.stepping(SIDE):
            return trainer.total(trainer.terms(batch).losses).double().item()

    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        steps = {
            name: 2e-3 * torch.randn(weight.shape, generator=generator) for name, weight in trainer.trainable.items()
        }
        ends = []
        with torch.no_grad():
            for sign in (1, -2):
                for name, weight in trainer.trainable.items():
                    weight.add_(steps[name], alpha=sign)
                ends.append(loss())
            for name, weight in trainer.trainable.items():
                weight.add_(steps[name])
        numeric = (ends[0] - ends[1]) / 2
        exact = sum(
            (gradient.double() * steps[name].double()).sum() for name, gradient in exact_gradients.items()
        ).item()
        errors.append(abs(numeric - exact) / max(abs(numeric), abs(exact)))
    return max(errors)


def decoding_batch(trainer):
    return next(number for number in range(50) if len(trainer.data.sample(number).decode))


def flat(tensors):
    return torch.cat([value.flatten() for value in tensors.values()])


def apart(one, other):
    return (one - other).abs().max().item() / other.abs().max().item()


def named(patcher, file):
    """A clone of the MODEL that looks as if a core loader had loaded it from ``file``."""
    patcher = patcher.clone()
    patcher.cached_patcher_init = (comfy.sd.load_diffusion_model, (f"/models/base/{file}", {}))
    return patcher


def base_in(number_format, state, architecture, clip, vae, number):
    """Compares the gradient on a base in a number format with that in float32. Also measures bytes per weight."""
    numbers, packed, options = FORMATS[number_format](state)

    def another(state):
        return load(architecture, state, None, **options)

    opened = {"packed": another(packed), "float32": load(architecture, numbers, torch.float32)}
    base_gradients, sizes = {}, {}
    for base, source in opened.items():
        trainer = trainer_of(ComfyModel(source, clip, vae))
        randomise(trainer)
        base_gradients[base] = flat(gradients(trainer, number))
        layer = trainer.model.network.single_blocks[0].linear1
        size = sum(part.untyped_storage().nbytes() for part in kept(layer.weight))
        sizes[base] = size / (layer.in_features * layer.out_features)
        if base == "packed":
            file = f"{folder}/{number_format}.safetensors"
            used = used_again(trainer, another(packed), another(changed(packed)), file)
        trainer.model.close()
    cosine = torch.nn.functional.cosine_similarity(base_gradients["packed"], base_gradients["float32"], dim=0).item()
    length = (base_gradients["packed"].norm() / base_gradients["float32"].norm()).item()
    return {"cosine": cosine, "length": length, "bytes": sizes, **used}


def changed(state):
    """``state`` with another value at the start of one layer's weight, as it is stored."""
    key = next(key for key in state if key.endswith("linear1.weight"))
    weight = state[key].to(state[key].device, copy=True)
    stored = weight.as_subclass(torch.Tensor).view(torch.uint8).flatten()
    stored[:] = stored.flip(0)
    return state | {key: weight}


def used_again(trainer, same, other, file):
    """Loads the subject that ``trainer`` trained on two MODELs. Returns counts of layers, remarks and fingerprints."""
    write_subject(trainer, Path(file), torch.float32, "anna")
    subject = TrainedSubject("anna", Path(file), read_subject(Path(file)))
    patched, _ = apply_subject(subject, same, None)
    state = same.model_state_dict("diffusion_model.")
    return {
        "layers": [len(trainer.model.denoiser.adapters), len(patched.patches)],
        "remarks": [base_remark(subject, same), base_remark(subject, other)],
        "fingerprints": [trainer.model.fingerprint, network_fingerprint(same)],
        "fingerprint of the state": ""
        if any(weight.is_meta for weight in state.values())
        else fingerprint({key.removeprefix("diffusion_model."): weight for key, weight in state.items()}),
    }


def move_always():
    """Makes every load and unload allocate new memory for the weights, as with a GPU."""
    to = torch.nn.Module.to
    torch.nn.Module.to = lambda module, *arguments, **options: to(module, *arguments, **options)._apply(torch.clone)


def count_loads():
    """Counts how often the weights of each network are loaded to the device, by the id of the network."""
    loads, load_weights = Counter(), ModelPatcher.load

    def counted(patcher, *arguments, **options):
        loads[id(patcher.model)] += 1
        return load_weights(patcher, *arguments, **options)

    ModelPatcher.load = counted
    return loads


def moved(patcher, vae):
    """Leaves the weights as after a move to a GPU and back: outside inference mode, new data in the same tensors."""
    for module in (patcher.model, vae.first_stage_model):
        module._apply(torch.clone)


def by_hand(sampling, x_t, sigma, raw):
    """Computes x_0 from the output of the network, with the equations of the papers."""
    data = getattr(sampling, "sigma_data", 1.0)
    if isinstance(sampling, EDM):
        return (data**2 * x_t + sigma * data * (sigma**2 + data**2).sqrt() * raw) / (sigma**2 + data**2)
    if isinstance(sampling, V):
        return (x_t - sigma * (sigma**2 + 1).sqrt() * raw) / (sigma**2 + 1)
    return x_t - sigma * raw


def beside_others(name, model, source, prompt):
    """Compares D(x_t; sigma) of an untrained ``model`` with ComfyUI's sampler on ``source``, and with diffusers."""
    encoded = model.clip.encode_from_tokens_scheduled(model.clip.tokenize(prompt))
    guidance = {"guidance": 1.0} if name in GUIDANCE_DISTILLED else {}
    noise = torch.randn(1, *model.codec.shape(SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    x_t, sigma, expected = sampler_step(source, [[cond, extra | guidance] for cond, extra in encoded], noise)
    adapted = []
    adapter = getattr(model.network, "llm_adapter", torch.nn.Identity())
    hook = adapter.register_forward_hook(lambda *_: adapted.append(True))
    with torch.no_grad(), model.stepping(SIDE):
        x_0 = model.denoiser.denoised(x_t, sigma, [prompt])
    hook.remove()
    result = {"beside the sampler": apart(x_0, expected), "text adapter ran": bool(adapted)}
    if name == "Chroma":
        theirs = chroma_in_diffusers(network_state(ARCHITECTURES[name]()), 128)
        flow = chroma_prediction(theirs, x_t, sigma, encoded[0][0])
        result["beside diffusers"] = apart(x_t - sigma.view(-1, 1, 1, 1) * flow, x_0)
    return result


def measure(name, loads):
    loads.clear()
    if name in CHECKPOINTS:
        source, clip, vae = open_checkpoint(name, folder)

        def another():
            return open_checkpoint(name, folder)[0]
    else:
        architecture = ARCHITECTURES[name]()
        source, vae = load(architecture), load_vae(architecture.vae)
        clip = RandomClip(architecture.text, architecture.vocabulary)

        def another():
            return load(architecture)

    result, more = {}, REWARD if name in REWARDED else ASPECT if name in SHAPED else {}
    before = {key: value.clone() for key, value in source.model.state_dict().items()}

    def model():
        return ComfyModel(another(), clip, vae)

    moved(source, vae)
    whole = trainer_of(ComfyModel(source, clip, vae), **more)
    for on in (True, False):
        whole.model.checkpoint_blocks(on)
        with whole.model.stepping(SIDE):
            pass
    result["loads"] = loads[id(source.model)]
    whole.run()
    result["family"] = whole.model.family.name
    result["quick"] = asdict(preview_sampler(source, whole.core.prediction_type))
    if name == "Flux2":
        names = ("flux-2-klein-4b-fp8.safetensors", "flux-2-klein-base-4b.safetensors")
        result["klein"] = [asdict(preview_sampler(named(source, file), "flow")) for file in names]
    result["history"] = whole.history
    result["layers"] = len(whole.model.denoiser.adapters)
    result["text adapter's layers"] = [layer for layer in whole.model.denoiser.adapters if "llm_adapter" in layer]
    expected = weights(whole)

    stopped, state = trainer_of(model(), **more), Path(folder) / f"{name}.pt"

    def stop(progress):
        if progress.step == STOPPED:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        stopped.run(StateFile(stopped, state).save, [stop])
    stopped.model.close()
    resumed = trainer_of(model(), **more)
    StateFile(resumed, state).resume()
    resumed.run()
    result["resumed_at"], result["same_run"] = STOPPED, run_id(resumed) == run_id(whole)
    result["resumed"] = all(torch.equal(expected[key], value) for key, value in weights(resumed).items())
    resumed.model.close()

    number = decoding_batch(whole)
    result["shapes"] = sorted({(*whole.data.sample(batch).x_0.shape[-2:],) for batch in range(3)})
    randomise(whole)
    result["slope"] = slope(whole, number)
    plain = gradients(whole, number)
    result["without_gradient"] = [key for key in expected if key not in plain or not plain[key].any()]
    checked = trainer_of(model(), gradient_checkpointing=True, **more)
    randomise(checked)
    if name in DECODED:
        result["decoding"] = [count_memory(checked).face[on].peak(16**2) for on in (False, True)]
    again = gradients(checked, number)
    result["checkpointing"] = apart(flat(again), flat(plain))
    checked.model.close()
    if name == "Flux":
        quantised = trainer_of(ComfyModel(load(architecture, dtype=torch.float8_e4m3fn), clip, vae))
        randomise(quantised)
        fp8_gradients = gradients(quantised, number)
        result["fp8_cosine"] = torch.nn.functional.cosine_similarity(flat(fp8_gradients), flat(plain), dim=0).item()
        result["fp8_kept"] = sorted({str(weight.dtype) for weight in quantised.model.network.parameters()})
        quantised.model.close()
        result["formats"] = {
            name: base_in(name, network_state(architecture), architecture, clip, vae, number) for name in FORMATS
        }

    core = whole.core
    batch = whole.data.sample(number)
    x_t = core.noised(batch.x_0, batch.noise, batch.t)
    raw = []
    hook = whole.model.network.register_forward_hook(lambda module, inputs, output: raw.append(output))
    with torch.no_grad(), whole.model.stepping(SIDE):
        x_0 = core.denoised(x_t[:1], core.sigmas[batch.t[:1]], batch.prompts[:1])
        prediction = core(x_t[:1], batch.t[:1], batch.prompts[:1])
    hook.remove()
    sigma = core.sigmas[batch.t[:1]].view(-1, *[1] * (x_t.ndim - 1))
    sampling = whole.model.patcher.get_model_object("model_sampling")
    result["x_0"] = apart(x_0, by_hand(sampling, x_t[:1], sigma, raw[0].float()))
    result["own_sigmas"] = core.prediction_type == "flow" or torch.equal(core.sigmas, sampling.sigmas)
    result["sigma"] = [core.sigmas[0].item(), core.sigmas[-1].item()]
    result["prediction"] = apart(prediction, raw[0].float())

    pictures = whole.model.generate(batch.prompts[:1], SIDE, 0)
    result["picture"] = list(pictures.shape)
    lora = whole.model.trained("lora", 4.0)
    lora = {key: value.clone().contiguous() for key, value in lora.items()}
    save_file(lora, f"{folder}/{name}.lora.safetensors")
    result["base"] = whole.model.sha256
    file = Path(folder) / f"{name}.subject.safetensors"
    write_subject(whole, file, torch.float32, "anna")
    subject = TrainedSubject("anna", file, read_subject(file))
    with safe_open(file, "pt") as opened:
        result["header"] = opened.metadata()
    finetuned = another()
    key = next(key for key in finetuned.model.state_dict() if key.startswith("diffusion_model.") and "weight" in key)
    finetuned.add_patches({key: ("diff", (torch.full_like(finetuned.model.state_dict()[key], 0.01),))})
    result["remarks"] = [base_remark(subject, another()), base_remark(subject, finetuned)]
    whole.model.close()
    untrained = another()
    patched, _ = comfy.sd.load_lora_for_models(untrained, None, lora, 1.0, 0)
    result["patched"] = len(patched.patches)
    native = ComfyModel(patched, clip, vae)
    native.freeze_text(["", *batch.prompts])
    result["native_picture"] = (native.generate(batch.prompts[:1], SIDE, 0) - pictures).abs().max().item()
    plain_model = ComfyModel(source, clip, vae)
    plain_model.freeze_text(["", *batch.prompts])
    result["lora_changes"] = (plain_model.generate(batch.prompts[:1], SIDE, 0) - pictures).abs().max().item()
    result |= beside_others(name, plain_model, another(), batch.prompts[0])
    plain_model.close()
    after = source.model.state_dict()
    result["untouched"] = before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    result["clean"] = not any("forward" in module.__dict__ for module in source.model.modules())
    return result


def main():
    results = {"six ages": six_ages()}
    accept_tiny()
    move_always()
    loads = count_loads()
    for name in chosen or [*CHECKPOINTS, *ARCHITECTURES]:
        start = time.monotonic()
        with torch.inference_mode(False):
            results[name] = measure(name, loads)
        results[name]["seconds"] = time.monotonic() - start
        (Path(folder) / "in_place.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
