/* From raw values to corrected ones: the parts that touch every pixel once.

   Masked pixels have the factor 0, so a mask costs nothing; adding 0 makes their -0 a 0, as it is for every other
   pixel.  Where a pedestal or a raw value may be NaN or infinite, which times 0 is no 0, `blank` follows. */
#ifndef PSANACLI_FRAMES_H
#define PSANACLI_FRAMES_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "vector.h"

/* Pixels that are worked on at once: what one loop writes is in the cache when the next one reads it. */
enum { STRETCH = 2048 };

/* What is multiplied in double precision, and rounded once, before the factor: two values, or one for each pixel. */
typedef struct {
    const uint8_t *is_high; /* NULL: the values of `each` */
    double low, high;
    const double *each;
} GainMap;

PSANACLI_CLONES
static void scale(float *restrict out, const float *restrict factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = out[i] * factor[i] + 0.0f;
}

/* An image that is larger than this goes past the caches: a plain store would first read what it overwrites. */
enum { LARGE = 1 << 20 };

/* Pixels that are made at once, and then stored. */
enum { LINE = 64 };

static inline void store_line(float *restrict to, const float *restrict line, int streams)
{
#if defined(__SSE2__)
    if (streams) {
        for (int i = 0; i < LINE; i += 4)
            _mm_stream_ps(to + i, _mm_load_ps(line + i));
        return;
    }
#endif
    memcpy(to, line, LINE * sizeof *line);
}

/* All that was streamed is there for other threads. */
static inline void end_stream(int streams)
{
#if defined(__SSE2__)
    if (streams)
        _mm_sfence();
#endif
}

/* The last step: VALUE of pixel i less the common mode (0: none), times gain map (NULL: none) and factor. */
#define STORE(EXPRESSION)                                                                                                \
    do {                                                                                                                 \
        float line[LINE] __attribute__((aligned(32)));                                                                   \
        int64_t i = 0;                                                                                                   \
        for (; i < n && ((uintptr_t)(out + i) & 15); i++)                                                                \
            out[i] = (EXPRESSION)*factor[i] + 0.0f;                                                                      \
        for (int64_t at = i; at + LINE <= n; i = at += LINE) {                                                           \
            for (int k = 0; k < LINE; k++) {                                                                             \
                i = at + k;                                                                                              \
                line[k] = (EXPRESSION)*factor[i] + 0.0f;                                                                 \
            }                                                                                                            \
            store_line(out + at, line, streams);                                                                         \
        }                                                                                                                \
        for (; i < n; i++)                                                                                               \
            out[i] = (EXPRESSION)*factor[i] + 0.0f;                                                                      \
        end_stream(streams);                                                                                             \
    } while (0)
#define FINISH(VALUE)                                                                                                    \
    do {                                                                                                                 \
        if (map == NULL && number == 0.0)                                                                                \
            STORE(VALUE);                                                                                                \
        else if (map == NULL)                                                                                            \
            STORE((float)((double)(VALUE) - number));                                                                    \
        else if (map->is_high != NULL) {                                                                                 \
            const uint8_t *restrict is_high = map->is_high + first;                                                      \
            const double low = map->low, high = map->high;                                                               \
            STORE((float)((double)(float)((double)(VALUE) - number) * (is_high[i] ? high : low)));                       \
        } else {                                                                                                         \
            const double *restrict each = map->each + first;                                                             \
            STORE((float)((double)(float)((double)(VALUE) - number) * each[i]));                                         \
        }                                                                                                                \
    } while (0)

/* For each type of raw values: subtract the pedestals; the same and the last step, of the pixels first .. stop-1. */
#define OF_RAW(SUBTRACT, WHOLE, RAW)                                                                                     \
    PSANACLI_CLONES static void SUBTRACT(const RAW *restrict raw, const float *restrict pedestals, float *restrict out,   \
                                         int64_t n)                                                                      \
    {                                                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                                                  \
            out[i] = (float)raw[i] - pedestals[i];                                                                       \
    }                                                                                                                    \
    PSANACLI_CLONES static void WHOLE(const RAW *restrict raw, const float *restrict pedestals, double number,            \
                                      const GainMap *map, const float *restrict factor, float *restrict out,              \
                                      int64_t first, int64_t stop, int streams)                                          \
    {                                                                                                                    \
        const int64_t n = stop - first;                                                                                  \
        raw += first, pedestals += first, factor += first, out += first;                                                 \
        FINISH((float)raw[i] - pedestals[i]);                                                                            \
    }
OF_RAW(pedestal_u1, whole_u1, uint8_t)
OF_RAW(pedestal_u2, whole_u2, uint16_t)
OF_RAW(pedestal_i2, whole_i2, int16_t)
OF_RAW(pedestal_i4, whole_i4, int32_t)
OF_RAW(pedestal_f4, whole_f4, float)
#undef OF_RAW

/* The last step in place, which the caches have already. */
PSANACLI_CLONES
static void finish(float *restrict out, const GainMap *map, const float *restrict factor, int64_t first, int64_t stop)
{
    const double number = 0.0;
    const int64_t n = stop - first;
    const int streams = 0;
    factor += first, out += first;
    FINISH(out[i]);
}
#undef FINISH
#undef STORE

/* Bad pixels become 0, whatever they were. */
PSANACLI_CLONES
static void blank(float *restrict out, const uint8_t *restrict mask, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] ? out[i] : 0.0f;
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

/* Which pixels take part in the common mode: good ones in one of some planes. */
PSANACLI_CLONES
static void taking_part(const uint8_t *restrict plane, const uint8_t *restrict mask, uint32_t planes, uint8_t *restrict good,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        good[i] = (uint8_t)(mask[i] && (planes >> (plane[i] & 31) & 1));
}

#endif
