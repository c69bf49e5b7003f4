/* Reading a piece of a file whole. */

#ifndef PSANACLI_READ_WHOLE_H
#define PSANACLI_READ_WHOLE_H

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

/* Read `size` bytes; returns how many there were, with the number of the error in `trouble` (0: end of the file). */
static int64_t read_whole(int descriptor, uint8_t *where, int64_t size, int64_t offset, int *trouble) {
    int64_t done = 0;
    *trouble = 0;
    while (done < size) {
        ssize_t got = pread(descriptor, where + done, (size_t)(size - done), offset + done);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            *trouble = errno;
            return done;
        }
        if (!got)
            return done;
        done += got;
    }
    return done;
}

#endif
