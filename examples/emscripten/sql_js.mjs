// Prints a workload for sql.js. What it expects are the answers of sql.js itself, in Node:
//   node sql_js.mjs FOLDER_OF_THE_PACKAGE ROUNDS
import { createRequire } from "node:module";

const [folder, rounds] = process.argv.slice(2);
const glue = createRequire(import.meta.url)(`${folder}/dist/sql-wasm.js`);
const SQL = await glue({ locateFile: (file) => `${folder}/dist/${file}` });
const db = new SQL.Database();

const line = (step) => console.log(JSON.stringify(step));
const text = (text) => ({ text });
const run = (sql) => {
  db.run(sql);
  line({ call: "sqlite3_exec", args: [{ handle: "db" }, text(sql)], expect: 0 });
};
// One row, whose columns are read as text, number and blob.
const query = (sql) => {
  const [{ values: [[name, mean, blob]] }] = db.exec(sql);
  const statement = { handle: "statement" };
  line({
    pinned: [
      { call: "sqlite3_prepare_v2", args: [{ handle: "db" }, text(sql), -1], as: ["code", "statement"] },
      { call: "sqlite3_step", args: [statement], expect: 100 },
      { call: "sqlite3_column_text", args: [statement, 0], expect: name },
      { call: "sqlite3_column_double", args: [statement, 1], expect: mean },
      {
        call: "sqlite3_column_blob",
        args: [statement, 2],
        expect: { bytes: Buffer.from(blob).toString("base64") },
      },
      { call: "sqlite3_step", args: [statement], expect: 101 },
      { call: "sqlite3_finalize", args: [statement], expect: 0 },
    ],
  });
};

line({ call: "sqlite3_open", args: [text(":memory:")], as: ["code", "db"] });
run("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size REAL)");
for (let round = 0; round < Number(rounds); round++) {
  run(`INSERT INTO t (name, size) VALUES ('näme ${round}', ${round} * 1.25)`);
  run(`UPDATE t SET size = size + 0.5 WHERE id % 7 = ${round % 7}`);
  query("SELECT max(name), avg(size), CAST(group_concat(id) AS BLOB) FROM t WHERE id % 5 = 1");
  // Nobody frees these 256 KiB.
  line({ call: "malloc", args: [262144] });
}
line({ call: "sqlite3_close_v2", args: [{ handle: "db" }], expect: 0 });
