/* What Rust's standard library asks of libc for threads, and Debian's wasi-libc does not have: there are none. */

#include <errno.h>

int pthread_attr_init(void *attributes) { return 0; }
int pthread_attr_setstacksize(void *attributes, unsigned long bytes) { return 0; }
int pthread_attr_destroy(void *attributes) { return 0; }
int pthread_create(void *thread, void *attributes, void *(*run)(void *), void *argument) { return ENOTSUP; }
int pthread_join(void *thread, void **result) { return ENOTSUP; }
int pthread_detach(void *thread) { return ENOTSUP; }
