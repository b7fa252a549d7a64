"""Identity Aging for ComfyUI: trains one person from a few photos, generates six ages and scores their identity."""

WEB_DIRECTORY = "./web"  # help pages


async def comfy_entrypoint():
    """Returns the extension. ComfyUI calls this when it loads the pack."""
    from .nodes.extension import IdentityAging

    return IdentityAging()
