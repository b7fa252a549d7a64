"""The shipped graphs in the real front end, in headless Chromium. Skipped if Chromium is not installed."""

import copy
import json
import re

import pytest

from tests.comfyui.conftest import FACENET, REPOSITORY
from tools.graphs import GRAPHS, api_file, nodes, read
from tools.server import Server

pytest.importorskip("playwright.sync_api")
from tools.browser import CHROMIUM, WAIT, front_end

SCORE = read(next(path for path in GRAPHS if path.stem == "score_identity"))
PACK = "any-folder_name"
SET = """values => {
    for (const node of app.graph._nodes)
        for (const widget of node.widgets ?? []) widget.value = values[widget.name] ?? widget.value
}"""
CHOOSE = """chosen => {
    const [node] = app.graph._nodes
    for (const widget of node.widgets.filter(widget => widget.name in chosen)) {
        widget.value = chosen[widget.name]
        widget.callback(widget.value, app.canvas, node)
    }
}"""
VISIBLE = """() => {
    const [node] = app.graph._nodes
    return node.widgets.filter(widget => node.isWidgetVisible(widget)).map(widget => widget.label ?? widget.name)
}"""
VISIBLE_IN_NODES_2 = "() => document.querySelector('[data-node-id]').innerText.split('\\n')"
MARKED = """() => app.graph._nodes.flatMap(
    ({ inputs }) => inputs.filter(slot => slot.hasErrors).map(slot => slot.name)
).sort()"""
TEXTS = """() => Object.fromEntries(app.graph._nodes.map(node => [
    node.type,
    (node.widgets ?? []).filter(widget => /text/i.test(widget.name) && !widget.options?.property)
        .map(widget => widget.element?.innerText ?? widget.value).filter(text => /photos/.test(text))
]).filter(([type, texts]) => type.startsWith('IDAging') && texts.length))"""
# Lines, and words that run over more than one of them, of the visible text that contains a word.
LAYOUT = """word => {
    const leaves = [...document.querySelectorAll('div, span')].filter(each => !each.children.length)
    const shown = leaves.find(each => each.checkVisibility() && each.textContent.includes(word))
    const range = document.createRange()
    const tops = ({ index, 0: { length } }) => {
        range.setStart(shown.firstChild, index)
        range.setEnd(shown.firstChild, index + length)
        return new Set([...range.getClientRects()].map(box => Math.round(box.top)))
    }
    const words = [...shown.firstChild.data.matchAll(/\\S+/g)]
    const broken = words.filter(word => tops(word).size > 1).map(([word]) => word)
    return { lines: shown.innerText.split('\\n'), broken }
}"""
NEAR = """type => {
    const { pos: [x, y] } = app.graph._nodes.find(node => node.type === type)
    app.canvas.ds.scale = 1
    app.canvas.ds.offset.splice(0, 2, 300 - x, 200 - y)
    app.canvas.setDirty(true, true)
}"""
TYPES = "() => app.graph._nodes.map(node => node.type).sort()"


@pytest.fixture(scope="module")
def server(comfyui, python, base, tmp_path_factory):
    """A separate server with the extension in a folder without spaces, as ComfyUI needs to serve help pages."""
    plain = tmp_path_factory.mktemp("frontend")
    for name in ("models", "input"):
        (plain / name).symlink_to(base / name)
    (plain / "custom_nodes").mkdir()
    (plain / "custom_nodes" / PACK).symlink_to(REPOSITORY)
    running = Server(python, comfyui, plain)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def models(server):
    """Empty files in place of the models in the graphs, so that the front end lists them."""
    names = ("checkpoints/v1-5-pruned-emaonly-fp16.safetensors", "loras/aging_subjects/subject_00001_.safetensors",
             "diffusion_models/flux-2-klein-base-4b-fp8.safetensors", "text_encoders/qwen_3_4b.safetensors",
             "vae/flux2-vae.safetensors", "diffusion_models/z_image_bf16.safetensors", "vae/ae.safetensors",
             "loras/aging_subjects/subject_klein_00001_.safetensors")  # fmt: skip
    missing = [path for name in names if not (path := server.base / "models" / name).exists()]
    for path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    yield
    for path in missing:
        path.unlink()


@pytest.fixture(scope="module")
def page(server, models):
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH")
    with front_end(server) as page:
        yield page


