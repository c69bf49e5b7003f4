/* The corrections of regions.h for one type of numbers: T and NAME are given by whoever includes this. */

static inline int NAME(counts)(const uint8_t *good, int64_t at)
{
    return good == NULL || good[at];
}

/* Subtract a number from neighbours, or from the good ones among them; rounded once, to T. */
PSANACLI_CLONES
static void NAME(subtract_along)(T *restrict v, const uint8_t *restrict good, int64_t n, double number)
{
    T less[256];
    for (int64_t at = 0; at < n; at += 256) {
        const int64_t part = n - at < 256 ? n - at : 256;
        T *restrict line = v + at;
        for (int64_t i = 0; i < part; i++)
            less[i] = (T)((double)line[i] - number);
        if (good == NULL)
            memcpy(line, less, (size_t)part * sizeof *line);
        else
            for (int64_t i = 0; i < part; i++)
                line[i] = good[at + i] ? less[i] : line[i];
    }
}

static void NAME(subtract)(T *v, const uint8_t *good, const Region *region, double number)
{
    for (int64_t row = 0; row < region->rows; row++) {
        const int64_t begin = region->start + row * region->row_step;
        if (region->step == 1 && region->columns > 1) {
            NAME(subtract_along)(v + begin, good == NULL ? NULL : good + begin, region->columns, number);
            continue;
        }
        for (int64_t i = 0; i < region->columns; i++) {
            const int64_t at = begin + i * region->step;
            if (NAME(counts)(good, at))
                v[at] = (T)((double)v[at] - number);
        }
    }
}

/* Write the bin of each of up to PIECE values: rounded half away from zero, 0 for what does not count.  Twice a value
   cut to an integer says where the half is; NaN goes to the lower end. */
PSANACLI_CLONES
static void NAME(bins_of)(const T *restrict v, const uint8_t *restrict good, int64_t n, uint16_t *restrict bins)
{
    const T low = (T)(2 * (HISTOGRAM_FIRST - 1)), high = (T)(2 * (HISTOGRAM_FIRST + HISTOGRAM_BINS));
    T inside[PIECE];
    int16_t twice[PIECE];
    for (int64_t i = 0; i < n; i++) {
        const T x = v[i] + v[i];
        const T above = x > low ? x : low;
        inside[i] = above < high ? above : high;
    }
    for (int64_t i = 0; i < n; i++)
        twice[i] = (int16_t)(int32_t)inside[i];
    for (int64_t i = 0; i < n; i++) {
        const int16_t bin = (int16_t)((int16_t)((int16_t)(twice[i] + 1 + (twice[i] >> 15)) >> 1) - (HISTOGRAM_FIRST - 1));
        bins[i] = good[i] ? (uint16_t)bin : (uint16_t)0;
    }
}

/* The same of pixels that lie apart. */
static void NAME(bins_of_apart)(const T *restrict v, const uint8_t *restrict good, int64_t n, int64_t step,
                                uint16_t *restrict bins)
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

/* Count the values of a region. */
static void NAME(count_region)(const T *v, const uint8_t *good, const Region *region, const Scratch *scratch)
{
    clear_copies(scratch);
    for (int64_t row = 0; row < region->rows; row++) {
        const int64_t begin = region->start + row * region->row_step;
        for (int64_t done = 0; done < region->columns; done += PIECE) {
            const int64_t left = region->columns - done, n = left < PIECE ? left : PIECE;
            const int64_t at = begin + done * region->step;
            if (region->step == 1)
                NAME(bins_of)(v + at, good + at, n, scratch->bins);
            else
                NAME(bins_of_apart)(v + at, good + at, n, region->step, scratch->bins);
            count_bins(scratch, 0, n);
        }
    }
    add_copies(scratch);
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

static double NAME(by_unbonded)(const T *v, const Region *region, double limit)
{
    const double mean = NAME(unbonded)(v, region);
    return fabs(mean) <= limit ? mean : 0.0;
}

static double NAME(by_histogram)(const T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    double mean;
    NAME(count_region)(v, good, region, scratch);
    if (believed_peak(scratch, method, &mean))
        return mean;
    return method->unbonded ? NAME(by_unbonded)(v, region, method->limit) : 0.0;
}

static double NAME(by_mean)(const T *v, const uint8_t *good, const Region *region, const Method *method)
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
    const double mean = (double)(T)(sum / (double)n);
    return fabs(mean) <= method->limit ? mean : 0.0;
}

