/* Small programs for WASI preview 1. `programs NAME` runs one of them, `programs` names them all. Each
 * prints what it saw, and ends with 1 if that is not right. They work in the preopened folder `/data`. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>
#include <wasi/libc.h>

#define PROGRAM(name) static void name(void)
#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno);   \
            exit(1);                                                           \
        }                                                                      \
    } while (0)
/* A call that must fail with this error number. */
#define FAILS(call, number)                                                    \
    do {                                                                       \
        errno = 0;                                                             \
        CHECK((call) == -1);                                                   \
        if (errno != (number)) {                                               \
            printf("line %d: %s gives %d (%s), not %d\n", __LINE__, #call,     \
                   errno, strerror(errno), number);                            \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static int arguments;
static char **argument;
extern char **environ;

/* A new file with this text, open for reading and writing at its beginning. */
static int file(const char *path, const char *text) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void has(const char *path, const char *text) {
    char bytes[256] = {0};
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(read(fd, bytes, sizeof bytes - 1) == (ssize_t)strlen(text));
    CHECK(strcmp(bytes, text) == 0);
    CHECK(close(fd) == 0);
}

PROGRAM(args) {
    for (int i = 1; i < arguments; i++) printf("[%s]", argument[i]);
    printf("\n");
    CHECK(argument[arguments] == NULL);
}

PROGRAM(env) {
    const char *greeting = getenv("GREETING");
    CHECK(greeting && strcmp(greeting, "hello = world") == 0);
    CHECK(getenv("ABSENT") == NULL);
    printf("%s\n", greeting);
}

PROGRAM(clock_monotonic) {
    struct timespec before, after;
    for (int i = 0; i < 100; i++) {
        CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
        CHECK(after.tv_sec > before.tv_sec ||
              (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
    }
}

PROGRAM(clock_realtime) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    CHECK(now.tv_sec > 1577836800); /* 2020 */
}

PROGRAM(clock_resolution) {
    struct timespec resolution;
    CHECK(clock_getres(CLOCK_REALTIME, &resolution) == 0);
    CHECK(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
}

PROGRAM(clock_unknown) {
    __wasi_timestamp_t now;
    CHECK(__wasi_clock_time_get(77, 1, &now) == __WASI_ERRNO_INVAL);
}

PROGRAM(randomness) {
    unsigned char one[32] = {0}, two[32] = {0};
    CHECK(getentropy(one, sizeof one) == 0);
    CHECK(getentropy(two, sizeof two) == 0);
    CHECK(memcmp(one, two, sizeof one) != 0);
}

PROGRAM(write_and_read) {
    int fd = file("/data/a", "some text");
    char bytes[16] = {0};
    CHECK(read(fd, bytes, 4) == 4);
    CHECK(read(fd, bytes + 4, 12) == 5);
    CHECK(read(fd, bytes, 1) == 0);
    CHECK(strcmp(bytes, "some text") == 0);
    CHECK(close(fd) == 0);
    printf("%s\n", bytes);
}

PROGRAM(append) {
    close(file("/data/a", "one "));
    int fd = open("/data/a", O_WRONLY | O_APPEND);
    CHECK(write(fd, "two ", 4) == 4);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(write(fd, "three", 5) == 5);
    close(fd);
    has("/data/a", "one two three");
}

PROGRAM(append_later) {
    int fd = file("/data/a", "12345");
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0);
    CHECK(fcntl(fd, F_GETFL) & O_APPEND);
    CHECK(write(fd, "6", 1) == 1);
    close(fd);
    has("/data/a", "123456");
}

PROGRAM(truncating_open) {
    close(file("/data/a", "long text"));
    close(file("/data/a", "b"));
    has("/data/a", "b");
}

PROGRAM(exclusive_open) {
    close(file("/data/a", ""));
    FAILS(open("/data/a", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
}

PROGRAM(missing_file) {
    FAILS(open("/data/absent", O_RDONLY), ENOENT);
    FAILS(unlink("/data/absent"), ENOENT);
    FAILS(mkdir("/data/absent/below", 0755), ENOENT);
}

PROGRAM(seek) {
    int fd = file("/data/a", "0123456789");
    CHECK(lseek(fd, 3, SEEK_SET) == 3);
    CHECK(lseek(fd, 2, SEEK_CUR) == 5);
    CHECK(lseek(fd, -1, SEEK_END) == 9);
    char last;
    CHECK(read(fd, &last, 1) == 1 && last == '9');
    CHECK(lseek(fd, 0, SEEK_CUR) == 10);
    FAILS(lseek(fd, -11, SEEK_END), EINVAL);
    CHECK(lseek(fd, 0, SEEK_CUR) == 10);
    close(fd);
}

PROGRAM(seek_past_end) {
    int fd = file("/data/a", "x");
    CHECK(lseek(fd, 4, SEEK_SET) == 4);
    CHECK(write(fd, "y", 1) == 1);
    char bytes[5];
    CHECK(pread(fd, bytes, 5, 0) == 5);
    CHECK(memcmp(bytes, "x\0\0\0y", 5) == 0);
    close(fd);
}

PROGRAM(positions) {
    int fd = file("/data/a", "0123456789");
    char bytes[4] = {0};
    CHECK(pread(fd, bytes, 3, 4) == 3 && strcmp(bytes, "456") == 0);
    CHECK(pwrite(fd, "ab", 2, 8) == 2);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0);
    close(fd);
    has("/data/a", "01234567ab");
}

PROGRAM(pieces) {
    int fd = file("/data/a", "");
    struct iovec out[] = {{"", 0}, {"ab", 2}, {"cde", 3}};
    ssize_t wrote = writev(fd, out, 3);
    CHECK(wrote == 2 || wrote == 5);
    if (wrote == 2) CHECK(write(fd, "cde", 3) == 3);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    char one[2], two[3];
    struct iovec in[] = {{one, 2}, {two, 3}};
    ssize_t got = readv(fd, in, 2);
    CHECK(got == 2 || got == 5);
    CHECK(memcmp(one, "ab", 2) == 0);
    if (got == 2) CHECK(read(fd, two, 3) == 3);
    CHECK(memcmp(two, "cde", 3) == 0);
    close(fd);
}

PROGRAM(size) {
    int fd = file("/data/a", "0123456789");
    CHECK(ftruncate(fd, 4) == 0);
    struct stat stat;
    CHECK(fstat(fd, &stat) == 0 && stat.st_size == 4);
    CHECK(ftruncate(fd, 6) == 0);
    CHECK(fstat(fd, &stat) == 0 && stat.st_size == 6);
    close(fd);
}

PROGRAM(status) {
    close(file("/data/a", "12345"));
    struct stat stat_of;
    CHECK(stat("/data/a", &stat_of) == 0);
    CHECK(S_ISREG(stat_of.st_mode) && stat_of.st_size == 5 && stat_of.st_nlink == 1);
    CHECK(stat("/data", &stat_of) == 0 && S_ISDIR(stat_of.st_mode));
    CHECK(stat_of.st_mtim.tv_sec > 1577836800);
}

PROGRAM(folders) {
    CHECK(mkdir("/data/folder", 0755) == 0);
    FAILS(mkdir("/data/folder", 0755), EEXIST);
    close(file("/data/folder/a", ""));
    FAILS(rmdir("/data/folder"), ENOTEMPTY);
    CHECK(unlink("/data/folder/a") == 0);
    CHECK(rmdir("/data/folder") == 0);
    FAILS(rmdir("/data/folder"), ENOENT);
}

PROGRAM(file_as_folder) {
    close(file("/data/a", ""));
    FAILS(open("/data/a/b", O_RDONLY), ENOTDIR);
    FAILS(open("/data/a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    FAILS(rmdir("/data/a"), ENOTDIR);
}

PROGRAM(folder_as_file) {
    FAILS(open("/data", O_WRONLY), EISDIR);
    char byte;
    int fd = open("/data", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    CHECK(read(fd, &byte, 1) == -1);
    CHECK(errno == EISDIR || errno == EBADF);
    close(fd);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

PROGRAM(listing) {
    CHECK(mkdir("/data/many", 0755) == 0);
    char path[64];
    for (int i = 0; i < 200; i++) {
        sprintf(path, "/data/many/a-name-that-is-not-short-%03d", i);
        close(file(path, ""));
    }
    DIR *folder = opendir("/data/many");
    CHECK(folder);
    char *names[256];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] != '.') {
            CHECK(entry->d_type == DT_REG && count < 256);
            names[count++] = strdup(entry->d_name);
        }
    }
    closedir(folder);
    qsort(names, (size_t)count, sizeof *names, by_name);
    CHECK(count == 200);
    for (int i = 0; i < count; i++) {
        sprintf(path, "a-name-that-is-not-short-%03d", i);
        CHECK(strcmp(names[i], path) == 0);
        sprintf(path, "/data/many/%s", names[i]);
        CHECK(unlink(path) == 0);
    }
    CHECK(rmdir("/data/many") == 0);
    printf("%d files\n", count);
}

PROGRAM(renaming) {
    close(file("/data/a", "a"));
    close(file("/data/b", "b"));
    CHECK(rename("/data/a", "/data/b") == 0);
    has("/data/b", "a");
    FAILS(open("/data/a", O_RDONLY), ENOENT);
    FAILS(rename("/data/a", "/data/c"), ENOENT);
}

PROGRAM(unlinked_file) {
    int fd = file("/data/a", "still here");
    CHECK(unlink("/data/a") == 0);
    FAILS(open("/data/a", O_RDONLY), ENOENT);
    char bytes[16] = {0};
    CHECK(read(fd, bytes, 15) == 10 && strcmp(bytes, "still here") == 0);
    close(fd);
}

PROGRAM(symbolic_link) {
    unlink("/data/link");
    close(file("/data/a", "target"));
    CHECK(symlink("a", "/data/link") == 0);
    char bytes[16] = {0};
    CHECK(readlink("/data/link", bytes, 15) == 1 && strcmp(bytes, "a") == 0);
    has("/data/link", "target");
    struct stat stat;
    CHECK(lstat("/data/link", &stat) == 0 && S_ISLNK(stat.st_mode));
    FAILS(open("/data/link", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK(unlink("/data/link") == 0);
    has("/data/a", "target");
}

PROGRAM(hard_link) {
    unlink("/data/other");
    close(file("/data/a", "shared"));
    CHECK(link("/data/a", "/data/other") == 0);
    struct stat stat_of;
    CHECK(stat("/data/a", &stat_of) == 0 && stat_of.st_nlink == 2);
    has("/data/other", "shared");
    CHECK(unlink("/data/other") == 0);
}

PROGRAM(way_out) {
    errno = 0;
    CHECK(open("/data/../../etc/passwd", O_RDONLY) == -1);
    CHECK(open("/etc/passwd", O_RDONLY) == -1);
    unlink("/data/link");
    if (symlink("../../../../../../etc/passwd", "/data/link") == 0) {
        CHECK(open("/data/link", O_RDONLY) == -1);
        CHECK(unlink("/data/link") == 0);
    }
    /* Inside of the folder the dots are all right. */
    close(file("/data/a", "in"));
    has("/data/./a", "in");
}

PROGRAM(bad_descriptor) {
    char byte;
    FAILS(read(99, &byte, 1), EBADF);
    FAILS(write(99, "x", 1), EBADF);
    FAILS(close(99), EBADF);
    FAILS(lseek(99, 0, SEEK_CUR), EBADF);
}

PROGRAM(direction) {
    close(file("/data/a", "x"));
    int fd = open("/data/a", O_RDONLY);
    CHECK(write(fd, "y", 1) == -1 && (errno == EBADF || errno == ENOTCAPABLE));
    close(fd);
    fd = open("/data/a", O_WRONLY);
    char byte;
    CHECK(read(fd, &byte, 1) == -1 && (errno == EBADF || errno == ENOTCAPABLE));
    close(fd);
}

PROGRAM(times) {
    int fd = file("/data/a", "");
    struct timespec times[2] = {{1000, 0}, {2000, 5000}};
    CHECK(futimens(fd, times) == 0);
    struct stat stat_of;
    CHECK(stat("/data/a", &stat_of) == 0);
    CHECK(stat_of.st_atim.tv_sec == 1000 && stat_of.st_mtim.tv_sec == 2000);
    CHECK(stat_of.st_mtim.tv_nsec == 5000);
    times[1].tv_sec = 3000;
    CHECK(utimensat(AT_FDCWD, "/data/a", times, 0) == 0);
    CHECK(fstat(fd, &stat_of) == 0 && stat_of.st_mtim.tv_sec == 3000);
    close(fd);
}

PROGRAM(syncing) {
    int fd = file("/data/a", "x");
    CHECK(fsync(fd) == 0);
    CHECK(fdatasync(fd) == 0);
    close(fd);
}

PROGRAM(lowest_descriptor) {
    int one = file("/data/a", "a"), two = file("/data/b", "b");
    CHECK(one != two);
    close(one);
    int three = file("/data/c", "c");
    CHECK(three == one);
    close(two);
    close(three);
}

PROGRAM(renumbering) {
    int one = file("/data/a", "a"), two = file("/data/b", "b");
    CHECK(__wasilibc_fd_renumber(one, two) == 0);
    char byte;
    CHECK(read(two, &byte, 1) == 1 && byte == 'a');
    FAILS(read(one, &byte, 1), EBADF);
    close(two);
}

PROGRAM(large_write) {
    size_t size = 1 << 20;
    char *bytes = malloc(size), *again = malloc(size);
    CHECK(bytes && again);
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(i * 7 + i / 256);
    int fd = file("/data/a", "");
    for (size_t at = 0; at < size;) {
        ssize_t wrote = write(fd, bytes + at, size - at);
        CHECK(wrote > 0);
        at += (size_t)wrote;
    }
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, again + at, size - at);
        CHECK(got > 0);
        at += (size_t)got;
    }
    CHECK(memcmp(bytes, again, size) == 0);
    close(fd);
}

PROGRAM(streams) {
    FILE *stream = fopen("/data/a", "w");
    CHECK(stream);
    CHECK(fprintf(stream, "%d %s %x\n", 42, "words", 255) == 12);
    CHECK(fclose(stream) == 0);
    stream = fopen("/data/a", "r");
    int number;
    char word[16];
    CHECK(fscanf(stream, "%d %15s", &number, word) == 2);
    CHECK(number == 42 && strcmp(word, "words") == 0);
    fclose(stream);
}

PROGRAM(standard_input) {
    char line[64];
    CHECK(fgets(line, sizeof line, stdin));
    printf("read: %s", line);
    CHECK(fgets(line, sizeof line, stdin) == NULL && feof(stdin));
}

PROGRAM(standard_error) {
    CHECK(fprintf(stderr, "to standard error\n") == 18);
    FAILS(lseek(2, 0, SEEK_CUR), ESPIPE);
}

PROGRAM(sleeping) {
    struct timespec before, after, pause = {0, 20000000};
    CHECK(clock_gettime(CLOCK_MONOTONIC, &before) == 0);
    CHECK(nanosleep(&pause, NULL) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    long long passed = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    CHECK(passed >= 20000000);
}

PROGRAM(polling) {
    __wasi_subscription_t wanted[2];
    memset(wanted, 0, sizeof wanted);
    for (int i = 0; i < 2; i++) {
        wanted[i].userdata = (__wasi_userdata_t)(40 + i);
        wanted[i].u.tag = __WASI_EVENTTYPE_CLOCK;
        wanted[i].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
        wanted[i].u.u.clock.timeout = i ? 1000000 : 3600000000000;
    }
    __wasi_event_t came[2];
    __wasi_size_t count;
    CHECK(__wasi_poll_oneoff(wanted, came, 2, &count) == 0);
    CHECK(count == 1 && came[0].userdata == 41 && came[0].error == 0);
    CHECK(__wasi_poll_oneoff(wanted, came, 0, &count) == __WASI_ERRNO_INVAL);
}

PROGRAM(yielding) { CHECK(sched_yield() == 0); }

PROGRAM(preopens) {
    __wasi_prestat_t stat;
    CHECK(__wasi_fd_prestat_get(3, &stat) == 0 && stat.tag == __WASI_PREOPENTYPE_DIR);
    CHECK(stat.u.dir.pr_name_len == 5);
    uint8_t name[6] = {0, 0, 0, 0, 0, 'x'};
    CHECK(__wasi_fd_prestat_dir_name(3, name, 5) == 0);
    CHECK(memcmp(name, "/datax", 6) == 0);
    CHECK(__wasi_fd_prestat_get(4, &stat) == __WASI_ERRNO_BADF);
}

PROGRAM(allocation) {
    char *volatile block = malloc(4 << 20);
    CHECK(block);
    memset(block, 1, 4 << 20);
    close(file("/data/a", "after growth"));
    has("/data/a", "after growth");
}

PROGRAM(exit_code) { exit(42); }

PROGRAM(aborting) { abort(); }

static const struct {
    const char *name;
    void (*run)(void);
} programs[] = {
#define NAMED(name) {#name, name}
    NAMED(args),            NAMED(env),            NAMED(clock_monotonic), NAMED(clock_realtime),
    NAMED(clock_resolution), NAMED(clock_unknown), NAMED(randomness),      NAMED(write_and_read),
    NAMED(append),          NAMED(append_later),   NAMED(truncating_open), NAMED(exclusive_open),
    NAMED(missing_file),    NAMED(seek),           NAMED(seek_past_end),   NAMED(positions),
    NAMED(pieces),          NAMED(size),           NAMED(status),          NAMED(folders),
    NAMED(file_as_folder),  NAMED(folder_as_file), NAMED(listing),         NAMED(renaming),
    NAMED(unlinked_file),   NAMED(symbolic_link),  NAMED(hard_link),       NAMED(way_out),
    NAMED(bad_descriptor),  NAMED(direction),      NAMED(times),           NAMED(syncing),
    NAMED(lowest_descriptor), NAMED(renumbering),  NAMED(large_write),     NAMED(streams),
    NAMED(standard_input),  NAMED(standard_error), NAMED(sleeping),        NAMED(polling),
    NAMED(yielding),        NAMED(preopens),       NAMED(allocation),      NAMED(exit_code),
    NAMED(aborting),
};

int main(int count, char **arg) {
    arguments = count;
    argument = arg;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (count < 2) {
            printf("%s\n", programs[i].name);
        } else if (strcmp(arg[1], programs[i].name) == 0) {
            programs[i].run();
            printf("%s: ok\n", arg[1]);
            return 0;
        }
    }
    return count < 2 ? 0 : 2;
}
