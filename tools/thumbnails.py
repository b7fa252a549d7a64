"""Makes the graphs' thumbnails and the pictures of the README and the help pages.

usage: python -m tools.thumbnails COMFYUI    writes workflows/*.jpg, docs/train_subject.jpg and web/docs/*.png; takes
                                             minutes and needs Chromium

A real ComfyUI runs the graphs on the synthetic world; a thumbnail shows what its graph saved. Graphs whose models the
world does not have (NEEDS in tools/graphs.py) get a screenshot instead.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tools.browser import front_end
from tools.graphs import GRAPHS, NEEDS, REPOSITORY, api_file, changed, read
from tools.nodeinfo import OBJECT_INFO, OURS
from tools.server import Graph, Server
from training.pictures.sheet import BACKGROUND, contact_sheet, headed
from training.world.model import export
from training.world.render.photos import SUBJECT, photos, write_photos

SIDE, SHOWN = 64, 192  # px, images of the world and their size on sheets
CARD = 512  # px, of a thumbnail; ComfyUI shows squares
MARGIN = 60  # px, around a node on its help page
WORLD = {  # inputs that make a graph run on the world, by node type
    "CheckpointLoaderSimple": {"ckpt_name": "world.safetensors"},
    "IDAgingTrainSubject": {
        "method": "full", "max_train_steps": 100, "resolution": SIDE, "learning_rate": "2.5e-4", "train_batch_size": 4,
        "train_text_encoder": "off", "random_flip": False, "preview_every": 25,
        "lr_scheduler": "cosine", "loss": "none",
        "reward_every": 3, "reward_start": 0.0, "reward_pictures": 4, "reward_steps": 4,
    },
    "IDAgingLoadSubject": {"subject_file": "checkpoints/subject_00001_.safetensors"},
    "IDAgingLoadFaceEmbedder": {
        "weights": {"20180402-114759-vggface2.pt": "drawn-loss", "mobilefacenet": "drawn-score"}
    },
    "LoadImage": {"image": "photo.png"},
    "EmptyLatentImage": {"width": SIDE, "height": SIDE},
    "ImageScale": {"width": SIDE},
    "CLIPTextEncode": {"text": ""},  # the world was trained on its age prompts alone
    "IDAgingSequenceEncode": {"extra": ""},
    "KSampler": {"cfg": 6.0, "seed": 9},  # best of 0 to 19 by identity x age
    "IDAgingAgingSheet": {"columns": 3},
}  # fmt: skip
SUBJECTS = [f"loras/aging_subjects/subject{kind}_00001_.safetensors" for kind in ("", "_klein")]
BICUBIC = {"upscale_method": "bicubic", "crop": "disabled"}
UNCLUTTERED = """async () => {
    const set = (name, value) => app.extensionManager.setting.set(name, value)
    await set('Comfy.VueNodes.Enabled', true)
    for (const name of ['Minimap.Visible', 'Graph.CanvasMenu', 'Graph.CanvasInfo']) await set('Comfy.' + name, false)
    await app.extensionManager.command.execute('Workspace.ToggleFocusMode')
}"""
CHANGED = """async changes => {
    for (const node of app.graph._nodes)
        for (const [name, value] of Object.entries(changes[node.type] ?? {}))
            for (const widget of node.widgets.filter(widget => widget.name === name))
                widget.value = value instanceof Object ? value[widget.value] ?? widget.value : value
    // load again: otherwise values that were missing before stay marked
    await app.loadGraphData(app.graph.serialize(), true, true, 'train_subject')
}"""
FITTED = """whole => {
    const boxes = [...app.graph._nodes, ...app.graph._groups]
    const corners = boxes.map(({ pos: [x, y], size: [w, h] }) => [x, y - 30, x + w, y + h])
    const [left, top] = [0, 1].map(i => Math.min(...corners.map(corner => corner[i])))
    const [right, bottom] = [2, 3].map(i => Math.max(...corners.map(corner => corner[i])))
    const view = app.canvas.ds, { clientWidth: width, clientHeight: height } = app.canvas.canvas
    const [across, down] = [width / (right - left), height / (bottom - top)]
    view.scale = 0.96 * (whole ? Math.min(across, down) : Math.max(across, down))
    view.offset.splice(0, 2, 0.02 * width / view.scale - left, 0.02 * height / view.scale - top)
    app.canvas.setDirty(true, true)
}"""
NEAR = """([type, margin]) => {
    const { pos: [x, y], size: [width, height] } = app.graph._nodes.find(node => node.type === type)
    app.canvas.ds.scale = 1
    app.canvas.ds.offset.splice(0, 2, margin - x, margin + 30 - y)
    app.canvas.setDirty(true, true)
    return { x: 0, y: 0, width: width + 2 * margin, height: height + 30 + 2 * margin }
}"""
MORE = {  # further inputs of single graphs
    "aging_sequence": {"KSampler": {"seed": 14}},  # second best; with the best its card would equal that of try_it_here
    "aging_video": {"IDAgingSequenceEncode": {"steps": 16}, "IDAgingAgingSheet": {"columns": 4}},
}
SETS = 4  # runs of make_regularization_set


def world_base(base: Path) -> None:
    """Makes a ComfyUI base directory with the pack and, from the world, everything that the graphs name."""
    for folder in ("custom_nodes", "models/checkpoints", "input/pictures"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes/identity-aging").symlink_to(REPOSITORY)
    export(base / "models/checkpoints/world.safetensors")
    write_photos(base / "input")
    for name in ("photo", "example"):
        shutil.copy(base / "input/photos/01.png", base / f"input/{name}.png")
    models = [
        model for path in GRAPHS for node in read(path)["nodes"] for model in node["properties"].get("models", ())
    ]
    for file in [*(f"{model['directory']}/{model['name']}" for model in models), *SUBJECTS]:  # listed but never loaded
        (base / "models" / file).parent.mkdir(parents=True, exist_ok=True)
        (base / "models" / file).touch()
    for number, image in enumerate([*photos(SUBJECT, 28, 5, 100), *photos(SUBJECT + 1, 28, 4)]):
        image.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC).save(base / f"input/pictures/{number}.png")


def world_graph(path: Path) -> Graph:
    """Returns the graph with the settings for the world; images are enlarged before they reach a sheet."""
    graph = Graph(read(api_file(path)))
    if any(node["class_type"] == "IDAgingDrawnWorld" for node in graph.values()):
        return graph  # made for the world already
    graph = Graph(changed(changed(graph, WORLD), MORE.get(path.stem, {})))
    sheets = [node["inputs"] for node in graph.values() if node["class_type"] == "IDAgingAgingSheet"]
    for sheet in sheets:
        larger = {"image": sheet["images"], "width": SHOWN, "height": SHOWN} | BICUBIC
        graph["larger"] = {"class_type": "ImageScale", "inputs": larger}
        sheet["images"] = ["larger", 0]
    return graph


def saved(server: Server, path: Path, **sampler) -> list[Image.Image]:
    """Runs the graph, with ``sampler`` as inputs of its KSampler, and returns the images that its Save Image wrote."""
    graph = Graph(changed(world_graph(path), {"KSampler": sampler}))
    outcome = server.run(graph)
    if outcome.status != "success":
        raise RuntimeError(f"{path.stem}: {outcome.error.get('exception_message')}")
    (node,) = [node for node in graph if graph[node]["class_type"] == "SaveImage"]
    files = [server.base / "output" / file["subfolder"] / file["filename"] for file in outcome.outputs[node]["images"]]
    return [Image.open(file).convert("RGB") for file in files]


def row(images: list[Image.Image], side: int, columns: int | None = None) -> Image.Image:
    resized = [image.resize((side, side), Image.Resampling.BICUBIC) for image in images]
    return contact_sheet(resized, [""] * len(resized), columns)


def card(image: Image.Image) -> Image.Image:
    """The whole image on a square, below the badge that ComfyUI lays over the upper left corner."""
    side = max(image.width, image.height * 8 // 7)
    square = Image.new("RGB", (side, side), BACKGROUND)
    square.paste(image, ((side - image.width) // 2, side - image.height))
    return square.resize((CARD, CARD), Image.Resampling.LANCZOS)


def cards(server: Server) -> dict[str, Image.Image]:
    """The thumbnail of each graph that the world can run, by the graph's name."""
    cards = {path.stem: saved(server, path)[0] for path in GRAPHS if path.stem not in NEEDS}
    loaded = [Image.open(file) for file in sorted((server.base / "input/photos").iterdir())]
    for name, heading, count, after in (
        ("train_subject", "Photos", 5, "After training"),
        ("age_existing_photo", "One photo", 1, "At six ages"),
    ):
        cards[name] = headed([(heading, row(loaded[:count], 108)), (after, cards[name])])
    regularization = next(path for path in GRAPHS if path.stem == "make_regularization_set")
    faces = [face for seed in range(SETS) for face in saved(server, regularization, seed=seed)]
    cards[regularization.stem] = headed([("Other people of all ages", row(faces, 96, len(faces) // SETS))])
    return {name: card(image) for name, image in cards.items()}


def screenshots(server: Server) -> None:
    """Runs train_subject in the front end and takes its screenshot; of graphs in NEEDS, shows the left part unrun."""
    first, *others = GRAPHS
    with front_end(server) as page:
        page.evaluate(UNCLUTTERED)

        def shot(path: Path, file: Path, width: int, height: int, whole: bool) -> None:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [read(path), path.stem])
            if whole:
                page.evaluate(CHANGED, WORLD)
                page.evaluate("() => app.queuePrompt(0)")
                page.wait_for_timeout(2000)
                while any(server.get("/queue").values()):
                    page.wait_for_timeout(1000)
            page.evaluate(FITTED, whole)
            page.wait_for_timeout(2000)
            page.screenshot(path=file, type="jpeg", quality=80)

        shot(first, REPOSITORY / "docs" / f"{first.stem}.jpg", 1800, 1180, whole=True)
        for path in others:
            if path.stem in NEEDS:
                shot(path, path.with_suffix(".jpg"), 1024, 1024, whole=False)


def help_pictures(server: Server) -> None:
    """Takes a screenshot of each node of the pack, under its own name, in the first graph that has it."""
    names = sorted(name for name in read(OBJECT_INFO) if name.startswith(OURS))
    with front_end(server) as page:
        page.set_viewport_size({"width": 700, "height": 1400})
        page.evaluate(UNCLUTTERED)
        for name in names:
            graph = next(graph for graph in map(read, GRAPHS) if any(node["type"] == name for node in graph["nodes"]))
            for node in graph["nodes"]:
                if node["type"] == name:
                    node.pop("title", None)
            page.evaluate("graph => app.loadGraphData(graph, true, true, 'help')", graph)
            page.evaluate(NEAR, [name, MARGIN])
            page.wait_for_timeout(2000)
            place = page.evaluate(NEAR, [name, MARGIN])
            page.screenshot(path=REPOSITORY / "web/docs" / f"{name}.png", clip=place)


def main(comfyui: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "ComfyUI"  # some nodes show this path
        world_base(base)
        server = Server(comfyui / ".venv" / "bin" / "python", comfyui, base)
        try:
            screenshots(server)
            help_pictures(server)
            for name, image in cards(server).items():
                image.save(REPOSITORY / "workflows" / f"{name}.jpg", quality=88)
        finally:
            server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