def test_our_templates_are_listed_with_thumbnails(page):
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK, exact=True).first.click(timeout=WAIT)
    for path in GRAPHS:
        page.locator(f"img[alt='{path.stem}']").first.scroll_into_view_if_needed(timeout=WAIT)
        page.wait_for_function("name => document.querySelector(`img[alt='${name}']`).naturalWidth > 0", arg=path.stem)
    page.keyboard.press("Escape")


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_opens_completely_and_queues_what_its_api_copy_contains(page, path, modern):
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    page.errors.clear()
    graph = read(path)
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'shipped')", graph)
    assert page.evaluate(TYPES) == sorted(node["type"] for node in graph["nodes"])
    assert not page.evaluate("() => app.graph._nodes.filter(node => node.has_errors).map(node => node.type)")
    assert len(page.evaluate("() => [...app.graph.links.values()].map(link => link.id)")) == len(graph["links"])
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")
    copy = read(api_file(path))
    assert sent.keys() == copy.keys()
    for node, expected in copy.items():
        assert sent[node]["class_type"] == expected["class_type"]
        got = {name.split(".")[-1]: value for name, value in sent[node]["inputs"].items()}
        assert expected["inputs"].items() <= got.items(), expected["class_type"]  # newer nodes have more inputs
    ours = [error for error in page.errors if "IDAging" in error or "identity" in error.lower()]
    assert not ours


def test_errors_are_shown_on_screen(page):
    for values, message in (
        ({"folder": "broken", "weights": FACENET}, "cut.png"),  # fails when it runs
        # Fails when it is queued. The message must not start with the name of the input.
        ({"folder": "gone", "weights": "gone.pt"}, re.compile(r"^(?!weights).+gone\.pt")),
    ):
        page.evaluate("graph => app.loadGraphData(graph, true, true, 'wrong')", SCORE)
        page.evaluate(SET, values)
        page.evaluate("() => app.queuePrompt(0)")
        page.get_by_text(message).first.wait_for(timeout=WAIT)
    page.get_by_text("cut.png").wait_for(state="detached", timeout=5000)  # from the last run


def test_no_extension_is_blamed_while_the_server_is_away(page):
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'away')", SCORE)
    page.route("**/prompt", lambda route: route.abort())
    page.evaluate("() => app.queuePrompt(0)")
    dialog = page.get_by_role("dialog").last
    dialog.wait_for(timeout=WAIT)
    shown = dialog.inner_text()
    page.unroute("**/prompt")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached", timeout=WAIT)
    assert "fetch" in shown and PACK not in shown


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
def test_results_stay_on_the_graph_that_was_queued(page, server, modern):
    """Two tabs hold the same graph, so that all node ids are the same."""
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    name = f"queued{modern}"
    page.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [SCORE, name])
    page.evaluate(SET, {"weights": FACENET})
    page.evaluate(
        """async graph => {
            await app.queuePrompt(0)
            await app.loadGraphData(graph, true, true, 'other')
        }""",
        SCORE,
    )
    while any(server.get("/queue").values()):
        page.wait_for_timeout(500)
    page.wait_for_timeout(1000)
    assert page.evaluate(TEXTS) == {}
    page.locator(".workflow-tabs").get_by_text(name).first.click()
    page.wait_for_function(f"() => ({TEXTS})().IDAgingLoadPhotos", timeout=WAIT)
    page.evaluate(NEAR, "IDAgingLoadPhotos")
    page.wait_for_timeout(1000)
    layout = page.evaluate(LAYOUT, "3 photos")
    assert layout["lines"][0] == "3 photos" and len(layout["lines"]) > 1 and layout["broken"] == []


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"from_age": "grandma"}, ["from_age"]),
        ({"to_age": "grandpa"}, ["to_age"]),
        ({"to_age": "70"}, ["from_age", "to_age"]),
        ({"weights": "gone.pt"}, ["weights"] * 2),
        ({"weights": "20180408-102900-casia-webface.pt"}, ["download", "weights"] * 2),
    ],
)
def test_only_the_wrong_field_is_marked(page, modern, values, fields):
    """Inputs that can each fix the error are marked together. The graph has two embedders."""
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    graph = read(next(path for path in GRAPHS if path.stem == "try_it_here"))
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'wrong')", graph)
    page.evaluate(SET, values)
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function(f"fields => String(({MARKED})()) === String(fields)", arg=sorted(fields), timeout=WAIT)


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
def test_ages_of_older_graphs_are_kept_and_sent(page, modern):
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    graph = read(next(path for path in GRAPHS if path.stem == "aging_sequence"))
    node = next(node for node in nodes(graph) if node["type"] == "IDAgingSequenceEncode")
    node["widgets_values"][:2] = ["8-year-old", "70"]
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'older')", graph)
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")[str(node["id"])]["inputs"]
    assert (sent["from_age"], sent["to_age"]) == ("8-year-old", "70")


