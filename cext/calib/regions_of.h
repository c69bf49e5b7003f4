/* The corrections of regions.h for one type of numbers: T and NAME are given by whoever includes this. */

static inline int NAME(counts)(const uint8_t *good, int64_t at)
{
    return good == NULL || good[at];
}

/* Subtract a number from all pixels of a region, or from its good ones; rounded once, to T. */
PSANACLI_CLONES
static void NAME(subtract)(T *restrict v, const uint8_t *restrict good, const Region *region, double number)
{
    for (int64_t row = 0; row < region->rows; row++) {
        T *restrict line = v + region->start + row * region->row_step;
        if (good != NULL) {
            const uint8_t *restrict which = good + region->start + row * region->row_step;
            for (int64_t i = 0; i < region->columns; i++) {
                const int64_t at = i * region->step;
                if (which[at])
                    line[at] = (T)((double)line[at] - number);
            }
        } else if (region->step == 1) {
            for (int64_t i = 0; i < region->columns; i++)
                line[i] = (T)((double)line[i] - number);
        } else {
            for (int64_t i = 0; i < region->columns; i++)
                line[i * region->step] = (T)((double)line[i * region->step] - number);
        }
    }
}

/* Write the bin of each value of a line: rounded half away from zero; what does not count goes to the last bin. */
PSANACLI_CLONES
static void NAME(bins_of)(const T *restrict v, const uint8_t *restrict good, int64_t n, int16_t *restrict bins)
{
    const T low = (T)HISTOGRAM_FIRST - (T)0.5, high = (T)(HISTOGRAM_FIRST + HISTOGRAM_BINS) - (T)0.5;
    const T none = (T)(HISTOGRAM_FIRST + HISTOGRAM_BINS);
    for (int64_t i = 0; i < n; i++) {
        T x = v[i];
        x = x > low ? x : none;
        x = x < high ? x : none;
        const int32_t cut = (int32_t)x;
        const T rest = x - (T)cut;
        int32_t bin = cut - HISTOGRAM_FIRST;
        bin += rest >= (T)0.5 ? 1 : 0;
        bin -= rest <= (T)-0.5 ? 1 : 0;
        bins[i] = (int16_t)bin;
    }
    for (int64_t i = 0; i < n; i++)
        bins[i] = good[i] ? bins[i] : (int16_t)HISTOGRAM_BINS;
}

/* The same of pixels that lie apart. */
static void NAME(bins_of_apart)(const T *restrict v, const uint8_t *restrict good, int64_t n, int64_t step,
                                int16_t *restrict bins)
{
    T values[64];
    uint8_t which[64];
    for (int64_t at = 0; at < n; at += 64) {
        const int64_t part = n - at < 64 ? n - at : 64;
        for (int64_t i = 0; i < part; i++) {
            values[i] = v[(at + i) * step];
            which[i] = good[(at + i) * step];
        }
        NAME(bins_of)(values, which, part, bins + at);
    }
}

/* Count the values of a region.  Most fall into few bins, and a processor waits when it adds to what it has just
   written; so neighbours are counted in histograms of their own. */
static void NAME(count_region)(const T *v, const uint8_t *good, const Region *region, const Scratch *scratch)
{
    enum { ROOM = HISTOGRAM_BINS + 1 };
    uint16_t *h = scratch->histogram;
    uint32_t *counts = scratch->counts;
    int64_t since = 0;
    memset(h, 0, COPIES * ROOM * sizeof *h);
    for (int64_t row = 0; row < region->rows; row++) {
        int64_t done = 0;
        const int64_t begin = region->start + row * region->row_step;
        while (done < region->columns) {
            int64_t n = region->columns - done, i = 0;
            const int16_t *bins = scratch->bins;
            if (n > PIECE)
                n = PIECE;
            const int64_t at = begin + done * region->step;
            if (region->step == 1)
                NAME(bins_of)(v + at, good + at, n, scratch->bins);
            else
                NAME(bins_of_apart)(v + at, good + at, n, region->step, scratch->bins);
            for (; i + COPIES <= n; i += COPIES)
                for (int copy = 0; copy < COPIES; copy++)
                    h[copy * ROOM + bins[i + copy]]++;
            for (; i < n; i++)
                h[bins[i]]++;
            done += n;
            since += n;
            if (since > UINT16_MAX - 8192 || (row == region->rows - 1 && done == region->columns)) {
                for (int copy = 0; copy < COPIES; copy++)
                    for (int bin = 0; bin < HISTOGRAM_BINS; bin++)
                        counts[bin] += h[copy * ROOM + bin];
                memset(h, 0, COPIES * ROOM * sizeof *h);
                since = 0;
            }
        }
    }
}

