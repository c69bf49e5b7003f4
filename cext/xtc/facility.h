/* Rules that the facility's makers of small data and of indexes have in common. */
#ifndef PSANACLI_FACILITY_H
#define PSANACLI_FACILITY_H

#include <stdint.h>

#include "words.h"

enum {
    FACILITY_XTC = 20,      /* bytes of an Xtc header */
    FACILITY_LEVELS = 7,    /* levels of sources below this one exist */
    FACILITY_SEGMENT = 2,   /* the level of readout nodes */
    FACILITY_ANY = 0,
    FACILITY_CONTAINER = 1,
    FACILITY_EPICS = 13,
    FACILITY_EVR_DATA = 19,
    FACILITY_INCOMPLETE = 0x8000
};

typedef struct {
    uint32_t damage;
    uint32_t log;
    uint32_t phy;
    uint32_t type;
    uint32_t extent;
} FacilityXtc;

static inline FacilityXtc facility_xtc(const uint8_t *p)
{
    FacilityXtc xtc = {load_u4(p), load_u4(p + 4), load_u4(p + 8), load_u4(p + 12), load_u4(p + 16)};
    return xtc;
}

static inline uint32_t facility_type(const FacilityXtc *xtc)
{
    return xtc->type & 0xFFFF;
}

/* Whether a header cannot be one: its container is not looked at any further.  Type numbers below `types` exist. */
static inline int facility_corrupt(const FacilityXtc *xtc, uint32_t types)
{
    return xtc->extent < FACILITY_XTC || xtc->extent % 4 || facility_type(xtc) >= types
        || (facility_type(xtc) == FACILITY_ANY && xtc->damage == 0) || xtc->log >> 24 >= FACILITY_LEVELS;
}

#endif
