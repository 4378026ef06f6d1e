"""A plot of IoU against clicks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from napari_sam2.training.pictures import colour_of
from napari_sam2.training.scores import BOX, CLICKS, PROMPTS, STACK, mean_overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.training.scores import Score

WIDTH, HEIGHT = 900, 540
LEFT, TOP, RIGHT, BOTTOM = 70, 76, 600, 480  # of the axes
INK, GRID, PAPER = (30, 30, 30), (225, 225, 225), (255, 255, 255)


def draw_plot(scores: Sequence[Score], title: str) -> Image.Image:
    """Draw a line for each source; boxes and whole stacks are in the legend.

    Parameters
    ----------
    scores : sequence of Score
        From `evaluate`.
    title : str
        One line above.

    Returns
    -------
    PIL.Image.Image
        In RGB.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    font, large = ImageFont.load_default(15), ImageFont.load_default(19)
    draw.text((LEFT, 14), title, INK, large)
    for tenth in range(0, 11, 2):
        _, y = _place(1, tenth / 10)
        draw.line([(LEFT, y), (RIGHT, y)], GRID)
        draw.text((LEFT - 10, y), f"{tenth / 10:.1f}", INK, font, anchor="rm")
    for clicks in CLICKS:
        x, _ = _place(clicks, 0)
        draw.text((x, BOTTOM + 10), str(clicks), INK, font, anchor="mt")
    draw.text(((LEFT + RIGHT) / 2, BOTTOM + 34), "clicks", INK, font, anchor="mt")
    draw.text((LEFT, TOP - 18), "mean IoU", INK, font, anchor="lm")
    y = float(TOP)
    for index, (source, means) in enumerate(mean_overlaps(scores).items()):
        colour = colour_of(index)
        points = [
            _place(clicks, means[prompt][0])
            for clicks, prompt in zip(CLICKS, PROMPTS, strict=True)
            if prompt in means
        ]
        draw.line(points, colour, 3)
        for at in points:
            draw.circle(at, 5, fill=colour)
        draw.circle((RIGHT + 26, y + 9), 5, fill=colour)
        draw.text((RIGHT + 40, y), source, INK, font)
        for prompt in (BOX, STACK):
            if prompt in means:
                y += 20
                draw.text((RIGHT + 40, y), f"{prompt}: {means[prompt][0]:.3f}", INK, font)
        y += 32
    return image


def _place(clicks: int, overlap: float) -> tuple[float, float]:
    share = (clicks - min(CLICKS)) / (max(CLICKS) - min(CLICKS))
    return LEFT + 20 + share * (RIGHT - LEFT - 40), BOTTOM - overlap * (BOTTOM - TOP)
