"""Several layers that the model sees as one image in colours."""

import threading

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.utils import Colormap
from napari.utils.colormaps import AVAILABLE_COLORMAPS
from qtpy.QtCore import QPoint, Qt
from tests.plugin.conftest import discs, sizes
from tests.plugin.test_saving import saved

from napari_sam2.inference.channels import Channel
from napari_sam2.plugin.layers.image_source import colour_table
from napari_sam2.session.folder import read_session


def halves():
    """The upper disc in one channel and the lower one in the other."""
    whole = discs()
    rows = np.arange(64)[:, None] < 32
    return whole * rows, whole * ~rows


@pytest.fixture
def open_two(open_dock):
    """Open a dock on a magenta layer, below a green one that is no channel yet."""

    def begin(*pair, show=False, **arguments):
        opened = open_dock(*(pair or halves()), show=show, **arguments)
        opened.magenta, opened.green = opened.viewer.layers[:2]
        opened.magenta.name, opened.green.name = "magenta", "green"
        opened.magenta.colormap, opened.green.colormap = "magenta", "green"
        opened.magenta.contrast_limits = (0, 400)  # of two colours, and as bright as the green one
        opened.green.blending = "additive"
        opened.dock.image.image.chosen.emit(opened.magenta)
        opened.points = opened.workspace.prompts.points
        opened.button = opened.dock.image.channels
        opened.tick = lambda on=True: opened.button.ticked.emit(opened.green, on)
        return opened

    return begin


def as_shown(*layers, index=0):
    """What napari draws of a plane of layers that are added up."""
    total = 0
    for layer in layers:
        plane = np.asarray((layer.data[0] if layer.multiscale else layer.data)[index], float)
        low, high = layer.contrast_limits
        values = ((plane - low) / (high - low)).clip(0, 1) ** layer.gamma
        total = total + layer.colormap.map(values.ravel()).reshape(*plane.shape, 4)[..., :3]
    return total.clip(0, 1)


def seen(engine, frame=0):
    return engine.predictors[-1].frames.plane(frame)


def test_ticking_a_channel_by_mouse(open_two, qtbot, engine, messages):
    opened = open_two(show=True)
    button = opened.button
    assert button.isVisible()
    assert button.text() == "the image alone"
    menu = button.menu()
    menu.popup(button.mapToGlobal(QPoint(0, button.height())))
    image, further = menu.actions()
    assert (image.text(), image.isChecked(), image.isEnabled()) == ("magenta", True, False)
    assert (further.text(), further.isChecked()) == ("green", False)
    place = menu.actionGeometry(further).center()
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
    assert menu.isVisible()
    menu.close()
    assert button.text() == "magenta + green"
    opened.points.add([0, 44, 46])  # where the image itself is dark
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197
    names = [layer.name for layer in opened.viewer.layers]
    assert names.index("SAM 2 labels") > names.index("green")
    assert engine.limits == [(0.0, 1.0)]
    assert seen(engine).dtype == np.float32
    np.testing.assert_allclose(seen(engine), as_shown(opened.magenta, opened.green), atol=1e-6)
    assert messages == []


def test_without_a_tick_nothing_changes(open_two, engine):
    opened = open_two()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    np.testing.assert_array_equal(seen(engine), opened.magenta.data[0])
    assert opened.session.log[-1].channels == ()


def test_unticking(open_two, engine):
    opened = open_two()
    opened.tick()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.tick(False)
    assert opened.button.text() == "the image alone"
    opened.controller.plane.run()
    opened.wait_idle()
    np.testing.assert_array_equal(seen(engine), opened.magenta.data[0])
    assert [len(command.channels) for command in opened.session.log if "channels" in vars(command)]
    assert opened.session.log[-1].channels == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "colormap", "viridis"),
        lambda layer: setattr(layer, "gamma", 0.5),
        lambda layer: setattr(layer, "contrast_limits", (20, 400)),
        lambda layer: setattr(layer, "data", layer.data // 2),
    ],
)
def test_what_changes_the_view_is_seen_from_the_next_run_on(open_two, engine, change, messages):
    opened = open_two()
    opened.tick()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    change(opened.green)
    opened.points.add([0, 22, 18])
    opened.wait_idle()
    assert len(engine.predictors) == 2
    np.testing.assert_allclose(seen(engine), as_shown(opened.magenta, opened.green), atol=1e-6)
    assert messages == []


