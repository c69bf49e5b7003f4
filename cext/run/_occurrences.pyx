"""Where contributions occur in the groups of a run.  What is asked for is a few rows of the contribution table; what comes
back is a row for each datagram that has one of them, so nothing here is as long as the run unless the answer is.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

include "rows.pxi"


cdef class Tables:
    """The tables of a run, for many questions.

    Parameters
    ----------
    datagrams, groups : arrays of `DATAGRAM` and `GROUP`
    members : int32 array
    """

    cdef const uint8_t[::1] _datagrams
    cdef const uint8_t[::1] _groups
    cdef const int32_t[::1] _members

    def __init__(self, datagrams not None, groups not None, const int32_t[::1] members not None):
        if datagrams.dtype.itemsize != sizeof(Datagram) or groups.dtype.itemsize != sizeof(Group):
            raise ValueError("rows of another size")
        self._datagrams = datagrams.view(np.uint8).reshape(-1)
        self._groups = groups.view(np.uint8).reshape(-1)
        self._members = members

    cdef int64_t scan(
        self, int64_t first, int64_t stop, uint32_t actions, const int64_t *owners, int64_t count, int64_t most,
        int32_t *member, int32_t *group, int32_t *index, const int64_t *shifts, int32_t *datagram, int32_t *event,
        int64_t *start,
    ) noexcept nogil:
        """List the occurrences, `most` at most, and return how many they are; -1 for a row outside of its table.

        Without `group` the others are listed in place of it.
        """
        cdef const Group *groups = <const Group *>&self._groups[0]
        cdef const Datagram *datagrams = <const Datagram *>&self._datagrams[0]
        cdef int64_t rows = self._datagrams.shape[0] // <int64_t>sizeof(Datagram)
        cdef int64_t found = 0, g, m, end, k, low, high, middle, row
        cdef int64_t last = -1, begin = 0, behind = 0, pattern
        for g in range(first, stop):
            if not actions >> groups[g].action & 1:
                continue
            end = <int64_t>groups[g].first + groups[g].count
            if groups[g].first < 0 or end > self._members.shape[0]:
                return -1
            for m in range(groups[g].first, end):
                row = self._members[m]
                if row < 0 or row >= rows:
                    return -1
                pattern = datagrams[row].pattern
                if pattern != last:  # most datagrams are like the one before
                    last = pattern
                    low, high = 0, count
                    while low < high:
                        middle = (low + high) // 2
                        if owners[middle] < pattern:
                            low = middle + 1
                        else:
                            high = middle
                    begin = behind = low
                    while behind < count and owners[behind] == pattern:
                        behind += 1
                if behind - begin > most - found:
                    return -1  # groups that share members
                for k in range(begin, behind):
                    member[found] = <int32_t>m
                    index[found] = <int32_t>k
                    if group != NULL:
                        group[found] = <int32_t>g
                    else:
                        datagram[found] = <int32_t>row
                        event[found] = groups[g].event
                        start[found] = <int64_t>datagrams[row].offset + shifts[k]
                    found += 1
        return found

    cdef int64_t most(self, const int64_t[::1] owners, uint32_t actions, int64_t first, int64_t stop) except -1:
        """Return how many occurrences there are at most."""
        cdef int64_t count = owners.shape[0], same = 0, alike = 0, found = 0, k, g
        cdef const Group *groups
        if first < 0 or stop > self._groups.shape[0] // <int64_t>sizeof(Group):
            raise ValueError("outside of the groups")
        if not count or first >= stop or not self._datagrams.shape[0]:
            return 0
        groups = <const Group *>&self._groups[0]
        with nogil:
            for k in range(count):
                same = same + 1 if k and owners[k] == owners[k - 1] else 1
                alike = max(alike, same)
            for g in range(first, stop):
                if actions >> groups[g].action & 1:
                    # Not more than all members, whatever the groups say.
                    found = min(found + groups[g].count * alike, self._members.shape[0] * alike)
        return found

    def find(self, const int64_t[::1] owners not None, uint32_t actions, int64_t first, int64_t stop):
        """Return the occurrences in the groups `first` to `stop` whose action is one of the bits of `actions`.

        Parameters
        ----------
        owners : int64 array
            The pattern of each contribution that is looked for, ascending.

        Returns
        -------
        member, group, index : int32 arrays
            Member, its group, and index into `owners`, in the order of the members.
        """
        cdef int64_t most = self.most(owners, actions, first, stop), found = 0
        cdef int32_t[::1] member = np.empty(most, np.int32), group = np.empty(most, np.int32)
        cdef int32_t[::1] index = np.empty(most, np.int32)
        if most:
            with nogil:
                found = self.scan(
                    first, stop, actions, &owners[0], owners.shape[0], most, &member[0], &group[0], &index[0], NULL, NULL,
                    NULL, NULL
                )
        return shortened(found, (member, group, index))

    def place(
        self, const int64_t[::1] owners not None, const int64_t[::1] shifts not None, uint32_t actions, int64_t first,
        int64_t stop,
    ):
        """Return the same with what is known of the datagrams.

        Parameters
        ----------
        shifts : int64 array
            Of each contribution, in bytes from the start of its datagram.

        Returns
        -------
        member, index, datagram, event : int32 arrays
            Member, index into `owners`, row of the datagram, and number of the event of its group.
        start : int64 array
            Offset in the file of the datagram, with the shift of the contribution.
        """
        cdef int64_t most = self.most(owners, actions, first, stop), found = 0
        cdef int32_t[::1] member = np.empty(most, np.int32), index = np.empty(most, np.int32)
        cdef int32_t[::1] datagram = np.empty(most, np.int32), event = np.empty(most, np.int32)
        cdef int64_t[::1] start = np.empty(most, np.int64)
        if shifts.shape[0] != owners.shape[0]:
            raise ValueError("a shift for each contribution")
        if most:
            with nogil:
                found = self.scan(
                    first, stop, actions, &owners[0], owners.shape[0], most, &member[0], NULL, &index[0], &shifts[0],
                    &datagram[0], &event[0], &start[0]
                )
        return shortened(found, (member, index, datagram, event, start))

    def patterns(self, int64_t count, uint32_t actions):
        """Return how many datagrams of each of `count` patterns are in groups of these actions, and how many are damaged."""
        cdef int64_t[::1] used = np.zeros(count, np.int64)
        cdef int64_t damaged = 0, g, m, end, row
        cdef int64_t groups_count = self._groups.shape[0] // <int64_t>sizeof(Group)
        cdef int64_t rows = self._datagrams.shape[0] // <int64_t>sizeof(Datagram)
        cdef const Group *groups
        cdef const Datagram *datagrams
        if not groups_count or not rows:
            return np.asarray(used), 0
        groups = <const Group *>&self._groups[0]
        datagrams = <const Datagram *>&self._datagrams[0]
        with nogil:
            for g in range(groups_count):
                if not actions >> groups[g].action & 1:
                    continue
                end = <int64_t>groups[g].first + groups[g].count
                if groups[g].first < 0 or end > self._members.shape[0]:
                    with gil:
                        raise ValueError("the groups lead outside of the tables")
                for m in range(groups[g].first, end):
                    row = self._members[m]
                    if row < 0 or row >= rows or datagrams[row].pattern >= count:
                        with gil:
                            raise ValueError("the groups lead outside of the tables")
                    used[datagrams[row].pattern] += 1
                    damaged += datagrams[row].damage != 0
        return np.asarray(used), damaged

    def weigh(self, const int64_t[::1] weights not None, const int32_t[::1] numbers not None):
        """Return the sum of the weights of the patterns of the datagrams in each of some groups.

        Parameters
        ----------
        weights : int64 array
            One for each pattern.
        numbers : int32 array
            Numbers of the groups.

        Returns
        -------
        int64 array
        """
        cdef int64_t count = numbers.shape[0], i, m, end, row, total
        cdef int64_t groups_count = self._groups.shape[0] // <int64_t>sizeof(Group)
        cdef int64_t rows = self._datagrams.shape[0] // <int64_t>sizeof(Datagram)
        cdef int64_t[::1] sums = np.zeros(count, np.int64)
        cdef const Group *groups
        cdef const Datagram *datagrams
        if not groups_count or not rows:
            return np.asarray(sums)
        groups = <const Group *>&self._groups[0]
        datagrams = <const Datagram *>&self._datagrams[0]
        with nogil:
            for i in range(count):
                if numbers[i] < 0 or numbers[i] >= groups_count:
                    with gil:
                        raise ValueError("outside of the groups")
                end = <int64_t>groups[numbers[i]].first + groups[numbers[i]].count
                if groups[numbers[i]].first < 0 or end > self._members.shape[0]:
                    with gil:
                        raise ValueError("the groups lead outside of the tables")
                total = 0
                for m in range(groups[numbers[i]].first, end):
                    row = self._members[m]
                    if row < 0 or row >= rows or datagrams[row].pattern >= weights.shape[0]:
                        with gil:
                            raise ValueError("the groups lead outside of the tables")
                    total += weights[datagrams[row].pattern]
                sums[i] = total
        return np.asarray(sums)

    def following(self, const int64_t[::1] numbers not None, uint32_t actions):
        """Return for each of some groups the first one from it on that does one of `actions`; the number of groups if none."""
        cdef int64_t count = self._groups.shape[0] // <int64_t>sizeof(Group), i, g
        cdef int64_t[::1] found = np.empty(numbers.shape[0], np.int64)
        cdef const Group *groups = <const Group *>&self._groups[0] if count else NULL
        with nogil:
            for i in range(numbers.shape[0]):
                g = max(numbers[i], 0)
                if i > 0 and numbers[i - 1] <= g <= found[i - 1]:  # numbers mostly ascend
                    g = found[i - 1]
                while g < count and not actions >> groups[g].action & 1:
                    g += 1
                found[i] = g
        return np.asarray(found)


cdef tuple shortened(int64_t count, tuple arrays):
    """Return the first rows of arrays, in no more memory than twice what they need."""
    if count < 0:
        raise ValueError("the groups lead outside of the tables")
    cdef list found = [np.asarray(each)[:count] for each in arrays]
    return tuple(found) if not found or 2 * count > len(arrays[0]) else tuple([each.copy() for each in found])
