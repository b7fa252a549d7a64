"""What several graphs share: models to load, a subject, and how each family draws an aging sequence."""

from collections.abc import Callable
from dataclasses import dataclass

from tools.canvas import BLUE, BROWN, Canvas, Group, Node, Output, group

HUB = "https://huggingface.co"
FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
FOR_TRAINING, FOR_SCORING = "20180402-114759-vggface2.pt", "mobilefacenet"
TABLE = 440  # px: a line of the scores
NO_PICTURE = "drawing, painting, cartoon, blurry, deformed"


@dataclass(frozen=True)
class Loaded:
    """MODEL, CLIP and VAE, and the nodes that load them."""

    model: Output
    clip: Output
    vae: Output
    nodes: list[Node]

    def group(self, title: str = "Choose your model") -> Group:
        return group(title, BLUE, self.nodes)

    def row(self) -> Group:
        return group("Choose your model", BLUE, *([node] for node in self.nodes))


@dataclass(frozen=True)
class Family:
    """How one family of models is loaded, and how it draws."""

    load: Callable[[Canvas], Loaded]
    latents: str  # the node that makes empty ones
    side: int  # px
    never: str  # the negative prompt
    sampler: dict
    suffix: str = ""  # of what is saved


def model_file(name: str, repository: str, directory: str, path: str = "") -> dict[str, str]:
    return {"name": name, "url": f"{HUB}/{repository}/resolve/main/{path}{name}", "directory": directory}


def stable_diffusion(g: Canvas) -> Loaded:
    file = model_file("v1-5-pruned-emaonly-fp16.safetensors", "Comfy-Org/stable-diffusion-v1-5-archive", "checkpoints")
    node = g.add("CheckpointLoaderSimple", ckpt_name=file["name"], models=[file], wide=380)
    return Loaded(node["MODEL"], node["CLIP"], node["VAE"], [node])


def _three_files(g: Canvas, network: dict, text: dict, text_type: str, vae: dict, wide: int) -> Loaded:
    nodes = [
        g.add("UNETLoader", unet_name=network["name"], models=[network], wide=wide),
        g.add("CLIPLoader", clip_name=text["name"], type=text_type, models=[text], wide=wide),
        g.add("VAELoader", vae_name=vae["name"], models=[vae], wide=wide),
    ]
    return Loaded(nodes[0]["MODEL"], nodes[1]["CLIP"], nodes[2]["VAE"], nodes)


SPLIT = "split_files/"
QWEN_3 = model_file(
    "qwen_3_4b.safetensors", "Comfy-Org/z_image_turbo", "text_encoders", f"{SPLIT}text_encoders/"
)  # both families' text encoder


def klein(g: Canvas, wide: int = 300) -> Loaded:
    """Flux.2 Klein 4B, the base model: it draws from a prompt, and it edits."""
    network = "flux-2-klein-base-4b-fp8"
    return _three_files(
        g,
        model_file(f"{network}.safetensors", "black-forest-labs/FLUX.2-klein-base-4b-fp8", "diffusion_models"),
        QWEN_3,
        "flux2",
        model_file("flux2-vae.safetensors", "Comfy-Org/flux2-dev", "vae", f"{SPLIT}vae/"),
        wide,
    )


def z_image(g: Canvas, wide: int = 300) -> Loaded:
    return _three_files(
        g,
        model_file("z_image_bf16.safetensors", "Comfy-Org/z_image", "diffusion_models", f"{SPLIT}diffusion_models/"),
        QWEN_3,
        "lumina2",
        model_file("ae.safetensors", "Comfy-Org/z_image_turbo", "vae", f"{SPLIT}vae/"),
        wide,
    )


def face_embedder(g: Canvas, weights: str, title: str) -> Node:
    facenet = [{"name": weights, "url": f"{FACENET}/{weights}", "directory": "facenet"}] if ".pt" in weights else []
    return g.add("IDAgingLoadFaceEmbedder", title, weights=weights, models=facenet)


def photos(g: Canvas, title: str, folder: str = "photos", wide: int = 380) -> Node:
    return g.add("IDAgingLoadPhotos", title, folder=folder, tall=280, wide=wide)


def subject(g: Canvas, loaded: Loaded, suffix: str = "", wide: int = 380) -> tuple[Node, Group]:
    node = g.add(
        "IDAgingLoadSubject", "The trained person", model=loaded.model, clip=loaded.clip, wide=wide,
        subject_file=f"loras/subject{suffix}_00001_.safetensors",
    )  # fmt: skip
    return node, group("Choose your subject", BROWN, [node])


def sequence(g: Canvas, clip: Output, subject: Output | None = None, title: str = "The six ages", **widgets) -> Node:
    wired = {"subject": subject} if subject else {}
    return g.add("IDAgingSequenceEncode", title, clip=clip, **wired, **widgets, wide=340)


def sampled(g: Canvas, model, positive, negative, latents, vae, **sampler) -> list[Node]:
    """Drawn by KSampler, and decoded by the last node."""
    drawn = g.add(
        "KSampler", "Draw", model=model, positive=positive, negative=negative, latent_image=latents, wide=260, **sampler
    )
    return [drawn, g.add("VAEDecode", "To pictures", samples=drawn["LATENT"], vae=vae, wide=200)]


def ages_sampled(g: Canvas, family: Family, model, clip, vae, ages: Node, seed=7) -> tuple[Output, list[list[Node]]]:
    """All ages of a sequence from one noise. The pictures, and the nodes in columns."""
    negative = g.add("CLIPTextEncode", "What no picture should be", clip=clip, text=family.never)
    side, count = family.side, ages["count"]
    latents = g.add(family.latents, "As many as there are ages", width=side, height=side, batch_size=count, wide=260)
    alike = g.add(
        "LatentBatchSeedBehavior", "The same noise for all", samples=latents["LATENT"], seed_behavior="fixed", wide=260
    )
    sides = ages["conditioning"], negative["CONDITIONING"]
    nodes = sampled(g, model, *sides, alike["LATENT"], vae, seed=seed, after="fixed", **family.sampler)
    return nodes[-1]["IMAGE"], [[ages, negative], [latents, alike], *([node] for node in nodes)]


SD = Family(
    stable_diffusion, "EmptyLatentImage", 512, NO_PICTURE,
    {"steps": 25, "cfg": 7.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"},
)  # fmt: skip
KLEIN = Family(
    klein, "EmptyFlux2LatentImage", 768, "",
    {"steps": 20, "cfg": 5.0, "sampler_name": "euler", "scheduler": "simple"}, "_klein",
)  # fmt: skip
Z_IMAGE = Family(
    z_image, "EmptySD3LatentImage", 768, NO_PICTURE,
    {"steps": 25, "cfg": 4.0, "sampler_name": "res_multistep", "scheduler": "simple"}, "_z_image",
)  # fmt: skip
