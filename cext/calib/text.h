/* Numbers in text, both ways: what files of constants hold.

Reading gives the nearest double (as strtod does, which is asked whenever the short way is not known to be exact), or exact
integers.  Nothing raises: a reason and a place come back. */
#ifndef PSANACLI_CALIB_TEXT_H
#define PSANACLI_CALIB_TEXT_H

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TEXT_GOOD, TEXT_NO_NUMBER, TEXT_FRACTION, TEXT_RANGE, TEXT_COMMENTS };
enum { TEXT_F4, TEXT_F8, TEXT_I8, TEXT_U8 };

typedef struct {
    int64_t values, rows, columns;  /* columns of the first row */
    int64_t uneven_row, uneven_columns;  /* the first row with another number of columns, -1: none */
    int64_t comments;
    int64_t offset, line, place;  /* of what `reason` is about: byte, line (from 1), number in its line (from 1) */
    int reason;
} text_found;

typedef struct {
    uint64_t digits;    /* as many as fit */
    int64_t exponent;   /* of ten */
    int negative, rest; /* rest: digits that are not zero follow those */
    int special;        /* 'n' nan, 'i' infinity */
    const char *end;
} text_number;

static const double text_tens[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline int text_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

static inline int text_ends(char c)
{
    return text_blank(c) || c == '\n' || c == '\r' || c == '#';
}

/* How many words there are at most, comments included. */
static int64_t text_words(const char *text, int64_t size)
{
    int64_t count = size > 0 && (unsigned char)text[0] > ' ';
    for (int64_t i = 1; i < size; i++)
        count += ((unsigned char)text[i] > ' ') & ((unsigned char)text[i - 1] <= ' ');
    return count;
}

/* Take one more digit, if it fits.  Leading zeros do not count. */
static inline int text_digit(text_number *number, int *kept, char c)
{
    uint64_t longer;
    if (*kept < 19) {
        number->digits = number->digits * 10 + (unsigned)(c - '0');
        *kept += number->digits != 0;
        return 1;
    }
    if (*kept == 19 && !__builtin_mul_overflow(number->digits, (uint64_t)10, &longer) &&
        !__builtin_add_overflow(longer, (uint64_t)(c - '0'), &longer)) {
        number->digits = longer;
        ++*kept;
        return 1;
    }
    *kept = 21; /* none behind it either */
    number->rest |= c != '0';
    return 0;
}

/* Take a number apart; 0 when it is none.  `text` ends with a byte that belongs to no number. */
static inline int text_scan(const char *text, const char *end, text_number *number)
{
    const char *p = text;
    int seen = 0, kept = 0;
    number->digits = 0;
    number->exponent = 0;
    number->negative = number->rest = number->special = 0;
    if (p < end && (*p == '-' || *p == '+'))
        number->negative = *p++ == '-';
    for (; p < end && (unsigned)(*p - '0') < 10; p++) {
        seen = 1;
        number->exponent += !text_digit(number, &kept, *p);
    }
    if (p < end && *p == '.') {
        for (p++; p < end && (unsigned)(*p - '0') < 10; p++) {
            seen = 1;
            number->exponent -= text_digit(number, &kept, *p);
        }
    }
    if (!seen) {
        if (end - p >= 8 && strncasecmp(p, "infinity", 8) == 0)
            number->special = 'i', p += 8;
        else if (end - p >= 3 && strncasecmp(p, "inf", 3) == 0)
            number->special = 'i', p += 3;
        else if (end - p >= 3 && strncasecmp(p, "nan", 3) == 0)
            number->special = 'n', p += 3;
        else
            return 0;
    } else if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t power = 0;
        int minus = 0;
        p++;
        if (p < end && (*p == '-' || *p == '+'))
            minus = *p++ == '-';
        if (p >= end || (unsigned)(*p - '0') >= 10)
            return 0;
        for (; p < end && (unsigned)(*p - '0') < 10; p++)
            if (power < 1000000000)
                power = power * 10 + (*p - '0');
        number->exponent += minus ? -power : power;
    }
    number->end = p;
    return p >= end || text_ends(*p);
}

static inline double text_double(const char *text, const text_number *number)
{
    double value;
    if (number->special)
        value = number->special == 'n' ? NAN : INFINITY;
    else if (number->digits == 0 && !number->rest)
        value = 0.0;
    else if (!number->rest && number->digits <= (1ull << 53) && number->exponent >= -22 && number->exponent <= 22) {
        /* Both factors are exact doubles, so one rounding gives the nearest. */
        value = (double)number->digits;
        value = number->exponent < 0 ? value / text_tens[-number->exponent] : value * text_tens[number->exponent];
    } else
        return strtod(text, NULL);
    return number->negative && number->special != 'n' ? -value : value;
}

/* The absolute value of a whole number. */
static inline int text_whole(const text_number *number, uint64_t *value)
{
    uint64_t whole = number->digits;
    int64_t exponent = number->exponent;
    if (number->special)
        return TEXT_FRACTION;
    if (number->rest)
        return exponent >= 0 ? TEXT_RANGE : TEXT_FRACTION;
    if (whole == 0)
        exponent = 0;
    for (; exponent < 0; exponent++) {
        if (whole % 10)
            return TEXT_FRACTION;
        whole /= 10;
    }
    for (; exponent > 0; exponent--)
        if (__builtin_mul_overflow(whole, (uint64_t)10, &whole))
            return TEXT_RANGE;
    *value = whole;
    return TEXT_GOOD;
}

