/* Hot loops are compiled twice where the compiler can choose at run time, so that one wheel serves old and new processors. */
#ifndef PSANACLI_VECTOR_H
#define PSANACLI_VECTOR_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define PSANACLI_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define PSANACLI_CLONES
#endif

#endif
