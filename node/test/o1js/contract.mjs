// A contract on a local chain: compiled, deployed, and called with a proof each time. Nothing here knows of a proxy.
//
//     node contract.mjs FILE CACHE PROOFS
//
// Writes the verification key and the proof of each call into FILE, as lines of JSON. CACHE is a folder, or `none`.
import { AccountUpdate, Field, Mina, PrivateKey, SmartContract, State, declareMethods, declareState } from 'o1js';
import { begin } from './record.mjs';

const { cache, proofs, key, proved } = begin();

class Counter extends SmartContract {
  constructor(address) {
    super(address);
    this.count = State();
  }

  init() {
    super.init();
    this.count.set(Field(1));
  }

  async add(step) {
    const count = this.count.getAndRequireEquals();
    step.assertNotEquals(Field(0));
    this.count.set(count.add(step));
  }
}
declareState(Counter, { count: Field });
declareMethods(Counter, { add: [Field] });

const chain = await Mina.LocalBlockchain({ proofsEnabled: true });
Mina.setActiveInstance(chain);
const { verificationKey } = await Counter.compile({ cache });
await key(verificationKey);

const [payer] = chain.testAccounts;
const address = PrivateKey.random();
const counter = new Counter(address.toPublicKey());
const deploying = await Mina.transaction(payer, async () => {
  AccountUpdate.fundNewAccount(payer);
  await counter.deploy();
});
await deploying.prove();
await deploying.sign([payer.key, address]).send();
for (let step = 1; step <= proofs; step++) {
  const calling = await Mina.transaction(payer, () => counter.add(Field(step)));
  await calling.prove();
  await calling.sign([payer.key]).send();
  await proved(calling.proofs.find((proof) => proof));
}
const expected = Field(1 + (proofs * (proofs + 1)) / 2);
counter.count.get().assertEquals(expected);
