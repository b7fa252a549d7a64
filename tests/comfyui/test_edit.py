"""Photos aged by an editing model in a real ComfyUI: its own nodes, a tiny random Flux.2 Klein and our lists."""

import re

import numpy as np
import pytest

from tests.comfyui.graphs import SIDE, Studio, pictures, run_ok, text_of
from tools.server import Refused


class Edit(Studio):
    """Studio with the nodes that ComfyUI's own graphs use to edit a photo with Flux.2 Klein."""

    def __init__(self, server):
        super().__init__()
        if "EmptyFlux2LatentImage" not in server.get("/object_info"):
            pytest.skip("this ComfyUI has no Flux.2")
        widgets = {"UNET": "unet_name", "CLIP": "type", "VAE": "vae_name"}
        self.klein = [(self.add(f"TestsTiny{part}Loader", **{name: "flux2"}), 0) for part, name in widgets.items()]

    def prompts(self, **widgets) -> str:
        return self.add(
            "IDAgingEditPrompts",
            **{"ages": "all", "candidates": 1, "seed": 3, "words": WORDS, "template": "{age}", "class_word": "person"}
            | widgets,
        )

    def edit(self, photo, prompts, seeds) -> tuple[str, int]:
        latent = (self.add("VAEEncode", pixels=photo, vae=self.klein[2]), 0)
        sides = []
        for text in (prompts, ""):
            encoded = (self.add("CLIPTextEncode", clip=self.klein[1], text=text), 0)
            sides.append((self.add("ReferenceLatent", conditioning=encoded, latent=latent), 0))
        guider = self.add("CFGGuider", model=self.klein[0], positive=sides[0], negative=sides[1], cfg=5.0)
        latents = self.add(
            "SamplerCustomAdvanced",
            noise=(self.add("RandomNoise", noise_seed=seeds), 0),
            guider=(guider, 0),
            sampler=(self.add("KSamplerSelect", sampler_name="euler"), 0),
            sigmas=(self.add("Flux2Scheduler", steps=2, width=SIDE, height=SIDE), 0),
            latent_image=(self.add("EmptyFlux2LatentImage", width=SIDE, height=SIDE, batch_size=1), 0),
        )
        return self.add("VAEDecode", samples=(latents, 0), vae=self.klein[2]), 0


LINES = (
    "child: as a child: round",
    "teenager: young",
    "young adult: grown",
    "middle-aged: mid: lined",
    "elderly: grey",
)
WORDS = "\n".join([*LINES, "old: white"])


def test_candidates_of_each_age_are_edited_scored_and_put_on_a_sheet(server):
    graph = Edit(server)
    photo = graph.photos(["photo0.png"])
    lists = graph.prompts(ages="child, 45, old", candidates=2)
    edited = graph.edit(photo, (lists, 0), (lists, 2))
    report = graph.add(
        "IDAgingIdentityReport", images=edited, references=photo, face_embedder=graph.embedder(), ages=(lists, 1),
        photo_age=-1, filename_prefix="edit",
    )  # fmt: skip
    sheet = graph.add("IDAgingAgingSheet", images=edited, ages=(lists, 1), similarities=(report, 2), columns=3)
    nodes = [graph.save(link, name) for link, name in ((edited, "edited"), ((sheet, 0), "edit_sheet"))]
    report_text, prompt_text = text_of(graph, (report, 5)), text_of(graph, (lists, 0))
    outcome = run_ok(server, graph)
    edited_images, (sheet_image,) = (pictures(server, outcome, node) for node in nodes)
    assert [image.shape for image in edited_images] == [(SIDE, SIDE, 3)] * 6
    assert len({image.tobytes() for image in edited_images}) == 6, "each age and each candidate is a different image"
    assert sheet_image.shape[0] > 2 * SIDE
    assert re.search(r" 6 +old ", outcome.outputs[report_text]["text"][0])
    prompts = outcome.outputs[prompt_text]["text"]
    assert prompts[:3] == prompts[3:] and "as a child: round" in prompts[0] and "at the age of 45: lined" in prompts[1]


def test_the_result_depends_on_the_photo_and_the_seed(server):
    graph = Edit(server)
    lists = graph.prompts(ages="old")
    one, other = (graph.photos([name]) for name in ("photo0.png", "photo2.png"))
    links = [graph.edit(one, (lists, 0), (lists, 2)), graph.edit(other, (lists, 0), (lists, 2)),
             graph.edit(one, (lists, 0), 4)]  # fmt: skip
    saved = [graph.save(link, "pairs") for link in links]
    outcome = run_ok(server, graph)
    first, second, third = (pictures(server, outcome, node)[0] for node in saved)
    assert not np.array_equal(first, second) and not np.array_equal(first, third)


def test_invalid_ages_are_rejected_before_the_queue_runs(server):
    graph = Edit(server)
    graph.add("PreviewAny", source=(graph.prompts(ages="ancient"), 0))
    with pytest.raises(Refused, match="'ancient'"):
        server.queue(graph)


@pytest.mark.parametrize(
    ("widgets", "value"), [({"words": "white hair"}, "white hair"), ({"template": "a {name}"}, "{name}")]
)
def test_invalid_words_and_templates_fail_when_the_node_runs(server, widgets, value):
    graph = Edit(server)
    graph.add("PreviewAny", source=(graph.prompts(**widgets), 0))
    error = server.run(graph).error
    assert value in error["exception_message"]
    assert error["exception_type"] == "InvalidSetting"
