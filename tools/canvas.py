"""Graphs as ComfyUI saves them, from nodes that are named and put into groups, rows and columns.

Sizes are in the canvas's own pixels; a node's position is the corner below its title bar.
"""

import json
import uuid
from dataclasses import dataclass, field
from typing import NamedTuple

from tools.nodeinfo import OURS, inputs_of, is_widget, second_value

TITLE, SLOT, TEXT = 30, 20, 72  # heights of a title bar, a socket, a field of many lines
WIDGET, MODERN_WIDGET, MORE, BADGE = 24, 28, 28, 24  # of a widget in either renderer; Nodes 2.0's foot of a node
GAP, APART = 20, 32  # between nodes; between groups
PADDING, HEADING = 18, 40  # of a group
WIDTH = 300  # of a node
BLUE, BROWN, PURPLE, GREEN, ORANGE = (
    "#3f789e",
    "#8a6d3b",
    "#a1309b",
    "#3f7d58",
    "#b06634",
)  # load, person, train, draw, look
CORE = "comfy-core"


class Output(NamedTuple):
    """A node's output, for another's input."""

    node: "Node"
    slot: int


@dataclass
class Node:
    """One node. ``values`` has its widgets by name, ``links`` its linked inputs."""

    id: int
    type: str
    info: dict
    title: str | None
    values: dict
    links: dict[str, Output]
    width: int
    height: int
    models: list[dict]
    after_generate: str | None
    x: int = 0
    y: int = 0

    def __getitem__(self, name: str) -> Output:
        return self.output(self.info["output_name"].index(name))

    def output(self, slot: int) -> Output:
        return Output(self, slot)

    @property
    def size(self) -> tuple[int, int]:
        return self.width, TITLE + self.height

    def place(self, x: int, y: int) -> None:
        self.x, self.y = x, y + TITLE


@dataclass
class Row:
    """Things side by side."""

    items: tuple
    gap: int

    @property
    def size(self) -> tuple[int, int]:
        sizes = [item.size for item in self.items]
        return sum(width for width, _ in sizes) + self.gap * (len(sizes) - 1), max(height for _, height in sizes)

    def place(self, x: int, y: int) -> None:
        for item in self.items:
            item.place(x, y)
            x += item.size[0] + self.gap


@dataclass
class Column:
    """Things one below the other; nodes and groups get the width of the widest."""

    items: tuple
    gap: int

    @property
    def size(self) -> tuple[int, int]:
        sizes = [item.size for item in self.items]
        return max(width for width, _ in sizes), sum(height for _, height in sizes) + self.gap * (len(sizes) - 1)

    def place(self, x: int, y: int) -> None:
        width = self.size[0]
        for item in self.items:
            if not isinstance(item, Row):
                item.width = width
            item.place(x, y)
            y += item.size[1] + self.gap


@dataclass
class Group:
    """A titled frame around columns of nodes."""

    title: str
    colour: str
    columns: Row
    width: int = 0
    x: int = 0
    y: int = 0

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.columns.size
        return max(self.width, width + 2 * PADDING), HEADING + height + PADDING

    def place(self, x: int, y: int) -> None:
        self.x, self.y = x, y
        self.columns.place(x + PADDING, y + HEADING)


def group(title: str, colour: str, *columns: list[Node]) -> Group:
    return Group(title, colour, Row(tuple(Column(tuple(nodes), GAP) for nodes in columns), GAP + 16))


def across(*items) -> Row:
    """Groups, or columns of them, side by side."""
    return Row(items, APART)


def down(*items) -> Column:
    """Groups, notes, or rows of them, one below the other."""
    return Column(items, APART)


