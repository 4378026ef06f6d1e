"""Take the pictures of the documentation from the real window.

    xvfb-run -a -s "-screen 0 1600x1200x24" python docs/make_screenshots.py

opens napari with a volume of real nuclei, from ``$NAPARI_SAM2_DATA`` or ``../shared/data``, or else
the generated sample stack; clicks a nucleus, then every other once, each on its largest plane;
propagates; goes through the planes, and to a least certain one; segments everything on one plane;
and saves ``docs/window.png`` and ``docs/images``. With ``--states FOLDER`` it takes the window in
each state that a user meets, in both themes, instead: to be looked at after the window was changed.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import napari
import numpy as np
import tifffile
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam2.plugin.widgets.dock import Sam2Widget
from napari_sam2.plugin.widgets.segment_all_dock import SegmentAllWidget
from napari_sam2.sample_data import generated_zstack
from napari_sam2.training.evaluation import clicks_on_largest_planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.session.engine import Engine

REPOSITORY = Path(__file__).parents[1]
VOLUME = "Emb11_t401"  # of an embryo that the bundled model was not trained on
VOXEL = (1.75, 0.8, 0.8)  # µm
SMALLEST = 100  # voxels; what is labelled smaller is debris
WINDOW = (1500, 1000)
PATIENCE_MS = 600_000
FILM_SIDE, FILM_COLOURS, FILM_MS = 320, 128, 250  # pixels; a plane


def load() -> tuple[str, NDArray, NDArray, tuple[float, ...]]:
    """Name, image, labels and voxel size of the stack in the picture."""
    folder = Path(os.environ.get("NAPARI_SAM2_DATA", REPOSITORY / "../shared/data")) / "bbbc050"
    if not folder.is_dir():
        (image, layer, _), (truth, _, _) = generated_zstack()
        return str(layer["name"]), image, truth, layer["scale"]
    image = tifffile.imread(folder / "images" / f"{VOLUME}.tif")
    truth = tifffile.imread(folder / "labels" / f"{VOLUME}.tif")
    labels, sizes = np.unique(truth, return_counts=True)
    truth = np.where(np.isin(truth, labels[sizes >= SMALLEST]), truth, 0)
    return "mouse embryo", image, truth, VOXEL


def wait(dock: Sam2Widget) -> None:
    """Let the window work until the model is done."""
    QTest.qWait(300)
    waited = 0
    while dock.controller.runs.is_busy:
        QTest.qWait(100)
        waited += 100
        if waited > PATIENCE_MS:
            raise TimeoutError("The model has not finished. Is this machine busy?")


def save(viewer: napari.Viewer, path: Path) -> None:
    """Save a picture of the window as it is."""
    QTest.qWait(500)
    path.parent.mkdir(exist_ok=True)
    viewer.screenshot(str(path), canvas_only=False, flash=False)


def film(viewer: napari.Viewer, path: Path) -> None:
    """Save a film of the canvas that goes through every second plane."""
    shown = []
    for plane in range(0, int(viewer.dims.nsteps[0]), 2):
        viewer.dims.set_current_step(0, plane)
        QTest.qWait(200)
        canvas = Image.fromarray(viewer.screenshot(flash=False)).convert("RGB")
        margin = (canvas.width - canvas.height) // 2
        square = canvas.crop((margin, 0, margin + canvas.height, canvas.height))
        small = square.resize((FILM_SIDE, FILM_SIDE), Image.Resampling.LANCZOS)
        # the usual way of choosing colours makes objects alike
        shown.append(small.quantize(FILM_COLOURS, Image.Quantize.FASTOCTREE))
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=FILM_MS, loop=0)


def take(folder: Path, engine: Engine | None = None) -> None:
    """Segment a stack in the window and save pictures of it.

    Parameters
    ----------
    folder : Path
        Where to.
    engine : Engine, optional
        Runs the model; by default the bundled one.
    """
    name, image, truth, scale = load()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    viewer.add_image(
        image,
        name=name,
        scale=scale,
        axis_labels=("z", "y", "x"),
        contrast_limits=tuple(np.percentile(image, (1, 99.7))),
        interpolation2d="linear",
    )
    dock = Sam2Widget(viewer, engine)
    viewer.window.add_dock_widget(dock, name="Click and track")
    for section in (dock.model, dock.image):  # so that all of the rest is in view
        section.heading.setChecked(False)
    dock.controller.prepare_layers()
    points = viewer.layers["SAM 2 points"]
    clicks = clicks_on_largest_planes(truth)
    sizes = {number: np.sum(truth[z] == number) for number, (z, _) in clicks.items()}
    for object_id in sorted(clicks, key=sizes.__getitem__, reverse=True):
        z, click = clicks[object_id]
        viewer.dims.set_current_step(0, z)
        dock.controller.prompting.set_active(object_id, True)
        points.add([z, *click.position])
        wait(dock)
        if len(points.data) == 1:
            viewer.reset_view()
            save(viewer, folder / "images" / "first-mask.png")
    dock.controller.prompting.set_active(max(sizes, key=sizes.__getitem__), True)
    dock.propagate.run.click()
    wait(dock)
    labels = viewer.layers["SAM 2 labels"].data
    fullest = max(range(len(labels)), key=lambda z: len(np.unique(labels[z])))
    viewer.dims.set_current_step(0, fullest)
    points.selected_data = set()
    viewer.reset_view()
    save(viewer, folder / "window.png")
    film(viewer, folder / "images" / "planes.gif")
    viewer.dims.set_current_step(0, fullest)
    viewer.theme = "light"
    save(viewer, folder / "images" / "propagated.png")
    viewer.theme = "dark"
    dock.controller.objects.go_to_least_certain()
    QTest.qWait(500)
    dock.timeline.grab().save(str(folder / "images" / "timeline.png"))
    viewer.close()
    QApplication.processEvents()


def take_everything(folder: Path) -> None:
    """Segment everything on one plane in the window, and save a picture of it."""
    name, image, truth, _ = load()
    fullest = max(range(len(truth)), key=lambda z: len(np.unique(truth[z])))
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    viewer.add_image(
        image[fullest],
        name=name,
        contrast_limits=tuple(np.percentile(image, (1, 99.7))),
        interpolation2d="linear",
    )
    dock = SegmentAllWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Segment all")
    dock.choice.smallest.setValue(20)
    dock.search.search.click()
    QTest.qWait(100)
    while dock.segmentation.is_busy:
        QTest.qWait(100)
    viewer.reset_view()
    save(viewer, folder / "images" / "everything.png")
    viewer.close()
    QApplication.processEvents()


def take_states(folder: Path, theme: str) -> None:
    """Save pictures of the window in each state: empty, asked, at work, refused, restored."""
    os.environ["NAPARI_SAM2_SESSIONS"] = str(folder / "sessions" / theme)
    (image, layer, _), (truth, _, _) = generated_zstack()
    middle = len(image) // 2
    clicks = clicks_on_largest_planes(truth[middle : middle + 1])
    number = 0

    def state(name: str) -> None:
        nonlocal number
        number += 1
        save(viewer, folder / f"{theme}_{number:02}_{name}.png")

    def opened() -> tuple[napari.Viewer, Sam2Widget]:
        viewer = napari.Viewer(show=True)
        viewer.theme = theme
        viewer.window.resize(*WINDOW)
        dock = Sam2Widget(viewer)
        viewer.window.add_dock_widget(dock, name="Click and track")
        return viewer, dock

    viewer, dock = opened()
    state("no_image")
    viewer.add_image(image, **layer)
    viewer.dims.set_current_step(0, middle)
    state("image")
    dock.controller.prepare_layers()
    points = viewer.layers["SAM 2 points"]
    for object_id, (_, click) in enumerate(list(clicks.values())[:3], start=1):
        dock.controller.prompting.set_active(object_id, True)
        points.add([middle, *click.position])
        wait(dock)
    state("clicked")
    dock.propagate.run.click()
    QTest.qWait(2000)
    state("propagating")
    dock.controller.cancel()
    wait(dock)
    state("cancelled")
    dock.controller.undo()
    dock.controller.undo()
    wait(dock)
    state("undone")
    dock.model.show_download(60 * 10**6, 156 * 10**6)
    state("downloading")
    dock.model.end_download("")
    broken = folder / "notes.pt"
    broken.write_bytes(b"no checkpoint")
    dock.model.add_file(str(broken))
    dock.controller.plane.run()
    wait(dock)
    state("no_checkpoint")
    QTest.qWait(2500)  # until the session is saved
    viewer.close()
    QApplication.processEvents()
    viewer, dock = opened()
    viewer.add_image(image, **layer)
    QTest.qWait(1000)
    state("asked_to_restore")
    dock.offer.restore.click()
    wait(dock)
    state("restored")
    viewer.close()
    QApplication.processEvents()


if __name__ == "__main__":
    parser = ArgumentParser(description="Take the pictures of the documentation.")
    parser.add_argument("--states", type=Path, help="pictures of every state into this folder")
    arguments = parser.parse_args()
    if arguments.states:
        for theme in ("dark", "light"):
            take_states(arguments.states, theme)
    else:
        with TemporaryDirectory() as sessions:  # or the window would ask about the last pictures
            os.environ["NAPARI_SAM2_SESSIONS"] = sessions
            take(REPOSITORY / "docs")
            take_everything(REPOSITORY / "docs")
