// What the programs here have in common: their arguments, and the file that they write.
import { appendFile, writeFile } from 'node:fs/promises';
import { Cache, setNumberOfWorkers } from 'o1js';

/** Reads the arguments FILE, CACHE and PROOFS. */
export function begin() {
  const [, , file, folder, proofs] = process.argv;
  setNumberOfWorkers(2);
  return {
    cache: folder === 'none' ? Cache.None : Cache.FileSystem(folder),
    proofs: Number(proofs),
    /** Writes the verification key. */
    async key({ hash, data }) {
      await writeFile(file, `${JSON.stringify({ hash: hash.toString(), data })}\n`);
    },
    /** Writes a proof, and says so to whoever listens. */
    async proved(proof) {
      process.emit('proved');
      await appendFile(file, `${JSON.stringify(proof.toJSON())}\n`);
    },
  };
}