def test_what_changes_nothing_keeps_the_predictor(open_two, engine):
    opened = open_two()
    opened.tick()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.green.name = "GFP & more"
    assert opened.button.text() == "magenta + GFP && more"
    opened.green.visible = False
    opened.points.add([0, 22, 18])
    opened.wait_idle()
    assert len(engine.predictors) == 1


def test_auto_contrast_keeps_the_limits_of_a_channel(open_two, engine):
    # of 8 bits napari takes the whole range, whatever the slice
    dim = np.arange(1, 7, dtype=np.uint16)[:, None, None]
    fading = [half // dim for half in halves()]
    opened = open_two(*fading)
    opened.tick()
    opened.green.auto_contrast = True
    limits = []
    for frame in (0, 1):
        opened.viewer.dims.set_current_step(0, frame)
        opened.points.add([frame, 20, 18 + frame])
        opened.wait_idle()
        limits.append(tuple(opened.green.contrast_limits))
    assert limits[0] != limits[1]
    assert len(engine.predictors) == 1
    assert opened.session.log[-1].channels[1].contrast_limits == limits[0]


def test_a_deleted_channel(open_two, engine, messages):
    opened = open_two()
    opened.tick()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    opened.viewer.layers.remove(opened.green)
    assert not opened.button.isVisibleTo(opened.dock)
    assert sizes(opened.labels(), 1)[0] == 197
    opened.points.data = [[0, 20, 18]]
    opened.wait_idle()
    np.testing.assert_array_equal(seen(engine), opened.magenta.data[0])
    ((severity, told),) = messages
    assert severity == "warning"
    assert "The channel “green” was deleted, so the model sees “magenta” without it." in told
    opened.controller.plane.run()
    opened.wait_idle()
    assert len(messages) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "data", layer.data[:4]),
        lambda layer: setattr(layer, "scale", (2, 1, 1)),
    ],
)
def test_a_channel_that_fits_no_longer(open_two, engine, messages, change):
    opened = open_two()
    opened.tick()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    change(opened.green)
    assert not opened.button.isVisibleTo(opened.dock)
    opened.controller.plane.run()
    opened.wait_idle()
    assert "“green” no longer has the shape and place of the image" in messages[0][1]
    np.testing.assert_array_equal(seen(engine), opened.magenta.data[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda opened: opened.viewer.layers.remove(opened.green),
        lambda opened: setattr(opened.green, "data", opened.green.data[:2]),
        lambda opened: setattr(opened.green, "name", "other"),
    ],
)
def test_a_run_ends_with_the_channels_it_began_with(open_two, engine, qtbot, messages, change):
    engine.gate = threading.Semaphore(0)
    opened = open_two()
    opened.tick()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    opened.controller.plane.propagate()
    engine.gate.release(2)
    qtbot.waitUntil(lambda: (opened.labels()[1] == 1).any(), timeout=3000)
    change(opened)
    engine.gate.release(20)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 6
    assert opened.session.log[-1].outcome == "done"
    assert messages == []


def test_only_what_fits_can_be_ticked(open_two):
    opened = open_two()
    opened.viewer.layers.remove(opened.green)
    data = halves()[1]
    for wrong in (data[:4], data[0]):
        opened.viewer.add_image(wrong)
    colours = opened.viewer.add_image(np.stack([data] * 3, axis=-1))
    moved = opened.viewer.add_image(data, name="moved", translate=(0, 1, 0))
    opened.viewer.add_labels(data)
    assert not opened.button.isVisibleTo(opened.dock)
    moved.translate = (0, 0, 0)
    assert opened.button.isVisibleTo(opened.dock)
    opened.dock.image.image.chosen.emit(colours)
    assert not opened.button.isVisibleTo(opened.dock)


