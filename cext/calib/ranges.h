/* Detectors whose pixels choose their gain range: the constants of a pixel are those of its plane.

   Masked pixels have the factor 0; adding 0 makes their -0 a 0, as it is for every other pixel. */
#ifndef PSANACLI_RANGES_H
#define PSANACLI_RANGES_H

#include <stdint.h>
#include <string.h>

#include "vector.h"

/* Pixels that are worked on at once: what one loop writes is in the cache when the next one reads it. */
enum { STRETCH = 2048 };

PSANACLI_CLONES
static void scale(float *restrict out, const float *restrict factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = out[i] * factor[i] + 0.0f;
}

/* The plane of constants of each pixel: its two top bits, or what the configuration says for bit 14 clear and set. */
PSANACLI_CLONES
static void planes_by_bits(const uint16_t *restrict raw, uint8_t *restrict plane, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        plane[i] = (uint8_t)(raw[i] >> 14);
}

PSANACLI_CLONES
static void planes_by_switch(const uint16_t *restrict raw, const uint8_t *restrict clear, const uint8_t *restrict set,
                             uint8_t *restrict plane, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        plane[i] = raw[i] & 0x4000 ? set[i] : clear[i];
}

PSANACLI_CLONES
static void subtract_low_bits(const uint16_t *restrict raw, const float *restrict pedestals, float *restrict out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(raw[i] & 0x3fff) - pedestals[i];
}

/* Whether pixels are all in one plane. */
static inline int in_one_plane(const uint8_t *plane, int64_t n, uint8_t number)
{
    uint64_t differs = 0, eight;
    const uint64_t expected = number * UINT64_C(0x0101010101010101);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&eight, plane + i, 8);
        differs |= eight ^ expected;
    }
    for (; i < n; i++)
        differs |= plane[i] ^ number;
    return !differs;
}

/* Pixels mostly come in one plane, so they are taken by so many, and only those of several planes one by one. */
enum { TOGETHER = 32 };

/* The number of pixels before `n` that go on as the first ones: all in one plane, or not. */
static int64_t alike(const uint8_t *plane, int64_t n, int *single)
{
    int64_t at = n < TOGETHER ? n : TOGETHER;
    *single = in_one_plane(plane, at, plane[0]);
    while (at < n) {
        const int64_t more = n - at < TOGETHER ? n - at : TOGETHER;
        if (in_one_plane(plane + at, more, *single ? plane[0] : plane[at]) != *single)
            break;
        at += more;
    }
    return at;
}

/* Subtract the pedestal of each pixel's plane; `size` is the number of pixels of one plane. */
static void subtract_ranged(const uint16_t *restrict raw, const uint8_t *restrict plane, const float *restrict pedestals,
                            int64_t size, float *restrict out, int64_t first, int64_t stop)
{
    raw += first, pedestals += first, out += first;
    for (int64_t at = 0; at < stop - first;) {
        int single;
        const int64_t end = at + alike(plane + at, stop - first - at, &single);
        if (single)
            subtract_low_bits(raw + at, pedestals + plane[at] * size + at, out + at, end - at);
        else
            for (int64_t i = at; i < end; i++)
                out[i] = (float)(raw[i] & 0x3fff) - pedestals[plane[i] * size + i];
        at = end;
    }
}

/* Multiply by the factor of each pixel's plane. */
static void scale_ranged(float *restrict out, const uint8_t *restrict plane, const float *restrict factor, int64_t size,
                         int64_t first, int64_t stop)
{
    factor += first, out += first;
    for (int64_t at = 0; at < stop - first;) {
        int single;
        const int64_t end = at + alike(plane + at, stop - first - at, &single);
        if (single)
            scale(out + at, factor + plane[at] * size + at, end - at);
        else
            for (int64_t i = at; i < end; i++)
                out[i] = out[i] * factor[plane[i] * size + i] + 0.0f;
        at = end;
    }
}

/* Which pixels take part in the common mode: good ones in one of some planes, which are asked for one after the other,
   as bytes are compared faster than bits are looked up. */
PSANACLI_CLONES
static void taking_part(const uint8_t *restrict plane, const uint8_t *restrict mask, uint32_t planes, uint8_t *restrict good,
                        int64_t n)
{
    memset(good, 0, (size_t)n);
    for (int number = 0; number < 32; number++)
        if (planes >> number & 1)
            for (int64_t i = 0; i < n; i++)
                good[i] |= (uint8_t)((plane[i] == number) & (mask[i] != 0));
}

#endif
