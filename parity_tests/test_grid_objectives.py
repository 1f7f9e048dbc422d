"""What objectives of networks that enlarge see beside features: written numbers."""

import numpy as np


def test_grid_written_numbers(twin):
    """Period 2, one window: 1 in one corner of every cell is 3/4 there and -1/4 at the other three, 3/8 in the mean.

    A difference that every phase shares is no grid, whatever it is from cell to cell.
    """
    grid = twin.module("objectives.features").grid
    drawn, plain = np.zeros((1, 1, 9, 8)), np.arange(72.0).reshape(1, 1, 9, 8) // 2 % 4
    drawn[..., 1:8:2, ::2] = 1
    (x, y) = twin.tensors([drawn, plain])
    np.testing.assert_allclose(twin.array(grid(x, 2)), [3 / 8], rtol=1e-6)
    np.testing.assert_allclose(twin.array(grid(y, 2)), [0], atol=1e-6)


def test_shrunk_written_numbers(twin):
    """Factor 2: cells of sums 4 and -8 have means 1 and -2, 3/2 in the mean; the fifth column makes no cell."""
    difference = np.zeros((1, 1, 2, 5))
    difference[..., 0, :] = 4, 0, -8, 0, 100
    (x,) = twin.tensors([difference])
    shrunk = twin.module("objectives.features").shrunk
    np.testing.assert_allclose(twin.array(shrunk(x, 2)), [3 / 2], rtol=1e-6)
