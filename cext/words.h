/* Words in files: little endian, at any address.  A copy of fixed size is one load or store for the compiler. */
#ifndef PSANACLI_WORDS_H
#define PSANACLI_WORDS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t load_u4(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t load_u2(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_u4(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, sizeof value);
}

static inline void store_u2(uint8_t *to, uint32_t value)
{
    uint16_t low = (uint16_t)value;
    memcpy(to, &low, sizeof low);
}

/* Say whether five words differ from five others: 0 if they are the same. */
static inline uint64_t differ_u4x5(const uint8_t *a, const uint8_t *b)
{
    uint64_t a8[2], b8[2];
    memcpy(a8, a, sizeof a8);
    memcpy(b8, b, sizeof b8);
    return (a8[0] ^ b8[0]) | (a8[1] ^ b8[1]) | (load_u4(a + 16) ^ load_u4(b + 16));
}

#endif
