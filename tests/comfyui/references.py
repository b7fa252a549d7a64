"""What others compute from the same weights: ComfyUI's own sampler, and diffusers. Imported in ComfyUI's Python."""

import re
import types

import comfy.sample
import torch
from diffusers import ChromaTransformer2DModel
from diffusers.loaders import single_file_utils
from diffusers.models.transformers.transformer_chroma import ChromaCombinedTimestepTextProjEmbeddings
from einops import rearrange
from torch import Tensor

MODULATIONS = 344  # vectors that Chroma's guidance layer computes; ComfyUI's number does not depend on the depth


def sampler_step(model, conditioning: list, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns x_t, sigma and D(x_t; sigma) of the last step that ComfyUI's own sampler takes with ``model``."""
    steps = []

    def record(apply_model, arguments):
        output = apply_model(arguments["input"], arguments["timestep"], **arguments["c"])
        steps.append((arguments["input"], arguments["timestep"], output))
        return output

    model = model.clone()
    model.set_model_unet_function_wrapper(record)
    with torch.inference_mode():
        comfy.sample.sample(
            model, noise, 2, 1.0, "euler", "simple", conditioning, conditioning, torch.zeros_like(noise),
            disable_pbar=True, seed=0,
        )  # fmt: skip
    x_t, sigma, denoised = (value.clone() for value in steps[-1])
    return x_t, sigma, denoised


def chroma_in_diffusers(state: dict[str, Tensor], width: int) -> ChromaTransformer2DModel:
    """Returns diffusers' Chroma with one double and one single block of ``width``, with the weights of ``state``."""
    model = ChromaTransformer2DModel(
        num_layers=1,
        num_single_layers=1,
        num_attention_heads=1,
        attention_head_dim=width,
        joint_attention_dim=state["txt_in.weight"].shape[1],
        approximator_hidden_dim=state["distilled_guidance_layer.in_proj.weight"].shape[0],
        approximator_layers=sum(key.endswith("in_layer.bias") for key in state),
    )
    model.time_text_embed = ChromaCombinedTimestepTextProjEmbeddings(num_channels=16, out_dim=MODULATIONS)
    # diffusers' converter, with this width in place of the 3072 that is a constant in it
    code = single_file_utils.convert_chroma_transformer_checkpoint_to_diffusers.__code__
    constants = tuple(width if constant == 3072 else constant for constant in code.co_consts)
    convert = types.FunctionType(code.replace(co_consts=constants), vars(single_file_utils))
    original = {re.sub(r"(_norm|norms\.\d+)\.weight$", r"\1.scale", key): value for key, value in state.items()}
    model.load_state_dict(convert(original))
    return model.eval()


@torch.no_grad()
def chroma_prediction(model: ChromaTransformer2DModel, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """Returns the flow that diffusers' Chroma predicts for latents ``x_t`` [1, 16, h, w] at ``sigma`` [1]."""
    height, width = (side // 2 for side in x_t.shape[-2:])
    places = torch.zeros(height, width, 3)
    places[..., 1], places[..., 2] = torch.arange(height)[:, None], torch.arange(width)
    patches = rearrange(x_t, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)
    predicted = model(
        patches, text, timestep=sigma, img_ids=places.flatten(0, 1), txt_ids=torch.zeros(text.shape[1], 3)
    ).sample
    return rearrange(predicted, "b (h w) (c p q) -> b c (h p) (w q)", h=height, w=width, p=2, q=2)
