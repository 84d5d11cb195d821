//! The list of words of words.c, in Zig for wasm32-freestanding: nothing is imported.

const std = @import("std");
const allocator = std.heap.wasm_allocator;

const Word = struct { next: ?*Word, text: []u8 };

var words: ?*Word = null;
var joined: [1 << 16]u8 = undefined;

/// Adds a word, and gives how many there are; -1 if there is no memory left.
export fn words_add(text: [*:0]const u8) i32 {
    const word = allocator.create(Word) catch return -1;
    const copy = allocator.dupe(u8, std.mem.span(text)) catch return -1;
    word.* = .{ .next = words, .text = copy };
    words = word;
    var count: i32 = 0;
    var at = words;
    while (at) |one| : (at = one.next) count += 1;
    return count;
}

/// All words, the last one first. The buffer is the module's.
export fn words_joined() [*:0]const u8 {
    var len: usize = 0;
    var at = words;
    while (at) |one| : (at = one.next) {
        if (len + one.text.len + 2 > joined.len) break;
        if (len > 0) {
            joined[len] = ' ';
            len += 1;
        }
        @memcpy(joined[len..][0..one.text.len], one.text);
        len += one.text.len;
    }
    joined[len] = 0;
    return @ptrCast(&joined);
}

/// The longest word as a copy, which the caller frees; null without one.
export fn words_longest() ?[*:0]u8 {
    var longest: ?*Word = words;
    var at = words;
    while (at) |one| : (at = one.next) {
        if (one.text.len > longest.?.text.len) longest = one;
    }
    const found = longest orelse return null;
    const copy = words_malloc(found.text.len + 1) orelse return null;
    @memcpy(copy[0..found.text.len], found.text);
    copy[found.text.len] = 0;
    return @ptrCast(copy);
}

/// The mean length, left at a pointer; 0 if there is one.
export fn words_mean(mean: *f64) i32 {
    var count: f64 = 0;
    var sum: f64 = 0;
    var at = words;
    while (at) |one| : (at = one.next) {
        sum += @floatFromInt(one.text.len);
        count += 1;
    }
    if (count == 0) return 1;
    mean.* = sum / count;
    return 0;
}

/// Loses that many KiB.
export fn leak(kib: usize) i32 {
    const lost = allocator.alloc(u8, kib << 10) catch return -1;
    @memset(lost, 1);
    return 0;
}

/// The length stands before the block, since `words_free` is not told it.
export fn words_malloc(len: usize) ?[*]u8 {
    const block = allocator.alignedAlloc(u8, .@"8", len + 8) catch return null;
    std.mem.writeInt(usize, block[0..@sizeOf(usize)], len + 8, .little);
    return block.ptr + 8;
}

export fn words_free(at: ?[*]u8) void {
    const block: [*]align(8) u8 = @alignCast((at orelse return) - 8);
    allocator.free(block[0..std.mem.readInt(usize, block[0..@sizeOf(usize)], .little)]);
}
