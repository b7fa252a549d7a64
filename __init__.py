"""Identity Aging for ComfyUI: train one person from a few photos, draw six ages, score how well identity survived."""

WEB_DIRECTORY = "./web"  # help pages


async def comfy_entrypoint():
    """ComfyUI's door."""
    from .nodes.extension import IdentityAging

    return IdentityAging()