static inline int text_store(const char *text, const text_number *number, int kind, void *out, int64_t k)
{
    uint64_t whole = 0;
    int reason;
    if (kind == TEXT_F8)
        ((double *)out)[k] = text_double(text, number);
    else if (kind == TEXT_F4)
        ((float *)out)[k] = (float)text_double(text, number);
    else {
        if ((reason = text_whole(number, &whole)) != TEXT_GOOD)
            return reason;
        if (kind == TEXT_U8) {
            if (number->negative && whole)
                return TEXT_RANGE;
            ((uint64_t *)out)[k] = whole;
        } else {
            if (whole > (uint64_t)INT64_MAX + (number->negative ? 1 : 0))
                return TEXT_RANGE;
            ((int64_t *)out)[k] = (int64_t)(number->negative ? 0 - whole : whole);
        }
    }
    return TEXT_GOOD;
}

/* Read all numbers of a text that ends with a zero byte behind its `size`.  `out` has room for `text_words` numbers of
`kind`, `comments` for pairs of begin and end of `most_comments` lines that begin with '#'. */
static void text_read(const char *text, int64_t size, int kind, void *out, int64_t *comments, int64_t most_comments,
                      text_found *found)
{
    const char *p = text, *end = text + size, *line_start = text;
    int64_t columns = 0;
    text_number number;
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    memset(found, 0, sizeof *found);
    found->uneven_row = -1;
    found->line = 1;
    for (;;) {
        while (p < end && text_blank(*p))
            p++;
        if (p < end && *p == '#') {
            const char *from = p;
            while (p < end && *p != '\n' && *p != '\r')
                p++;
            if (from == line_start) {
                if (found->comments == most_comments) {
                    found->reason = TEXT_COMMENTS;
                    found->offset = from - text;
                    break;
                }
                comments[2 * found->comments] = from - text;
                comments[2 * found->comments + 1] = p - text;
                found->comments++;
            }
        }
        if (p >= end || *p == '\n' || *p == '\r') {
            if (columns) {
                if (found->rows == 0)
                    found->columns = columns;
                else if (columns != found->columns && found->uneven_row < 0) {
                    found->uneven_row = found->line;
                    found->uneven_columns = columns;
                }
                found->rows++;
                columns = 0;
            }
            if (p >= end)
                break;
            p += p + 1 < end && p[0] == '\r' && p[1] == '\n' ? 2 : 1;
            line_start = p;
            found->line++;
            continue;
        }
        found->reason = text_scan(p, end, &number) ? text_store(p, &number, kind, out, found->values) : TEXT_NO_NUMBER;
        if (found->reason != TEXT_GOOD) {
            found->offset = p - text;
            found->place = columns + 1;
            break;
        }
        found->values++;
        columns++;
        p = number.end;
    }
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
}

#define TEXT_LONGEST 32 /* characters of one number, at most */
#define TEXT_DECIMALS 6

/* Write a number with as few digits as give it back when read: with a few decimals if that does, else in full. */
static inline char *text_write_double(char *to, double value, int single)
{
    char reversed[24];
    int count = 0, decimals;
    if (isnan(value))
        return memcpy(to, "nan", 3), to + 3;
    if (isinf(value)) {
        memcpy(to, value < 0 ? "-inf" : "inf", value < 0 ? 4 : 3);
        return to + (value < 0 ? 4 : 3);
    }
    if (fabs(value) < 1e9) {
        for (decimals = 0; decimals <= TEXT_DECIMALS; decimals++) {
            double scaled = nearbyint(fabs(value) * text_tens[decimals]), back = scaled / text_tens[decimals];
            if (scaled <= 9007199254740992.0 && (single ? (double)(float)back : back) == fabs(value)) {
                uint64_t digits = (uint64_t)scaled;
                if (signbit(value))
                    *to++ = '-';
                for (int k = 0; k <= decimals || digits; k++) {
                    if (k == decimals && decimals)
                        reversed[count++] = '.';
                    reversed[count++] = (char)('0' + digits % 10);
                    digits /= 10;
                }
                while (count)
                    *to++ = reversed[--count];
                return to;
            }
        }
    }
    return to + snprintf(to, TEXT_LONGEST, single ? "%.9g" : "%.17g", value);
}

static inline char *text_write_whole(char *to, uint64_t value, int negative)
{
    char reversed[20];
    int count = 0;
    if (negative)
        *to++ = '-';
    do
        reversed[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *to++ = reversed[--count];
    return to;
}

/* Write rows of numbers, blanks between; `out` has room for `TEXT_LONGEST + 1` characters a number.  Returns how many are used. */
static int64_t text_write(const void *values, int kind, int64_t rows, int64_t columns, char *out)
{
    char *to = out;
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    for (int64_t r = 0, k = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++, k++) {
            if (kind == TEXT_F4)
                to = text_write_double(to, ((const float *)values)[k], 1);
            else if (kind == TEXT_F8)
                to = text_write_double(to, ((const double *)values)[k], 0);
            else if (kind == TEXT_I8 && ((const int64_t *)values)[k] < 0)
                to = text_write_whole(to, 0 - ((const uint64_t *)values)[k], 1);
            else
                to = text_write_whole(to, ((const uint64_t *)values)[k], 0);
            *to++ = c + 1 < columns ? ' ' : '\n';
        }
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    return to - out;
}

#endif
