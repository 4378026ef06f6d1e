"""Pictures of predictions: planes with the truth, a click on each object and what it gave."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.image_predictor import ImagePredictor
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.transforms import to_plane_logits
from napari_sam2.training.data import objects_on_plane
from napari_sam2.training.evaluation import middle_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.load import Model
    from napari_sam2.training.data import LabelledStack
    from napari_sam2.training.dense import DenseHead

PLANES, OBJECTS, COLUMNS = 6, 5, 3
TILE, HEADER = 360, 24  # pixels
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Example:
    """Objects on one plane that are asked for again and again while a model learns."""

    title: str
    plane: NDArray[np.float32]
    labels: NDArray[np.int32]
    objects: tuple[int, ...]


def choose_examples(stacks: Sequence[LabelledStack]) -> list[Example]:
    """A few planes of every source, always the same ones."""
    by_source: dict[str, list[LabelledStack]] = {}
    for stack in stacks:
        by_source.setdefault(stack.source, []).append(stack)
    examples = []
    for found in by_source.values():
        count = min(len(found), max(1, PLANES // len(by_source)))
        for place in np.linspace(0, len(found) - 1, count).round().astype(int):
            example = example_near(found[place], len(found[place]) // 2)
            if example is not None:
                examples.append(example)
    return examples


def draw_predictions(
    model: Model,
    examples: Sequence[Example],
    head: DenseHead | None = None,
    columns: int = COLUMNS,
) -> tuple[Image.Image, float]:
    """Click on the middle of each object.

    Parameters
    ----------
    model : Model
        What is learning.
    examples : sequence of Example
        One tile each.
    head : DenseHead, optional
        Draws the foreground that it predicts, and no clicks: for a model that knows none yet.
    columns : int
        Tiles side by side, at most.

    Returns
    -------
    image : PIL.Image.Image
        Truth in white, masks in colour, clicks as dots.
    overlap : float
        The mean IoU of all objects, or of the foreground.
    """
    predictor = ImagePredictor(model)
    tiles, overlaps = [], []
    for example in examples:
        clicks = []
        if head is not None:
            truths = [example.labels > 0]
            masks = [_foreground(model, head, example.plane)]
        else:
            predictor.set_image(example.plane, (0.0, 1.0))
            truths = [example.labels == label for label in example.objects]
            clicks = [PointPrompt(middle_of(truth)) for truth in truths]
            masks = [predictor.predict([click], multimask=True).best for click in clicks]
        reached = [intersection_over_union(*pair) for pair in zip(masks, truths, strict=True)]
        caption = f"{example.title}: {np.mean(reached):.2f}"
        tiles.append(_tile(example.plane, truths, masks, clicks, caption))
        overlaps += reached
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + HEADER)))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * TILE, index // columns * (TILE + HEADER)))
    return sheet, float(np.mean(overlaps))


def example_near(stack: LabelledStack, wanted: int) -> Example | None:
    """The plane with objects that is nearest to one; None where no plane has any."""
    for frame in sorted(range(len(stack)), key=lambda frame: abs(frame - wanted)):
        labels = stack.label_plane(frame)
        objects = objects_on_plane(labels, stack.smallest_on_plane)
        if objects:
            places = np.linspace(0, len(objects) - 1, min(OBJECTS, len(objects))).round()
            return Example(
                f"{stack.source} {stack.name}" + (f", plane {frame}" if len(stack) > 1 else ""),
                stack.image_plane(frame),
                labels,
                tuple(objects[int(place)] for place in places),
            )
    return None


def _foreground(model: Model, head: DenseHead, plane: NDArray[np.float32]) -> NDArray[np.bool_]:
    with torch.inference_mode(), model.precision():
        logits = head(encode_plane(model, plane, (0.0, 1.0)))[:, :1]
        shape = plane.shape[0], plane.shape[1]
        mask: NDArray[np.bool_] = (
            (to_plane_logits(logits, model.fit(shape))[0, 0] > 0).cpu().numpy()
        )
    return mask


def _tile(
    plane: NDArray[np.float32],
    truths: Sequence[NDArray[np.bool_]],
    masks: Sequence[NDArray[np.bool_]],
    clicks: Sequence[PointPrompt],
    caption: str,
) -> Image.Image:
    height, width = plane.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shown = Image.fromarray((255 * plane).astype(np.uint8)).convert("RGB")
    pixels = np.array(shown.resize(size, Image.Resampling.BICUBIC))
    for index, (truth, mask) in enumerate(zip(truths, masks, strict=True)):
        pixels[_outline(truth, size)] = WHITE
        pixels[_outline(mask, size)] = colour_of(index)
    tile = Image.new("RGB", (TILE, TILE + HEADER))
    tile.paste(Image.fromarray(pixels), (0, HEADER))
    draw = ImageDraw.Draw(tile)
    for index, click in enumerate(clicks):
        row, column = click.position
        x, y = (column + 0.5) * scale, (row + 0.5) * scale + HEADER
        draw.circle((x, y), 4, fill=colour_of(index), outline=BLACK)
    text = caption if len(caption) < 46 else f"{caption[:30]}...{caption[-12:]}"
    draw.text((6, 4), text, WHITE, ImageFont.load_default(14))
    return tile


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    resized = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    outline: NDArray[np.bool_] = find_boundaries(np.asarray(resized) > 127, mode="inner")
    return outline


def colour_of(index: int) -> tuple[int, int, int]:
    """A strong colour, unlike those of the indices near it."""
    # steps of the golden ratio keep hues apart
    red, green, blue = hsv_to_rgb((0.05 + index * 0.618034) % 1.0, 0.85, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)
