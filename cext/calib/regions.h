/* Regions of an image, and what is needed to correct them.  Every region was checked against the array before it comes here. */
#ifndef PSANACLI_REGIONS_H
#define PSANACLI_REGIONS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abreast.h"
#include "vector.h"

/* rows x columns elements, the first at `start`; steps are in elements. */
typedef struct {
    int64_t start, rows, row_step, columns, step;
} Region;

/* How a region is corrected; numbers as in psanacli.calib.common_mode.regions. */
enum { BY_HISTOGRAM = 1, BY_MEAN = 2, BY_BINNED_MEDIAN = 3, BY_MEDIAN = 4, BY_UNBONDED = 5, BY_GROWING_HISTOGRAM = 6 };

enum { HISTOGRAM_BINS = 3000, HISTOGRAM_FIRST = -1000 };
enum { MEDIAN_BINS = 32768, MEDIAN_FIRST = -16384 };
enum { MOST_BINS = 10000 };

/* The values of PIECE pixels are counted at once, neighbours in COPIES histograms.  These have ROOM: a bin for what is
   below the histogram or does not count, its bins, and one for what is above. */
enum { PIECE = 1024, COPIES = 4, ROOM = 1 + HISTOGRAM_BINS + 1 };

/* Regions of up to SHORT pixels are sorted SIDE at a time, by up to EXCHANGES comparisons. */
enum { SIDE = 32, SHORT = 128, EXCHANGES = 1471 };

typedef struct {
    int32_t kind;
    double limit;      /* largest correction */
    double low, high;  /* values that count */
    double least;      /* how many values are needed; for a histogram the least height of the peak */
    double width;      /* largest sigma */
    int32_t only_good; /* whether bad pixels keep their value */
    int32_t unbonded;  /* whether the unbonded pixels serve where the histogram fails */
} Method;

/* Room for one thread.  The counts are zero before and after each correction. */
typedef struct {
    void *values;        /* as many as the largest region has, and at least SHORT * (SIDE + 1) */
    uint16_t *bins;      /* PIECE */
    uint32_t *histogram; /* COPIES * ROOM */
    uint32_t *counts;    /* MEDIAN_BINS */
    uint8_t *pairs;      /* 2 * EXCHANGES: which values are compared to sort `sorted` of them */
    int64_t *sorted, *exchanges;
} Scratch;

/* Find the peak of a histogram as the original does: the first that falls to half of its height (reference 5.6, 1).
   Returns whether there is one, with its mean and sigma in bins. */
static int find_peak(const uint32_t *counts, double threshold, double *mean, double *sigma)
{
    const uint32_t least = threshold >= 1.0 ? (threshold < 4e9 ? (uint32_t)threshold : UINT32_MAX) : 100;
    int64_t peak = -1, right = HISTOGRAM_BINS, left, i;
    uint32_t height = 0;
    for (i = 0; i < HISTOGRAM_BINS; i++) {
        if (counts[i] > height && counts[i] > least) {
            height = counts[i];
            peak = i;
        } else if (peak >= 0 && counts[i] <= height / 2) {
            right = i;
            break;
        }
    }
    if (peak < 0)
        return 0;
    for (left = peak; left >= 0 && counts[left] > height / 2; left--)
        ;
    *sigma = (double)(right - left) / 2.36;
    *mean = (double)peak;
    for (int round = 0; round < 2; round++) {
        const double reach = 2.0 * *sigma + 0.5;
        const int64_t d = reach < HISTOGRAM_BINS ? (int64_t)reach : HISTOGRAM_BINS;
        const int64_t first = peak - d > 0 ? peak - d : 0;
        const int64_t last = peak + d < HISTOGRAM_BINS - 1 ? peak + d : HISTOGRAM_BINS - 1;
        double s0 = 0.0, s1 = 0.0, s2 = 0.0;
        for (i = first; i <= last; i++) {
            const double away = (double)i - *mean;
            s0 += counts[i];
            s1 += away * counts[i];
            s2 += away * away * counts[i];
        }
        *mean += s1 / s0;
        const double variance = s2 / s0 - (s1 / s0) * (s1 / s0);
        *sigma = sqrt(variance > 0.0 ? variance : 0.0);
    }
    *mean += HISTOGRAM_FIRST;
    return 1;
}

