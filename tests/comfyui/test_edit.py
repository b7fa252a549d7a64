"""A given photo, aged by an edit model, in a real ComfyUI: its own nodes, a tiny random Flux.2 Klein, our lists."""

import re

import numpy as np
import pytest

from tests.comfyui.graphs import SIDE, Studio, pictures, ran, text_of
from tools.server import Refused


class Edit(Studio):
    """Studio's pieces, with the nodes that ComfyUI's own graphs give Flux.2 Klein a photo by."""

    def __init__(self, server):
        super().__init__()
        if "EmptyFlux2LatentImage" not in server.get("/object_info"):
            pytest.skip("this ComfyUI has no Flux.2")
        named = {"UNET": "unet_name", "CLIP": "type", "VAE": "vae_name"}
        self.klein = [(self.add(f"TestsTiny{part}Loader", **{name: "flux2"}), 0) for part, name in named.items()]

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
        drawn = self.add(
            "SamplerCustomAdvanced",
            noise=(self.add("RandomNoise", noise_seed=seeds), 0),
            guider=(guider, 0),
            sampler=(self.add("KSamplerSelect", sampler_name="euler"), 0),
            sigmas=(self.add("Flux2Scheduler", steps=2, width=SIDE, height=SIDE), 0),
            latent_image=(self.add("EmptyFlux2LatentImage", width=SIDE, height=SIDE, batch_size=1), 0),
        )
        return self.add("VAEDecode", samples=(drawn, 0), vae=self.klein[2]), 0


LINES = (
    "child: as a child: round",
    "teenager: young",
    "young adult: grown",
    "middle-aged: mid: lined",
    "elderly: grey",
)
WORDS = "\n".join([*LINES, "old: white"])


def test_candidates_of_every_age_are_edited_scored_picked_and_put_on_a_sheet(server):
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
    said, words = text_of(graph, (report, 5)), text_of(graph, (lists, 0))
    outcome = ran(server, graph)
    drawn, (shown,) = (pictures(server, outcome, node) for node in nodes)
    assert [picture.shape for picture in drawn] == [(SIDE, SIDE, 3)] * 6
    assert len({picture.tobytes() for picture in drawn}) == 6, "every age and every candidate is another picture"
    assert shown.shape[0] > 2 * SIDE
    assert re.search(r"picture 6 +old ", outcome.outputs[said]["text"][0])
    prompts = outcome.outputs[words]["text"]
    assert prompts[:3] == prompts[3:] and "as a child: round" in prompts[0] and "at the age of 45: lined" in prompts[1]


def test_the_photo_and_the_seed_make_the_picture(server):
    graph = Edit(server)
    lists = graph.prompts(ages="old")
    one, other = (graph.photos([name]) for name in ("photo0.png", "photo2.png"))
    links = [graph.edit(one, (lists, 0), (lists, 2)), graph.edit(other, (lists, 0), (lists, 2)),
             graph.edit(one, (lists, 0), 4)]  # fmt: skip
    saved = [graph.save(link, "pairs") for link in links]
    outcome = ran(server, graph)
    first, second, third = (pictures(server, outcome, node)[0] for node in saved)
    assert not np.array_equal(first, second) and not np.array_equal(first, third)


def test_wrong_ages_are_refused_before_the_queue_runs(server):
    graph = Edit(server)
    graph.add("PreviewAny", source=(graph.prompts(ages="ancient"), 0))
    with pytest.raises(Refused, match="'ancient' is not an age"):
        server.queue(graph)


@pytest.mark.parametrize(
    ("widgets", "sentence"),
    [
        ({"words": "white hair"}, "'white hair'"),
        ({"template": "a {name}"}, "{name}"),
    ],
)
def test_wrong_words_are_said_by_the_node_that_has_them(server, widgets, sentence):
    graph = Edit(server)
    graph.add("PreviewAny", source=(graph.prompts(**widgets), 0))
    assert sentence in server.run(graph).error["exception_message"]
