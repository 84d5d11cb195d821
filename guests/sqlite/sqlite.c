/* SQLite as a guest: databases in the linear memory, and nothing from outside of it.
 *
 * Objects are addresses and 0 is "none", as in the other guests (see ../README.md). There is no clock
 * and no randomness: the result of a call depends on the calls before it alone. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

#define EXPORT(name) __attribute__((export_name(#name)))

/* The host's half of SQLite. No file is ever opened: databases, journals and temporary tables are all
 * in memory. */

static int no_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out) {
    (void)vfs, (void)name, (void)flags, (void)out;
    file->pMethods = NULL;
    return SQLITE_CANTOPEN;
}

static int no_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs, (void)name, (void)sync;
    return SQLITE_IOERR_DELETE_NOENT;
}

static int no_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) {
    (void)vfs, (void)name, (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out) {
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

/* The seed of `random()`: the same in every instance. */
static int randomness(sqlite3_vfs *vfs, int size, char *out) {
    (void)vfs;
    memset(out, 0, (size_t)size);
    return size;
}

static int no_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

/* It is always the first moment of 1970: Julian day 2440587.5, in milliseconds. */
static int current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out) {
    (void)vfs;
    *out = 210866760000000;
    return SQLITE_OK;
}

static int current_time(sqlite3_vfs *vfs, double *out) {
    (void)vfs;
    *out = 2440587.5;
    return SQLITE_OK;
}

static int no_last_error(sqlite3_vfs *vfs, int size, char *out) {
    (void)vfs, (void)size, (void)out;
    return 0;
}

int sqlite3_os_init(void) {
    static sqlite3_vfs nowhere = {
        .iVersion = 2,
        .szOsFile = sizeof(sqlite3_file),
        .mxPathname = 64,
        .zName = "nowhere",
        .xOpen = no_open,
        .xDelete = no_delete,
        .xAccess = no_access,
        .xFullPathname = full_pathname,
        .xRandomness = randomness,
        .xSleep = no_sleep,
        .xCurrentTime = current_time,
        .xGetLastError = no_last_error,
        .xCurrentTimeInt64 = current_time_int64,
    };
    return sqlite3_vfs_register(&nowhere, 1);
}

int sqlite3_os_end(void) { return SQLITE_OK; }

/* Buffers. */

EXPORT(guest_alloc) void *guest_alloc(uint32_t len) { return malloc(len ? len : 1); }

EXPORT(guest_free) void guest_free(void *pointer, uint32_t len) {
    (void)len;
    free(pointer);
}

EXPORT(memory_usage_mb) double memory_usage_mb(void) { return __builtin_wasm_memory_size(0) / 16.0; }

/* Loses that much memory, as a statement does that is never finalized. */
EXPORT(leak) void leak(uint32_t kib) {
    volatile char *lost = malloc((size_t)kib << 10);
    for (size_t at = 0; lost && at < (size_t)kib << 10; at += 4096) lost[at] = 1;
}

/* Hands bytes to the caller, who frees them; 0 when there is no memory left. */
static uint64_t give(const void *bytes, size_t len) {
    void *copy = guest_alloc((uint32_t)len);
    if (!copy) return 0;
    memcpy(copy, bytes, len);
    return (uint64_t)(uintptr_t)copy | (uint64_t)len << 32;
}

/* Databases. */

EXPORT(sqlite_version) uint64_t sqlite_version(void) {
    return give(SQLITE_VERSION, strlen(SQLITE_VERSION));
}

EXPORT(db_open) sqlite3 *db_open(void) {
    sqlite3 *db = NULL;
    if (sqlite3_open(":memory:", &db) == SQLITE_OK) return db;
    sqlite3_close(db);
    return NULL;
}

EXPORT(db_close) void db_close(sqlite3 *db) { sqlite3_close_v2(db); }

/* Runs each statement of `sql` to its end, and gives the first code of SQLite that is not SQLITE_OK (0). */
EXPORT(db_exec) int32_t db_exec(sqlite3 *db, const char *sql, uint32_t len) {
    const char *end = sql + len;
    if (!db || !sql) return SQLITE_MISUSE;
    while (sql < end) {
        sqlite3_stmt *statement = NULL;
        int status = sqlite3_prepare_v2(db, sql, (int)(end - sql), &statement, &sql);
        if (status != SQLITE_OK) return status;
        while (statement && sqlite3_step(statement) == SQLITE_ROW) {}
        status = sqlite3_finalize(statement);
        if (status != SQLITE_OK) return status;
    }
    return SQLITE_OK;
}

/* One row: its values as text, with `|` between them, and a line's end. NULL is empty. */
static int append_row(sqlite3_str *rows, sqlite3_stmt *statement) {
    for (int column = 0; column < sqlite3_column_count(statement); column++) {
        const char *text = (const char *)sqlite3_column_text(statement, column);
        if (column) sqlite3_str_appendchar(rows, 1, '|');
        if (text) sqlite3_str_append(rows, text, sqlite3_column_bytes(statement, column));
    }
    sqlite3_str_appendchar(rows, 1, '\n');
    return sqlite3_str_errcode(rows);
}

/* The rows of one statement that only reads; 0 if it fails, would write, or is none. */
EXPORT(db_query) uint64_t db_query(sqlite3 *db, const char *sql, uint32_t len) {
    sqlite3_stmt *statement = NULL;
    if (!db || !sql || sqlite3_prepare_v2(db, sql, (int)len, &statement, NULL) != SQLITE_OK) return 0;
    uint64_t result = 0;
    if (statement && sqlite3_stmt_readonly(statement)) {
        sqlite3_str *rows = sqlite3_str_new(db);
        int status = SQLITE_ROW;
        while (status == SQLITE_ROW && (status = sqlite3_step(statement)) == SQLITE_ROW) {
            if (append_row(rows, statement) != SQLITE_OK) status = SQLITE_NOMEM;
        }
        if (status == SQLITE_DONE) {
            const char *text = sqlite3_str_value(rows);
            result = give(text ? text : "", (size_t)sqlite3_str_length(rows));
        }
        sqlite3_free(sqlite3_str_finish(rows));
    }
    sqlite3_finalize(statement);
    return result;
}

/* What SQLite says of the last call on the database that failed. */
EXPORT(db_error) uint64_t db_error(sqlite3 *db) {
    const char *message = sqlite3_errmsg(db);
    return give(message, strlen(message));
}

/* FNV-1a over the pages of the database, as a file of it would have them; 0 for none. */
EXPORT(db_digest) uint64_t db_digest(sqlite3 *db) {
    sqlite3_int64 size = 0;
    unsigned char *pages = db ? sqlite3_serialize(db, "main", &size, 0) : NULL;
    uint64_t hash = pages ? 0xcbf29ce484222325u : 0;
    for (sqlite3_int64 at = 0; pages && at < size; at++) hash = (hash ^ pages[at]) * 0x100000001b3u;
    sqlite3_free(pages);
    return hash;
}
