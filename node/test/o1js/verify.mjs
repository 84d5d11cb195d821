// node verify.mjs FILE: verifies what a program wrote into the file, with plain o1js.
import { readFileSync } from 'node:fs';
import { Field, setNumberOfWorkers, verify } from 'o1js';

setNumberOfWorkers(2);
const [key, ...proofs] = readFileSync(process.argv[2], 'utf8').trim().split('\n').map((line) => JSON.parse(line));
const verificationKey = { data: key.data, hash: Field(key.hash) };
for (const proof of proofs) {
  if (!(await verify(proof, verificationKey))) throw new Error('a proof does not verify');
}
console.log(`${proofs.length} proofs verified`);
