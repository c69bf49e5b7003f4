/* A disk that breaks: writes to files whose name has BROKEN_FILE in it fail with EIO, from the BROKEN_AFTER-th on, or only
   BROKEN_FOR times. How many there were is written to the file BROKEN_COUNT. To be loaded before a program (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long asked;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static int broken(int file) {
    char link[64], name[4096];
    const char *part = getenv("BROKEN_FILE");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, name, sizeof name - 1);
    if (!part || size < 0)
        return 0;
    name[size] = 0;
    if (!strstr(name, part))
        return 0;
    long after = number("BROKEN_AFTER", 1L << 40), at = __sync_fetch_and_add(&asked, 1);
    if (at < after || at >= after + number("BROKEN_FOR", 1L << 40))
        return 0;
    errno = EIO;
    return 1;
}

__attribute__((destructor)) static void tell(void) {
    FILE *file = getenv("BROKEN_COUNT") && asked ? fopen(getenv("BROKEN_COUNT"), "w") : NULL;
    if (file) {
        fprintf(file, "%ld", asked);
        fclose(file);
    }
}

#define REAL(name)                   \
    static __typeof__(&name) real;   \
    if (!real)                       \
    real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    return broken(file) ? -1 : real(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return broken(file) ? -1 : real(file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return broken(file) ? -1 : real(file, data, size, at);
}

ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) {
    REAL(copy_file_range);
    return broken(to) ? -1 : real(from, in, to, out, size, flags);
}

int fsync(int file) {
    REAL(fsync);
    return broken(file) ? -1 : real(file);
}