static double NAME(by_binned_median)(const T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
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
    return n && fabs(median) <= method->limit ? median : 0.0;
}

/* A number with the order of the value: the bits of a negative one are turned round. */
static inline KEY NAME(key)(T x)
{
    KEY bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> (8 * (int)sizeof bits - 1)) & KEY_MOST);
}

static inline T NAME(value)(KEY key)
{
    T x;
    key ^= (key >> (8 * (int)sizeof key - 1)) & KEY_MOST;
    memcpy(&x, &key, sizeof x);
    return x;
}

/* The k-th smallest of n keys: the range of those it may be is cut in two, until one is left. */
PSANACLI_CLONES
static KEY NAME(nth)(const KEY *restrict keys, int64_t n, int64_t k)
{
    KEY low = KEY_MOST, high = -KEY_MOST - 1;
    for (int64_t i = 0; i < n; i++) {
        low = keys[i] < low ? keys[i] : low;
        high = keys[i] > high ? keys[i] : high;
    }
    while (low < high) {
        const KEY middle = (low & high) + ((low ^ high) >> 1); /* half of the sum, rounded down, which would not fit */
        KEY below = low, above = high, count = 0;
        for (int64_t i = 0; i < n; i++) {
            const KEY lower = keys[i] <= middle ? keys[i] : low, upper = keys[i] > middle ? keys[i] : high;
            count += keys[i] <= middle;
            below = lower > below ? lower : below;
            above = upper < above ? upper : above;
        }
        if (k < count)
            high = below;
        else
            low = above;
    }
    return low;
}

/* How many of n keys are below one, and the largest of these, or `least`. */
PSANACLI_CLONES
static KEY NAME(count_below)(const KEY *restrict keys, int64_t n, KEY key, KEY least, KEY *largest)
{
    KEY found = least, count = 0;
    for (int64_t i = 0; i < n; i++) {
        const KEY below = keys[i] < key ? keys[i] : least;
        count += keys[i] < key;
        found = below > found ? below : found;
    }
    *largest = found;
    return count;
}

/* The median of n keys as a value, of an even number the mean of the two in the middle, in T. */
static T NAME(median)(const KEY *keys, int64_t n)
{
    const KEY upper = NAME(nth)(keys, n, n / 2);
    KEY lower;
    if (n % 2)
        return NAME(value)(upper);
    if (NAME(count_below)(keys, n, upper, -KEY_MOST - 1, &lower) < n / 2)
        lower = upper;
    return (T)((NAME(value)(lower) + NAME(value)(upper)) / (T)2);
}

static double NAME(by_median)(const T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
{
    KEY *restrict keys = (KEY *)scratch->values;
    int64_t n = 0;
    const T low = (T)method->low, high = (T)method->high;
    for (int64_t row = 0; row < region->rows; row++) {
        const int64_t begin = region->start + row * region->row_step;
        for (int64_t i = 0; i < region->columns; i++) {
            const int64_t at = begin + i * region->step;
            keys[n] = NAME(key)(v[at]);
            n += NAME(counts)(good, at) & (v[at] >= low) & (v[at] <= high);
        }
    }
    if (!n || (double)n < method->least)
        return 0.0;
    const double median = (double)NAME(median)(keys, n);
    return fabs(median) <= method->limit ? median : 0.0;
}

/* The median from a histogram that grows until its middle is inside (reference 5.6, 4, Fccd960). */
static double NAME(by_growing_histogram)(const T *v, const uint8_t *good, const Region *region, const Method *method, const Scratch *scratch)
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
        /* In single precision, whatever the array, as in the original. */
        const float part = counts[bin] ? (float)(wanted - sum - counts[bin]) / (float)counts[bin] : 0.0f;
        memset(counts, 0, (size_t)bins * sizeof *counts);
        const double mode = (double)(float)((double)((float)(low + bin) + part) + 0.8);
        return fabs(mode) <= method->limit ? mode : 0.0;
    }
}

/* What is to be subtracted from a region; 0 where nothing can be said. */
static double NAME(correction_of)(const T *v, const uint8_t *good, const Region *region, const Method *method,
                                  const Scratch *scratch)
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
