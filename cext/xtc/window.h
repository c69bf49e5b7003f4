/* Reading a file through a window that is used again and again.

   Where what is wanted stands close together the window grows to 256 kB, which stays in the cache of a core; where it is
   far apart a page is read each time.  A buffer in memory is a window that holds everything. */
#ifndef PSANACLI_WINDOW_H
#define PSANACLI_WINDOW_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

enum {
    SMALL_WINDOW = 4096,
    LARGE_WINDOW = 262144,
    /* When accesses are further apart than this on average it is cheaper to hop than to read what is between them. */
    SPARSE = 4096
};

typedef struct {
    const uint8_t *data;  /* the bytes from `base` on */
    uint64_t base;
    uint64_t length;
    uint64_t first;       /* since the last read: offset of the first access, and their number */
    uint64_t accesses;
    uint64_t reads;
    uint8_t *own;         /* room for LARGE_WINDOW bytes; NULL for a buffer in memory */
    size_t want;
    int fd;
    int error;            /* errno of a read that failed; 0 when the file ended */
} Window;

/* Read on, so that `count` bytes (SMALL_WINDOW at most) at `offset` are in the window; NULL when the file ends before. */
static const uint8_t *window_refill(Window *window, uint64_t offset, size_t count)
{
    uint64_t length = 0;
    if (window->own == NULL)
        return NULL;
    if (window->accesses && offset > window->first && (offset - window->first) / window->accesses > SPARSE)
        window->want = SMALL_WINDOW;
    else if (window->want < LARGE_WINDOW)
        window->want *= 2;
    window->base = window->first = offset;
    window->length = 0;
    window->accesses = 0;
    window->reads++;
    while (length < count) {
        ssize_t got = pread(window->fd, window->own + length, window->want - length, (off_t)(offset + length));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            window->error = got < 0 ? errno : 0;
            return NULL;
        }
        length += (uint64_t)got;
    }
    window->length = length;
    return window->own;
}

static inline int window_holds(const Window *window, uint64_t offset, size_t count)
{
    return offset >= window->base && offset + count <= window->base + window->length;
}

/* Return `count` bytes (SMALL_WINDOW at most) at `offset`, or NULL. */
static inline const uint8_t *window_reach(Window *window, uint64_t offset, size_t count)
{
    window->accesses++;
    if (window_holds(window, offset, count))
        return window->data + (offset - window->base);
    return window_refill(window, offset, count);
}

#endif
