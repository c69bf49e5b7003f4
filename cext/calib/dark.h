/* Dark events: per-pixel order statistics of a few frames, exact sums over any number of them, and what follows. */
#ifndef PSANACLI_DARK_H
#define PSANACLI_DARK_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vector.h"

enum {
    DARK_TILE = 128,      /* pixels that are worked on at a time: their values of all frames stay in the cache */
    DARK_FRAMES = 32768,  /* frames whose counts fit into 16 bits */
    DARK_NARROW = 255     /* widest gate in which the squares of so many frames fit into 32 bits */
};

/* Put the smaller of each two values first. */
static inline void dark_exchange(uint16_t *restrict a, uint16_t *restrict b)
{
    for (int i = 0; i < DARK_TILE; i++) {
        const uint16_t x = a[i], y = b[i];
        a[i] = x < y ? x : y;
        b[i] = x < y ? y : x;
    }
}

/* Sort each column of a tile, `n` rows of DARK_TILE values, by Batcher's merge exchange (Knuth 5.2.2 M): which values
are compared does not depend on them, so that all columns go side by side. */
PSANACLI_CLONES
static void dark_sort(uint16_t *tile, int64_t n)
{
    int64_t top = 1;
    if (n < 2)
        return;
    while (2 * top < n)
        top *= 2;
    for (int64_t p = top; p > 0; p /= 2) {
        int64_t q = top, r = 0, d = p;
        for (;;) {
            for (int64_t i = 0; i < n - d; i++)
                if ((i & p) == r)
                    dark_exchange(tile + i * DARK_TILE, tile + (i + d) * DARK_TILE);
            if (q == p)
                break;
            d = q - p;
            q /= 2;
            r = p;
        }
    }
}

/* The values of some ranks of each pixel: `out` has `pixels` values a rank. `tile` has room for n * DARK_TILE. */
static void dark_ranks(const uint16_t *frames, int64_t n, int64_t stride, int64_t pixels, uint16_t bits,
                       const int64_t *ranks, int64_t count, uint16_t *tile, uint16_t *out, int64_t out_stride)
{
    for (int64_t first = 0; first < pixels; first += DARK_TILE) {
        const int64_t size = pixels - first < DARK_TILE ? pixels - first : DARK_TILE;
        for (int64_t k = 0; k < n; k++) {
            const uint16_t *from = frames + k * stride + first;
            uint16_t *to = tile + k * DARK_TILE;
            for (int64_t i = 0; i < size; i++)
                to[i] = from[i] & bits;
            for (int64_t i = size; i < DARK_TILE; i++)
                to[i] = 0;
        }
        dark_sort(tile, n);
        for (int64_t r = 0; r < count; r++)
            memcpy(out + r * out_stride + first, tile + ranks[r] * DARK_TILE, (size_t)size * sizeof *out);
    }
}

/* What is counted and summed for each pixel. */
typedef struct {
    uint32_t *count, *below, *above, *wrong;
    uint64_t *sum, *squares;
    uint16_t *least, *largest;
} dark_sums;

typedef struct {
    uint16_t bits;               /* of a raw value that are its value */
    uint16_t range_bits, range;  /* bits that tell the gain range, and what they have to be */
    uint16_t leave_out;          /* 0xffff: values of another range are left out; 0: they count like others */
    uint16_t low, high;          /* values outside are below or above */
} dark_rules;

