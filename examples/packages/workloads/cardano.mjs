import { createRequire } from 'node:module';
import { Recorder, bytes, handle, text } from './recorder.mjs';

const cardano = createRequire(import.meta.url)(process.argv[2]);
const recorder = new Recorder();

const number = (as, digits) => {
    recorder.call('bignum_from_str', [text(digits)], { as });
    return cardano.BigNum.from_str(digits);
};
const free = (export_name, ...names) => {
    for (const name of names) recorder.call(export_name, [handle(name)]);
};

// What lasts: the fees, and an address.
const coefficient = number('coefficient', '44');
const constant = number('constant', '155381');
recorder.call('linearfee_new', [handle('coefficient'), handle('constant')], { as: 'fee' });
const fee = cardano.LinearFee.new(coefficient, constant);
const hash = Uint8Array.from({ length: 28 }, (_, at) => at * 7);
recorder.call('ed25519keyhash_from_bytes', [bytes(hash)], { as: 'hash' });
const key = cardano.Ed25519KeyHash.from_bytes(hash);
recorder.call('stakecredential_from_keyhash', [handle('hash')], { as: 'credential' });
const credential = cardano.StakeCredential.from_keyhash(key);
recorder.call('enterpriseaddress_new', [1, handle('credential')], { as: 'enterprise' });
recorder.call('enterpriseaddress_to_address', [handle('enterprise')], { as: 'address' });
const address = cardano.EnterpriseAddress.new(1, credential).to_address();
recorder.call('address_to_bytes', [handle('address')], { expect: bytes(address.to_bytes()) });

for (let turn = 0; turn < 40; turn++) {
    const one = number('one', String(1_000_000 + turn));
    const other = number('other', '18446744073709');
    recorder.call('bignum_checked_add', [handle('one'), handle('other')], { as: 'sum' });
    const sum = one.checked_add(other);
    recorder.call('bignum_to_str', [handle('sum')], { expect: sum.to_str() });
    recorder.call('bignum_to_bytes', [handle('sum')], { expect: bytes(sum.to_bytes()) });
    recorder.call('transactionoutputs_new', [], { as: 'outputs' });
    const outputs = cardano.TransactionOutputs.new();
    for (let at = 0; at < 5; at++) {
        recorder.call('transactionoutput_new', [handle('address'), handle('sum')], { as: 'output' });
        const output = cardano.TransactionOutput.new(address, sum);
        recorder.call('transactionoutputs_add', [handle('outputs'), handle('output')]);
        outputs.add(output);
        free('__wbg_transactionoutput_free', 'output');
    }
    recorder.call('transactionoutputs_len', [handle('outputs')], { expect: outputs.len() });
    recorder.call('transactionoutputs_to_bytes', [handle('outputs')], { expect: bytes(outputs.to_bytes()) });
    free('__wbg_transactionoutputs_free', 'outputs');
    free('__wbg_bignum_free', 'one', 'other', 'sum');
}
recorder.call('linearfee_coefficient', [handle('fee')], { as: 'again' });
recorder.call('bignum_to_str', [handle('again')], { expect: fee.coefficient().to_str() });
recorder.call('address_to_bech32', [handle('address'), text('addr')], { expect: address.to_bech32('addr') });
recorder.print();
