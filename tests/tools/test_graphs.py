"""The graphs of workflows/, without ComfyUI: tools/lint.py finds nothing in them, and finds what it should."""

import contextlib
import copy
import re

import pytest

from tools.graphs import GRAPHS, OBJECT_INFO, REPOSITORY, api_file, api_text, graph_text, nodes, read, tidied
from tools.lint import KNOWN, check

PERSONAL = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt)/|[A-Za-z]:\\\\|file://|[\w.]+@[\w.]+\.\w+|127\.0\.0\.1"
)


@pytest.fixture(params=GRAPHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def graph():
    return read(GRAPHS[0])


def test_there_are_eleven():
    assert sorted(REPOSITORY.glob("workflows/*.json")) == sorted(GRAPHS) and len(GRAPHS) == 11
    assert sorted(REPOSITORY.glob("workflows/api/*")) == sorted(map(api_file, GRAPHS))


def test_nothing_is_wrong(path):
    assert check(read(path), path.stem) == []


def test_file_and_api_copy_are_up_to_date(path):
    graph = read(path)
    assert path.read_text(encoding="utf-8") == graph_text(graph), "run python -m tools.graphs"
    assert api_file(path).read_text(encoding="utf-8") == api_text(graph), "run python -m tools.graphs"


def test_nothing_personal(path):
    for file in (path, api_file(path), OBJECT_INFO):
        assert not PERSONAL.search(file.read_text(encoding="utf-8")), file


def test_no_two_graphs_share_an_id():
    """ComfyUI shows a result on the node with its id, in whatever graph is open."""
    for ids in ([node["id"] for path in GRAPHS for node in read(path)["nodes"]],
                [link[0] for path in GRAPHS for link in read(path)["links"]]):  # fmt: skip
        assert len(set(ids)) == len(ids)


def test_every_node_of_the_pack_is_in_a_graph():
    used = {node["type"] for path in GRAPHS for node in nodes(read(path))}
    assert {name for name in KNOWN if name.startswith("IDAging")} <= used


def test_every_graph_has_a_thumbnail(path):
    from PIL import Image

    with Image.open(path.with_suffix(".jpg")) as picture:
        assert min(picture.size) >= 300
    assert path.with_suffix(".jpg").stat().st_size < 200_000


def test_a_graph_saved_in_comfyui_is_brought_into_the_form_kept_here(path):
    graph = read(path)
    saved = copy.deepcopy(graph) | {"extra": {"ds": {"scale": 0.6, "offset": [548.04, 192.3]}}}
    saved["groups"] = [{key: group[key] for key in group if key != "font_size"} for group in saved["groups"]]
    for node in saved["nodes"]:
        node["pos"] = [x + 0.25 for x in node["pos"]]
        node["properties"] = node["properties"] | {"ver": "0.99.0", "tabWidth": 65}
        node["widgets_values"] = [int(x) if isinstance(x, float) and x == int(x) else x for x in node["widgets_values"]]
        node["showAdvanced"] = False
        for slot in [*node["inputs"], *node["outputs"]]:
            slot |= {"localized_name": slot["name"], "label": None}
    assert tidied(saved, path.stem, KNOWN) == graph


def test_values_saved_by_name_win_and_widgets_of_newer_versions_are_left_out(graph):
    train = graph["nodes"][7]
    values = dict(
        zip([slot["name"] for slot in train["inputs"] if "widget" in slot], train["widgets_values"], strict=True)
    )
    train["widgets_values"].insert(0, "newer")
    train["widgets_values_named"] = {"newer": "newer"} | values | {"rank": 8}
    tidy = tidied(graph, "train_subject", KNOWN)["nodes"][7]
    assert tidy["widgets_values"] == list((values | {"rank": 8}).values())


def test_a_widget_that_is_newer_than_the_graph_gets_its_default(graph):
    train = graph["nodes"][7]
    expected = train["widgets_values"][-1]
    assert KNOWN[train["type"]]["input"]["optional"]["reward_anchor"][1]["default"] == expected
    train["widgets_values"].pop()
    train["inputs"].pop()
    assert tidied(graph, "train_subject", KNOWN) == read(GRAPHS[0])


def put(node, index, value):
    node["widgets_values"][index] = value


def connect(graph, link, source, slot):
    """Gives an existing link another source."""
    next(saved for saved in graph["links"] if saved[0] == link)[1:3] = [source, slot]


def renumber_link(graph, target, number):
    """Gives the graph's first link, which is the target's first input, another id."""
    graph["links"][0][0] = target["inputs"][0]["link"] = number


# Changes of train_subject, with its nodes by id, and what the linter's sentence must name.
BROKEN = {
    "unknown node": (lambda g, n: n[108].update(type="Gone"), "Gone"),
    "unknown input": (lambda g, n: n[108]["inputs"][0].update(name="gone"), "gone"),
    "dead widget": (lambda g, n: n[113]["widgets_values"].append("dead"), "dead"),
    "no list entry": (lambda g, n: put(n[113], 4, "gone"), "sampler_name"),
    "too large": (lambda g, n: put(n[113], 2, 1_000_000), "steps"),
    "no number": (lambda g, n: put(n[113], 2, True), "steps"),
    "no text": (lambda g, n: put(n[110], 0, 1), "text"),
    "no switch": (lambda g, n: put(n[105], 1, "off"), "download"),
    "not connected": (lambda g, n: n[108]["inputs"][2].update(link=None), "vae"),
    "wrong type": (lambda g, n: connect(g, 104, 102, 1), "CLIP"),
    "no such output": (lambda g, n: connect(g, 104, 102, 3), ""),
    "circle": (lambda g, n: connect(g, 102, 108, 0), "[108, 108]"),
    "trains with the judge": (lambda g, n: connect(g, 107, 106, 0), "mobilefacenet"),
    "judges with the trainer": (lambda g, n: connect(g, 101, 105, 0), "20180402-114759-vggface2.pt"),
    "id of another graph": (lambda g, n: g["nodes"].append(n[101] | {"id": 201}), "node 201 needs"),
    "link of another graph": (lambda g, n: renumber_link(g, n[107], 299), "link 299 needs"),
    "muted": (lambda g, n: n[108].update(mode=4), "node 108"),
    "no download": (lambda g, n: n[102]["properties"].pop("models"), "node 102"),
    "download of another file": (lambda g, n: n[102]["properties"]["models"][0].update(url="https://a/b.pt"), "b.pt"),
    "download without a loader": (lambda g, n: n[108]["properties"].update(n[102]["properties"]), "node 108"),
    "two notes": (lambda g, n: g["nodes"].append(n[101] | {"id": 199, "pos": [0, 1450]}), "note"),
    "short note": (lambda g, n: put(n[101], 0, "Press Run."), "note"),
    "nodes overlap": (lambda g, n: n[110].update(pos=[934, 610]), "node 109 and node 110"),
    "note over a group": (lambda g, n: n[101].update(pos=[0, 1000]), "node 101 and group 3"),
    "groups overlap": (lambda g, n: g["groups"][0]["bounding"].__setitem__(3, 300), "group 1"),
    "outside its group": (lambda g, n: n[102].update(pos=[18, 90]), "node 102"),
    "too low to show all": (lambda g, n: n[108].update(size=[400, 700], pos=[484, 500]), "node 108"),
    "runs backwards": (lambda g, n: (n[113].update(pos=[1902, 316]), n[114].update(pos=[1642, 316])), "link 119"),
    "group without its number": (lambda g, n: g["groups"][3].update(title="Train"), "4"),
    "too wide for a screen": (lambda g, n: n[101].update(size=[416, 900]), "zoom"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "named"), BROKEN.values(), ids=BROKEN)
def test_the_linter_finds(graph, change, named):
    change(graph, {node["id"]: node for node in graph["nodes"]})
    with contextlib.suppress(ValueError, IndexError):  # check() reports these too
        graph = tidied(graph, "train_subject", KNOWN)
    problems = check(graph, "train_subject")
    assert problems and named in "\n".join(problems), problems


def test_the_linter_finds_a_prompt_that_leaves_out_its_age():
    graph = read(next(path for path in GRAPHS if path.stem == "age_existing_photo"))
    (prompt,) = [node for node in graph["nodes"] if node["type"] == "IDAgingPromptEncode"]
    prompt["widgets_values"] = [value.replace("{age}", "old") for value in prompt["widgets_values"]]
    assert any("template" in problem for problem in check(graph, "age_existing_photo"))


@pytest.mark.parametrize("key", ["links", "groups", "nodes"])
def test_the_linter_finds_a_file_that_is_not_tidy(graph, key):
    graph[key].reverse()
    assert check(graph, "train_subject")
