/* A list of words: state on the heap, strings in and out, numbers at pointers. The same source for
 * every C compiler of the table in docs/toolchains.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

struct word {
    struct word *next;
    char text[];
};

static struct word *words;
static char joined[1 << 16];

/* Adds a word, and gives how many there are; -1 if there is no memory left. */
EXPORT("words_add") int words_add(const char *text) {
    struct word *word = malloc(sizeof *word + strlen(text) + 1);
    int count = 0;
    if (!word)
        return -1;
    strcpy(word->text, text);
    word->next = words;
    words = word;
    for (; word; word = word->next)
        count++;
    return count;
}

/* All words, the last one first. The buffer is the module's. */
EXPORT("words_joined") const char *words_joined(void) {
    char *at = joined;
    for (struct word *word = words; word; word = word->next)
        at += snprintf(at, joined + sizeof joined - at, "%s%s", at == joined ? "" : " ", word->text);
    *at = 0;
    return joined;
}

/* The longest word as a copy, which the caller frees; null without one. */
EXPORT("words_longest") char *words_longest(void) {
    struct word *longest = words;
    for (struct word *word = words; word; word = word->next)
        if (strlen(word->text) > strlen(longest->text))
            longest = word;
    return longest ? strdup(longest->text) : NULL;
}

/* The mean length, left at a pointer; 0 if there is one. */
EXPORT("words_mean") int words_mean(double *mean) {
    int count = 0;
    for (struct word *word = words; word; word = word->next, count++)
        *mean += (double)strlen(word->text);
    if (!count)
        return 1;
    *mean /= count;
    return 0;
}

/* Loses that many KiB. */
EXPORT("leak") int leak(int kib) {
    /* A compiler may not leave out what it cannot see the end of. */
    char *volatile lost = malloc((size_t)kib << 10);
    return lost ? (memset(lost, 1, (size_t)kib << 10), 0) : -1;
}

EXPORT("words_malloc") void *words_malloc(size_t len) { return malloc(len); }
EXPORT("words_free") void words_free(void *at) { free(at); }
