"""The synthetic world in a real ComfyUI: its checkpoint loads as Stable Diffusion, and a subject can be trained."""

import re

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tests.comfyui.graphs import Studio, run_ok, text_of
from training.models.interface import starting_noise
from training.models.stable_diffusion.checkpoint import open_model
from training.world.model import export
from training.world.render.photos import photos as rendered
from training.world.render.photos import write_photos

SIDE, STEPS, SEED = 64, 12, 7


@pytest.fixture(scope="module")
def world(base):
    """Writes checkpoint, photos and age set to the base directory, where ComfyUI finds them."""
    file = base / "models/checkpoints/world.safetensors"
    export(file)
    write_photos(base / "input/drawn")
    return file


class WorldStudio(Studio):
    def __init__(self):
        super().__init__()
        self[self.checkpoint]["inputs"]["ckpt_name"] = "world.safetensors"

    def embedder(self, name="drawn-loss"):
        return self.add("IDAgingLoadFaceEmbedder", weights=name, download=False), 0


@torch.no_grad()
def euler(model, prompt, guidance):
    """Samples with Euler's method (Karras et al. 2022, algorithm 1 without noise) from ComfyUI's starting noise."""
    squared = model.denoiser.alphas_cumprod.double()
    sigmas = ((1 - squared) / squared).sqrt()
    places = torch.linspace(999, 0, STEPS, dtype=torch.float64)
    low = places.long().clamp(max=998)
    schedule = torch.lerp(sigmas[low].log(), sigmas[low + 1].log(), places - low).exp()
    conditioning = model.denoiser.text.encode(["", prompt])
    x = starting_noise(model.codec, SIDE, SEED).double() * (1 + schedule[0] ** 2).sqrt()
    for place, sigma, after in zip(places, schedule, [*schedule[1:], torch.tensor(0.0)], strict=True):
        scaled = (x / (sigma**2 + 1).sqrt()).float().repeat(2, 1, 1, 1)
        without, with_prompt = model.denoiser.predict(scaled, place.float().repeat(2), conditioning).double().chunk(2)
        x = x + (after - sigma) * (without + guidance * (with_prompt - without))
    return model.codec.decode(x.float()).clamp(-1, 1)[0]


def test_the_checkpoint_generates_the_same_image_in_comfyui_and_in_diffusers(server, world):
    graph = WorldStudio()
    text = graph.add("CLIPTextEncode", clip=(graph.checkpoint, 1), text="photo of a person as elderly")
    latents = graph.generate((graph.checkpoint, 0), (text, 0), seed=SEED)
    for node in graph.values():
        if node["class_type"] == "KSampler":
            node["inputs"] |= {"steps": STEPS, "cfg": 3.0}
    saved = graph.save(latents, "world")
    outcome = server.run(graph)
    assert outcome.status == "success", outcome.error
    (image,) = outcome.outputs[saved]["images"]
    theirs = np.asarray(Image.open(server.base / "output" / image["subfolder"] / image["filename"])).astype(float)
    ours = euler(open_model(world), "photo of a person as elderly", 3.0)
    ours = ((ours.permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert theirs.std() > 20  # an image with content, not a flat colour
    assert np.abs(ours - theirs).max() <= 3


def test_a_subject_trained_on_synthetic_faces_is_more_similar_than_the_untrained_model(server, world):
    graph = WorldStudio()
    photos = graph.add("IDAgingLoadPhotos", folder="drawn/photos"), 0
    train = graph.train(
        photos, ages="drawn/ages", method="full", train_text_encoder="off", max_train_steps=40, train_batch_size=4,
        learning_rate=2.5e-4, random_flip=False, loss="none", name="drawn", preview_every=15,
    )  # fmt: skip
    embedder, similarities = graph.embedder("drawn-score"), []
    judge = graph.add("IDAgingJudgeTraining", face_embedder=embedder, patience=0)
    graph[train]["inputs"]["judge"] = [judge, 0]
    report_text, plot = graph.add("PreviewAny", source=(train, 6)), graph.save((train, 7), "curves")
    for model, clip, subject in (
        ((graph.checkpoint, 0), (graph.checkpoint, 1), None),
        ((train, 0), (train, 1), (train, 2)),
    ):
        sequence = graph.sequence(clip, subject)
        images = graph.generate(model, (sequence, 0), count=(sequence, 2))
        score = graph.add("IDAgingScoreIdentity", images=images, references=photos, face_embedder=embedder)
        similarities.append(graph.add("PreviewAny", source=(score, 3)))
    for node in graph.values():
        if node["class_type"] == "KSampler":
            node["inputs"]["steps"] = STEPS
    outcome = server.run(graph)
    assert outcome.status == "success", outcome.error
    means = [float(outcome.outputs[node]["text"][0].split("mean of 6 faces:")[1].split()[0]) for node in similarities]
    assert means[1] - means[0] > 0.1  # cosine similarity, by the embedder that was not used in training

    report = outcome.outputs[report_text]["text"][0]
    previews, best = re.search(r"\b(\d+)[^\d\n]+(\d+)[^\d\n]+0\.\d+[^\d\n]+0\.\d+", report).groups()
    assert previews == "3" and f"step_{best}.safetensors" in report  # after 15, 30 and 40 steps
    (image,) = outcome.outputs[plot]["images"]
    with Image.open(server.base / "output" / image["filename"]) as curves:
        assert curves.height > curves.width  # the judge's scores are below the losses
    assert outcome.pictures, "the previews must be shown on the node"


def test_the_report_estimates_the_ages_of_synthetic_faces_without_a_clip(server, world):
    graph = WorldStudio()
    photos = graph.add("IDAgingLoadPhotos", folder="drawn/photos"), 0
    report = graph.add(
        "IDAgingIdentityReport", images=photos, references=photos, face_embedder=graph.embedder("drawn-score"),
        photo_age=28, filename_prefix="drawn",
    )  # fmt: skip
    years = graph.add("PreviewAny", source=(report, 3))
    outcome = server.run(graph)
    assert outcome.status == "success", outcome.error
    estimates = [float(text) for text in outcome.outputs[years]["text"]]
    assert len(estimates) == 8
    assert abs(sum(estimates) / 8 - 28) < 10


def test_a_birth_date_contradicted_ages_and_an_age_set_without_ages(server, world):
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2024:06:01 12:00:00"}
    faces = {"dated/8_school.png": 80, "dated/b.png": 75, "unaged/a.png": 6, "unaged/b.png": 80}
    for name, years in faces.items():
        (server.base / "input" / name).parent.mkdir(exist_ok=True)
        rendered(3, years, 1)[0].save(server.base / "input" / name, exif=exif if name == "dated/b.png" else b"")
    graph = WorldStudio()
    embedder = graph.embedder("drawn-score")
    loaded = graph.add("IDAgingLoadPhotos", folder="dated", face_embedder=embedder, birth_date="1949-05-31")
    others = graph.add("IDAgingLoadRegularizationSet", folder="unaged", ages="auto", face_embedder=embedder)
    texts = [text_of(graph, link) for link in ((loaded, 3), (others, 1))]
    outcome = run_ok(server, graph)
    photos, ages = (outcome.outputs[node]["text"][0] for node in texts)
    (warning,) = [line for line in photos.splitlines() if "8_school.png (" in line]
    assert "8, 75" in photos and "1 of 2" in warning and "b.png" not in warning
    assert re.search(r"\bchild 1\b.*\bold 1\b", ages)
