"""Where tiles lie: no model is needed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2.inference.large.fields import LARGEST, Field, Grid

SHAPES = [(1000, 1500), (64, 5000), (129, 131), (50, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_of_every_level_cover_the_plane(shape):
    grid = Grid(shape, 64)
    for level in range(8):
        covered = np.zeros(shape, dtype=int)
        for tile in grid.tiles(level):
            row_min, col_min, row_max, col_max = tile.box
            assert min(tile.box) >= 0
            assert (row_max, col_max) < shape
            assert max(tile.shown) <= 64
            assert (tile.level, tile.row % tile.step, tile.column % tile.step) == (level, 0, 0)
            covered[row_min : row_max + 1, col_min : col_max + 1] += 1
        assert covered.min() >= 1


def test_every_small_object_has_a_tile_that_shows_it_whole():
    grid = Grid((1000, 1500), 64)
    rng = np.random.default_rng(0)
    for level in (0, 1, 2):
        side = LARGEST * 64 * 2**level
        for row, column in rng.uniform(0, (1000 - side, 1500 - side), (200, 2)):
            extent = (row, column, row + side - 1, column + side - 1)
            middle = (row + (side - 1) / 2, column + (side - 1) / 2)
            tile = grid.tile(level, middle, (*middle, *middle))
            assert tile.level == level
            assert tile.holds(extent)
            assert not grid.is_cut(extent, tile)
            assert not grid.is_too_large(extent, tile)


def test_the_nearest_tile_is_taken_of_those_that_hold_the_prompts():
    grid = Grid((640, 640), 64)
    near = (100.0, 100.0)
    assert grid.tile(0, near, (100, 100, 100, 100)) == Field(64, 64, 64, 64, 1)
    assert grid.tile(0, near, (70, 100, 100, 100)).box[0] == 64
    assert grid.tile(0, near, (65, 100, 90, 100)).box[0] == 32  # with the halo
    assert grid.tile(0, near, (0, 0, 100, 100)) == Field(0, 0, 128, 128, 2)
    assert grid.tile(0, near, (0, 0, 639, 639)) == grid.whole == Field(0, 0, 640, 640, 8)


def test_at_the_edge_of_the_plane_nothing_is_cut():
    grid = Grid((200, 640), 64)
    tile = grid.tile(0, (0, 0), (0, 0, 3, 3))
    assert not grid.is_cut((0, 0, 20, 20), tile)
    assert grid.is_cut((0, 0, 20, 62), tile)
    whole_height = grid.tile(2, (100, 300), (100, 300, 100, 300))
    assert whole_height.box[0::2] == (0, 199)
    assert not grid.is_too_large((0, 300, 199, 320), whole_height)
    assert grid.is_too_large((0, 250, 199, 380), whole_height)


@pytest.mark.parametrize("shape", [(1000, 1500), (64, 64), (40, 64)])
def test_every_small_object_has_half_a_tile_that_shows_it_whole(shape):
    grid = Grid(shape, 64)
    side = LARGEST * 32
    rng = np.random.default_rng(0)
    for row, column in rng.uniform(0, np.array(shape) - side, (200, 2)):
        extent = (row, column, row + side - 1, column + side - 1)
        middle = (row + (side - 1) / 2, column + (side - 1) / 2)
        field = grid.closer(middle, extent)
        assert field.shown == (32, 32)
        assert field.holds(extent)
        assert grid.is_closer(field)
        assert not grid.is_finest(field)


def test_what_lies_far_apart_is_not_looked_at_closer():
    grid = Grid((640, 640), 64)
    assert grid.closer((100, 100), (100, 100, 131, 100)) is None
    assert grid.is_finest(grid.tile(0, (100, 100), (100, 100, 131, 100)))
    assert Grid((1, 1), 1).closer((0, 0), (0, 0, 0, 0)) is None


def test_a_view_is_clipped_to_the_plane_and_averaged_where_it_is_large():
    grid = Grid((1000, 1500), 64)
    assert grid.view((9.6, 20, 41.5, 83.4)) == Field(10, 20, 32, 64, 1)
    assert grid.view((-50, 1400, 127.0, 2000)) == Field(0, 1400, 128, 100, 2)
    assert grid.view((3, 3, 258, 258)) == Field(0, 0, 259, 259, 4)  # whole averages
    assert grid.whole.shown == (63, 94)
    with pytest.raises(ValueError, match="shows no pixel of the plane of 1000 x 1500"):
        grid.view((1000, 0, 1100, 50))


def test_positions_are_those_of_averages():
    field = Field(8, 16, 64, 64, 4)
    assert field.to_shown((9.5, 17.5)) == (0, 0)
    assert field.to_shown((7.5, 83.5)) == (-0.5, 16.5)
