import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Said, Speaker } from '../src/dialects/child-dialect.ts';
import { holdfastChild } from '../src/dialects/holdfast-child.ts';
import { iothubChild } from '../src/dialects/iothub.ts';
import { heard, speaker } from './parts/child-speaker.ts';
import { fc } from './parts/properties.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const RUNS = LONG ? 500_000 : 8_000;
const SEEDS = [11, 20_261_126];

/** Topics and filters that mean something to somebody, in either dialect. */
const MEANT = [
  'devices/d/messages/events/%24.ct=a&k=v',
  'devices/d/modules/m/messages/events/%24.on=hot/',
  'devices/d/messages/devicebound/#',
  'devices/d/modules/m/inputs/#',
  '$iothub/twin/GET/?$rid=1',
  '$iothub/twin/PATCH/properties/reported/?$rid=1',
  '$iothub/methods/res/200/?$rid=1',
  '$iothub/methods/POST/#',
  'holdfast/v1/line-4/d/events/hot/?p-a=b&t=2026-11-26',
  'holdfast/v1/line-4/d/modules/m/events',
  'holdfast/v1/line-4/d/twin/reported',
  'holdfast/v1/line-4/d/methods/go/res/1',
  'holdfast/v1/line-4/d/#',
  'holdfast/v1/line-4/e/methods/go/req/1',
  'holdfast/v1/line-4/e/modules/m/methods/go/req/1',
  'holdfast/v1/line-4/e/commands/?p-a=b',
  'holdfast/v1/line-4/+/methods/+/res/+',
];
const LEVELS =
  'd e m + # .. ? ?%zz ?p-__proto__=1 %24.on=%2F %24.on=%3F events twin methods modules commands __proto__'.split(' ');
const level = fc.oneof(
  fc.constantFrom(...LEVELS, '', '\0', '\ud800', '$SYS', 'x'.repeat(300)),
  fc.string({ maxLength: 5 }),
);
/** One of them with up to three of its levels replaced, left out or put between. */
const topic = fc
  .tuple(
    fc.constantFrom(...MEANT),
    fc.array(
      fc.tuple(fc.nat(), level, fc.constantFrom<[removed: number, added: boolean]>([1, true], [1, false], [0, true])),
      { maxLength: 3 },
    ),
  )
  .map(([meant, changes]) => {
    const levels = meant.split('/');
    for (const [at, piece, [removed, added]] of changes)
      levels.splice(at % levels.length, removed, ...(added ? [piece] : []));
    return levels.join('/');
  });
const payload = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.json({ maxDepth: 3 }),
  fc.constant('{"status":200,"payload":{}}'),
);
const userProperties = fc.dictionary(
  fc.constantFrom('t', 'p-a', '__proto__', 'p-__proto__', 'content-encoding'),
  fc.oneof(fc.string(), fc.array(fc.string(), { minLength: 1, maxLength: 2 })),
);
const SPEAKERS: readonly Speaker[] = [
  speaker('d'),
  speaker('d', 'm'),
  speaker('d', null, { invoke: ['e'], send: ['e'] }),
];

/** Says nothing in another's name, and to others only what was granted. */
function judge(who: Speaker, said: Said): void {
  if (said.kind === 'event') {
    assert.equal(said.module, who.module);
    assert.ok(said.output === null || /^[\w.-]+$/.test(said.output));
    assert.ok(said.eventTime === undefined || Number.isFinite(said.eventTime));
  }
  if (said.kind === 'event' || said.kind === 'send')
    for (const value of Object.values(said.properties)) assert.equal(typeof value, 'string');
  if (said.kind === 'send') assert.ok(who.grants.send.includes(said.child));
  if (said.kind === 'invoke') {
    const own = said.child === who.child && said.module !== who.module;
    assert.ok(own || who.grants.invoke.includes(said.child));
    if (said.body.length > 0) JSON.parse(said.body.toString('utf8'));
  }
  if (said.kind === 'method answer') assert.ok(Number.isInteger(said.status));
}

for (const [name, dialect] of [
  ['iothub', iothubChild('line-4')],
  ['holdfast', holdfastChild('line-4')],
] as const) {
  describe(`whatever is published in the ${name} dialect`, () => {
    for (const seed of SEEDS) {
      test(`is understood or refused, and says nothing for others (seed ${seed})`, () => {
        const kinds = new Set<string>();
        fc.assert(
          fc.property(topic, payload, fc.boolean(), fc.option(userProperties), (path, body, retain, properties) => {
            const more = properties === null ? {} : { properties: { userProperties: properties } };
            for (const who of SPEAKERS) {
              const said = dialect.said(who, heard(path, body, { retain, ...more }));
              judge(who, said);
              kinds.add(said.kind);
            }
          }),
          { seed, numRuns: RUNS },
        );
        // Chance did meet what means something.
        const meant =
          name === 'iothub' ? ['event', 'twin get', 'twin patch'] : ['event', 'twin patch', 'invoke', 'send'];
        for (const kind of [...meant, 'method answer', 'nothing']) assert.ok(kinds.has(kind), `${kind} was never met`);
      });

      test(`no subscription takes what is another's (seed ${seed})`, () => {
        const others =
          name === 'iothub'
            ? ['devices/e/messages/devicebound/x', 'devices/e/modules/m/inputs/i/']
            : [
                'holdfast/v1/line-4/e/commands',
                'holdfast/v1/line-4/e/twin/desired',
                'holdfast/v1/line-4/e/methods/go/req/1',
                'holdfast/v1/line-4/e/events',
              ];
        let granted = 0;
        fc.assert(
          fc.property(topic, (filter) => {
            if (dialect.subscribes(speaker('d'), filter, 1) === null) return;
            granted += 1;
            for (const other of others) assert.equal(takes(filter.split('/'), other.split('/')), false, filter);
          }),
          { seed, numRuns: RUNS },
        );
        assert.ok(granted > RUNS / 100, `${granted} were granted`);
      });
    }
  });
}

/** MQTT 3.1.1, section 4.7, for topics that do not begin with $. */
function takes([level, ...filter]: readonly string[], path: readonly string[]): boolean {
  if (level === '#') return true;
  if (level === undefined || path.length === 0) return level === undefined && path.length === 0;
  return (level === '+' || level === path[0]) && takes(filter, path.slice(1));
}
