# cython: language_level=3
"""Native side of layouts: where the variable parts of objects are, gathering of pieces, and quick access to numbers.

A program is a list of 64-bit numbers made by ``psanacli.xtc.layout``.  A *block* describes one type:

    head, align, number of steps, then the steps; a step is a stored field:
    kind (0 items of fixed size, 1 objects of another block, 2 as many items as fit), item size or block, number of
    dimensions, then for each dimension its length in words and its expression (operations as in ``dimensions.OPERATIONS``)

``head`` is the offset at which the steps begin.  Every place is compared with the limit of the object before it is used.
"""

import numpy as np
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    static inline int add64(int64_t a, int64_t b, int64_t *r) { return __builtin_add_overflow(a, b, r); }
    static inline int sub64(int64_t a, int64_t b, int64_t *r) { return __builtin_sub_overflow(a, b, r); }
    static inline int mul64(int64_t a, int64_t b, int64_t *r) { return __builtin_mul_overflow(a, b, r); }
    static inline int64_t bits64(int64_t a) { return __builtin_popcountll((unsigned long long)a); }

    /* Asks for a place that is looked at soon; it may be anywhere. */
    static inline void ask(const uint8_t *data, int64_t place) { __builtin_prefetch((const void *)((uintptr_t)data + (uintptr_t)place)); }
    """
    int add64(int64_t a, int64_t b, int64_t *r) noexcept nogil
    int sub64(int64_t a, int64_t b, int64_t *r) noexcept nogil
    int mul64(int64_t a, int64_t b, int64_t *r) noexcept nogil
    int64_t bits64(int64_t a) noexcept nogil
    void ask(const uint8_t *data, int64_t place) noexcept nogil

cdef enum:
    AHEAD = 6         # objects: nearly all the time that a small object takes is waiting for its first bytes
    STACK = 32
    DEEPEST = 8
    MOST_DIMENSIONS = 8
    LONGEST = 0x7FFFFFFF  # of one dimension

cdef enum Operation:
    CONST, LOAD, ADD, SUB, MUL, FLOOR, SHL, SHR, AND, OR, XOR, EQ, NE, LT, LE, GT, GE, MIN, BOTH, EITHER, SELECT, POPCOUNT, WRAP

cdef struct Fault:
    int64_t step      # of the outermost block; -1: the head
    int64_t needed    # bytes from the start of the object, -1: not a possible size
    int64_t found

cdef struct Object:
    const uint8_t *data
    int64_t start
    int64_t limit


cdef inline int64_t wrapped(int64_t value, int64_t kind) noexcept nogil:
    if kind == 0: return <uint8_t>value
    if kind == 1: return <int8_t>value
    if kind == 2: return <uint16_t>value
    if kind == 3: return <int16_t>value
    if kind == 4: return <uint32_t>value
    if kind == 5: return <int32_t>value
    return value


cdef inline bint load(Object obj, int64_t offset, int64_t kind, int64_t *value) noexcept nogil:
    cdef int64_t size = 1 << (kind >> 1)
    cdef uint64_t word = 0
    cdef const uint8_t *source
    if offset < 0 or offset > obj.limit - obj.start - size:
        return False
    source = obj.data + obj.start + offset
    if size == 4:
        memcpy(&word, source, 4)
    elif size == 2:
        memcpy(&word, source, 2)
    elif size == 1:
        memcpy(&word, source, 1)
    else:
        memcpy(&word, source, 8)
    value[0] = wrapped(<int64_t>word, kind)
    return kind != 6 or value[0] >= 0


cdef bint evaluate(const int64_t *code, int64_t length, Object obj, int64_t *result) noexcept nogil:
    """Run the expression of a dimension; false when it has no value (overflow, division by zero, outside)."""
    cdef int64_t[STACK] stack
    cdef int64_t top = 0, i = 0, a, b, operation
    while i < length:
        operation = code[i]
        i += 1
        if operation == CONST:
            if top == STACK: return False
            stack[top] = code[i]
            top += 1
            i += 1
        elif operation == LOAD:
            if top == STACK or not load(obj, code[i], code[i + 1], &stack[top]): return False
            top += 1
            i += 2
        elif operation == SELECT:
            top -= 2
            stack[top - 1] = stack[top] if stack[top - 1] else stack[top + 1]
        elif operation == POPCOUNT:
            stack[top - 1] = bits64(stack[top - 1])
        elif operation == WRAP:
            stack[top - 1] = wrapped(stack[top - 1], code[i])
            i += 1
        else:
            top -= 1
            a, b = stack[top - 1], stack[top]
            if operation == ADD:
                if add64(a, b, &a): return False
            elif operation == SUB:
                if sub64(a, b, &a): return False
            elif operation == MUL:
                if mul64(a, b, &a): return False
            elif operation == FLOOR:
                if b <= 0 or a < 0: return False
                a //= b
            elif operation == SHL:
                if b < 0 or b > 62 or a < 0 or a > (<int64_t>0x7FFFFFFFFFFFFFFF >> b): return False
                a <<= b
            elif operation == SHR:
                if b < 0: return False
                a >>= b if b < 63 else 63
            elif operation == AND: a &= b
            elif operation == OR: a |= b
            elif operation == XOR: a ^= b
            elif operation == EQ: a = a == b
            elif operation == NE: a = a != b
            elif operation == LT: a = a < b
            elif operation == LE: a = a <= b
            elif operation == GT: a = a > b
            elif operation == GE: a = a >= b
            elif operation == MIN: a = a if a < b else b
            elif operation == BOTH: a = a != 0 and b != 0
            elif operation == EITHER: a = a != 0 or b != 0
            else: return False
            stack[top - 1] = a
    result[0] = stack[0]
    return True


cdef int64_t measure(const int64_t *code, int64_t block, Object obj, int64_t *places, int64_t *dims, int64_t depth,
                     Fault *fault) noexcept nogil:
    """Return the size of an object (not yet rounded up beyond its limit), or -1 with the fault.

    `places` gets the offset of each step from the start of the object, `dims` all dimensions; both may be NULL.
    """
    cdef const int64_t *p = code + block
    cdef int64_t pos = p[0], align = p[1], steps = p[2], step, kind, item, ndim, d, n, count, size, total
    cdef int64_t room = obj.limit - obj.start
    cdef Object child
    fault.found = room
    fault.step = -1
    fault.needed = pos
    if pos > room or depth >= DEEPEST:
        return -1
    p += 3
    for step in range(steps):
        fault.step = step
        kind, item, ndim = p[0], p[1], p[2]
        p += 3
        count = 1
        for d in range(ndim):
            if kind == 2:
                n = (room - pos) // item
            elif not evaluate(p + 1, p[0], obj, &n):
                fault.needed = -1
                return -1
            p += 1 + p[0]
            if n < 0 or n > LONGEST or mul64(count, n, &count):
                fault.needed = -1
                return -1
            if dims != NULL:
                dims[0] = n
                dims += 1
        if places != NULL:
            places[step] = pos
        if kind == 1:
            child.data = obj.data
            child.limit = obj.limit
            for n in range(count):
                child.start = obj.start + pos
                size = measure(code, item, child, NULL, NULL, depth + 1, fault)
                if size == 0 and count > 1:  # as many as one likes fit nowhere
                    fault.needed = -1
                    fault.found = room
                    fault.step = step
                    return -1
                if size < 0:
                    if fault.needed >= 0:
                        fault.needed += pos
                    fault.found = room
                    fault.step = step
                    return -1
                pos += size
                if pos > room + 8:  # only the rounding of a last object may reach beyond the limit
                    fault.needed = pos
                    fault.step = step
                    return -1
        else:
            if mul64(count, item, &total) or add64(pos, total, &total):
                fault.needed = -1
                return -1
            if total > room:
                fault.needed = total
                return -1
            pos = total
    return (pos + align - 1) // align * align


cdef class Program:
    """The compiled layout of a type of variable size.

    Parameters
    ----------
    code : sequence of int
        Blocks, as the module's text says.
    block : int
        Index of the block of the type itself.
    """

    cdef int64_t[::1] code
    cdef int64_t block
    cdef readonly int64_t steps
    cdef readonly int64_t dimensions

    def __init__(self, code, int64_t block):
        cdef int64_t step, d, i
        self.code = np.array(code, np.int64)
        self.block = block
        self.steps = self.code[block + 2]
        self.dimensions = 0
        i = block + 3
        for step in range(self.steps):
            self.dimensions += self.code[i + 2]
            d = self.code[i + 2]
            i += 3
            while d > 0:
                i += 1 + self.code[i]
                d -= 1
        if self.steps > 64 or self.dimensions > 64:
            raise ValueError("too many variable fields")

    def place(self, const uint8_t[::1] data, int64_t start, int64_t limit):
        """Return ``(size, place of each step..., dimensions...)`` of one object; places count from its start.

        An object that does not fit gives ``(-1, step, needed, found)``: the failing step (-1: the head), the bytes that it
        needs (-1: no possible number) and those that are there.
        """
        cdef int64_t[64] places
        cdef int64_t[64] dims
        cdef Fault fault
        cdef Object obj
        cdef int64_t size, i
        if start < 0 or limit > data.shape[0] or start > limit:
            raise ValueError("outside of the buffer")
        obj.data = &data[0] if data.shape[0] else NULL
        obj.start = start
        obj.limit = limit
        size = measure(&self.code[0], self.block, obj, places, dims, 0, &fault)
        if size < 0:
            return -1, fault.step, fault.needed, fault.found
        result = [size]
        for i in range(self.steps):
            result.append(places[i])
        for i in range(self.dimensions):
            result.append(dims[i])
        return tuple(result)

    def locate(self, const uint8_t[::1] data, const int64_t[::1] starts, const int64_t[::1] limits):
        """Locate the variable fields of many objects.

        Parameters
        ----------
        data : buffer of bytes
        starts, limits : int64 arrays, shape (n,)
            Where each object begins and where its payload ends, in `data`.

        Returns
        -------
        sizes : int64 array (n,)
            Bytes of each object, -1 if it does not fit into its payload.
        places : int64 array (n, steps)
            Offset in `data` of each variable field.
        dims : int64 array (n, dimensions)
            All dimensions of these fields.
        """
        cdef Py_ssize_t n = starts.shape[0], i, k
        cdef int64_t[::1] sizes = np.empty(n, np.int64)
        cdef int64_t[:, ::1] places = np.zeros((n, max(self.steps, 1)), np.int64)
        cdef int64_t[:, ::1] dims = np.zeros((n, max(self.dimensions, 1)), np.int64)
        cdef const int64_t *code = &self.code[0]
        cdef Fault fault
        cdef Object obj
        if limits.shape[0] != n:
            raise ValueError("starts and limits differ in length")
        if n == 0:
            return np.asarray(sizes), np.asarray(places), np.asarray(dims)
        obj.data = &data[0] if data.shape[0] else NULL
        with nogil:
            for i in range(n):
                ask(obj.data, starts[min(i + AHEAD, n - 1)])
                obj.start = starts[i]
                obj.limit = limits[i]
                if obj.start < 0 or obj.limit > data.shape[0] or obj.start > obj.limit:
                    sizes[i] = -1
                    continue
                sizes[i] = measure(code, self.block, obj, &places[i, 0], &dims[i, 0], 0, &fault)
                for k in range(self.steps):
                    places[i, k] += obj.start
        return np.asarray(sizes), np.asarray(places), np.asarray(dims)

    def elements(self, const uint8_t[::1] data, const int64_t[::1] places, const int64_t[::1] counts,
                 const int64_t[::1] limits):
        """Locate objects that stand one after the other: ``counts[i]`` of them from ``places[i]`` on.

        Returns
        -------
        starts : int64 array (sum of counts,)
            Where each begins in `data`.
        places, dims : int64 arrays
            As `locate` gives them.

        Raises
        ------
        ValueError
            An object does not fit (never after `locate` of the object around them).
        """
        cdef Py_ssize_t n = places.shape[0], i
        cdef int64_t total = 0, k, j = 0, step, size, last = 0
        cdef int64_t[::1] starts
        cdef int64_t[:, ::1] inside, dims
        cdef Fault fault
        cdef Object obj
        if counts.shape[0] != n or limits.shape[0] != n:
            raise ValueError("arrays differ in length")
        for i in range(n):
            if counts[i] < 0 or places[i] < 0 or limits[i] > data.shape[0]:
                raise ValueError("outside of the buffer")
            if counts[i] > 1 and counts[i] > limits[i] - places[i]:
                raise ValueError("more objects than bytes")
            total += counts[i]
        starts = np.empty(total, np.int64)
        inside = np.zeros((total, max(self.steps, 1)), np.int64)
        dims = np.zeros((total, max(self.dimensions, 1)), np.int64)
        obj.data = &data[0] if data.shape[0] else NULL
        with nogil:
            for i in range(n):
                # The last one stands where it stood in the object before, if that was alike.
                ask(obj.data, places[min(i + AHEAD, n - 1)])
                ask(obj.data, places[min(i + AHEAD, n - 1)] + last)
                obj.start = places[i]
                obj.limit = limits[i]
                for k in range(counts[i]):
                    last = obj.start - places[i]
                    starts[j] = obj.start
                    size = measure(&self.code[0], self.block, obj, &inside[j, 0], &dims[j, 0], 0, &fault)
                    if size < 0:
                        with gil:
                            raise ValueError("an object does not fit")
                    for step in range(self.steps):
                        inside[j, step] += obj.start
                    j += 1
                    obj.start += size
        return np.asarray(starts), np.asarray(inside), np.asarray(dims)


def gather(const uint8_t[::1] data, const int64_t[::1] places, int64_t size, uint8_t[::1] out):
    """Copy `size` bytes from each place of `data` to `out`, one after the other.

    Raises
    ------
    ValueError
        A piece is outside of `data`, or `out` has not exactly ``len(places) * size`` bytes.
    """
    cdef Py_ssize_t n = places.shape[0], i
    cdef int64_t length = data.shape[0], total
    cdef uint8_t *to
    if size < 0 or mul64(n, size, &total) or total != out.shape[0]:
        raise ValueError("the output has another size than the pieces")
    if total == 0:
        return
    if size > length:
        raise ValueError("outside of the buffer")
    to = &out[0]
    with nogil:
        for i in range(n):
            if places[i] < 0 or places[i] > length - size:
                with gil:
                    raise ValueError("outside of the buffer")
            ask(&data[0], places[min(i + AHEAD, n - 1)])
            if size == 8:
                memcpy(to, &data[places[i]], 8)
            elif size == 4:
                memcpy(to, &data[places[i]], 4)
            elif size == 2:
                memcpy(to, &data[places[i]], 2)
            else:
                memcpy(to, &data[places[i]], <size_t>size)
            to += size


def move(const uint8_t[::1] data, const int64_t[::1] places, const int64_t[:, ::1] moves, int64_t item, uint8_t[::1] out):
    """Copy some stretches of each object of `data` to their places in items of `item` bytes each, one item an object.

    Parameters
    ----------
    data : buffer of bytes
    places : int64 array, shape (n,)
        Where each object begins.
    moves : int64 array, shape (m, 3)
        Offset from the start of the object, offset in the item, and size of each stretch.
    item : int
        Size of an item; what no move reaches stays as it is.
    out : buffer of n * item bytes

    Raises
    ------
    ValueError
        A stretch is outside of `data` or of the item, or `out` has not exactly one item for each object.
    """
    cdef Py_ssize_t n = places.shape[0], m = moves.shape[0], i, k
    cdef int64_t length = data.shape[0], total, furthest = 0, size
    cdef const uint8_t *source
    cdef uint8_t *to
    if item < 0 or mul64(n, item, &total) or total != out.shape[0] or moves.shape[1] != 3:
        raise ValueError("the output has another size than the items")
    for k in range(m):
        size = moves[k, 2]
        if size < 0 or moves[k, 0] < 0 or moves[k, 1] < 0 or size > item - moves[k, 1] or moves[k, 0] > length - size:
            raise ValueError("outside of the buffer")
        furthest = max(furthest, moves[k, 0] + size)
    if total == 0 or m == 0:
        return
    for i in range(n):
        if places[i] < 0 or places[i] > length - furthest:
            raise ValueError("outside of the buffer")
    with nogil:
        for i in range(n):
            ask(&data[0], places[min(i + AHEAD, n - 1)] + moves[0, 0])
            ask(&data[0], places[min(i + AHEAD, n - 1)] + furthest - 1)
            source = &data[0] + places[i]
            to = &out[0] + i * item
            for k in range(m):
                size = moves[k, 2]
                if size == 8:
                    memcpy(to + moves[k, 1], source + moves[k, 0], 8)
                elif size == 4:
                    memcpy(to + moves[k, 1], source + moves[k, 0], 4)
                else:
                    memcpy(to + moves[k, 1], source + moves[k, 0], <size_t>size)


def gather_ragged(const uint8_t[::1] data, const int64_t[::1] places, const int64_t[::1] sizes, uint8_t[::1] out):
    """Copy ``sizes[i]`` bytes from ``places[i]`` to `out`, one after the other.

    Raises
    ------
    ValueError
        A piece is outside of `data`, or `out` has another size than all pieces together.
    """
    cdef Py_ssize_t n = places.shape[0], i
    cdef int64_t length = data.shape[0], total = 0
    cdef uint8_t *to
    if sizes.shape[0] != n:
        raise ValueError("arrays differ in length")
    for i in range(n):
        if sizes[i] < 0 or places[i] < 0 or sizes[i] > length or places[i] > length - sizes[i]:
            raise ValueError("outside of the buffer")
        if add64(total, sizes[i], &total):
            raise ValueError("outside of the buffer")
    if total != out.shape[0]:
        raise ValueError("the output has another size than the pieces")
    if total == 0:
        return
    to = &out[0]
    with nogil:
        for i in range(n):
            if sizes[i]:
                memcpy(to, &data[places[i]], <size_t>sizes[i])
                to += sizes[i]


cdef class View:
    """What a record is made of: its layout, its place in a buffer, and the numbers at fixed places, unpacked."""

    cdef readonly object _layout_
    cdef readonly object _buffer_
    cdef readonly Py_ssize_t _start_
    cdef readonly Py_ssize_t _end_
    cdef readonly tuple _places_
    cdef readonly tuple _head_
    cdef public dict _bound_

    def __init__(self, layout, buffer, Py_ssize_t start, Py_ssize_t end, tuple places):
        self._layout_ = layout
        self._buffer_ = buffer
        self._start_ = start
        self._end_ = end
        self._places_ = places
        self._head_ = layout.unpack(buffer, start)


cdef inline object number_of(object record, Py_ssize_t index):
    """Return an unpacked number of a record."""
    cdef tuple head = (<View?>record)._head_
    if head is None or index >= len(head):
        raise AttributeError("not a complete record")
    return head[index]


cdef class Number:
    """Accessor of an unpacked number of a record."""

    cdef readonly Py_ssize_t index

    def __init__(self, Py_ssize_t index):
        if index < 0:
            raise ValueError("negative index")
        self.index = index

    def __get__(self, obj, owner):
        return self if obj is None else number_of(obj, self.index)

    def __set__(self, obj, value):
        raise AttributeError("records are read-only")


cdef class BitField(Number):
    """Accessor of some bits of an unpacked number of a record."""

    cdef readonly object shift
    cdef readonly object mask

    def __init__(self, Py_ssize_t index, shift, mask):
        Number.__init__(self, index)
        self.shift = shift
        self.mask = mask

    def __get__(self, obj, owner):
        return self if obj is None else number_of(obj, self.index) >> self.shift & self.mask

    def __set__(self, obj, value):
        raise AttributeError("records are read-only")
