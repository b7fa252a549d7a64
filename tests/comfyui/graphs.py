"""Parts of graphs for the tests."""

import numpy as np
from PIL import Image

from tests.comfyui.conftest import FACENET
from tools.server import Graph

SIDE = 64  # px
NODES = {
    "IDAgingLoadPhotos": (
        ["folder", "ages", "face_embedder", "clip_vision", "clip", "birth_date"],
        ["IMAGE", "STRING", "STRING", "STRING", "MASK"],
    ),
    "IDAgingLoadRegularizationSet": (
        ["folder", "ages", "face_embedder", "clip_vision", "clip"], ["IDAGING_AGE_SET", "STRING"]
    ),
    "IDAgingAlignFaces": (["images", "size", "margin", "level_eyes"], ["IMAGE", "IMAGE", "STRING"]),
    "IDAgingLoadFaceEmbedder": (["weights", "download"], ["IDAGING_FACE_EMBEDDER"]),
    "IDAgingJudgeTraining": (["face_embedder", "clip_vision", "clip", "patience"], ["IDAGING_JUDGE"]),
    "IDAgingTrainSubject": (
        ["model", "clip", "vae", "photos", "ages", "face_embedder", "judge", "name", "method", "max_train_steps",
         "loss", "loss_weight", "photo_years", "background_weight", "face_mask", "photo_ages", "captions", "masks"],
        ["MODEL", "CLIP", "IDAGING_SUBJECT", "LORA_MODEL", "LOSS_MAP", "IMAGE", "STRING", "IMAGE"],
    ),
    "IDAgingSaveSubject": (["subject"], ["STRING"]),
    "IDAgingLoadSubject": (["model", "clip", "subject_file", "strength"], ["MODEL", "CLIP", "IDAGING_SUBJECT"]),
    "IDAgingPromptEncode": (["clip", "age", "extra", "subject", "template"], ["CONDITIONING", "STRING"]),
    "IDAgingSequenceEncode": (
        ["clip", "from_age", "to_age", "steps", "extra", "subject"], ["CONDITIONING", "STRING", "INT"]
    ),
    "IDAgingEditPrompts": (
        ["ages", "candidates", "seed", "words", "subject", "template", "class_word"], ["STRING", "STRING", "INT"]
    ),
    "IDAgingScoreIdentity": (["images", "references", "face_embedder"], ["IMAGE", "FLOAT", "IMAGE", "STRING"]),
    "IDAgingIdentityReport": (
        ["images", "references", "face_embedder", "ages", "others", "impostors", "untrained", "clip_vision", "clip",
         "photo_age", "filename_prefix", "photo_ages", "held_out", "held_out_ages"],
        ["IMAGE", "IMAGE", "FLOAT", "FLOAT", "FLOAT", "STRING", "STRING"],
    ),
    "IDAgingPickBest": (
        ["images", "ages", "similarities", "estimated_years"], ["IMAGE", "INT", "FLOAT", "STRING"]
    ),
    "IDAgingDrawnWorld": (["person"], ["MODEL", "CLIP", "VAE", "IMAGE", "IDAGING_AGE_SET"]),
    "IDAgingAgingSheet": (["images", "ages", "similarities", "columns", "face_embedder", "rows"], ["IMAGE"]),
}  # fmt: skip


class Studio(Graph):
    """A graph with a loaded checkpoint, and methods to add photos, training, prompts and sampling."""

    def __init__(self):
        super().__init__()
        self.checkpoint = self.add("CheckpointLoaderSimple", ckpt_name="shallow.safetensors")

    def photos(self, names=("photo0.png", "photo1.png", "photo2.png")) -> tuple[str, int]:
        loaded = [(self.add("LoadImage", image=name), 0) for name in names]
        batch = loaded[0]
        for photo in loaded[1:]:
            batch = (self.add("ImageBatch", image1=batch, image2=photo), 0)
        return batch

    def embedder(self) -> tuple[str, int]:
        return self.add("IDAgingLoadFaceEmbedder", weights=FACENET, download=False), 0

    def train(self, photos=None, ages="ages", embedder=True, **widgets) -> str:
        links = {"ages": (self.add("IDAgingLoadRegularizationSet", folder=ages), 0)} if ages else {}
        links |= {"face_embedder": self.embedder()} if embedder else {}
        settings = {
            "name": "anna", "method": "lora", "max_train_steps": 4, "loss": "biometric", "loss_weight": 0.1,
            "class_word": "person", "token": "sks", "resolution": SIDE, "learning_rate": 1e-3, "rank": 4,
            "lora_layers": "attention", "train_text_encoder": "auto", "train_batch_size": 1,
            "gradient_accumulation_steps": 1, "prior_loss_weight": 1.0, "temperature": 0.5, "triplet_margin": 1.0,
            "lr_scheduler": "constant", "crop": "face", "face_margin": 0.5, "random_flip": True,
            "gradient_checkpointing": False, "use_8bit_adam": False, "mixed_precision": "auto",
            "checkpointing_steps": 100, "seed": 0, "preview_every": 0,
        }  # fmt: skip
        parts = {"model": (self.checkpoint, 0), "clip": (self.checkpoint, 1), "vae": (self.checkpoint, 2)}
        photos = photos or self.photos()
        return self.add("IDAgingTrainSubject", **parts, photos=photos, **links, **settings | widgets)

    def sequence(self, clip, subject=None, **widgets) -> str:
        settings = {"from_age": "child", "to_age": "old", "steps": 6, "extra": ""} | _PROMPT | widgets
        return self.add("IDAgingSequenceEncode", clip=clip, **settings, **({"subject": subject} if subject else {}))

    def prompt(self, clip, age, subject=None, **widgets) -> str:
        settings = {"age": age, "extra": ""} | _PROMPT | widgets
        return self.add("IDAgingPromptEncode", clip=clip, **settings, **({"subject": subject} if subject else {}))

    def generate(self, model, positive, count=1, seed=7) -> tuple[str, int]:
        """Samples ``count`` images from the same noise."""
        empty = self.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=count)
        noise = self.add("LatentBatchSeedBehavior", samples=(empty, 0), seed_behavior="fixed")
        negative = self.add("CLIPTextEncode", clip=(self.checkpoint, 1), text="")
        latents = self.add(
            "KSampler", model=model, positive=positive, negative=(negative, 0), latent_image=(noise, 0), seed=seed,
            steps=2, cfg=5.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        )  # fmt: skip
        return self.add("VAEDecode", samples=(latents, 0), vae=(self.checkpoint, 2)), 0

    def save(self, images, prefix) -> str:
        return self.add("SaveImage", images=images, filename_prefix=prefix)


_PROMPT = {"template": "photo of a {token} {class_word} as {age}", "token": "sks", "class_word": "person"}


def pictures(server, outcome, node):
    return [
        np.asarray(Image.open(server.base / "output" / image["subfolder"] / image["filename"])).astype(int)
        for image in outcome.outputs[node]["images"]
    ]


def text_of(graph, link):
    """Adds a node that shows the text of a STRING output, and returns its id."""
    return graph.add("PreviewAny", source=link)


def save_lora(server):
    """The class of ComfyUI's node, which was renamed after 0.3.64."""
    return "SaveLoRA" if "SaveLoRA" in server.get("/object_info") else "SaveLoRANode"


def run_ok(server, graph):
    outcome = server.run(graph)
    assert outcome.status == "success", outcome.error.get("exception_message") or server.log.read_text()[-3000:]
    return outcome
