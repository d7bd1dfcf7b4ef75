#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

/* glibc has it, and declares it for _GNU_SOURCE only. */
extern void *memmem(const void *bytes, size_t count, const void *text, size_t length);

/* `epoll_event` is packed, and its flags are an enumeration: Swift gets numbers. */

/* Has it told by this number when something can be read of a descriptor. */
static inline int turnpike_epoll_add(int epoll, int descriptor, uint32_t number) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = number}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

/* Waits for at most so many nanoseconds, and writes the numbers of descriptors of which something can be read: at most
   `count`, and at most 64. Returns how many, or -1 with `errno`. */
static inline int turnpike_epoll_wait(int epoll, uint32_t *numbers, int count, int64_t nanoseconds) {
    struct epoll_event events[64];
    struct timespec timeout = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    int ready = epoll_pwait2(epoll, events, count < 64 ? count : 64, &timeout, NULL);
    for (int index = 0; index < ready; index++) numbers[index] = events[index].data.u32;
    return ready;
}
