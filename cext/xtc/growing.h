/* Arrays that grow, and hash tables over them. */
#ifndef PSANACLI_GROWING_H
#define PSANACLI_GROWING_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    size_t count; /* elements in use */
    size_t room;  /* elements there is memory for */
    size_t width; /* bytes of an element */
} Column;

/* Open addressing; a slot holds 1 + the number of a row, or 0. */
typedef struct {
    uint32_t *slot;
    size_t mask;
} Slots;

/* Make room for `count` elements in all; 0 when there is no memory. */
static int widen(Column *column, size_t count)
{
    size_t room = column->room ? column->room * 2 : 64;
    void *data;
    if (count <= column->room)
        return 1;
    if (room < count)
        room = count;
    if (room > SIZE_MAX / 2 / column->width)
        return 0;
    data = realloc(column->data, room * column->width);
    if (data == NULL)
        return 0;
    column->data = data;
    column->room = room;
    return 1;
}

/* Double the slots, and put all rows in again by their hashes (a column of uint64_t); 0 when there is no memory. */
static int enlarge(Slots *slots, const Column *hashes)
{
    const uint64_t *hash = (const uint64_t *)hashes->data;
    size_t mask = slots->slot ? slots->mask * 2 + 1 : 63;
    uint32_t *slot = calloc(mask + 1, sizeof *slot);
    if (slot == NULL)
        return 0;
    for (size_t row = 0; row < hashes->count; row++) {
        size_t at = hash[row] & mask;
        while (slot[at])
            at = (at + 1) & mask;
        slot[at] = (uint32_t)(row + 1);
    }
    free(slots->slot);
    slots->slot = slot;
    slots->mask = mask;
    return 1;
}

/* Spread a value over all bits of a hash. */
static inline uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xD6E8FEB86659FD93u;
    value ^= value >> 32;
    return value;
}

/* A list of rows that are told apart by their bytes, in the order in which they came. */
typedef struct {
    Column rows;
    Column hashes;
    Slots slots;
} Roll;

/* Return the number of a row in the list, and put it there if it is new; -1 when there is no memory. */
static int64_t enlist(Roll *roll, const uint32_t *words)
{
    size_t at, count = roll->rows.count, width = roll->rows.width;
    uint64_t code = 0;
    for (size_t i = 0; i < width / sizeof *words; i++)
        code = mix(code + words[i]);
    if ((roll->slots.slot == NULL || 2 * (count + 1) > roll->slots.mask) && !enlarge(&roll->slots, &roll->hashes))
        return -1;
    for (at = code & roll->slots.mask; roll->slots.slot[at]; at = (at + 1) & roll->slots.mask)
        if (memcmp(roll->rows.data + (roll->slots.slot[at] - 1) * width, words, width) == 0)
            return roll->slots.slot[at] - 1;
    if (count >= INT32_MAX || !widen(&roll->rows, count + 1) || !widen(&roll->hashes, count + 1))
        return -1;
    memcpy(roll->rows.data + count * width, words, width);
    ((uint64_t *)roll->hashes.data)[count] = code;
    roll->rows.count = roll->hashes.count = count + 1;
    roll->slots.slot[at] = (uint32_t)(count + 1);
    return (int64_t)count;
}

#endif
