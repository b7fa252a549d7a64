"""Stable Diffusion 1.x, 2.x and SDXL as modules. Read denoiser first, then checkpoint.

families    how they differ, and a model's shape read off its weights
keys        the names of their weights in single files, both ways
denoiser    noise, prediction, target and predicted x_0, whatever the model predicts
text, vae   prompts to conditioning; pixels to latents and back
folder      what the files of a diffusers folder say
checkpoint  files and folders to a Model, and back
lora        put in, taken out, merged
subject     what was trained, as a file with a header
sampler     pictures out of a model
"""
