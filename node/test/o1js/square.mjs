// A program with one method. Nothing here knows of a proxy.
//
//     node square.mjs FILE CACHE PROOFS
//
// Writes the verification key and each proof into FILE, as lines of JSON. CACHE is a folder, or `none`.
import { Field, ZkProgram, verify } from 'o1js';
import { begin } from './record.mjs';

const { cache, proofs, key, proved } = begin();
const program = ZkProgram({
  name: 'square',
  publicInput: Field,
  publicOutput: Field,
  methods: {
    square: {
      privateInputs: [Field],
      async method(square, root) {
        root.mul(root).assertEquals(square);
        return { publicOutput: root.add(1) };
      },
    },
  },
});

const { verificationKey } = await program.compile({ cache });
await key(verificationKey);
for (let root = 3; root < 3 + proofs; root++) {
  const { proof } = await program.square(Field(root * root), Field(root));
  if (!(await verify(proof, verificationKey))) throw new Error(`proof ${root} does not verify`);
  await proved(proof);
}
