"""Trains the MODEL, CLIP and VAE of a ComfyUI graph on their own modules. Read model first, then network and codec.

identity         a loaded model's family and fingerprint
levels           its noise levels
experts          the noise levels that it is for, if it is one of Wan 2.2's two experts
network          its network as a denoiser
codec            its VAE as a codec
weights          loads weights so that autograd works on them
model            everything together as a trainable model; LoRA only
probe            one small backward pass before training, to find where a network breaks autograd
preview_sampler  sampler settings for previews
copy             copies a Stable Diffusion model into diffusers' modules, for what cannot be trained in place
lora             adds a LoRA to a MODEL and CLIP, and counts the layers that fit
subject          applies a trained subject to a MODEL and CLIP
"""