@dataclass
class Canvas:
    """A graph that is being drawn. ``core`` is the ComfyUI that it needs."""

    name: str
    known: dict
    pack: tuple[str, str]  # name and version
    core: str
    nodes: list[Node] = field(default_factory=list)
    notes: list[Node] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    def add(
        self, type: str, title: str | None = None, /, *, wide=WIDTH, tall=0, models=(), after=None, **inputs
    ) -> Node:
        """A node, its inputs by name: an output of another node, or a widget's value; else the default.

        ``tall`` is how much it needs for what it shows below its widgets, ``after`` what becomes of its seed. Raises
        ValueError for an input that it has not.
        """
        info = self.known[type]
        known = inputs_of(info)
        if unknown := inputs.keys() - known.keys():
            raise ValueError(f"{self.name}: {type} has no input {', '.join(sorted(unknown))}")
        links = {name: value for name, value in inputs.items() if isinstance(value, Output)}
        values = {}
        for name, (kind, options) in known.items():
            if is_widget(kind, options):
                value = inputs[name] if name in inputs and name not in links else default(kind, options)
                values[name] = value
        tall += max(len(known) - len(values), len(info["output_name"])) * SLOT + 14
        tall += _fields(type, {name: known[name][1] for name in values})
        node = Node(len(self.nodes) + 2, type, info, title, values, links, wide, tall, list(models), after)
        self.nodes.append(node)
        return node

    def note(self, title: str, *paragraphs: str, wide=400, tall=240) -> Node:
        node = Node(1, "MarkdownNote", {"output_name": []}, title, {}, {}, wide, tall, [], None)
        node.values["text"] = "\n\n".join(paragraphs)
        self.notes.append(node)
        return node

    def lay(self, layout: Row | Column) -> None:
        """Gives every node and group its place."""
        layout.place(0, 0)
        self.groups = [item for item in _within(layout) if isinstance(item, Group)]

    def text(self) -> str:
        """The file."""
        links, saved = self._links(), []
        for order, node in enumerate([*self.notes, *self._in_order()]):
            saved.append(self._saved(node, order, links))
        graph = {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.pack[0]}/workflows/{self.name}")),
            "revision": 0,
            "last_node_id": max(node["id"] for node in saved),
            "last_link_id": len(links),
            "nodes": saved,
            "links": [
                [number, source.node.id, source.slot, target.id, _slots(target).index(name), _kind(source)]
                for number, (source, target, name) in links.items()
            ],
            "groups": [
                {
                    "id": number,
                    "title": f"{number} {item.title}",
                    "bounding": [item.x, item.y, *item.size],
                    "color": item.colour,
                    "font_size": 24,
                    "flags": {},
                }
                for number, item in enumerate(self.groups, 1)
            ],
            "config": {},
            "extra": {},
            "version": 0.4,
        }
        return _text(graph)

    def _links(self) -> dict[int, tuple[Output, Node, str]]:
        joined = [(node.links[name], node, name) for node in self.nodes for name in _slots(node) if name in node.links]
        return dict(enumerate(joined, 1))

    def _in_order(self) -> list[Node]:
        """Each after those that it reads."""
        done = []

        def visit(node: Node) -> None:
            for source in node.links.values():
                visit(source.node)
            if node not in done:
                done.append(node)

        for node in self.nodes:
            visit(node)
        return done

    def _saved(self, node: Node, order: int, links: dict) -> dict:
        ours = node.type.startswith(OURS)
        saved = {"id": node.id, "type": node.type, "pos": [node.x, node.y], "size": [node.width, node.height]}
        saved |= {"flags": {}, "order": order, "mode": 0, "inputs": [], "outputs": []}
        if node.title:
            saved["title"] = node.title
        if node in self.notes:
            look = {"color": "#432", "bgcolor": "#653"}
            return saved | {"properties": {}, "widgets_values": [node.values["text"]]} | look
        into = {name: number for number, (_, target, name) in links.items() if target is node}
        out = {slot: [number for number, (source, _, _) in links.items() if source == (node, slot)]
               for slot in range(len(node.info["output_name"]))}  # fmt: skip
        known = inputs_of(node.info)
        for name in _slots(node):
            kind, options = known[name]
            shown = {"name": name, "type": kind}
            if name in node.values:
                shown["widget"] = {"name": name}
            elif options["optional"]:
                shown["shape"] = 7
            saved["inputs"].append(shown | {"link": into.get(name)})
        listed = node.info["output_is_list"]
        for slot, name in enumerate(node.info["output_name"]):
            shape = {"shape": 6} if listed[slot] else {}
            saved["outputs"].append(
                {"name": name} | shape | {"type": node.info["output"][slot], "links": out[slot] or None}
            )
        pack, version = self.pack if ours else (CORE, self.core)
        saved["properties"] = {"cnr_id": pack, "ver": version, "Node name for S&R": node.type}
        if node.models:
            saved["properties"]["models"] = node.models
        saved["widgets_values"] = []
        for name, value in node.values.items():
            second = second_value(known[name][1])
            if second and node.after_generate:
                second = [node.after_generate]
            saved["widgets_values"] += [value, *second]
        return saved


def _fields(type: str, widgets: dict[str, dict]) -> int:
    """How tall a node's fields are in the renderer that needs more.

    Nodes 2.0 folds the advanced ones; where nodes are drawn on the canvas, web/identity_aging.js folds our own.
    """
    shown = {name: options for name, options in widgets.items() if not options.get("advanced")}

    def stacked(fields: dict, each: int) -> int:
        many = sum(bool(options.get("multiline")) for options in fields.values())
        return (len(fields) - many) * each + many * TEXT

    seconds = sum(WIDGET for options in widgets.values() if second_value(options))
    ours = type.startswith(OURS)
    foot = (MORE if len(shown) < len(widgets) else 0) + (BADGE if ours else 0)
    return max(stacked(shown if ours else widgets, WIDGET) + seconds, stacked(shown, MODERN_WIDGET) + foot)


def default(kind: str, options: dict):
    """What the front end sets a widget to."""
    if "default" in options:
        return options["default"]
    if options.get("options"):
        return options["options"][0]
    return {"STRING": "", "INT": 0, "FLOAT": 0.0, "BOOLEAN": False}[kind.split(",")[0]]


def _within(item):
    yield item
    for inner in item.items if isinstance(item, Row | Column) else ():
        yield from _within(inner)


def _slots(node: Node) -> list[str]:
    """Names of a node's inputs as the front end lists them: sockets before widgets."""
    known = inputs_of(node.info)
    return sorted(known, key=lambda name: name in node.values)


def _kind(source: Output) -> str:
    return source.node.info["output"][source.slot]


def _text(graph: dict) -> str:
    """JSON with each node, link and group on a line of its own."""
    parts = []
    for name, value in graph.items():
        if name in ("nodes", "links", "groups"):
            lines = ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f"{json.dumps(name)}: [\n    {lines}\n  ]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"
