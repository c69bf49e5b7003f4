"""Rows of the tables of a run, as structures of C; the array types are `GROUP` and `EVENT` of ``_build``."""

cdef struct Datagram:
    uint64_t offset
    uint32_t extent
    uint32_t seconds
    uint32_t nanoseconds
    uint32_t stamp_low
    uint32_t stamp_high
    uint32_t env
    uint32_t damage
    uint32_t pattern
    uint16_t file
    uint16_t flags
    uint32_t reserved


# A run has less than 2**31 datagrams, so rows are numbers of 32 bits: there is a row of each table for every event.

cdef struct Group:
    int32_t first
    int32_t event
    uint32_t count
    uint32_t run
    uint8_t service
    uint8_t action
    uint16_t reserved


cdef struct Event:
    int32_t group
    int32_t step
    uint32_t run
    uint32_t seconds
    uint32_t nanoseconds
    uint32_t ticks
    uint32_t fiducials
    uint16_t vector
    uint8_t control
    uint8_t flags