/* The mean of the 36 pixels of a 2x1 that are bonded to nothing. */
static double NAME(unbonded)(const T *v, const Region *region)
{
    double sum = 0.0;
    for (int64_t r = 10; r <= 180; r += 10) {
        const T *pixel = v + region->start + (r * 388 + r) * region->step;
        sum += (double)pixel[0] + (double)pixel[194 * region->step];
    }
    return sum / 36.0;
}

static double NAME(by_unbonded)(T *v, const Region *region, double limit)
{
    const double mean = NAME(unbonded)(v, region);
    if (!(fabs(mean) <= limit))
        return 0.0;
    NAME(subtract)(v, NULL, region, mean);
    return mean;
}

static double NAME(by_histogram)(T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    double mean, sigma;
    NAME(count_region)(v, good, region, scratch);
    const int found = find_peak(scratch->counts, method->least, &mean, &sigma);
    memset(scratch->counts, 0, HISTOGRAM_BINS * sizeof *scratch->counts);
    if (found && fabs(mean) <= method->limit && sigma <= method->width) {
        NAME(subtract)(v, NULL, region, mean);
        return mean;
    }
    return method->unbonded ? NAME(by_unbonded)(v, region, method->limit) : 0.0;
}

static double NAME(by_mean)(T *v, const uint8_t *good, const Region *region, const Method *method)
{
    double sum = 0.0;
    int64_t n = 0;
    for (int64_t row = 0; row < region->rows; row++)
        for (int64_t i = 0; i < region->columns; i++) {
            const int64_t at = region->start + row * region->row_step + i * region->step;
            if (NAME(counts)(good, at) && (double)v[at] < method->high) {
                sum += (double)v[at];
                n++;
            }
        }
    if (!n)
        return 0.0;
    const T mean = (T)(sum / (double)n);
    if (!(fabs((double)mean) <= method->limit))
        return 0.0;
    NAME(subtract)(v, NULL, region, (double)mean);
    return (double)mean;
}

static double NAME(by_binned_median)(T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    uint32_t *counts = scratch->counts;
    int64_t n = 0, sum = 0, bin, lowest = MEDIAN_BINS, highest = -1;
    for (int64_t row = 0; row < region->rows; row++)
        for (int64_t i = 0; i < region->columns; i++) {
            const int64_t at = region->start + row * region->row_step + i * region->step;
            const double x = (double)v[at];
            if (!NAME(counts)(good, at) || !(x < method->high))
                continue;
            bin = x > MEDIAN_FIRST ? (int64_t)(x < -MEDIAN_FIRST ? x : -MEDIAN_FIRST) - MEDIAN_FIRST : 0;
            bin = bin < MEDIAN_BINS ? bin : MEDIAN_BINS - 1;
            counts[bin]++;
            n++;
            lowest = bin < lowest ? bin : lowest;
            highest = bin > highest ? bin : highest;
        }
    for (bin = lowest; bin < highest; bin++) {
        sum += counts[bin];
        if (2 * sum >= n)
            break;
    }
    if (n)
        memset(counts + lowest, 0, (size_t)(highest - lowest + 1) * sizeof *counts);
    const double median = (double)(bin + MEDIAN_FIRST);
    if (!n || median == 0.0 || !(fabs(median) <= method->limit))
        return 0.0;
    NAME(subtract)(v, NULL, region, median);
    return median;
}

static int NAME(compare)(const void *a, const void *b)
{
    const T x = *(const T *)a, y = *(const T *)b;
    return (x > y) - (x < y);
}

