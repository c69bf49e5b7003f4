/* From raw values to corrected ones, where each pixel has one pedestal and one factor.

   Masked pixels have the factor 0, so a mask costs nothing; adding 0 makes their -0 a 0, as it is for every other
   pixel.  Where a pedestal or a raw value may be NaN or infinite, which times 0 is no 0, `blank` follows. */
#ifndef PSANACLI_FRAMES_H
#define PSANACLI_FRAMES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vector.h"

/* What is multiplied in double precision, and rounded once, before the factor: two values, or one for each pixel. */
typedef struct {
    const uint8_t *is_high; /* NULL: the values of `each` */
    double low, high;
    const double *each;
    int in_floats; /* whether single precision gives the same, see `gain_in_floats` */
} GainMap;

/* What is subtracted in double precision, and rounded once, after the pedestals. */
typedef struct {
    double number;
    int in_floats;      /* whether single precision gives the same, see `common_of`, in two steps: */
    float coarse, rest;
} Common;

/* Some pixels, in order. */
typedef struct {
    const int64_t *pixels;
    int64_t count;
} Pixels;

/* The number of those that come before a pixel. */
static int64_t before(const Pixels *some, int64_t pixel)
{
    int64_t low = 0, high = some->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (some->pixels[middle] < pixel)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Pedestals are even when they are multiples of 1 / FINEST, as all from 512 on are. */
enum { FINEST = 1 << 14 };

/* Make what is subtracted of even pedestals.

   Half of a correction in double precision is conversion there and back.  A raw value less an even pedestal is even; so
   is `coarse`, a multiple of 2 / FINEST, and their difference is exact below FLOAT_LIMIT.  From it `rest` is subtracted,
   and rounded once, as the same is in double precision; it might be rounded elsewhere as `rest` itself is rounded to a
   float.  Where, that depends on `rest` and the distance of floats around the difference only, so it is looked for once
   for each power of two, in both signs: at its first multiples of 1 / FINEST and at its last one. */
enum { FLOAT_LIMIT = FINEST >> 4 };

static int rounded_alike(float away, double rest)
{
    return (float)((double)away - rest) == away - (float)rest && (float)((double)-away - rest) == -away - (float)rest;
}

static Common common_of(double number, int even_pedestals)
{
    Common common = {number, 0, 0.0f, 0.0f};
    if (!even_pedestals || !(fabs(number) < FLOAT_LIMIT / 2))
        return common;
    const float step = 1.0f / FINEST;
    const double coarse = rint(number * (FINEST / 2)) / (FINEST / 2), rest = number - coarse;
    common.coarse = (float)coarse;
    common.rest = (float)rest;
    common.in_floats = rounded_alike(0.0f, rest);
    for (float power = step; power < FLOAT_LIMIT; power *= 2.0f)
        common.in_floats &= rounded_alike(power, rest) & rounded_alike(power + step, rest)
                            & rounded_alike(power + 2 * step, rest) & rounded_alike(2.0f * power - step, rest);
    return common;
}

/* An image that is larger than this goes past the caches: a plain store would first read what it overwrites. */
enum { LARGE = 1 << 20 };

/* Constants are asked for so many pixels before they are needed: sooner than the processor does it by itself. */
enum { AHEAD = 128 };

/* Half of an image is converted to double precision and back, which compilers do with many steps in between.  So here
   are eight pixels at once by hand, for processors that have AVX2; what follows is the same in plain C. */
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define BY_EIGHTS __attribute__((target("avx2,fma"), always_inline)) static inline

BY_EIGHTS __m256 eight_u1(const uint8_t *raw)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)raw)));
}

BY_EIGHTS __m256 eight_u2(const uint16_t *raw)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)raw)));
}

BY_EIGHTS __m256 eight_i2(const int16_t *raw)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)raw)));
}

BY_EIGHTS __m256 eight_i4(const int32_t *raw)
{
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)raw));
}

BY_EIGHTS __m256 eight_f4(const float *raw)
{
    return _mm256_loadu_ps(raw);
}

BY_EIGHTS __m256 both_fours(__m128 first, __m128 second)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(first), second, 1);
}

BY_EIGHTS __m128 four_less(__m128 v, double number)
{
    return _mm256_cvtpd_ps(_mm256_sub_pd(_mm256_cvtps_pd(v), _mm256_set1_pd(number)));
}

/* Eight pixels less the common mode; the large ones go the long way. */
BY_EIGHTS __m256 eight_less(__m256 v, const Common *common)
{
    if (common->in_floats) {
        const __m256 less = _mm256_sub_ps(v, _mm256_set1_ps(common->coarse));
        const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), less);
        if (!_mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(FLOAT_LIMIT), _CMP_NLT_UQ)))
            return _mm256_sub_ps(less, _mm256_set1_ps(common->rest));
    }
    return both_fours(four_less(_mm256_castps256_ps128(v), common->number),
                      four_less(_mm256_extractf128_ps(v, 1), common->number));
}

