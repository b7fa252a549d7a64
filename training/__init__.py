"""Identity-preserving aging by DreamBooth with an identity loss; usable without ComfyUI: ``python -m training``."""
