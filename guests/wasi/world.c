/* A reactor that works with files, a folder, the clock and randomness, for tests of what goes through a
 * swap. Bytes go out as in the other guests (see ../README.md). The files are in the folder `/data`. */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef EXPORT
#define EXPORT(name) __attribute__((export_name(#name)))
#endif

static int ready;
static int log_file = -1;
static int input_file = -1;
static uint64_t chain = 0xcbf29ce484222325;

__attribute__((constructor)) static void construct(void) { ready += 7; }

/* What a call saw goes into the chain: a call that is lost, doubled or reordered changes all later ones. */
static int64_t seen(int64_t value) {
    for (int i = 0; i < 8; i++) chain = (chain ^ (uint8_t)(value >> 8 * i)) * 0x100000001b3;
    return value;
}

EXPORT(guest_alloc) void *guest_alloc(uint32_t len) { return malloc(len ? len : 1); }

EXPORT(guest_free) void guest_free(void *pointer, uint32_t len) {
    (void)len;
    free(pointer);
}

static uint64_t give(const char *text) {
    size_t len = strlen(text);
    void *copy = guest_alloc((uint32_t)len);
    if (!copy) return 0;
    memcpy(copy, text, len);
    return (uint64_t)(uintptr_t)copy | (uint64_t)len << 32;
}

/* 7 if the constructors ran once. */
EXPORT(ready) int32_t get_ready(void) { return ready; }

EXPORT(chain) int64_t get_chain(void) { return (int64_t)chain; }

/* Opens the log for appending at its offset, and the input for reading. */
EXPORT(open_files) int32_t open_files(void) {
    log_file = open("/data/log", O_RDWR | O_CREAT | O_TRUNC, 0644);
    input_file = open("/data/input", O_RDONLY);
    return (int32_t)seen(log_file < 0 || input_file < 0 ? -1 : input_file - log_file);
}

/* Writes a line to the log. Gives the offset behind it. */
EXPORT(record) int64_t record(int64_t number) {
    char line[32];
    int len = snprintf(line, sizeof line, "%lld\n", (long long)number);
    if (write(log_file, line, (size_t)len) != len) return seen(-1);
    return seen(lseek(log_file, 0, SEEK_CUR));
}

/* The next four bytes of the input, -1 at its end. */
EXPORT(read_next) int64_t read_next(void) {
    uint32_t number;
    return seen(read(input_file, &number, 4) == 4 ? (int64_t)number : -1);
}

/* Reads that many bytes of the input into a block of the heap, which stays allocated. The sum of them. */
EXPORT(read_block) int64_t read_block(int32_t len) {
    unsigned char *block = malloc((size_t)len);
    ssize_t got = block ? read(input_file, block, (size_t)len) : -1;
    int64_t sum = got;
    for (ssize_t i = 0; i < got; i++) sum = sum * 31 + block[i];
    return seen(sum);
}

/* Random bytes in a block of the heap, which stays allocated. The sum of them. */
EXPORT(random_block) int64_t random_block(int32_t len) {
    unsigned char *block = malloc((size_t)len);
    int64_t sum = block ? getentropy(block, (size_t)len) : -1;
    for (int32_t i = 0; sum >= 0 && i < len; i++) sum += (int64_t)block[i] << i % 32;
    return seen(sum);
}

/* The same as `leak`, for a policy that calls it pure: what comes later lies elsewhere. */
EXPORT(waste) int32_t waste(int32_t bytes) {
    volatile char *lost = malloc((size_t)bytes);
    if (lost) lost[0] = 1;
    return lost != NULL;
}

/* Where the next byte of the log goes. */
EXPORT(log_offset) int64_t log_offset(void) { return lseek(log_file, 0, SEEK_CUR); }

EXPORT(input_offset) int64_t input_offset(void) { return lseek(input_file, 0, SEEK_CUR); }

/* Makes an empty file of that number, and gives how many files are in the folder. */
EXPORT(make_file) int32_t make_file(int32_t number) {
    char path[32];
    snprintf(path, sizeof path, "/data/file-%d", number);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) return (int32_t)seen(-1);
    close(fd);
    int count = 0;
    DIR *folder = opendir("/data");
    if (!folder) return (int32_t)seen(-2);
    for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
    closedir(folder);
    return (int32_t)seen(count);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The names in the folder, in order. */
EXPORT(list) uint64_t list(void) {
    DIR *folder = opendir("/data");
    char *names[1024], text[16384] = "";
    int count = 0;
    if (!folder) return 0;
    for (struct dirent *entry; (entry = readdir(folder)) && count < 1024;)
        if (entry->d_name[0] != '.') names[count++] = strdup(entry->d_name);
    closedir(folder);
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        if (strlen(text) + strlen(names[i]) + 2 < sizeof text) strcat(strcat(text, names[i]), " ");
        free(names[i]);
    }
    return give(text);
}

/* Nanoseconds since 1970. */
EXPORT(now) int64_t now(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return seen(now.tv_sec * 1000000000LL + now.tv_nsec);
}

EXPORT(random_number) int64_t random_number(void) {
    int64_t number = 0;
    getentropy(&number, sizeof number);
    return seen(number);
}

/* Prints a line. */
EXPORT(say) int32_t say(int32_t number) {
    printf("said %d\n", number);
    return (int32_t)seen(fflush(stdout) == 0 ? number : -1);
}

EXPORT(greeting) uint64_t greeting(void) {
    const char *value = getenv("GREETING");
    return give(value ? value : "");
}

/* Loses that much memory. */
EXPORT(leak) int32_t leak(int32_t kib) {
    volatile char *lost = malloc((size_t)kib << 10);
    for (size_t at = 0; lost && at < (size_t)kib << 10; at += 4096) lost[at] = 1;
    return (int32_t)seen(lost ? kib : 0);
}

/* Traps before anything outside has changed. */
EXPORT(trap) int32_t trap(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    chain += (uint64_t)now.tv_nsec;
    __builtin_trap();
}

/* Traps after a line was written: not to be repeated. */
EXPORT(trap_after_record) int32_t trap_after_record(int64_t number) {
    record(number);
    __builtin_trap();
}

EXPORT(sleep_ms) int32_t sleep_ms(int32_t ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    return nanosleep(&pause, NULL);
}

EXPORT(leave) int32_t leave(int32_t code) { exit(code); }
