/* SQLite as a WASI reactor: databases in files of the folder `/data`. Objects are addresses and 0 is
 * "none", as in the other guests (see ../README.md). */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

#define EXPORT(name) __attribute__((export_name(#name)))

EXPORT(guest_alloc) void *guest_alloc(uint32_t len) { return malloc(len ? len : 1); }

EXPORT(guest_free) void guest_free(void *pointer, uint32_t len) {
    (void)len;
    free(pointer);
}

/* Loses that much memory, as a statement does that is never finalized. */
EXPORT(leak) void leak(uint32_t kib) {
    volatile char *lost = malloc((size_t)kib << 10);
    for (size_t at = 0; lost && at < (size_t)kib << 10; at += 4096) lost[at] = 1;
}

/* The database in the file `/data/db`, which stays open. Without locks: one process has it. */
EXPORT(db_open) sqlite3 *db_open(void) {
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2("/data/db", &db, flags, "unix-none") == SQLITE_OK) return db;
    sqlite3_close(db);
    return NULL;
}

EXPORT(db_close) void db_close(sqlite3 *db) { sqlite3_close(db); }

/* Runs all statements. The first of SQLite's codes that is not 0, or 0. */
EXPORT(db_exec) int32_t db_exec(sqlite3 *db, const char *sql, uint32_t len) {
    char *text = sqlite3_mprintf("%.*s", (int)len, sql);
    if (!db || !text) return SQLITE_NOMEM;
    int code = sqlite3_exec(db, text, NULL, NULL, NULL);
    sqlite3_free(text);
    return code;
}

/* The number that a query gives, or -1. */
EXPORT(db_number) int64_t db_number(sqlite3 *db, const char *sql, uint32_t len) {
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;
    if (!db || sqlite3_prepare_v2(db, sql, (int)len, &statement, NULL) != SQLITE_OK) return -1;
    if (sqlite3_step(statement) == SQLITE_ROW) number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}