def test_going_back_to_an_image_finds_its_channels(open_two):
    opened = open_two()
    opened.tick()
    opened.dock.image.image.chosen.emit(opened.green)
    assert opened.button.text() == "the image alone"
    opened.dock.image.image.chosen.emit(opened.magenta)
    assert opened.button.text() == "magenta + green"


@pytest.mark.parametrize(
    "kind", [da.from_array, zarr.array, lambda data: [data, data[:, ::2, ::2]]]
)
def test_what_holds_the_pixels(open_two, engine, kind, messages):
    first, second = halves()
    arguments = {"scale": (3, 0.5, 0.5), "translate": (7, -4, 2)}
    opened = open_two(kind(first), kind(second), **arguments)
    opened.tick()
    opened.points.add([0, 44, 46])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 6
    shown = as_shown(opened.magenta, opened.green, index=5)
    np.testing.assert_allclose(seen(engine, 5), shown, atol=1e-6)
    assert messages == []


def test_volumes_over_time(open_two, engine):
    opened = open_two(*(np.stack([half, half[:, ::-1, ::-1]]) for half in halves()))
    opened.tick()
    opened.viewer.dims.current_step = (1, 2, 0, 0)
    opened.points.add([1, 2, 63 - 44, 63 - 44])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels()[1], 1) == [197] * 6
    assert not opened.labels()[0].any()
    shown = as_shown(opened.magenta, opened.green, index=(1, 3))
    np.testing.assert_allclose(seen(engine, 3), shown, atol=1e-6)


def test_one_plane(open_two, engine):
    opened = open_two(*(half[0] for half in halves()))
    opened.tick()
    opened.points.add([44, 46])
    opened.wait_idle()
    assert (opened.labels() == 1).sum() == 197
    shown = as_shown(opened.magenta, opened.green, index=slice(None))
    np.testing.assert_allclose(seen(engine), shown, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["gray", "magenta", "I Blue", "viridis", "HiLo", "uneven", "bands"]
)
def test_colours_are_those_of_napari(name):
    own = {
        "uneven": Colormap([[0, 0, 0], [1, 0, 0], [1, 1, 1]], controls=[0, 0.25, 1]),
        "bands": Colormap([[0, 0, 1], [1, 0, 0]], controls=[0, 0.3, 1], interpolation="zero"),
    }
    colormap = own.get(name) or AVAILABLE_COLORMAPS[name]
    values = np.arange(1024) / 1023
    channel = Channel("image", (0.0, 1.0), 1.0, colour_table(colormap))
    expected = colormap.map(values)[:, :3]
    np.testing.assert_allclose(channel.colours(values), expected, atol=1e-4)


def test_the_session_has_the_channels(open_two, qtbot, sessions, messages, tmp_path):
    opened = open_two()
    opened.tick()
    opened.green.gamma = 0.5
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    path = saved(sessions, qtbot, 2)
    qtbot.waitUntil(
        lambda: all(image.sha256 for image in read_session(path).channels.values()), timeout=5000
    )
    found = read_session(path, opened.workspace.image_id)
    ((key, image),) = found.channels.items()
    assert (image.name, image.shape, image.dtype) == ("green", (6, 64, 64), "uint8")
    own, further = found.log[-1].channels
    assert own == opened.session.log[-1].channels[0]
    assert own.colormap == ((0, 0, 0), (1, 0, 1))
    assert further == Channel(key, (0, 255), 0.5, ((0, 0, 0), (0, 1, 0)))
    # and whoever goes on with it knows of them, and saves them again
    opened.dock.history.save_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    again = open_two()
    again.dock.history.open_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: any("further channels: green." in t for _, t in messages), timeout=5000)
    again.dock.history.save_asked.emit(str(tmp_path / "again"))
    messages.clear()
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    assert read_session(tmp_path / "again").channels == found.channels
