// Prints a workload for the module of @wasm-fmt/gofmt. What it expects are the answers of the package in
// Node:
//   node gofmt.mjs FOLDER_OF_THE_PACKAGE ROUNDS
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, rounds] = process.argv.slice(2);
const { format } = await import(pathToFileURL(resolve(folder, "gofmt_node.js")));

for (let round = 0; round < Number(rounds); round++) {
  const fields = Array.from({ length: round % 9 }, (_, at) => `f${at}   int // the field ${at}`).join("\n");
  const broken = round % 10 === 9 ? "}" : "";
  const text = `package   a\nimport ("os";"fmt")\ntype T struct {\n${fields}\n}\nfunc f( x int)  int {\nreturn x+ ${round} }${broken}\n`;
  let expect;
  try {
    expect = format(text);
  } catch (error) {
    expect = error.message;
  }
  console.log(JSON.stringify({ call: "format_text", args: [{ text }], expect }));
}
