#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <spawn.h>
#include <sys/prctl.h>

/* prctl is variadic, which Swift does not import. */
static inline int turnpike_name_this_thread(const char *name) {
    return prctl(PR_SET_NAME, name);
}

/* glibc 2.34 has these, and declares them for _GNU_SOURCE only. */
extern int memfd_create(const char *name, unsigned int flags);
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
extern int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);

/* A 64-bit macro with a cast is not imported into Swift. */
static const uint64_t turnpike_openssl_no_atexit = OPENSSL_INIT_NO_ATEXIT;
