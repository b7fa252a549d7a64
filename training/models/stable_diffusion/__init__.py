"""Stable Diffusion 1.x, 2.x and SDXL in diffusers' and transformers' modules. Read families first, then model.

families      how the three families differ, and network configs read from weight shapes
keys          diffusers' keys to single-file keys and back
emphasis      weights of words in a prompt
text          prompts to conditioning
unet          the UNet as a denoiser
vae           pixels to latents and back
model         UNet, text encoder and VAE as one trainable model, and its single-file state dict
folder        reads the files of a diffusers folder
checkpoint    opens single files and diffusers folders as a model
lora          adds, saves and merges a LoRA
sampler       generates images
open_subject  opens a trained subject on its base model
"""
