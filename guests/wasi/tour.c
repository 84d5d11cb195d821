/* A command that does what the reactor of `world.c` is asked to do in tests, in one go, and prints what came
 * of it: what is printed is the same under every implementation of WASI, and through any number of swaps. */

#define EXPORT(name) static __attribute__((unused))
#include "world.c"

#define ROUNDS 8

int main(void) {
    printf("opened: %d\n", open_files());
    int64_t time = 0, number = 0;
    for (int32_t round = 0; round < ROUNDS; round++) {
        int64_t end = record(round * 1000003LL), next = read_next();
        int32_t files = make_file(round);
        printf("round %d: the log ends at %lld, the input has %lld, files: %d\n", round, (long long)end,
               (long long)next, files);
        say(round);
        int64_t later = now(), other = random_number();
        printf("time %s, randomness %s\n", later >= time && later > 0 ? "goes on" : "goes back",
               other != number ? "differs" : "is the same");
        time = later, number = other;
    }
    uint64_t names = list();
    printf("offsets: %lld, %lld\n", (long long)log_offset(), (long long)input_offset());
    printf("folder: %.*s\n", (int)(names >> 32), (char *)(uintptr_t)(uint32_t)names);
    return 0;
}
