"""What an artist touches: thin ComfyUI nodes over ``training``, which knows nothing of ComfyUI."""
