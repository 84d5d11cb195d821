// One run of a guest by Wasmer's library: module, folder of the host, arguments. The folder is copied into
// the library's own file system, which is all that it has in Node.

import { readFileSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Directory, init, runWasix } from "@wasmer/sdk/node";

const [module, folder, ...args] = process.argv.slice(2);
await init();
const data = new Directory();
for (const name of readdirSync(folder)) {
    await data.writeFile(`/${name}`, readFileSync(join(folder, name)));
}
const instance = await runWasix(new Uint8Array(readFileSync(module)), {
    program: args[0],
    args: args.slice(1),
    env: { GREETING: "hello = world" },
    stdin: readFileSync(0),
    mount: { "/data": data },
});
const output = await instance.wait();
writeSync(1, output.stdout);
writeSync(2, output.stderr);
process.exit(output.code);
