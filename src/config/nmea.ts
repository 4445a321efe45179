import { flag, list, milliseconds, section, text } from './values.ts';

/** Most sentences that may be chosen. */
const SENTENCES_MAX = 64;
const DAY_MS = 86_400_000;

const sentence = text('the name of a sentence', 'RMC').regex(/^[A-Z0-9]{3,10}$/, {
  error: ({ input }) =>
    `${JSON.stringify(input)} is not the name of a sentence; write for example RMC, or GPRMC for one talker`,
});

export const NmeaOptions = section({
  sentences: list(sentence, '[RMC, GGA]')
    .min(1, { error: 'an empty list; write for example [RMC, GGA]' })
    .max(SENTENCES_MAX, { error: `more than ${SENTENCES_MAX} sentences` })
    .describe('Which are passed on: `RMC` of any talker, `GPRMC` of one. Left out: all.')
    .exactOptional(),
  minIntervalMs: milliseconds({ min: 0, max: DAY_MS }, '10s')
    .describe('Of one kind of sentence, what comes sooner after the last is passed over.')
    .prefault(0),
  checksumRequired: flag().describe('Whether a sentence without a checksum is malformed.').default(true),
}).describe('Each line is a sentence of NMEA 0183.');
