"""Labelled contact sheets, and faces marked in images."""

import math

from PIL import Image, ImageDraw, ImageFont

from ..errors import InvalidSetting

GAP = 12  # px between images
BACKGROUND, INK = (24, 24, 27), (235, 235, 235)
FOUND, MISSING = (74, 222, 128), (185, 28, 28)


def contact_sheet(pictures: list[Image.Image], labels: list[str], columns: int | None = None) -> Image.Image:
    """Returns images of the same size in rows of ``columns`` (default: one row), with labels of any lines below."""
    columns = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    font = ImageFont.load_default(max(11, width // 14))
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    tallest = math.ceil(max(probe.multiline_textbbox((0, 0), label or " ", font=font)[3] for label in labels))
    cell = (width + GAP, height + tallest + 2 * GAP)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, rows * cell[1] + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = GAP + index % columns * cell[0], GAP + index // columns * cell[1]
        sheet.paste(picture, (x, y))
        center_top = (x + width / 2, y + height + GAP / 2)
        draw.multiline_text(center_top, label, fill=INK, font=font, anchor="ma", align="center")
    return sheet


def annotated(
    picture: Image.Image,
    box: tuple[float, float, float, float] | None,
    label: str,
    colour: tuple[int, int, int] = FOUND,
) -> Image.Image:
    """Returns a copy of ``picture`` with ``box`` (left, top, right, bottom, px) in ``colour``; a red frame for None.

    ``label`` goes on a bar below the image, in letters small enough for its width.
    """
    width, height = picture.size
    size, probe = max(11, width // 20), ImageDraw.Draw(picture)
    widest = probe.multiline_textbbox((0, 0), label, font=ImageFont.load_default(size))[2]
    font = ImageFont.load_default(size * min(1, (width - 2) / widest))
    text = probe.multiline_textbbox((0, 0), label, font=font)
    bar = math.ceil(text[3] - text[1]) + GAP
    result = Image.new("RGB", (width, height + bar), MISSING if box is None else BACKGROUND)
    result.paste(picture, (0, 0))
    draw = ImageDraw.Draw(result)
    line = max(1, width // 160)
    if box is None:
        draw.rectangle((0, 0, width - 1, height - 1), outline=MISSING, width=2 * line)
    else:
        draw.rectangle(box, outline=colour, width=line)
    draw.multiline_text((width / 2, height + GAP / 2), label, fill=INK, font=font, anchor="ma", align="center")
    return result


def headed(sheets: list[tuple[str, Image.Image]], size: int = 20) -> Image.Image:
    """Stacks sheets, each below its heading, in letters of ``size`` px."""
    font = ImageFont.load_default(size)
    line = size + 2 * GAP
    width = max(sheet.width for _, sheet in sheets)
    result = Image.new("RGB", (width, sum(line + sheet.height for _, sheet in sheets)), BACKGROUND)
    draw, y = ImageDraw.Draw(result), 0
    for heading, sheet in sheets:
        draw.text((GAP, y + GAP), heading, fill=INK, font=font)
        result.paste(sheet, (0, y + line))
        y += line + sheet.height
    return result


def sheet_of_rows(
    pictures: list[Image.Image],
    labels: list[str],
    columns: int,
    headings: list[str],
    similarities: list[float] | None = None,
) -> Image.Image:
    """Returns a contact sheet with one of ``headings`` above each row, or without headings if the list is empty.

    With ``similarities``, of which nan means that no face was found, each heading also gives the row's mean. Raises
    UserError if the number of headings is not the number of rows.
    """
    if not headings:
        return contact_sheet(pictures, labels, columns)
    starts = range(0, len(pictures), columns)
    if len(headings) != len(starts):
        raise InvalidSetting(
            f"Got {len(headings)} headings for {len(starts)} rows ({len(pictures)} images in {columns} columns). Give "
            "one heading per row."
        )
    parts = []
    for name, start in zip(headings, starts, strict=True):
        part = slice(start, start + columns)
        mean = f", {mean_similarity(similarities[part])}" if similarities else ""
        parts.append((name + mean, contact_sheet(pictures[part], labels[part], columns)))
    return headed(parts, max(20, pictures[0].width // 12))


def mean_similarity(similarities: list[float]) -> str:
    """Returns a label with the mean of all similarities that are not nan, and the number of nans."""
    valid = [similarity for similarity in similarities if not math.isnan(similarity)]
    if not valid:
        return "no face"
    missing = len(similarities) - len(valid)
    return f"mean {sum(valid) / len(valid):.3f}" + (f", {missing} without a face" if missing else "")
