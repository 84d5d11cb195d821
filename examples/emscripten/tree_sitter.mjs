// Prints a workload for web-tree-sitter with the grammar of JSON. What it expects are the answers of
// the package itself, in Node:
//   node tree_sitter.mjs FOLDER_OF_THE_PACKAGE GRAMMAR.wasm ROUNDS
import { createRequire } from "node:module";

const [folder, grammar, rounds] = process.argv.slice(2);
const { Parser, Language } = createRequire(import.meta.url)(`${folder}/web-tree-sitter.cjs`);
await Parser.init();
const parser = new Parser();
parser.setLanguage(await Language.load(grammar));

const line = (step) => console.log(JSON.stringify(step));
const units = (text) => ({ u16s: Array.from(text, (_, at) => text.charCodeAt(at)) });
const tree = { handle: "tree" };
const texts = (round) => [
  JSON.stringify({ round, list: Array.from({ length: round % 7 }, (_, at) => [at, null, { at }]) }),
  `{ "näme": [tru, "${"x".repeat(round * 11 % 3000)}" // not JSON\n`,
];

line({ call: "parser_new", as: "parser" });
for (let round = 0; round < Number(rounds); round++) {
  for (const text of texts(round)) {
    const parsed = parser.parse(text);
    const args = [{ handle: "parser" }, units(text.normalize("NFC"))];
    line({ call: "parse", args, as: "tree" });
    line({ call: "tree_string", args: [tree], expect: parsed.rootNode.toString() });
    line({ call: "ts_tree_delete", args: [tree] });
    parsed.delete();
  }
  // Nobody frees these 256 KiB.
  line({ call: "malloc", args: [262144] });
}