/* Put the k-th smallest of n values in its place, smaller ones before it.  None is NaN. */
static T NAME(nth)(T *v, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    for (int round = 0; low < high; round++) {
        if (round == 96) { /* values that were made to mislead it */
            qsort(v + low, (size_t)(high - low + 1), sizeof *v, NAME(compare));
            break;
        }
        const int64_t middle = low + (high - low) / 2;
        T swap;
        if (v[middle] < v[low])
            swap = v[middle], v[middle] = v[low], v[low] = swap;
        if (v[high] < v[low])
            swap = v[high], v[high] = v[low], v[low] = swap;
        if (v[high] < v[middle])
            swap = v[high], v[high] = v[middle], v[middle] = swap;
        const T pivot = v[middle];
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (pivot < v[j])
                j--;
            if (i <= j) {
                swap = v[i], v[i] = v[j], v[j] = swap;
                i++;
                j--;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return v[k];
}

/* The median of n values, of an even number the mean of the two in the middle, in T. */
static T NAME(median)(T *v, int64_t n)
{
    const T upper = NAME(nth)(v, n, n / 2);
    if (n % 2)
        return upper;
    T lower = v[0];
    for (int64_t i = 1; i < n / 2; i++)
        lower = v[i] > lower ? v[i] : lower;
    return (T)((lower + upper) / (T)2);
}

static double NAME(by_median)(T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    T *found = (T *)scratch->values;
    int64_t n = 0;
    const T low = (T)method->low, high = (T)method->high;
    for (int64_t row = 0; row < region->rows; row++) {
        const int64_t begin = region->start + row * region->row_step;
        for (int64_t i = 0; i < region->columns; i++) {
            const int64_t at = begin + i * region->step;
            found[n] = v[at];
            n += NAME(counts)(good, at) & (v[at] >= low) & (v[at] <= high);
        }
    }
    if (!n || (double)n < method->least)
        return 0.0;
    const double median = (double)NAME(median)(found, n);
    if (!(fabs(median) <= method->limit))
        return 0.0;
    NAME(subtract)(v, method->only_good ? good : NULL, region, median);
    return median;
}

/* The median from a histogram that grows until its middle is inside (reference 5.6, 4, Fccd960). */
static double NAME(by_growing_histogram)(T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    uint32_t *counts = scratch->counts;
    int64_t low = (int64_t)method->low, high = (int64_t)method->high;
    const int64_t most = method->limit < MOST_BINS ? (int64_t)method->limit : MOST_BINS;
    for (;;) {
        const int64_t bins = high - low + 1;
        int64_t n = 0, sum = 0, bin;
        if (bins > MOST_BINS)
            return 0.0;
        memset(counts, 0, (size_t)bins * sizeof *counts);
        for (int64_t row = 0; row < region->rows; row++)
            for (int64_t i = 0; i < region->columns; i++) {
                const int64_t at = region->start + row * region->row_step + i * region->step;
                const double x = (double)v[at];
                if (!NAME(counts)(good, at) || x != x)
                    continue;
                bin = x <= (double)low ? 0 : x >= (double)high ? bins - 1 : (int64_t)x - low;
                counts[bin]++;
                n++;
            }
        if ((double)n < method->least) {
            memset(counts, 0, (size_t)bins * sizeof *counts);
            return 0.0;
        }
        const int64_t half = n / 2;
        const int below = (int64_t)counts[0] > half, above = (int64_t)counts[bins - 1] > half;
        if (below || above) {
            memset(counts, 0, (size_t)bins * sizeof *counts);
            if (below)
                low -= bins / 4;
            else
                high += bins / 4;
            if ((method->limit < MOST_BINS) && (-low > most || high > most))
                return 0.0;
            continue;
        }
        const int64_t wanted = (n + 1) / 2;
        for (bin = 0; bin < bins - 1; bin++) {
            if (sum + counts[bin] >= wanted)
                break;
            sum += counts[bin];
        }
        const T part = counts[bin] ? (T)(wanted - sum - counts[bin]) / (T)counts[bin] : (T)0;
        memset(counts, 0, (size_t)bins * sizeof *counts);
        const double mode = (double)(T)((double)((T)(low + bin) + part) + 0.8);
        if (!(fabs(mode) <= method->limit))
            return 0.0;
        NAME(subtract)(v, NULL, region, mode);
        return mode;
    }
}

/* Correct one region; returns what was subtracted. */
static double NAME(correct_region)(T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    switch (method->kind) {
    case BY_HISTOGRAM:
        return NAME(by_histogram)(v, good, region, method, scratch);
    case BY_MEAN:
        return NAME(by_mean)(v, good, region, method);
    case BY_BINNED_MEDIAN:
        return NAME(by_binned_median)(v, good, region, method, scratch);
    case BY_MEDIAN:
        return NAME(by_median)(v, good, region, method, scratch);
    case BY_UNBONDED:
        return NAME(by_unbonded)(v, region, method->limit);
    case BY_GROWING_HISTOGRAM:
        return NAME(by_growing_histogram)(v, good, region, method, scratch);
    }
    return 0.0;
}
