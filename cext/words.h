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

#endif
