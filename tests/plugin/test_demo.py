import napari

from napari_sam2.plugin.demo import open_demo


def test_the_demo_opens_with_a_stack_and_the_dock(make_napari_viewer, monkeypatch):
    viewer = make_napari_viewer()
    ran = []
    monkeypatch.setattr(napari, "Viewer", lambda: viewer)
    monkeypatch.setattr(napari, "run", lambda: ran.append(True))
    open_demo()
    assert {"nuclei", "nuclei truth"} <= {layer.name for layer in viewer.layers}
    assert not viewer.layers["nuclei truth"].visible
    assert any("Click and track" in name for name in viewer.window.dock_widgets)
    assert ran == [True]