/* Sums of a tile that fits into the cache, values counted from the lower end of their gate.
All are whole numbers, so neither order nor division into parts can matter. */
#define DARK_ADD(NAME, SQUARE)                                                                                           \
    PSANACLI_CLONES static void NAME(const uint16_t *restrict frames, int64_t n, int64_t stride,                         \
                                     const uint16_t *restrict gate_low, const uint16_t *restrict gate_high,              \
                                     const dark_rules *rules, uint16_t *restrict counts, uint32_t *restrict sum,         \
                                     SQUARE *restrict squares, int64_t size)                                             \
    {                                                                                                                    \
        uint16_t *restrict count = counts, *restrict below = counts + DARK_TILE, *restrict above = counts + 2 * DARK_TILE, \
                 *restrict wrong = counts + 3 * DARK_TILE, *restrict least = counts + 4 * DARK_TILE,                      \
                 *restrict largest = counts + 5 * DARK_TILE;                                                             \
        const uint16_t bits = rules->bits, range_bits = rules->range_bits, range = rules->range;                         \
        const uint16_t leave_out = rules->leave_out, low = rules->low, high = rules->high;                               \
        for (int64_t k = 0; k < n; k++) {                                                                                \
            const uint16_t *restrict raw = frames + k * stride;                                                          \
            for (int64_t i = 0; i < size; i++) {                                                                         \
                const uint16_t x = raw[i] & bits;                                                                        \
                const uint16_t other = (uint16_t)-((raw[i] & range_bits) != range), out = other & leave_out;             \
                const uint16_t in = (uint16_t)(-(x >= gate_low[i]) & -(x <= gate_high[i])) & (uint16_t)~out;             \
                const uint16_t value = (uint16_t)(x - gate_low[i]) & in;                                                 \
                const uint16_t small = x | out, large = x & (uint16_t)~out;                                              \
                count[i] += in & 1;                                                                                      \
                below[i] += (x < low) & ~out;                                                                            \
                above[i] += (x > high) & ~out;                                                                           \
                wrong[i] += other & 1;                                                                                   \
                least[i] = small < least[i] ? small : least[i];                                                          \
                largest[i] = large > largest[i] ? large : largest[i];                                                    \
                sum[i] += value;                                                                                         \
                squares[i] += (SQUARE)value * value;                                                                     \
            }                                                                                                            \
        }                                                                                                                \
    }
DARK_ADD(dark_add_narrow, uint32_t)
DARK_ADD(dark_add_wide, uint64_t)
#undef DARK_ADD

/* Add frames to the sums.  Nothing is larger than 16 bits, so `sum` holds 2^48 frames, `squares` 2^32. */
static void dark_add(const uint16_t *frames, int64_t n, int64_t stride, int64_t pixels, const uint16_t *gate_low,
                     const uint16_t *gate_high, const dark_rules *rules, const dark_sums *sums)
{
    uint16_t counts[6 * DARK_TILE];
    uint32_t sum[DARK_TILE], narrow[DARK_TILE];
    uint64_t wide[DARK_TILE];
    for (int64_t first = 0; first < pixels; first += DARK_TILE) {
        const int64_t size = pixels - first < DARK_TILE ? pixels - first : DARK_TILE;
        int is_narrow = 1;
        for (int64_t i = first; i < first + size; i++)
            is_narrow &= gate_high[i] < gate_low[i] || gate_high[i] - gate_low[i] <= DARK_NARROW;
        for (int64_t start = 0; start < n; start += DARK_FRAMES) {
            const int64_t some = n - start < DARK_FRAMES ? n - start : DARK_FRAMES;
            const uint16_t *from = frames + start * stride + first;
            memset(counts, 0, sizeof counts);
            memset(counts + 4 * DARK_TILE, 0xff, DARK_TILE * sizeof *counts);
            memset(sum, 0, sizeof sum);
            memset(narrow, 0, sizeof narrow);
            memset(wide, 0, sizeof wide);
            if (is_narrow)
                dark_add_narrow(from, some, stride, gate_low + first, gate_high + first, rules, counts, sum, narrow, size);
            else
                dark_add_wide(from, some, stride, gate_low + first, gate_high + first, rules, counts, sum, wide, size);
            for (int64_t i = 0; i < size; i++) {
                const int64_t at = first + i;
                const uint64_t low = gate_low[at], count = counts[i];
                sums->count[at] += counts[i];
                sums->below[at] += counts[DARK_TILE + i];
                sums->above[at] += counts[2 * DARK_TILE + i];
                sums->wrong[at] += counts[3 * DARK_TILE + i];
                if (counts[4 * DARK_TILE + i] < sums->least[at])
                    sums->least[at] = counts[4 * DARK_TILE + i];
                if (counts[5 * DARK_TILE + i] > sums->largest[at])
                    sums->largest[at] = counts[5 * DARK_TILE + i];
                sums->sum[at] += sum[i] + count * low;
                sums->squares[at] += narrow[i] + wide[i] + 2 * low * sum[i] + count * low * low;
            }
        }
    }
}

