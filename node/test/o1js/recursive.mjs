// A program that verifies an earlier proof of itself. Nothing here knows of a proxy.
//
//     node recursive.mjs FILE CACHE PROOFS
//
// Writes the verification key and each proof into FILE, as lines of JSON. CACHE is a folder, or `none`.
import { Field, SelfProof, ZkProgram, verify } from 'o1js';
import { begin } from './record.mjs';

const { cache, proofs, key, proved } = begin();
const program = ZkProgram({
  name: 'count',
  publicInput: Field,
  methods: {
    first: {
      privateInputs: [],
      async method(count) {
        count.assertEquals(Field(0));
      },
    },
    next: {
      privateInputs: [SelfProof],
      async method(count, earlier) {
        earlier.verify();
        earlier.publicInput.add(1).assertEquals(count);
      },
    },
  },
});

const { verificationKey } = await program.compile({ cache });
await key(verificationKey);
let { proof } = await program.first(Field(0));
await proved(proof);
for (let count = 1; count < proofs; count++) {
  ({ proof } = await program.next(Field(count), proof));
  await proved(proof);
}
if (!(await verify(proof, verificationKey))) throw new Error('the last proof does not verify');
