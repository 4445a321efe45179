import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fifo } from '../src/rules/fifo.ts';
import { fc } from './parts/properties.ts';

test('a queue gives what an array gives, short or long, filled and emptied in any order', () => {
  const step = fc.record({
    push: fc.integer({ min: 0, max: 120 }),
    shift: fc.integer({ min: 0, max: 120 }),
    insert: fc.nat(999),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const fifo = new Fifo<number>();
      let array: number[] = [];
      let next = 1000;
      for (const { push, shift, insert } of steps) {
        for (let n = 0; n < push; n++) array.push(next);
        for (let n = 0; n < push; n++) fifo.push(next);
        next++;
        for (let n = 0; n < shift; n++) assert.equal(fifo.shift(), array.shift());
        fifo.insert(insert, (other) => other > insert);
        array = [...array, insert];
        let place = array.length - 1;
        while (place > 0 && (array[place - 1] ?? 0) > insert) place--;
        array = array.toSpliced(-1).toSpliced(place, 0, insert);
        assert.deepEqual(fifo.toArray(), array);
        assert.equal(fifo.length, array.length);
        assert.equal(fifo.first, array[0]);
        assert.equal(fifo.at(array.length - 1), array.at(-1));
        assert.equal(fifo.at(-1), undefined);
      }
    }),
    { seed: 20_261_126, numRuns: 200 },
  );
});