/* The gains of four pixels. */
BY_EIGHTS __m256d four_gains(const GainMap *map, int64_t i)
{
    int32_t high;
    if (map->is_high == NULL)
        return _mm256_loadu_pd(map->each + i);
    memcpy(&high, map->is_high + i, sizeof high);
    const __m256i sign = _mm256_slli_epi64(_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(high)), 63);
    return _mm256_blendv_pd(_mm256_set1_pd(map->low), _mm256_set1_pd(map->high), _mm256_castsi256_pd(sign));
}

BY_EIGHTS __m128 four_scaled(__m128 v, const GainMap *map, int64_t i)
{
    return _mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtps_pd(v), four_gains(map, i)));
}

/* What is left of a gain when it is rounded to a float. */
BY_EIGHTS float gain_rest(double gain)
{
    return (float)(gain - (double)(float)gain);
}

/* Eight pixels times two floats that are a gain together: one product is exact until the other one is added. */
BY_EIGHTS __m256 eight_times(__m256 v, __m256 gain, __m256 rest)
{
    return _mm256_fmadd_ps(v, gain, _mm256_mul_ps(v, rest));
}

/* Eight pixels times their gains; those that are all 1 are left alone, as neighbours mostly have the same. */
BY_EIGHTS __m256 eight_scaled(__m256 v, const GainMap *map, int64_t i)
{
    uint64_t high = 1;
    if (map->is_high != NULL && map->low == 1.0)
        memcpy(&high, map->is_high + i, sizeof high);
    if (!high)
        return v;
    if (!map->in_floats)
        return both_fours(four_scaled(_mm256_castps256_ps128(v), map, i),
                          four_scaled(_mm256_extractf128_ps(v, 1), map, i + 4));
    const __m256i flags = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(map->is_high + i)));
    const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(flags, 31));
    const __m256 gain = _mm256_blendv_ps(_mm256_set1_ps((float)map->low), _mm256_set1_ps((float)map->high), is_high);
    const __m256 rest = _mm256_blendv_ps(_mm256_set1_ps(gain_rest(map->low)), _mm256_set1_ps(gain_rest(map->high)), is_high);
    return eight_times(v, gain, rest);
}

/* Eight pixels without pedestals: less the common mode, times gains and factor, to their place. */
BY_EIGHTS void eight_finished(__m256 v, int with_number, const Common *common, int with_map, const GainMap *map,
                              const float *factor, float *out, int64_t i, int streams)
{
    if (with_number)
        v = eight_less(v, common);
    if (with_map)
        v = eight_scaled(v, map, i);
    v = _mm256_add_ps(_mm256_mul_ps(v, _mm256_loadu_ps(factor + i)), _mm256_setzero_ps());
    if (streams) {
        _mm_stream_ps(out + i, _mm256_castps256_ps128(v));
        _mm_stream_ps(out + i + 4, _mm256_extractf128_ps(v, 1));
    } else
        _mm256_storeu_ps(out + i, v);
}

/* The loop with what is the same for all pixels known, so that it is not asked for each. */
#define LOOP(EIGHT, WITH_NUMBER, WITH_MAP)                                                                               \
    for (; i + 8 <= stop; i += 8) {                                                                                      \
        _mm_prefetch((const char *)(pedestals + i + AHEAD), _MM_HINT_T0);                                                \
        _mm_prefetch((const char *)(factor + i + AHEAD), _MM_HINT_T0);                                                   \
        eight_finished(_mm256_sub_ps(EIGHT(raw + i), _mm256_loadu_ps(pedestals + i)), WITH_NUMBER, &less, WITH_MAP,       \
                       &gains, factor, out, i, streams);                                                                 \
    }
#define EIGHTS(NAME, EIGHT, RAW)                                                                                         \
    __attribute__((target("avx2,fma"))) static int64_t NAME(const RAW *raw, const float *pedestals, const Common *common, \
                                                            const GainMap *map, const float *factor, float *out,         \
                                                            int64_t first, int64_t stop, int streams)                    \
    {                                                                                                                    \
        int64_t i = first;                                                                                               \
        const Common less = *common;                                                                                     \
        const GainMap gains = map != NULL ? *map : (GainMap){NULL, 1.0, 1.0, NULL, 0};                                   \
        if (map == NULL && common->number == 0.0)                                                                        \
            LOOP(EIGHT, 0, 0)                                                                                            \
        else if (map == NULL)                                                                                            \
            LOOP(EIGHT, 1, 0)                                                                                            \
        else if (common->number == 0.0)                                                                                  \
            LOOP(EIGHT, 0, 1)                                                                                            \
        else                                                                                                             \
            LOOP(EIGHT, 1, 1)                                                                                            \
        return i;                                                                                                        \
    }

static inline int by_eights(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Whether `eight_times` gives what the product in double precision is, rounded once: that is a matter of the digits of a
   float, and the integers from 2^23 on have all there are. */
__attribute__((target("avx2,fma"))) static int gain_by_eights(double gain)
{
    const __m256 near = _mm256_set1_ps((float)gain), rest = _mm256_set1_ps(gain_rest(gain));
    const __m256d exact = _mm256_set1_pd(gain);
    const __m256i along = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 differs = _mm256_setzero_ps();
    for (int32_t from = 1 << 23; from < 1 << 24; from += 8) {
        const __m256 v = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_set1_epi32(from), along));
        const __m128 first = _mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(v)), exact));
        const __m128 second = _mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)), exact));
        differs = _mm256_or_ps(differs, _mm256_cmp_ps(both_fours(first, second), eight_times(v, near, rest), _CMP_NEQ_UQ));
    }
    return !_mm256_movemask_ps(differs);
}

