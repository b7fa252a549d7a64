"""Models to train: what is asked of any, and Stable Diffusion in diffusers' modules. Read levels, then interface.

families    how they differ, and a model's shape read off its weights
keys        the names of their weights in single files, both ways
levels      noise, target and predicted x_0, whatever the model predicts
interface   what a trainer asks of a model
inplace     LoRA over layers that somebody else owns
few_steps   a drawing up to its last step; convolutions: fast ones for small pictures
denoiser    latents and prompts to a prediction
fingerprint which model it is, in seconds
text, vae   prompts to conditioning; pixels to latents and back
folder      what the files of a diffusers folder say
model       the parts of one together, and its tensors as a single file names them
checkpoint  files and folders to a Model
lora        put in, taken out, merged
subject     what was trained, as a file with a header
sampler     pictures out of a model
"""
