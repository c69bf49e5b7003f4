/* The histogram of raw values less their pedestals, in integers.

   A raw value is an integer, so the bin of its difference from a pedestal depends on the integer next to the pedestal
   only, and, where the pedestal is just between two integers, on the sign.  Twice the pedestal tells both: twice that
   integer, or the odd number between.  Who makes these numbers leaves out bad pixels, and those few whose differences
   are rounded across the edge of a bin (psanacli.calib._correct.Doubled); the latter are counted one by one. */
#ifndef PSANACLI_INTEGERS_H
#define PSANACLI_INTEGERS_H

#include "frames.h"
#include "regions.h"

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)0)
#endif

/* Values so small, and doubled pedestals from 0 on, have differences of 15 bits and a sign. */
enum { LEFT_OUT = -1, SMALL = 0x3fff };

/* Counting leaves the memory idle: what comes next is fetched meanwhile, so many pixels at a time; raw values and
   pedestals for the next count, and two arrays of which somebody else takes as many pixels after this count. */
enum { FETCHED = 32 };

typedef struct {
    const int16_t *doubled;
    Pixels others; /* that are to be counted one by one */
} DoubledPedestals;

/* For each type of raw values: the bins of up to PIECE of them; counting n pixels from `at` on; and those of
   the pixels first .. stop-1 that are counted one by one. */
#define OF_RAW(IN_INTEGERS, COUNT, OTHERS, SUBTRACT, RAW)                                                                \
    PSANACLI_CLONES static int IN_INTEGERS(const RAW *restrict raw, const int16_t *restrict doubled, int64_t n,          \
                                           uint16_t *restrict bins)                                                      \
    {                                                                                                                    \
        const int16_t low = 2 * (HISTOGRAM_FIRST - 1), high = 2 * (HISTOGRAM_FIRST + HISTOGRAM_BINS);                    \
        RAW any = 0;                                                                                                     \
        for (int64_t i = 0; i < n; i++)                                                                                  \
            any |= raw[i];                                                                                               \
        if (any & ~SMALL)                                                                                                \
            return 0;                                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                                \
            const int16_t twice = (int16_t)(2 * (int16_t)raw[i] - doubled[i]);                                           \
            const int16_t counted = doubled[i] < 0 ? low : twice;                                                        \
            const int16_t above = counted > low ? counted : low;                                                         \
            const int16_t inside = above < high ? above : high;                                                          \
            bins[i] = (uint16_t)((int16_t)((int16_t)(inside + 1 + (inside >> 15)) >> 1) - (HISTOGRAM_FIRST - 1));        \
        }                                                                                                                \
        return 1;                                                                                                        \
    }                                                                                                                    \
    static void COUNT(const RAW *raw, const float *pedestals, const DoubledPedestals *all, int64_t at, int64_t n,        \
                      const Scratch *scratch, const float *next, const float *also_next)                                 \
    {                                                                                                                    \
        if (!IN_INTEGERS(raw + at, all->doubled + at, n, scratch->bins)) {                                               \
            float values[PIECE];                                                                                         \
            uint8_t good[PIECE];                                                                                         \
            SUBTRACT(raw + at, pedestals + at, values, n);                                                               \
            for (int64_t i = 0; i < n; i++)                                                                              \
                good[i] = all->doubled[at + i] >= 0;                                                                     \
            bins_of_f4(values, good, n, scratch->bins);                                                                  \
        }                                                                                                                \
        for (int64_t i = 0; i < n; i += FETCHED) {                                                                       \
            PREFETCH(raw + at + n + i);                                                                                  \
            PREFETCH(all->doubled + at + n + i);                                                                         \
            PREFETCH(next + i);                                                                                          \
            PREFETCH(next + i + FETCHED / 2);                                                                            \
            PREFETCH(also_next + i);                                                                                     \
            PREFETCH(also_next + i + FETCHED / 2);                                                                       \
            count_bins(scratch, i, n - i < FETCHED ? n : i + FETCHED);                                                   \
        }                                                                                                                \
    }                                                                                                                    \
    static void OTHERS(const RAW *raw, const float *pedestals, const DoubledPedestals *all, int64_t first, int64_t stop, \
                       const Scratch *scratch)                                                                           \
    {                                                                                                                    \
        for (int64_t k = before(&all->others, first); k < all->others.count && all->others.pixels[k] < stop; k++) {      \
            const int64_t at = all->others.pixels[k];                                                                    \
            const uint8_t is_good = 1;                                                                                   \
            float value;                                                                                                 \
            SUBTRACT(raw + at, pedestals + at, &value, 1);                                                               \
            bins_of_f4(&value, &is_good, 1, scratch->bins);                                                              \
            count_bins(scratch, 0, 1);                                                                                   \
        }                                                                                                                \
    }

OF_RAW(in_integers_u1, count_u1, others_u1, pedestal_u1, uint8_t)
OF_RAW(in_integers_u2, count_u2, others_u2, pedestal_u2, uint16_t)
OF_RAW(in_integers_i2, count_i2, others_i2, pedestal_i2, int16_t)
OF_RAW(in_integers_i4, count_i4, others_i4, pedestal_i4, int32_t)
#undef OF_RAW

#endif
