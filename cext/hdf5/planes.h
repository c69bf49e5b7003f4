/* Byte planes of arrays that lie in pieces, in memory or in a file: HDF5's shuffle filter, and its planes deflated.

   An array is taken in tiles that stay in the cache: read, dealt to its planes, added up and coded, and no byte of it is
   moved twice. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hdf5/huffman.h"
#include "run/read_whole.h"
#include "vector.h"

#define WINDOW (1 << 18) /* bytes that are read in one go */
#define ADLER 65521
#define LANES 32

PSANACLI_CLONES
static void shuffle_two(const uint8_t *restrict source, uint8_t *restrict target, uint8_t *restrict high, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint16_t word;
        memcpy(&word, source + 2 * i, 2);
        target[i] = (uint8_t)word;
        high[i] = (uint8_t)(word >> 8);
    }
}

PSANACLI_CLONES
static void shuffle_four(const uint8_t *restrict source, uint8_t *restrict target, int64_t plane, int64_t count) {
    uint8_t *restrict b = target + plane, *restrict c = target + 2 * plane, *restrict d = target + 3 * plane;
    for (int64_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, source + 4 * i, 4);
        target[i] = (uint8_t)word;
        b[i] = (uint8_t)(word >> 8);
        c[i] = (uint8_t)(word >> 16);
        d[i] = (uint8_t)(word >> 24);
    }
}

/* Deal the bytes of items to planes that lie `plane` bytes apart. */
static void shuffle_items(const uint8_t *source, int64_t item, int64_t count, uint8_t *target, int64_t plane) {
    if (item == 1) {
        memcpy(target, source, (size_t)count);
    } else if (item == 2) {
        shuffle_two(source, target, target + plane, count);
    } else if (item == 4) {
        shuffle_four(source, target, plane, count);
    } else {
        /* Blocks that stay in the cache while each byte of an item has its turn. */
        int64_t block = item < 16384 ? 16384 / item : 1;
        for (int64_t begin = 0; begin < count; begin += block) {
            int64_t stop = begin + block < count ? begin + block : count;
            for (int64_t k = 0; k < item; k++)
                for (int64_t i = begin; i < stop; i++)
                    target[k * plane + i] = source[i * item + k];
        }
    }
}

/* Pieces of an array, of which the first items were taken already. */
typedef struct {
    const uint8_t *data; /* in which the places are, or NULL */
    int descriptor;      /* of the open file in which they are else */
    const int64_t *places, *sizes;
    int64_t item, at, taken; /* bytes of an item; the piece whose turn it is, and how many of its bytes were taken */
    uint8_t *window;         /* room for WINDOW bytes of a file */
    int trouble;             /* why piece `at` could not be read; 0: the file ends before */
} Pieces;

/* Deal the next items to planes that lie `plane` bytes apart; pieces at a negative place are zeros. Returns 0 if one cannot be
   read. There have to be as many items, and sizes are multiples of an item. */
static int take_items(Pieces *pieces, int64_t count, uint8_t *target, int64_t plane) {
    int64_t item = pieces->item;
    while (count) {
        int64_t place = pieces->places[pieces->at], some = (pieces->sizes[pieces->at] - pieces->taken) / item;
        if (!some) {
            pieces->at++;
            pieces->taken = 0;
            continue;
        }
        if (some > count)
            some = count;
        if (place < 0) {
            for (int64_t k = 0; k < item; k++)
                memset(target + k * plane, 0, (size_t)some);
        } else if (pieces->data) {
            shuffle_items(pieces->data + place + pieces->taken, item, some, target, plane);
        } else {
            if (some > WINDOW / item)
                some = WINDOW / item;
            if (read_whole(pieces->descriptor, pieces->window, some * item, place + pieces->taken, &pieces->trouble) < some * item)
                return 0;
            shuffle_items(pieces->window, item, some, target, plane);
        }
        pieces->taken += some * item;
        count -= some;
        target += some;
    }
    return 1;
}

static void skip_items(Pieces *pieces, int64_t count) {
    int64_t bytes = count * pieces->item;
    while (bytes > pieces->sizes[pieces->at] - pieces->taken) {
        bytes -= pieces->sizes[pieces->at] - pieces->taken;
        pieces->at++;
        pieces->taken = 0;
    }
    pieces->taken += bytes;
}

/* The two sums of Adler-32 (RFC 1950), begun with zeros. */
typedef struct {
    uint64_t first, second;
} Sums;

PSANACLI_CLONES
static void add_lanes(const uint8_t *restrict data, int64_t rows, uint32_t *restrict first, uint32_t *restrict second) {
    for (int64_t row = 0; row < rows; row++)
        for (int k = 0; k < LANES; k++) {
            first[k] += data[row * LANES + k];
            second[k] += first[k];
        }
}

static void join_sums(Sums *sums, Sums behind, int64_t size) {
    sums->second = (sums->second + behind.second + sums->first * (uint64_t)(size % ADLER)) % ADLER;
    sums->first = (sums->first + behind.first) % ADLER;
}

/* Add at most BLOCK_SIZE bytes: in lanes, whose sums still fit into 32 bits then. */
static void add_sums(Sums *sums, const uint8_t *data, int64_t size) {
    uint32_t first[LANES] = {0}, second[LANES] = {0};
    int64_t rows = size / LANES;
    Sums own = {0, 0};
    add_lanes(data, rows, first, second);
    for (int k = 0; k < LANES; k++) {
        own.first += first[k];
        own.second += (uint64_t)LANES * second[k] - (uint64_t)k * first[k];
    }
    for (int64_t i = rows * LANES; i < size; i++) {
        own.first += data[i];
        own.second += own.first;
    }
    join_sums(sums, own, size);
}

/* Deflate the planes of `plane` items.

   A plane with a worth of 0 is stored, with one below 0 left as it is, and others become literals where that makes them shorter
   than that part of their size (see huffman.h). The planes stand one behind the other in `out`, each in `plane_room` bytes;
   `extents` tells how many it takes of these. In `scratch` is room for a tile, and for the codes of two bytes behind it.
   Returns the Adler-32 of all planes, or -1 if a piece cannot be read. */
static int64_t deflate_planes(
    Pieces *pieces, int64_t plane, const double *worth, uint8_t *out, int64_t *extents, Sums *sums, BitWriter *writers,
    uint8_t *scratch
) {
    int64_t item = pieces->item, room = plane_room(plane);
    uint32_t *pairs = (uint32_t *)(scratch + item * BLOCK_SIZE);
    Sums all = {1, 0};
    for (int64_t k = 0; k < item; k++) {
        writers[k] = (BitWriter){out + k * room, 0, 0};
        sums[k] = (Sums){0, 0};
    }
    for (int64_t at = 0; at < plane; at += BLOCK_SIZE) {
        int64_t size = plane - at < BLOCK_SIZE ? plane - at : BLOCK_SIZE;
        if (!take_items(pieces, size, scratch, BLOCK_SIZE))
            return -1;
        for (int64_t k = 0; k < item; k++) {
            const uint8_t *tile = scratch + k * BLOCK_SIZE;
            add_sums(&sums[k], tile, size);
            if (worth[k] < 0) {
                memcpy(writers[k].out, tile, (size_t)size);
                writers[k].out += size;
            } else {
                put_block(&writers[k], tile, size, worth[k], pairs);
            }
        }
    }
    for (int64_t k = 0; k < item; k++) {
        end_plane(&writers[k]);
        extents[k] = writers[k].out - (out + k * room);
        join_sums(&all, sums[k], plane);
    }
    return (int64_t)(all.second << 16 | all.first);
}