static inline double dark_normal(double x) /* density of the normal distribution; 0 at infinity */
{
    return 0.3989422804014327 * exp(-0.5 * x * x);
}

static inline double dark_below(double x) /* its integral from minus infinity */
{
    return 0.5 * erfc(-x * 0.7071067811865476);
}

enum { DARK_STEPS = 30 };
static const double DARK_FAR = 5.0; /* sigmas beyond which a gate cuts off less than one in a million */

/* Centre and width of the normal distribution of which a gate lets through values with this mean and rms: the moments
of a truncated normal distribution, solved by fixed-point iteration from the moments that were seen.  Values are whole
numbers, so the gate reaches half a unit beyond its ends. */
static void dark_untruncated(double low, double high, double *mean, double *rms)
{
    const double seen_mean = *mean, seen = *rms, a = low - 0.5, b = high + 0.5;
    double centre = seen_mean, width = seen;
    if (seen <= 0 || ((centre - a) > DARK_FAR * seen && (b - centre) > DARK_FAR * seen))
        return;
    for (int step = 0; step < DARK_STEPS; step++) {
        const double alpha = (a - centre) / width, beta = (b - centre) / width;
        const double share = dark_below(beta) - dark_below(alpha);
        const double shift = (dark_normal(alpha) - dark_normal(beta)) / share;
        const double part = 1 + (alpha * dark_normal(alpha) - beta * dark_normal(beta)) / share - shift * shift;
        double next_centre, next;
        if (!(share > 1e-3) || !(part > 1e-3))
            return; /* nothing like a normal distribution: what was seen stands */
        next_centre = seen_mean - width * shift;
        next = seen / sqrt(part);
        if (next > 2 * seen)
            return;
        if (fabs(next - width) < 1e-9 * seen && fabs(next_centre - centre) < 1e-9 * seen) {
            centre = next_centre;
            width = next;
            break;
        }
        centre = next_centre;
        width = next;
    }
    *mean = centre;
    *rms = width;
}

/* Mean and unbiased rms of each pixel, corrected for what its gate cut off, if it did: of `all` its values. */
static void dark_moments(int64_t pixels, const uint32_t *count, const uint32_t *all, const uint64_t *sum, const uint64_t *squares,
                         const uint16_t *gate_low, const uint16_t *gate_high, double *mean, double *rms)
{
    for (int64_t i = 0; i < pixels; i++) {
        const double n = count[i];
        double low, first, second;
        mean[i] = rms[i] = 0;
        if (!count[i])
            continue;
        /* From the lower end of the gate the numbers are small, and their sums exact. */
        low = gate_low[i];
        first = (double)(sum[i] - count[i] * (uint64_t)gate_low[i]);
        second = (double)(squares[i] - 2 * (uint64_t)gate_low[i] * sum[i] +
                          count[i] * (uint64_t)gate_low[i] * gate_low[i]);
        mean[i] = low + first / n;
        if (count[i] < 2)
            continue;
        second = (second - first / n * first) / (n - 1);
        rms[i] = second > 0 ? sqrt(second) : 0;
        if (count[i] < all[i])
            dark_untruncated(low, gate_high[i], mean + i, rms + i);
    }
}

#endif
