/* From raw values to corrected ones: the parts that touch every pixel once. */
#ifndef PSANACLI_FRAMES_H
#define PSANACLI_FRAMES_H

#include <stdint.h>
#include <string.h>

#include "vector.h"

enum { NO_RANGE = 255, STRETCH = 256 };

#define SUBTRACT(NAME, RAW)                                                                                              \
    PSANACLI_CLONES static void NAME(const RAW *restrict raw, const float *restrict pedestals, float *restrict out,       \
                                     int64_t n)                                                                          \
    {                                                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                                                  \
            out[i] = (float)raw[i] - pedestals[i];                                                                       \
    }
SUBTRACT(pedestal_u1, uint8_t)
SUBTRACT(pedestal_u2, uint16_t)
SUBTRACT(pedestal_i2, int16_t)
SUBTRACT(pedestal_i4, int32_t)
SUBTRACT(pedestal_f4, float)
#undef SUBTRACT

/* Multiply by a factor in double precision, rounded once. */
PSANACLI_CLONES
static void scale_double(float *restrict out, const double *restrict factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)((double)out[i] * factor[i]);
}

PSANACLI_CLONES
static void scale(float *restrict out, const float *restrict factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] *= factor[i];
}

/* Bad pixels become 0, whatever they were. */
PSANACLI_CLONES
static void blank(float *restrict out, const uint8_t *restrict mask, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] ? out[i] : 0.0f;
}

PSANACLI_CLONES
static void scale_and_blank(float *restrict out, const float *restrict factor, const uint8_t *restrict mask, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float x = out[i] * factor[i];
        out[i] = mask[i] ? x : 0.0f;
    }
}

/* All in one for detectors without common mode. */
#define WHOLE(NAME, RAW)                                                                                                 \
    PSANACLI_CLONES static void NAME(const RAW *restrict raw, const float *restrict pedestals,                            \
                                     const float *restrict factor, const uint8_t *restrict mask, float *restrict out,     \
                                     int64_t n)                                                                          \
    {                                                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                                \
            const float x = ((float)raw[i] - pedestals[i]) * factor[i];                                                  \
            out[i] = mask[i] ? x : 0.0f;                                                                                 \
        }                                                                                                                \
    }
WHOLE(whole_u1, uint8_t)
WHOLE(whole_u2, uint16_t)
WHOLE(whole_i2, int16_t)
WHOLE(whole_i4, int32_t)
WHOLE(whole_f4, float)
#undef WHOLE

/* The gain range of each pixel: from its two top bits, or from bit 14 and what the configuration says. */
PSANACLI_CLONES
static void ranges_by_bits(const uint16_t *restrict raw, uint8_t *restrict range, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const uint16_t bits = raw[i] >> 14;
        range[i] = (uint8_t)(bits < 2 ? bits : bits == 3 ? 2 : NO_RANGE);
    }
}

PSANACLI_CLONES
static void ranges_by_switch(const uint16_t *restrict raw, const uint8_t *restrict clear, const uint8_t *restrict set,
                             uint8_t *restrict range, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        range[i] = raw[i] & 0x4000 ? set[i] : clear[i];
}

/* Whether a stretch of pixels is all in one range. */
PSANACLI_CLONES
static int all_equal(const uint8_t *restrict range, int64_t n)
{
    uint8_t differs = 0;
    for (int64_t i = 1; i < n; i++)
        differs |= range[i] ^ range[0];
    return !differs;
}

PSANACLI_CLONES
static void subtract_low_bits(const uint16_t *restrict raw, const float *restrict pedestals, float *restrict out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(raw[i] & 0x3fff) - pedestals[i];
}

PSANACLI_CLONES
static void low_bits(const uint16_t *restrict raw, float *restrict out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(raw[i] & 0x3fff);
}

/* Subtract the pedestal of each pixel's range; `size` is the number of pixels of one range. */
static void subtract_ranged(const uint16_t *raw, const uint8_t *range, const float *pedestals, int64_t size, int64_t ranges,
                            float *out, int64_t first, int64_t stop)
{
    for (int64_t at = first; at < stop; at += STRETCH) {
        const int64_t n = stop - at < STRETCH ? stop - at : STRETCH;
        if (all_equal(range + at, n)) {
            if (range[at] < ranges)
                subtract_low_bits(raw + at, pedestals + range[at] * size + at, out + at, n);
            else
                low_bits(raw + at, out + at, n);
            continue;
        }
        for (int64_t i = at; i < at + n; i++) {
            const float pedestal = range[i] < ranges ? pedestals[range[i] * size + i] : 0.0f;
            out[i] = (float)(raw[i] & 0x3fff) - pedestal;
        }
    }
}

/* Multiply by the factor of each pixel's range, and blank bad pixels. */
static void scale_ranged(float *out, const uint8_t *range, const float *factor, int64_t size, int64_t ranges,
                         const uint8_t *mask, int64_t first, int64_t stop)
{
    for (int64_t at = first; at < stop; at += STRETCH) {
        const int64_t n = stop - at < STRETCH ? stop - at : STRETCH;
        if (all_equal(range + at, n)) {
            if (range[at] < ranges)
                scale_and_blank(out + at, factor + range[at] * size + at, mask + at, n);
            else
                blank(out + at, mask + at, n);
            continue;
        }
        for (int64_t i = at; i < at + n; i++) {
            const float x = range[i] < ranges ? out[i] * factor[range[i] * size + i] : out[i];
            out[i] = mask[i] ? x : 0.0f;
        }
    }
}

/* Which pixels take part in the common mode: good ones in one of some ranges. */
PSANACLI_CLONES
static void taking_part(const uint8_t *restrict range, const uint8_t *restrict mask, uint32_t ranges, uint8_t *restrict good,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        good[i] = (uint8_t)(mask[i] && range[i] < 32 && (ranges >> (range[i] & 31) & 1));
}

#endif
