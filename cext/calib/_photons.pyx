"""Photon counting: whole photons, and fractions of one photon that neighbouring pixels share."""

import numpy as np

from libc.math cimport floor, floorf
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, malloc

from cython cimport floating


cdef void mark_line(const float *f, uint8_t *mark, Py_ssize_t n, Py_ssize_t step, uint8_t bit) noexcept nogil:
    """Mark the local maxima of a line; of a plateau none is one, but for the last pixel before a fall."""
    cdef Py_ssize_t i, last = n - 1
    if n < 2:
        return
    if f[0] > f[step]:
        mark[0] |= bit
        i = 2
    else:
        i = 1
    while i < last:
        if f[(i + 1) * step] > f[i * step]:
            i += 1
        elif f[(i - 1) * step] > f[i * step]:
            i += 2
        else:
            mark[i * step] |= bit
            i += 2
    if f[last * step] > f[(last - 1) * step]:
        mark[last * step] |= bit


cdef void merge(const float *f, const uint8_t *mark, uint8_t *taken, uint16_t *counts, Py_ssize_t row, Py_ssize_t column,
                Py_ssize_t rows, Py_ssize_t columns, float threshold) noexcept nogil:
    """Join a maximum with the largest free neighbour: one photon more if both together are nearly one."""
    cdef Py_ssize_t at = row * columns + column, partner = -1
    cdef float best = 0.0, total
    if mark[at] != 3 or f[at] < <float>0.5:
        return
    if row > 0 and not taken[at - columns] and f[at - columns] >= best:
        partner, best = at - columns, f[at - columns]
    if row < rows - 1 and not taken[at + columns] and f[at + columns] >= best:
        partner, best = at + columns, f[at + columns]
    if column > 0 and not taken[at - 1] and f[at - 1] >= best:
        partner, best = at - 1, f[at - 1]
    if column < columns - 1 and not taken[at + 1] and f[at + 1] >= best:
        partner, best = at + 1, f[at + 1]
    total = f[at] + best
    if total >= threshold:
        taken[at] = 1
        if partner >= 0:
            taken[partner] = 1
        counts[at] += 1


def count(const floating[:, :, ::1] images, const uint8_t[:, :, ::1] mask, double scale, float threshold):
    """Return the number of photons in each pixel, uint16 of the shape of `images`.

    Parameters
    ----------
    images : ndarray of float32 or float64, shape (panels, rows, columns)
    mask : ndarray of uint8, the same shape, or None
        Pixels that are 0 have no photons.
    scale : float
        Photons of one unit of the images.
    threshold : float
        Two neighbours whose fractions make at least so much share one more photon.
    """
    cdef Py_ssize_t panels = images.shape[0], rows = images.shape[1], columns = images.shape[2], size = rows * columns
    cdef Py_ssize_t p, i, row, column
    cdef floating x
    cdef double whole
    cdef float *fraction
    cdef uint8_t *mark
    cdef uint8_t *taken
    if mask is not None and (mask.shape[0] != panels or mask.shape[1] != rows or mask.shape[2] != columns):
        raise ValueError("the mask has another shape than the images")
    found = np.zeros((panels, rows, columns), np.uint16)
    cdef uint16_t[:, :, ::1] counts = found
    if not panels or not size:
        return found
    fraction = <float *>malloc(size * (sizeof(float) + 2))
    if not fraction:
        raise MemoryError
    mark = <uint8_t *>(fraction + size)
    taken = mark + size
    with nogil:
        for p in range(panels):
            for i in range(size):
                x = (&images[p, 0, 0])[i]
                if scale != 1.0:
                    x = <floating>(x * scale)
                mark[i] = taken[i] = 0
                if x > 0 and (mask is None or (&mask[p, 0, 0])[i]):
                    whole = floor(<double>x)
                    (&counts[p, 0, 0])[i] = <uint16_t>(whole if whole < 65535.0 else 65535.0)
                    fraction[i] = <float>(<double>x - whole) if whole < 65535.0 else <float>0.0
                else:
                    fraction[i] = 0.0
            for row in range(rows):
                mark_line(fraction + row * columns, mark + row * columns, columns, 1, 1)
            for column in range(columns):
                mark_line(fraction + column, mark + column, rows, columns, 2)
            for row in range(1, rows - 1):
                for column in range(1, columns - 1):
                    merge(fraction, mark, taken, &counts[p, 0, 0], row, column, rows, columns, threshold)
            for row in range(1, rows - 1):
                merge(fraction, mark, taken, &counts[p, 0, 0], row, 0, rows, columns, threshold)
            for row in range(1, rows - 1):
                merge(fraction, mark, taken, &counts[p, 0, 0], row, columns - 1, rows, columns, threshold)
            for column in range(1, columns - 1):
                merge(fraction, mark, taken, &counts[p, 0, 0], 0, column, rows, columns, threshold)
            for column in range(1, columns - 1):
                merge(fraction, mark, taken, &counts[p, 0, 0], rows - 1, column, rows, columns, threshold)
            merge(fraction, mark, taken, &counts[p, 0, 0], rows - 1, 0, rows, columns, threshold)
            merge(fraction, mark, taken, &counts[p, 0, 0], rows - 1, columns - 1, rows, columns, threshold)
            merge(fraction, mark, taken, &counts[p, 0, 0], 0, 0, rows, columns, threshold)
            merge(fraction, mark, taken, &counts[p, 0, 0], 0, columns - 1, rows, columns, threshold)
        free(fraction)
    return found
