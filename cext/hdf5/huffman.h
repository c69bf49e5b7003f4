/* Deflate without a search for repeats: every byte is a literal of a Huffman code made for its block (RFC 1951, 3.2.7).

   Byte planes of images and waveforms are noise around a few values: their bytes are far from evenly spread, but follow no
   pattern. A search for repeats finds short ones by chance, which cost as much as the bytes themselves, and takes four fifths
   of the time. Blocks whose bytes are spread evenly are stored as they are. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vector.h"

#define LITERALS 257 /* all bytes, and the end of the block */
#define END_OF_BLOCK 256
#define LONGEST_CODE 12 /* two of them and their common length fit into 32 bits, four and a rest of 7 bits into 64 */
#define PAIR_BITS 27    /* of the codes of two bytes in a table of pairs; above them their length */
#define WORD_BITS 56    /* that can be put at once: with a rest of 7 they are less than 64 */
#define PAIRS (1 << 16)
#define BLOCK_SIZE (1 << 17)
#define SAMPLED (1 << 16) /* from this size on only a quarter of the bytes is counted, if they are in a narrow range */
#define NARROW 64
#define STORED_MOST 65535
/* A block begins with 3 bits of its kind, 14 of counts, 19 times 3 for the code of code lengths, and 4 for each length. */
#define HEADER_BITS (3 + 14 + 19 * 3 + 4 * (LITERALS + 2))

typedef struct {
    uint8_t *out;
    uint64_t bits;
    int count; /* of bits, less than 8 between two calls */
} BitWriter;

static inline void put_bits(BitWriter *writer, uint64_t value, int count) {
    writer->bits |= value << writer->count;
    writer->count += count;
    memcpy(writer->out, &writer->bits, 8);
    writer->out += writer->count >> 3;
    writer->bits >>= writer->count & ~7;
    writer->count &= 7;
}

static inline void to_byte(BitWriter *writer) {
    if (writer->count)
        put_bits(writer, 0, 8 - writer->count);
}

/* Add up how often each byte occurs; eight tables, as equal bytes one after the other would wait for each other. */
static void count_into(const uint8_t *data, int64_t size, uint32_t part[8][256]) {
    int64_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        part[0][word & 255]++;
        part[1][word >> 8 & 255]++;
        part[2][word >> 16 & 255]++;
        part[3][word >> 24 & 255]++;
        part[4][word >> 32 & 255]++;
        part[5][word >> 40 & 255]++;
        part[6][word >> 48 & 255]++;
        part[7][word >> 56]++;
    }
    for (; i < size; i++)
        part[0][data[i]]++;
}

PSANACLI_CLONES
static void range_of(const uint8_t *data, int64_t size, int *least, int *most) {
    uint8_t low = 255, high = 0;
    for (int64_t i = 0; i < size; i++) {
        low = data[i] < low ? data[i] : low;
        high = data[i] > high ? data[i] : high;
    }
    *least = low;
    *most = high;
}

/* Count bytes, or a quarter of them: then each in the range of all has one more than what was found, so that it gets a code.
   Returns how many bytes one that was counted stands for. */
static int count_bytes(const uint8_t *data, int64_t size, uint32_t *counts) {
    uint32_t part[8][256] = {{0}};
    int least = 0, most = 255, every = 1;
    if (size >= SAMPLED)
        range_of(data, size, &least, &most);
    if (most - least < NARROW) {
        /* A place further in each group of four, or the columns of an image of 256 were never all seen. */
        every = 4;
        for (int64_t at = 0, turn = 0; at + 256 <= size; at += 256, turn++)
            count_into(data + at + (turn & 3) * 64, 64, part);
    } else {
        count_into(data, size, part);
    }
    for (int k = 0; k < 256; k++) {
        counts[k] = every > 1 && least <= k && k <= most;
        for (int table = 0; table < 8; table++)
            counts[k] += part[table][k];
    }
    return every;
}

