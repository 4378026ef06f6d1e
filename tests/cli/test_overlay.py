import numpy as np

from napari_sam2.cli.overlay import montage


def grey(pixels):
    return (np.ptp(np.asarray(pixels, int), axis=-1) < 12).all()


def test_only_what_is_labelled_is_coloured():
    image = np.random.default_rng(0).integers(100, 200, (16, 30, 40)).astype(np.uint16)
    labels = np.zeros(image.shape, np.uint8)
    plain = montage(image, labels, {}, "nothing")
    assert grey(plain)
    labels[:, 10:20, 10:20] = 1
    outlined = montage(image, labels, {}, "one")
    assert outlined.size == plain.size
    assert not grey(outlined)


def test_a_click_is_marked_where_it_was():
    image = np.zeros((16, 40, 40), np.uint16)
    without = np.asarray(montage(image, image, {}, "none"), int)
    marked = np.asarray(montage(image, image, {1: (0, 10, 30)}, "none"), int)
    rows, columns = np.nonzero((without != marked).any(-1))
    # z = 0 is not among the planes shown, so that the mark is on the projection only
    large = 2 * 300 + 12
    assert abs(rows.mean() - (56 + 10.5 / 40 * large)) < 1.5
    assert abs(columns.mean() - (12 + 30.5 / 40 * large)) < 1.5


def test_planes_need_not_be_square():
    image = np.zeros((8, 20, 60), np.uint16)
    width, height = montage(image, image, {}, "wide").size
    assert width > 3 * height