/* Count the bins first .. stop-1.  Most values fall into few bins, and a processor waits when it adds to what it has just
   written; so neighbours are counted in histograms of their own. */
static inline void count_bins(const Scratch *scratch, int64_t first, int64_t stop)
{
    uint32_t *restrict h = scratch->histogram;
    const uint16_t *restrict bins = scratch->bins;
    int64_t i = first;
    for (; i + COPIES <= stop; i += COPIES)
        for (int copy = 0; copy < COPIES; copy++)
            h[copy * ROOM + bins[i + copy]]++;
    for (; i < stop; i++)
        h[bins[i]]++;
}

static void clear_copies(const Scratch *scratch)
{
    memset(scratch->histogram, 0, COPIES * ROOM * sizeof *scratch->histogram);
}

PSANACLI_CLONES
static void add_copies(const Scratch *scratch)
{
    uint32_t *restrict counts = scratch->counts;
    for (int copy = 0; copy < COPIES; copy++) {
        const uint32_t *restrict counted = scratch->histogram + copy * ROOM + 1;
        for (int bin = 0; bin < HISTOGRAM_BINS; bin++)
            counts[bin] += counted[bin];
    }
}

/* The mean of the peak of what was counted, if there is one that the method believes; the counts are 0 then. */
static int believed_peak(const Scratch *scratch, const Method *method, double *mean)
{
    double sigma;
    const int found = find_peak(scratch->counts, method->least, mean, &sigma);
    memset(scratch->counts, 0, HISTOGRAM_BINS * sizeof *scratch->counts);
    return found && fabs(*mean) <= method->limit && sigma <= method->width;
}

/* Which values are compared to sort n of them, in order: Batcher's merge exchange (Knuth 5.2.2 M).  Returns how
   many times, and keeps them, as the next regions have mostly as many pixels. */
static int64_t exchanges_of(int64_t n, const Scratch *scratch)
{
    int64_t top = 1, count = 0;
    if (*scratch->sorted == n)
        return *scratch->exchanges;
    while (2 * top < n)
        top *= 2;
    for (int64_t p = n < 2 ? 0 : top; p > 0; p /= 2) {
        int64_t q = top, r = 0, d = p;
        for (;;) {
            for (int64_t i = 0; i < n - d; i++)
                if ((i & p) == r) {
                    scratch->pairs[2 * count] = (uint8_t)i;
                    scratch->pairs[2 * count + 1] = (uint8_t)(i + d);
                    count++;
                }
            if (q == p)
                break;
            d = q - p;
            q /= 2;
            r = p;
        }
    }
    *scratch->sorted = n;
    *scratch->exchanges = count;
    return count;
}

/* The number of regions from one on that are sorted side by side; 1 where they are not. */
static int64_t side_by_side(const Region *regions, const Method *methods, const int64_t *method, int64_t first, int64_t stop)
{
    const Region *region = &regions[first];
    int64_t last = first + 1;
    if (methods[method[first]].kind != BY_MEDIAN || region->rows > SHORT || region->rows * region->columns > SHORT)
        return 1;
    while (last < stop && last < first + SIDE && method[last] == method[first] && regions[last].rows == region->rows
           && regions[last].columns == region->columns)
        last++;
    return 4 * (last - first) >= SIDE ? last - first : 1;
}

#define T float
#define KEY int32_t
#define KEY_MOST INT32_MAX
#define NAME(x) x##_f4
#include "regions_of.h"
#include "medians_of.h"
#undef T
#undef KEY
#undef KEY_MOST
#undef NAME
#define T double
#define KEY int64_t
#define KEY_MOST INT64_MAX
#define NAME(x) x##_f8
#include "regions_of.h"
#include "medians_of.h"
#undef T
#undef KEY
#undef KEY_MOST
#undef NAME

#endif