@pytest.mark.parametrize(("saved", "resolution"), [(0, "auto"), (512, "512")])
@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
def test_graphs_with_the_old_socket_types_keep_links_and_numbers(page, modern, saved, resolution):
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    graph = read(next(path for path in GRAPHS if path.stem == "train_subject"))
    train = next(node for node in nodes(graph) if node["type"] == "IDAgingTrainSubject")
    sockets = [slot["name"] for slot in train["inputs"] if "widget" in slot]
    train["widgets_values"][sockets.index("learning_rate")] = 0.0003
    train["widgets_values"][sockets.index("resolution")] = saved
    text = json.dumps(graph).replace("IDAGING_JUDGE", "TRAINING_JUDGE").replace("IDAGING_", "")
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'older')", json.loads(text))
    assert len(page.evaluate("() => [...app.graph.links.values()].map(link => link.id)")) == len(graph["links"])
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")[str(train["id"])]["inputs"]
    assert (sent["learning_rate"], sent["resolution"]) == (0.0003, resolution)
    linked = {slot["name"] for slot in train["inputs"] if slot["link"] is not None}
    assert linked <= {name for name, value in sent.items() if isinstance(value, list)}


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "Nodes 2.0"])
def test_fields_appear_when_they_apply(page, modern):
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", modern)
    page.evaluate("() => { app.graph.clear(); app.graph.add(LiteGraph.createNode('IDAgingTrainSubject')) }")

    def shown(**chosen):
        page.evaluate(CHOOSE, chosen)
        page.wait_for_timeout(300)
        return page.evaluate(VISIBLE_IN_NODES_2 if modern else VISIBLE)

    assert "identity strength" in (few := shown()) and "rank" not in few and "token" not in few
    assert "identity strength" not in shown(loss="none")
    if modern:  # here the front end shows and hides advanced inputs itself
        return
    page.evaluate("() => app.graph._nodes[0].toggleAdvanced()")
    everything = shown(loss="contrastive")
    assert "rank" in everything and "temperature" in everything and "triplet margin" not in everything
    assert "rank" not in (full := shown(method="full", loss="triplet")) and "triplet margin" in full
    sent = page.evaluate("async () => (await app.graphToPrompt()).output")["1"]["inputs"]
    assert {"rank", "temperature", "learning_rate"} <= sent.keys(), "hidden values must still be sent"


def test_dropping_a_saved_sheet_on_the_canvas_restores_its_graph(page, server):
    graph = copy.deepcopy(SCORE)
    for node in nodes(graph):
        if node["type"] == "IDAgingLoadFaceEmbedder":
            node["widgets_values"][0] = FACENET
        if node["type"] == "SaveImage":
            node["widgets_values"][0] = "dropped"
    page.evaluate("graph => app.loadGraphData(graph, true, true, 'score')", graph)
    before = page.evaluate(TYPES)
    page.evaluate("() => app.queuePrompt(0)")
    saved = server.base / "output/dropped_00001_.png"
    for _ in range(240):
        if saved.is_file() and saved.stat().st_size:
            break
        page.wait_for_timeout(500)
    page.evaluate("() => app.graph.clear()")
    assert page.evaluate(TYPES) == []
    page.evaluate(
        """async bytes => {
            const data = new DataTransfer()
            data.items.add(new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'}))
            const event = new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})
            document.querySelector('#graph-canvas').dispatchEvent(event)
        }""",
        list(saved.read_bytes()),
    )
    page.wait_for_function("count => app.graph._nodes.length === count", arg=len(before), timeout=WAIT)
    assert page.evaluate(TYPES) == before


def test_help_pages_and_their_pictures_are_served(page, server):
    """Under the URLs that the help panel requests."""
    docs = f"http://127.0.0.1:{server.port}/extensions/{PACK}/docs/"
    answer = page.request.get(docs + "IDAgingTrainSubject.md")
    assert answer.ok and "![" in answer.text()
    answer = page.request.get(docs + "IDAgingTrainSubject.png")
    assert answer.ok and answer.headers["content-type"] == "image/png"
