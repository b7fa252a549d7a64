"""Models to train, and their files. Read levels, denoiser and interface first.

levels            noise, target and predicted x_0 for every prediction type (epsilon, v, flow)
denoiser          one interface for every network: latents and prompts in, prediction out
interface         what the trainer needs from a model
few_steps         few-step sampling with any denoiser, for the reward
inplace           LoRA on layers of another program
convolutions      faster convolutions of small images on the CPU
fingerprint       identifies a model in seconds
subject           the subject file: trained weights with a header
stable_diffusion  Stable Diffusion 1.x, 2.x and SDXL in diffusers' modules
"""