static int by_count(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Give each symbol that occurs the length of its code, 1 to LONGEST_CODE; at least two symbols have to occur. */
static void code_lengths(const uint32_t *counts, uint8_t *lengths) {
    uint64_t sorted[LITERALS], weight[2 * LITERALS];
    int parent[2 * LITERALS], depth[2 * LITERALS], with[64] = {0};
    int symbols = 0, leaf = 0, inner, next;
    memset(lengths, 0, LITERALS);
    for (int k = 0; k < LITERALS; k++)
        if (counts[k])
            sorted[symbols++] = (uint64_t)counts[k] << 16 | (unsigned)k;
    qsort(sorted, (size_t)symbols, sizeof sorted[0], by_count);
    for (int k = 0; k < symbols; k++)
        weight[k] = sorted[k] >> 16;
    /* The two lightest nodes become one; inner nodes are made in order of weight, behind the leaves. */
    inner = symbols;
    for (next = symbols; next < 2 * symbols - 1; next++) {
        int pair[2];
        for (int k = 0; k < 2; k++)
            pair[k] = leaf < symbols && (inner >= next || weight[leaf] <= weight[inner]) ? leaf++ : inner++;
        weight[next] = weight[pair[0]] + weight[pair[1]];
        parent[pair[0]] = parent[pair[1]] = next;
    }
    depth[2 * symbols - 2] = 0;
    for (int k = 2 * symbols - 3; k >= 0; k--) {
        depth[k] = depth[parent[k]] + 1;
        if (k < symbols)
            with[depth[k] < LONGEST_CODE ? depth[k] : LONGEST_CODE]++;
    }
    /* Codes that were cut to the longest take too much room; shorter ones give way, the longest of them first. */
    int64_t room = 0;
    for (int k = 1; k <= LONGEST_CODE; k++)
        room += (int64_t)with[k] << (LONGEST_CODE - k);
    while (room > (int64_t)1 << LONGEST_CODE) {
        int k = LONGEST_CODE - 1;
        while (!with[k])
            k--;
        with[k]--;
        with[k + 1]++;
        room -= (int64_t)1 << (LONGEST_CODE - k - 1);
    }
    /* A place that is left over shortens a code, so that the code is complete, as strict readers want it. */
    while (room < (int64_t)1 << LONGEST_CODE) {
        int k = LONGEST_CODE;
        while (!with[k] || room + ((int64_t)1 << (LONGEST_CODE - k)) > (int64_t)1 << LONGEST_CODE)
            k--;
        with[k]--;
        with[k - 1]++;
        room += (int64_t)1 << (LONGEST_CODE - k);
    }
    next = 0;
    for (int k = LONGEST_CODE; k > 0; k--)
        for (int i = 0; i < with[k]; i++)
            lengths[sorted[next++] & 0xFFFF] = (uint8_t)k;
}

static unsigned reversed(unsigned code, int length) {
    unsigned result = 0;
    for (int k = 0; k < length; k++)
        result = result << 1 | (code >> k & 1);
    return result;
}

/* Codes in the order of deflate: by length, then by symbol; the lowest bit is sent first. In the upper half their length. */
static void make_codes(const uint8_t *lengths, uint32_t *codes) {
    unsigned first[LONGEST_CODE + 2] = {0}, with[LONGEST_CODE + 1] = {0};
    for (int k = 0; k < LITERALS; k++)
        with[lengths[k]]++;
    with[0] = 0;
    for (int k = 1; k <= LONGEST_CODE; k++)
        first[k + 1] = (first[k] + with[k]) << 1;
    for (int k = 0; k < LITERALS; k++) {
        codes[k] = 0;
        if (lengths[k])
            codes[k] = reversed(first[lengths[k]]++, lengths[k]) | (uint32_t)lengths[k] << 16;
    }
}

/* About the size of a block in bits as literals; the lengths of codes are left for its writing. */
static int64_t block_bits(const uint8_t *data, int64_t size, uint8_t *lengths) {
    uint32_t counts[LITERALS];
    int64_t bits = 0;
    int every = count_bytes(data, size, counts);
    counts[END_OF_BLOCK] = 1;
    code_lengths(counts, lengths);
    for (int k = 0; k < LITERALS; k++)
        bits += (int64_t)counts[k] * lengths[k];
    return HEADER_BITS + every * bits;
}

static void put_stored(BitWriter *writer, const uint8_t *data, int64_t size) {
    int64_t at = 0;
    do {
        uint16_t length = (uint16_t)(size - at < STORED_MOST ? size - at : STORED_MOST), complement = (uint16_t)~length;
        put_bits(writer, 0, 3);
        to_byte(writer);
        memcpy(writer->out, &length, 2);
        memcpy(writer->out + 2, &complement, 2);
        if (length)
            memcpy(writer->out + 4, data + at, length);
        writer->out += 4 + length;
        at += length;
    } while (at < size);
}

/* Codes of two bytes, one behind the other: a word of two bytes leads to them, and to their length in bits. */
PSANACLI_CLONES
static void pair_codes(const uint32_t *codes, uint32_t *pairs) {
    uint32_t low[256], length[256];
    int least = 0, most = 255; /* bytes that occur; planes of images have few values, side by side */
    for (int k = 0; k < 256; k++) {
        low[k] = codes[k] & 0xFFFF;
        length[k] = codes[k] >> 16;
    }
    while (least < most && !length[least])
        least++;
    while (least < most && !length[most])
        most--;
    for (int second = least; second <= most; second++) {
        uint32_t code = low[second], extent = length[second], *row = pairs + (second << 8);
        if (!extent)
            continue; /* it does not occur */
        for (int first = least; first <= most; first++)
            row[first] = low[first] | code << length[first] | (length[first] + extent) << PAIR_BITS;
    }
}

static void put_literals(BitWriter *writer, const uint8_t *data, int64_t size, const uint8_t *lengths, uint32_t *pairs) {
    uint32_t codes[LITERALS];
    int64_t i = 0;
    make_codes(lengths, codes);
    pair_codes(codes, pairs);
    put_bits(writer, 4, 3); /* not the last block, codes of its own */
    put_bits(writer, 0 | 1 << 5 | 15 << 10, 14);
    for (int k = 0; k < 19; k++) /* in the order 16, 17, 18, 0, 8, ...: the lengths 0 to 15 have codes of 4 bits */
        put_bits(writer, k < 3 ? 0 : 4, 3);
    for (int k = 0; k < LITERALS; k++)
        put_bits(writer, reversed(lengths[k], 4), 4);
    for (int k = 0; k < 2; k++) /* distances are not used, but have a complete code */
        put_bits(writer, reversed(1, 4), 4);
    BitWriter own = *writer; /* nothing else points to it, so it stays in registers */
    for (; i + 8 <= size; i += 8) {
        const uint64_t mask = (1 << PAIR_BITS) - 1;
        uint64_t word;
        memcpy(&word, data + i, 8);
        uint32_t a = pairs[word & 0xFFFF], b = pairs[word >> 16 & 0xFFFF], c = pairs[word >> 32 & 0xFFFF], d = pairs[word >> 48];
        unsigned first = (a >> PAIR_BITS) + (b >> PAIR_BITS), second = (c >> PAIR_BITS) + (d >> PAIR_BITS);
        uint64_t low = (a & mask) | (b & mask) << (a >> PAIR_BITS), high = (c & mask) | (d & mask) << (c >> PAIR_BITS);
        if (first + second <= WORD_BITS) {
            put_bits(&own, low | high << first, (int)(first + second));
        } else {
            put_bits(&own, low, (int)first);
            put_bits(&own, high, (int)second);
        }
    }
    *writer = own;
    for (; i < size; i++)
        put_bits(writer, codes[data[i]] & 0xFFFF, (int)(codes[data[i]] >> 16));
    put_bits(writer, codes[END_OF_BLOCK] & 0xFFFF, (int)(codes[END_OF_BLOCK] >> 16));
}

static int64_t stored_room(int64_t size) {
    return size + 6 * (size / STORED_MOST + 2);
}

/* The bytes that `put_plane` writes at most. A block whose codes were made of a sample may turn out longer than it is. */
static int64_t plane_room(int64_t size) {
    return size + 6 * (size / STORED_MOST + size / BLOCK_SIZE + 2) + BLOCK_SIZE / 2 + HEADER_BITS / 8 + 16;
}

/* Write at most BLOCK_SIZE bytes as a block of a deflate stream that is not the last. */
static void put_block(BitWriter *writer, const uint8_t *data, int64_t size, double worth, uint32_t *pairs) {
    uint8_t lengths[LITERALS];
    if (worth > 0 && block_bits(data, size, lengths) < worth * 8 * (double)size) {
        BitWriter before = *writer;
        put_literals(writer, data, size, lengths, pairs);
        if (writer->out - before.out < stored_room(size))
            return;
        *writer = before;
    }
    put_stored(writer, data, size);
}

/* Go on at a whole byte, behind an empty block. */
static void end_plane(BitWriter *writer) {
    if (writer->count)
        put_stored(writer, NULL, 0);
}

/* Write bytes as blocks of a deflate stream, none of them the last; it ends at a whole byte. Returns the bytes written.
   In `pairs` is room for the codes of two bytes. */
static int64_t put_plane(const uint8_t *data, int64_t size, double worth, uint8_t *out, uint32_t *pairs) {
    BitWriter writer = {out, 0, 0};
    for (int64_t at = 0; at < size; at += BLOCK_SIZE)
        put_block(&writer, data + at, size - at < BLOCK_SIZE ? size - at : BLOCK_SIZE, worth, pairs);
    end_plane(&writer);
    return writer.out - out;
}