/* All that was streamed is there for other threads. */
static inline void end_streams(void)
{
    _mm_sfence();
}
#else
#define EIGHTS(NAME, EIGHT, RAW)                                                                                         \
    static int64_t NAME(const RAW *raw, const float *pedestals, const Common *common, const GainMap *map,                 \
                        const float *factor, float *out, int64_t first, int64_t stop, int streams)                       \
    {                                                                                                                    \
        return first;                                                                                                    \
    }

static inline int by_eights(void)
{
    return 0;
}

static inline int gain_by_eights(double gain)
{
    return 0;
}

static inline void end_streams(void)
{
}
#endif

/* Whether single precision gives the same product with a gain: for 0, and all values of a size that pixels have. */
static int gain_in_floats(double gain)
{
    const double size = fabs(gain);
    return size > 1e-3 && size < 1e3 && by_eights() && gain_by_eights(gain);
}

/* Pixels one after the other: VALUE of pixel i less the common mode (0: none), times gain map (NULL: none) and factor. */
#define ONE_BY_ONE(VALUE)                                                                                                \
    do {                                                                                                                 \
        if (map == NULL && number == 0.0)                                                                                \
            for (int64_t i = first; i < stop; i++)                                                                       \
                out[i] = (VALUE)*factor[i] + 0.0f;                                                                       \
        else if (map == NULL)                                                                                            \
            for (int64_t i = first; i < stop; i++)                                                                       \
                out[i] = (float)((double)(VALUE) - number) * factor[i] + 0.0f;                                           \
        else                                                                                                             \
            for (int64_t i = first; i < stop; i++) {                                                                     \
                const double gain = map->is_high == NULL ? map->each[i] : map->is_high[i] ? map->high : map->low;        \
                out[i] = (float)((double)(float)((double)(VALUE) - number) * gain) * factor[i] + 0.0f;                   \
            }                                                                                                            \
    } while (0)

/* For each type of raw values: subtract the pedestals; the same and all that follows, of the pixels first .. stop-1. */
#define OF_RAW(SUBTRACT, WHOLE, EIGHT, RAW)                                                                              \
    PSANACLI_CLONES static void SUBTRACT(const RAW *restrict raw, const float *restrict pedestals, float *restrict out,   \
                                         int64_t n)                                                                      \
    {                                                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                                                  \
            out[i] = (float)raw[i] - pedestals[i];                                                                       \
    }                                                                                                                    \
    EIGHTS(WHOLE##_eights, EIGHT, RAW)                                                                                   \
    static void WHOLE##_singles(const RAW *restrict raw, const float *restrict pedestals, double number,                 \
                                const GainMap *map, const float *restrict factor, float *restrict out, int64_t first,    \
                                int64_t stop)                                                                            \
    {                                                                                                                    \
        ONE_BY_ONE((float)raw[i] - pedestals[i]);                                                                        \
    }                                                                                                                    \
    static void WHOLE(const RAW *raw, const float *pedestals, const Common *common, const GainMap *map,                  \
                      const float *factor, float *out, int64_t first, int64_t stop, int streams)                         \
    {                                                                                                                    \
        const double number = common->number;                                                                            \
        int64_t i = first;                                                                                               \
        if (by_eights()) {                                                                                               \
            while (i < stop && ((uintptr_t)(out + i) & 15))                                                              \
                i++;                                                                                                     \
            WHOLE##_singles(raw, pedestals, number, map, factor, out, first, i);                                         \
            i = WHOLE##_eights(raw, pedestals, common, map, factor, out, i, stop, streams);                              \
        }                                                                                                                \
        WHOLE##_singles(raw, pedestals, number, map, factor, out, i, stop);                                              \
    }
OF_RAW(pedestal_u1, whole_u1, eight_u1, uint8_t)
OF_RAW(pedestal_u2, whole_u2, eight_u2, uint16_t)
OF_RAW(pedestal_i2, whole_i2, eight_i2, int16_t)
OF_RAW(pedestal_i4, whole_i4, eight_i4, int32_t)
OF_RAW(pedestal_f4, whole_f4, eight_f4, float)
#undef OF_RAW
#undef EIGHTS
#undef LOOP

/* The last step in place, which the caches have already. */
PSANACLI_CLONES
static void finish(float *restrict out, double number, const GainMap *map, const float *restrict factor, int64_t first,
                   int64_t stop)
{
    ONE_BY_ONE(out[i]);
}
#undef ONE_BY_ONE

/* Bad pixels become 0, whatever they were. */
PSANACLI_CLONES
static void blank(float *restrict out, const uint8_t *restrict mask, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = mask[i] ? out[i] : 0.0f;
}

#endif
