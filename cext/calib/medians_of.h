/* Medians of short regions, SIDE of them at once, for one type of numbers as in regions_of.h.

   Which values a network of exchanges compares does not depend on them, so that all regions are sorted side by side.
   What does not count is infinite, and comes to the end. */

/* Copy neighbours, infinity in place of those that do not count; return how many do. */
PSANACLI_CLONES
static KEY NAME(copy_counting)(const T *restrict v, const uint8_t *restrict good, int64_t n, T low, T high, T *restrict to)
{
    KEY count = 0;
    if (good == NULL)
        for (int64_t i = 0; i < n; i++) {
            const KEY takes = (v[i] >= low) & (v[i] <= high);
            to[i] = takes ? v[i] : (T)INFINITY;
            count += takes;
        }
    else
        for (int64_t i = 0; i < n; i++) {
            const KEY takes = (v[i] >= low) & (v[i] <= high) & (good[i] != 0);
            to[i] = takes ? v[i] : (T)INFINITY;
            count += takes;
        }
    return count;
}

/* Put the smaller of each two values first. */
static inline void NAME(exchange)(T *restrict a, T *restrict b)
{
    for (int i = 0; i < SIDE; i += (int)(sizeof(NAME(Abreast)) / sizeof(T))) {
        const NAME(Abreast) x = NAME(load)(a + i), y = NAME(load)(b + i);
        NAME(store)(a + i, NAME(least)(x, y));
        NAME(store)(b + i, NAME(greatest)(x, y));
    }
}

PSANACLI_CLONES
static void NAME(sort_side_by_side)(T *restrict tile, const uint8_t *restrict pairs, int64_t exchanges)
{
    for (int64_t k = 0; k < exchanges; k++)
        NAME(exchange)(tile + SIDE * pairs[2 * k], tile + SIDE * pairs[2 * k + 1]);
}

/* What is to be subtracted from each of up to SIDE regions of one shape, by their medians. */
static void NAME(by_medians)(const T *v, const uint8_t *good, const Region *regions, int64_t count, const Method *method,
                             const Scratch *scratch, double *found)
{
    T *const line = (T *)scratch->values, *const tile = line + SHORT;
    const int64_t size = regions[0].rows * regions[0].columns;
    const T low = (T)method->low, high = (T)method->high;
    int64_t counting[SIDE];
    for (int64_t r = 0; r < count; r++) {
        const Region *region = &regions[r];
        counting[r] = 0;
        for (int64_t row = 0; row < region->rows; row++) {
            const int64_t begin = region->start + row * region->row_step;
            T *to = line + row * region->columns;
            if (region->step == 1)
                counting[r] += NAME(copy_counting)(v + begin, good == NULL ? NULL : good + begin, region->columns, low, high, to);
            else
                for (int64_t i = 0; i < region->columns; i++) {
                    const int64_t at = begin + i * region->step;
                    counting[r] += NAME(copy_counting)(v + at, good == NULL ? NULL : good + at, 1, low, high, to + i);
                }
        }
        for (int64_t i = 0; i < size; i++)
            tile[i * SIDE + r] = line[i];
    }
    for (int64_t r = count; r < SIDE; r++)
        for (int64_t i = 0; i < size; i++)
            tile[i * SIDE + r] = (T)INFINITY;
    NAME(sort_side_by_side)(tile, scratch->pairs, exchanges_of(size, scratch));
    for (int64_t r = 0; r < count; r++) {
        const int64_t n = counting[r];
        found[r] = 0.0;
        if (!n || (double)n < method->least)
            continue;
        const T upper = tile[n / 2 * SIDE + r], lower = tile[(n - 1) / 2 * SIDE + r];
        const double median = (double)(n % 2 ? upper : (T)((lower + upper) / (T)2));
        found[r] = fabs(median) <= method->limit ? median : 0.0;
    }
}

/* Correct the regions first .. stop-1; `all` is what was subtracted from each, or NULL.  Regions of one method do not
   overlap. */
static void NAME(correct_regions)(T *v, const uint8_t *good, const Region *regions, const Method *methods,
                                  const int64_t *method, int64_t first, int64_t stop, const Scratch *scratch, double *all)
{
    double found[SIDE];
    for (int64_t i = first; i < stop;) {
        const Method *how = &methods[method[i]];
        const int64_t count = side_by_side(regions, methods, method, i, stop);
        if (count > 1)
            NAME(by_medians)(v, good, regions + i, count, how, scratch, found);
        else
            found[0] = NAME(correction_of)(v, good, &regions[i], how, scratch);
        for (int64_t k = 0; k < count; k++) {
            if (found[k] != 0.0)
                NAME(subtract)(v, how->only_good ? good : NULL, &regions[i + k], found[k]);
            if (all != NULL)
                all[i + k] = found[k];
        }
        i += count;
    }
}
