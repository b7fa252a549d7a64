"""What is no node: ComfyUI's models, device, folders, pictures and sockets for the nodes. Read model first."""
