"""ComfyUI nodes: thin wrappers around ``training``, which does not depend on ComfyUI."""
