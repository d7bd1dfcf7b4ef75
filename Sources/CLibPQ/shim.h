#include <libpq-fe.h>
#include <sys/prctl.h>

/* prctl is variadic, which Swift does not import. */
static inline int turnpike_name_this_thread(const char *name) {
    return prctl(PR_SET_NAME, name);
}
