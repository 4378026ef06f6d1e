"""Labelled images in folders."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile
import zarr
from skimage.io import imread, imsave

from napari_sam2.training import files
from napari_sam2.training.config import NANO_TOML, load_config
from napari_sam2.training.datasets import load_source, load_sources
from napari_sam2.training.sources import DataSource


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zarr":
        zarr.save_array(path, array)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        imsave(path, array, check_contrast=False)


@pytest.fixture
def planes(tmp_path, discs):
    """Eight images with labels, a.png to h.png."""
    for name, image, labels in zip("abcdefgh", *discs, strict=True):
        write(tmp_path / "images" / f"{name}.png", image)
        write(tmp_path / "labels" / f"{name}.png", labels)
    return tmp_path


def source(**changes):
    return DataSource(**{"name": "discs", "images": "images", "labels": "labels", **changes})


def load(folder, **changes):
    return load_source(source(**changes), folder)


def names(stacks):
    return [stack.name for stack in stacks]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("small", [True, False])
def test_a_stack_is_read_plane_by_plane(tmp_path, discs, monkeypatch, suffix, small):
    if not small:
        monkeypatch.setattr(files, "SMALL", 0)
    image, labels = discs
    write(tmp_path / f"raw{suffix}", image)
    write(tmp_path / f"truth{suffix}", labels.astype(np.uint16) * 500)
    (stack,) = load(tmp_path, images=f"raw{suffix}", labels=f"truth{suffix}").train
    assert (stack.name, len(stack)) == ("raw", 8)
    np.testing.assert_allclose(stack.image_plane(3), image[3] / 255, atol=1e-6)
    np.testing.assert_array_equal(stack.label_plane(3), labels[3])
    assert stack.objects.tolist() == [500, 1000]
    sent = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(sent.label_plane(7), labels[7])


@pytest.mark.parametrize("small", [True, False])
def test_ome_zarr_is_what_its_description_says(tmp_path, discs, monkeypatch, small):
    if not small:
        monkeypatch.setattr(files, "SMALL", 0)
    axes = [{"name": name} for name in "tczyx"]
    for path, data in (("raw.ome.zarr/0", discs[0]), ("truth.ome.zarr", discs[1])):
        group = zarr.open_group(tmp_path / path, mode="w", zarr_format=2)
        for level, step in (("s1", 2), ("s0", 1)):
            group.create_array(level, data=data[None, None, :, ::step, ::step])
        levels = [{"path": level} for level in ("s0", "s1")]
        group.attrs["multiscales"] = [{"axes": axes, "datasets": levels}]
    zarr.open_group(tmp_path / "raw.ome.zarr", zarr_format=2)  # as bioformats2raw writes it
    (stack,) = load(tmp_path, images="raw.ome.zarr", labels="truth.ome.zarr").train
    assert len(stack) == 8
    np.testing.assert_allclose(stack.image_plane(3), discs[0][3] / 255, atol=1e-6)
    np.testing.assert_array_equal(stack.label_plane(3), discs[1][3])
    sent = pickle.loads(pickle.dumps(stack))
    np.testing.assert_array_equal(sent.label_plane(7), discs[1][7])
    zarr.open_group(tmp_path / "truth.ome.zarr", mode="w")
    files._CACHE._kept.clear()
    with pytest.raises(ValueError, match=r"truth.ome.zarr is a zarr group without an array '0'"):
        load(tmp_path, images="raw.ome.zarr", labels="truth.ome.zarr")


def test_large_label_numbers(tmp_path, discs):
    write(tmp_path / "raw.tif", discs[0])
    write(tmp_path / "truth.tif", discs[1].astype(np.uint32) * 1_000_000_001)
    (stack,) = load(tmp_path, images="raw.tif", labels="truth.tif").train
    np.testing.assert_array_equal(stack.label_plane(0), discs[1][0])
    assert stack.objects.tolist() == [1_000_000_001, 2_000_000_002]


def test_compressed_stacks_and_other_orders_of_axes(tmp_path, discs, monkeypatch):
    monkeypatch.setattr(files, "SMALL", 0)
    image, labels = discs
    colours = np.stack([image, image // 2], axis=1)  # (T, C, Y, X)
    tifffile.imwrite(tmp_path / "raw.tif", colours, compression="zlib", photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", labels, compression="zlib")
    (stack,) = load(tmp_path, images="raw.tif", labels="truth.tif", axes="tcyx").train
    plane = stack.image_plane(2)
    assert plane.shape == (96, 96, 3)
    np.testing.assert_allclose(plane[..., 1], image[2] // 2 / 255, atol=1e-6)
    assert not plane[..., 2].any()


def test_every_direction_of_a_volume(tmp_path, discs):
    image, labels = discs
    write(tmp_path / "raw.tif", image)
    write(tmp_path / "truth.tif", labels)
    split = load(tmp_path, images="raw.tif", labels="truth.tif", directions="all",
                 train_planes="0:4", validation_planes="5:")  # fmt: skip
    assert names(split.train) == ["raw, axis 0", "raw, axis 1", "raw, axis 2"]
    assert [len(stack) for stack in split.train] == [4, 96, 96]
    np.testing.assert_array_equal(split.train[1].label_plane(30), labels[:4, 30])
    np.testing.assert_array_equal(split.train[2].label_plane(70), labels[:4, :, 70])
    (kept,) = split.validation
    assert len(kept) == 3
    np.testing.assert_array_equal(kept.label_plane(0), labels[5])


def test_some_planes_of_a_stack(tmp_path, discs):
    write(tmp_path / "raw.tif", discs[0])
    write(tmp_path / "truth.tif", discs[1])
    split = load(tmp_path, images="raw.tif", labels="truth.tif", train_planes="1:8:3")
    np.testing.assert_array_equal(split.train[0].label_plane(1), discs[1][4])
    assert (len(split.train[0]), split.validation) == (3, ())


@pytest.mark.parametrize("part", ["train_planes", "validation_planes"])
def test_single_images_are_not_divided_by_planes(planes, part):
    with pytest.raises(ValueError, match="a is one plane, of which 0:2 cannot be taken"):
        load(planes, **{part: "0:2"})


def test_images_validate_by_share_or_name(planes):
    split = load(planes, validation=0.25)
    assert names(split.validation) == ["a", "e"]
    assert names(split.train) == list("bcdfgh")
    assert names(load(planes, validation=("[cd]", "h")).validation) == ["c", "d", "h"]
    assert not load(planes).validation
    for missing in (("x*",), ("*",)):
        with pytest.raises(ValueError, match=r"no image is called x\*|none is left"):
            load(planes, validation=missing)


def test_patterns_pair_what_the_star_stands_for(planes, discs):
    for name in "abcdefgh":
        (planes / "images" / f"{name}.png").rename(planes / f"{name}_raw.png")
        (planes / "labels" / f"{name}.png").rename(planes / f"{name}_truth.png")
    split = load(planes, images="*_raw.png", labels="*_truth.png", validation=("a", "b"))
    assert names(split.validation) == ["a", "b"]
    np.testing.assert_array_equal(split.validation[1].label_plane(0), discs[1][1])


def test_what_both_patterns_begin_with_is_part_of_the_name(planes):
    for name in "abcdefgh":
        (planes / "images" / f"{name}.png").rename(planes / f"day{name}_raw.png")
        (planes / "labels" / f"{name}.png").rename(planes / f"day{name}_truth.png")
    split = load(planes, images="day[ab]_raw.png", labels="day[ab]_truth.png")
    assert names(split.train) == ["daya", "dayb"]


def test_one_file_in_each_folder_must_match_by_name(planes):
    for name in "bcdefgh":
        (planes / "images" / f"{name}.png").unlink()
        (planes / "labels" / f"{name}.png").unlink()
    (planes / "labels" / "a.png").rename(planes / "labels" / "other.png")
    with pytest.raises(ValueError, match="1 images without labels: a"):
        load(planes)
    assert names(load(planes, images="images/a.png", labels="labels/other.png").train) == ["a"]


def test_specks_are_dropped(planes, discs):
    speck = discs[1][0].copy()
    speck[0, :9] = 7
    write(planes / "labels" / "a.png", speck)
    assert load(planes).train[0].objects.tolist() == [1, 2, 7]
    cleaned = load(planes, smallest=10).train[0]
    assert cleaned.objects.tolist() == [1, 2]
    np.testing.assert_array_equal(cleaned.label_plane(0), discs[1][0])


def test_the_environment_says_where_data_lie(planes, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_DATA", str(planes))
    split = load(planes / "elsewhere", images="${NAPARI_SAM2_DATA}/images",
                 labels="$NAPARI_SAM2_DATA/labels")  # fmt: skip
    assert len(split.train) == 8
    with pytest.raises(ValueError, match=r"UNSET_HERE.*not set"):
        load(planes, images="${UNSET_HERE}/images")


def broken_labels(planes, array, name="c.tif"):
    (planes / "labels" / "c.png").unlink()
    write(planes / "labels" / name, array)


def unpaired(planes):
    (planes / "labels" / "b.png").unlink()
    (planes / "labels" / "c.png").unlink()


def extra(planes):
    (planes / "images" / "b.png").unlink()


def one_object(planes):
    for name in "bcdefgh":
        (planes / "images" / f"{name}.png").unlink()
        (planes / "labels" / f"{name}.png").unlink()
    mask = imread(planes / "labels" / "a.png") > 0
    write(planes / "labels" / "a.png", np.where(mask, 255, 0).astype(np.uint8))


def truncated(planes):
    content = (planes / "images" / "c.png").read_bytes()
    (planes / "images" / "c.png").write_bytes(content[: len(content) // 2])


BREAKS = {
    "unpaired": (unpaired, "2 images without labels: b, c"),
    "extra": (extra, "1 labels without images: b"),
    "other shape": (
        lambda p: broken_labels(p, np.ones((50, 60), np.uint8)),
        r"c.png has shape \(96, 96\), but its labels c.tif have \(50, 60\)",
    ),
    "other axes": (
        lambda p: broken_labels(p, np.ones((2, 96, 96), np.uint8)),
        r"axes = 'yx' does not fit",
    ),
    "empty": (
        lambda p: broken_labels(p, np.zeros((96, 96), np.uint8)),
        "label map c holds no object at all",
    ),
    "floats": (
        lambda p: broken_labels(p, np.ones((96, 96), np.float32)),
        "c.tif are float32, but a label is a whole number",
    ),
    "one object": (one_object, "one object only"),
    "no image": (lambda p: (p / "images" / "c.png").write_bytes(b"none"), "c.png cannot be read"),
    "truncated": (truncated, "c.png cannot be read"),
    "no folder": (lambda p: (p / "images").rename(p / "pictures"), "there is no .*images"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_cannot_be_used_is_named(planes, case):
    change, message = BREAKS[case]
    change(planes)
    with pytest.raises(ValueError, match=message) as caught:
        load(planes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ""}, "both images and labels"),
        ({"name": "generated"}, "a weight only"),
        ({"axes": "yxq"}, "name each axis once"),
        ({"axes": "zyyx"}, "name each axis once"),
        ({"axes": "tzyx"}, "one file a time point"),
        ({"directions": "some"}, "'one' or 'all'"),
        ({"validation": 1.0}, "0 to below 1"),
        ({"train_planes": "1-5"}, "0:90"),
        ({"validation": 0.1, "train_planes": ":5"}, "both validation and planes"),
        ({"weight": -1.0}, "negative"),
    ],
)
def test_impossible_sources(changes, message):
    with pytest.raises(ValueError, match=message):
        source(**changes)


def test_few_arrays_are_kept(planes, monkeypatch):
    monkeypatch.setattr(files, "CACHE_BYTES", 3 * 96 * 96)
    monkeypatch.setattr(files, "_CACHE", files._Cache())
    for stack in load(planes).train:
        stack.image_plane(0)
    assert files._CACHE.bytes == sum(map(files._cost, files._CACHE._kept.values()))
    assert files._CACHE.bytes <= files.CACHE_BYTES


def test_the_data_of_nano_are_split_by_source(real_data, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_DATA", str(real_data))
    config = load_config(NANO_TOML)
    split = load_sources(config.data, config.folder)
    for kept, share in ((False, split.train), (True, split.validation)):
        found = {s.name: [k for k in share if k.source == s.name] for s in config.data}
        images = sorted(path.stem for path in (real_data / "dsb2018/images").iterdir())
        wanted = [name for index, name in enumerate(images) if (index % 10 == 0) == kept]
        assert names(found["dsb2018"]) == wanted
        images = sorted(path.stem for path in (real_data / "usiigaci_phase/images").iterdir())
        wanted = [name for index, name in enumerate(images) if (index % 8 == 0) == kept]
        assert names(found["usiigaci_phase"]) == wanted
        images = sorted(path.stem for path in (real_data / "bbbc050/images").iterdir())
        wanted = [name for name in images if (name[:5] in ("Emb10", "Emb11")) == kept]
        assert names(found["bbbc050"]) == wanted
        lengths = [len(stack) for stack in found["fib25"]]
        assert lengths == ([30] if kept else [90, 250, 250])
    labels = tifffile.imread(real_data / "bbbc050/labels/Emb10_t351.tif")
    stack = next(stack for stack in split.validation if stack.name == "Emb10_t351")
    counts = np.bincount(labels.ravel())
    assert stack.objects.tolist() == [n for n in range(1, len(counts)) if counts[n] >= 100]
    volume = tifffile.imread(real_data / "fib25/raw.tif")
    along_x = next(stack for stack in split.train if stack.name == "raw, axis 2")
    np.testing.assert_allclose(along_x.image_plane(9), volume[:90, :, 9] / 255, atol=1e-6)
    kept_out = next(stack for stack in split.validation if stack.source == "fib25")
    np.testing.assert_allclose(kept_out.image_plane(0), volume[95] / 255, atol=1e-6)
