// The list of words of words.c, in AssemblyScript. Its own strings are UTF-16 in blocks of its
// garbage collector; for a host of C strings it reads and writes UTF-8 at pointers.

const words: string[] = [];
let joined: ArrayBuffer | null = null;

export function words_add(text: usize): i32 {
  if (text == 0) throw new Error("no text");
  words.unshift(String.UTF8.decodeUnsafe(text, strlen(text)));
  return words.length;
}

export function words_joined(): usize {
  joined = String.UTF8.encode(words.join(" "), true);
  return changetype<usize>(joined);
}

export function words_longest(): usize {
  if (words.length == 0) return 0;
  let longest = words[0];
  for (let at = 1; at < words.length; at++) {
    if (words[at].length > longest.length) longest = words[at];
  }
  const bytes = String.UTF8.encode(longest, true);
  const copy = heap.alloc(bytes.byteLength);
  memory.copy(copy, changetype<usize>(bytes), bytes.byteLength);
  return copy;
}

export function words_mean(mean: usize): i32 {
  if (words.length == 0) return 1;
  let sum = 0.0;
  for (let at = 0; at < words.length; at++) sum += <f64>String.UTF8.byteLength(words[at]);
  store<f64>(mean, sum / words.length);
  return 0;
}

export function leak(kib: i32): i32 {
  memory.fill(heap.alloc(kib << 10), 1, kib << 10);
  return 0;
}

export function words_malloc(len: usize): usize { return heap.alloc(len); }
export function words_free(at: usize): void { heap.free(at); }

function strlen(at: usize): usize {
  let end = at;
  while (load<u8>(end)) end++;
  return end - at;
}
