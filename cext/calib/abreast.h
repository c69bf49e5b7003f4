/* Smaller and larger of several numbers at once.  Compilers make stores that depend on a comparison of such a loop, which
   are slow; so it stands here by hand for processors that all have SSE2, and one by one for others. */
#ifndef PSANACLI_ABREAST_H
#define PSANACLI_ABREAST_H

#if defined(__SSE2__)
#include <emmintrin.h>

#define OF(NAME, T, WIDE, SUFFIX)                                                                                        \
    typedef WIDE Abreast##NAME;                                                                                          \
    static inline WIDE load##NAME(const T *from)                                                                         \
    {                                                                                                                    \
        return _mm_loadu##SUFFIX(from);                                                                                  \
    }                                                                                                                    \
    static inline void store##NAME(T *to, WIDE values)                                                                   \
    {                                                                                                                    \
        _mm_storeu##SUFFIX(to, values);                                                                                  \
    }                                                                                                                    \
    static inline WIDE least##NAME(WIDE a, WIDE b)                                                                       \
    {                                                                                                                    \
        return _mm_min##SUFFIX(a, b);                                                                                    \
    }                                                                                                                    \
    static inline WIDE greatest##NAME(WIDE a, WIDE b)                                                                    \
    {                                                                                                                    \
        return _mm_max##SUFFIX(a, b);                                                                                    \
    }
OF(_f4, float, __m128, _ps)
OF(_f8, double, __m128d, _pd)
#else
#define OF(NAME, T)                                                                                                      \
    typedef T Abreast##NAME;                                                                                             \
    static inline T load##NAME(const T *from)                                                                            \
    {                                                                                                                    \
        return *from;                                                                                                    \
    }                                                                                                                    \
    static inline void store##NAME(T *to, T value)                                                                       \
    {                                                                                                                    \
        *to = value;                                                                                                     \
    }                                                                                                                    \
    static inline T least##NAME(T a, T b)                                                                                \
    {                                                                                                                    \
        return a < b ? a : b;                                                                                            \
    }                                                                                                                    \
    static inline T greatest##NAME(T a, T b)                                                                             \
    {                                                                                                                    \
        return a < b ? b : a;                                                                                            \
    }
OF(_f4, float)
OF(_f8, double)
#endif
#undef OF

#endif
