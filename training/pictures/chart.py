"""A small chart with ticks, lines, bars and a legend. It uses Pillow, so reports need no plotting library."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Place = tuple[float, float]  # px
WIDTH, HEIGHT = 1200, 720  # px; pages show charts at half this size, so they print sharply
LEFT, TOP, RIGHT, BOTTOM = 120, 76, 40, 96
TEXT, SMALL, LINE = 24, 21, 27
ROWS = 9  # positions to try for a label, half a line apart, above and below a dot
CROWDED = 7  # names below an axis; more names go in two rows
PAPER, INK, GRID = (255, 255, 255), (30, 30, 30), (226, 226, 226)
# Okabe & Ito 2008: colour-blind people can tell them apart too.
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (110, 110, 110),
)


class Axes:
    """A chart with axis ranges ``x`` and ``y``, each (low, high); ``log`` applies to both. Clips values to the ranges.

    ``picture`` places the labels last, each where it overlaps least with lines, dots and other labels.
    """

    def __init__(
        self,
        title: str,
        x_label: str,
        y_label: str,
        x: tuple[float, float],
        y: tuple[float, float],
        log: bool = False,
        x_names: Sequence[str] = (),
    ):
        self.image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        self.draw = ImageDraw.Draw(self.image, "RGBA")
        self.font, self.small = ImageFont.load_default(TEXT), ImageFont.load_default(SMALL)
        self.x, self.y, self.log = x, y, log
        self.legend_end = 0.0
        self.taken: list[tuple[float, float, float, float]] = []  # boxes of dots and labels
        self.inked: list[Place] = []  # closely spaced points on the lines
        # text, possible positions, background and text colour per label
        self.pending_labels: list[tuple[str, list[Place], Colour | None, Colour]] = []
        self.draw.text((LEFT, 14), title, INK, self.font)
        self.draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10), x_label, INK, self.small, anchor="ms")
        self._y_title(y_label)
        for tick in self._ticks(y):
            height = self.at(x[0], tick)[1]
            self.draw.line((LEFT, height, WIDTH - RIGHT, height), GRID, 2)
            self.draw.text((LEFT - 12, height), self._tick_label(tick), INK, self.small, anchor="rm")
        if x_names:
            crowded = len(x_names) > CROWDED
            for number, name in enumerate(x_names):
                self._x_tick(number, name, row=number % 2 if crowded else 0)
        else:
            for tick in self._ticks(x):
                self._x_tick(tick, self._tick_label(tick))
        self.draw.rectangle((LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM), outline=INK, width=2)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Returns the position of a point in px."""
        across, up = self._fraction(x, self.x), self._fraction(y, self.y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: int = 4) -> None:
        """Adds a line through ``points``."""
        self._stroke([self.at(*point) for point in points], colour, width)

    def bars(self, edges: Sequence[float], heights: Sequence[float], colour: Colour) -> None:
        """Adds a histogram, lightly filled, with an outline around each run of non-empty bins."""
        bins = zip(pairwise(edges), heights, strict=True)
        for filled, group in groupby(bins, key=lambda bin: bin[1] > 0):
            if not filled:
                continue
            run = list(group)
            outline = [self.at(run[0][0][0], 0)]
            for (left, right), height in run:
                outline += [self.at(left, height), self.at(right, height)]
            outline.append(self.at(run[-1][0][1], 0))
            self.draw.polygon(outline, fill=(*colour, 60))
            self._stroke(outline, colour, 3)

    def dot(self, x: float, y: float, colour: Colour) -> None:
        """Adds a dot for one measurement."""
        across, up = self.at(x, y)
        self.taken.append((across - 7, up - 7, across + 7, up + 7))
        self.draw.ellipse((across - 7, up - 7, across + 7, up + 7), (*colour, 150), (*colour, 255), 2)

    def uprights(self, labels: Sequence[tuple[float, str]]) -> None:
        """Adds a dashed vertical line per (x, label); the label goes next to it, as far up as there is room."""
        for x, words in labels:
            across = self.at(x, self.y[0])[0]
            for y in range(TOP, HEIGHT - BOTTOM, 16):
                self._stroke([(across, y), (across, y + 8)], INK, 2)
            sides = (across + 8, across - 8 - self._text_width(words))
            places: list[Place] = [(left, TOP + 8 + row * LINE) for row in range(ROWS) for left in sides]
            self.pending_labels.append((words, places, PAPER, INK))

    def label(self, x: float, y: float, words: str, colour: Colour = INK) -> None:
        """Adds a label near the dot at a point."""
        (across, up), width = self.at(x, y), self._text_width(words)
        sides = (across + 14, across - 14 - width, across - width / 2)
        tops = [up + (sign * row - 1) * LINE / 2 for row in range(ROWS) for sign in (-1, 1)]
        self.pending_labels.append((words, [(left, top) for top in tops for left in sides], PAPER, colour))

    def picture(self) -> Image.Image:
        """Returns the chart with its labels."""
        for words, places, background, colour in self.pending_labels:
            size = self._text_width(words), LINE
            boxes = [self._inside(place, size) for place in places]
            box = min(boxes, key=self._overlaps)
            self.taken.append(box)
            if background:
                self.draw.rectangle(box, background)
            self.draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), words, colour, self.small, anchor="mm")
        self.pending_labels.clear()
        return self.image

    def band(self, x: tuple[float, float] | None, y: tuple[float, float] | None, label: str) -> None:
        """Adds a grey band over a range of x, of y, or of both, with a label in one of its corners."""
        (x0, x1), (y0, y1) = x or self.x, y or self.y
        (left, bottom), (right, top) = self.at(x0, y0), self.at(x1, y1)
        self.draw.rectangle((left, top, right, bottom), fill=(120, 120, 120, 40))
        sides = (left + 8, right - 8 - self._text_width(label))
        corners = [(side, up) for up in (top + 4, bottom - 4 - LINE) for side in sides]
        self.pending_labels.append((label, corners, None, INK))

    def key(self, label: str, colour: Colour) -> None:
        """Adds an entry to the legend, along the top of the frame."""
        right = self.legend_end if self.legend_end else LEFT
        self.draw.rectangle((right, 52, right + 18, 66), fill=colour)
        self.draw.text((right + 26, 59), label, INK, self.small, anchor="lm")
        self.legend_end = right + 26 + self.draw.textlength(label, self.small) + 34

    def _text_width(self, words: str) -> float:
        return self.draw.textlength(words, self.small) + 4

    def _stroke(self, points: Sequence[Place], colour: Colour, width: int) -> None:
        self.draw.line(points, (*colour, 255), width, joint="curve")
        for start, end in pairwise(points):
            steps = 1 + int(math.dist(start, end) / 4)
            self.inked += zip(*(np.linspace(a, b, steps + 1) for a, b in zip(start, end, strict=True)), strict=True)

    @staticmethod
    def _inside(place: Place, size: Place) -> tuple[float, float, float, float]:
        left = max(LEFT + 4, min(place[0], WIDTH - RIGHT - 4 - size[0]))
        top = max(TOP + 4, min(place[1], HEIGHT - BOTTOM - 4 - size[1]))
        return left, top, left + size[0], top + size[1]

    def _overlaps(self, box: tuple[float, float, float, float]) -> tuple[int, int]:
        left, top, right, bottom = box
        boxes = sum(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in self.taken)
        return boxes, sum(left - 3 < x < right + 3 and top - 3 < y < bottom + 3 for x, y in self.inked)

    def _fraction(self, value: float, limits: tuple[float, float]) -> float:
        low, high = limits
        value = min(max(value, low), high)
        if self.log:
            return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return (value - low) / (high - low)

    def _ticks(self, limits: tuple[float, float]) -> list[float]:
        low, high = limits
        if self.log:
            exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
            return [10.0**exponent for exponent in exponents]
        step = 10.0 ** math.floor(math.log10(high - low))
        step = next(step * part for part in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (step * part) <= 8)
        first = math.ceil(low / step - 1e-9)
        return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]

    def _tick_label(self, tick: float) -> str:
        return f"{100 * tick:g} %" if self.log else f"{round(tick, 6) + 0.0:g}"

    def _x_tick(self, x: float, words: str, row: int = 0) -> None:
        across, below = self.at(x, self.y[0])[0], HEIGHT - BOTTOM + row * (SMALL + 8)
        self.draw.line((across, HEIGHT - BOTTOM, across, below + 8), INK, 2)
        self.draw.text((across, below + 14), words, INK, self.small, anchor="ma")

    def _y_title(self, words: str) -> None:
        length = int(self.draw.textlength(words, self.small)) + 4
        strip = Image.new("RGB", (length, SMALL + 8), PAPER)
        ImageDraw.Draw(strip).text((2, 2), words, INK, self.small)
        strip = strip.rotate(90, expand=True)
        self.image.paste(strip, (8, int((TOP + HEIGHT - BOTTOM - strip.height) / 2)))


def with_room(values: Sequence[float] | np.ndarray, margin: float = 0.04) -> tuple[float, float]:
    """Returns the range of ``values``, extended at both ends by ``margin`` times its length."""
    low, high = float(np.min(values)), float(np.max(values))
    room = margin * (high - low) or 0.02
    return low - room, high + room
