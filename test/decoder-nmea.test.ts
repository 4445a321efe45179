import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Decoded } from '../src/drivers/decoders/decoder.ts';
import { NmeaLineDecoder, type NmeaOptions } from '../src/drivers/decoders/nmea.ts';
import { streamDecoder } from '../src/drivers/decoders/stream.ts';
import type { Reading } from '../src/message/message.ts';
import { systemClock } from './driver-rig.ts';
import { ManualClock } from './manual-clock.ts';
import { fc } from './parts/properties.ts';

const ALL: NmeaOptions = { minIntervalMs: 0, checksumRequired: true };

function decode(line: string, options: Partial<NmeaOptions> = {}): Decoded {
  return new NmeaLineDecoder({ ...ALL, ...options }, systemClock).decode(Buffer.from(line, 'latin1'));
}

/** The body of a sentence that must be sound. */
function body(line: string): unknown {
  const decoded = decode(line);
  assert.ok('body' in decoded, JSON.stringify(decoded));
  return JSON.parse(decoded.body.toString());
}

/** Sentences from receivers' manuals and logs, and what they say. */
const SAID: readonly (readonly [string, Record<string, unknown>])[] = [
  [
    '$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47',
    {
      time: '12:35:19.000Z',
      lat: 48.1173,
      lon: 11.5166667,
      quality: 1,
      satellites: 8,
      hdop: 0.9,
      altitude: 545.4,
      geoidSeparation: 46.9,
      dgpsAge: null,
      dgpsStation: null,
    },
  ],
  [
    '$GPRMC,123519,A,4807.038,S,01131.000,W,022.4,084.4,230394,003.1,W*65',
    {
      time: '1994-03-23T12:35:19.000Z',
      valid: true,
      lat: -48.1173,
      lon: -11.5166667,
      speedKnots: 22.4,
      course: 84.4,
      magneticVariation: -3.1,
      mode: null,
    },
  ],
  [
    '$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48',
    { course: 54.7, courseMagnetic: 34.4, speedKnots: 5.5, speedKmh: 10.2, mode: null },
  ],
  [
    '$GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1*39',
    { automatic: true, fix: 3, satellites: [4, 5, 9, 12, 24], pdop: 2.5, hdop: 1.3, vdop: 2.1, system: null },
  ],
  [
    '$GPGSV,2,1,08,01,40,083,46,02,17,308,*71',
    {
      messages: 2,
      message: 1,
      inView: 8,
      satellites: [
        { id: 1, elevation: 40, azimuth: 83, signal: 46 },
        { id: 2, elevation: 17, azimuth: 308, signal: null },
      ],
    },
  ],
  ['$GPZDA,201530.25,04,07,2002,00,00*67', { time: '2002-07-04T20:15:30.250Z', zoneHours: 0, zoneMinutes: 0 }],
  ['$GPHDT,274.07,T*03', { heading: 274.07 }],
  ['$WIMWV,214.8,R,0.1,M,A*2E', { angle: 214.8, reference: 'relative', speed: 0.1, speedUnit: 'm/s', valid: true }],
  ['$SDDBT,7.8,f,2.4,M,1.3,F*0D', { depth: 2.4, depthFeet: 7.8, depthFathoms: 1.3 }],
  ['$SDDPT,2.4,-0.5,*55', { depth: 2.4, offset: -0.5, maxRange: null }],
];

describe('NMEA 0183', () => {
  for (const [line, said] of SAID) {
    const talker = line.slice(1, 3);
    const sentence = line.slice(3, 6);
    test(`${sentence} is read field by field`, () => {
      assert.deepEqual(body(line), { talker, sentence, ...said });
    });
  }

  test("other sentences keep their fields, a maker's own too, and AIS", () => {
    assert.deepEqual(body('$PGRME,15.0,M,45.0,M,,M*05'), {
      talker: 'P',
      sentence: 'GRME',
      fields: [15, 'M', 45, 'M', null, 'M'],
    });
    assert.deepEqual(body('!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C'), {
      talker: 'AI',
      sentence: 'VDM',
      fields: [1, 1, null, 'B', '177KQJ5000G?tO`K>RA1wUbN0TKH', 0],
    });
  });

  test('of fields as they came only plain numbers are numbers', () => {
    const fields = (line: string): unknown => {
      const decoded = decode(line, { checksumRequired: false });
      return 'body' in decoded && (JSON.parse(decoded.body.toString()) as { fields: unknown }).fields;
    };
    assert.deepEqual(fields('$PXYZ,1E3,007,0x1F,+5,00,0,-1.50,'), ['1E3', '007', '0x1F', 5, '00', 0, -1.5, null]);
    assert.deepEqual(fields('$GPGLL,4807.038,N,01131.000,E,004512,A'), [
      4807.038,
      'N',
      '01131.000',
      'E',
      '004512',
      'A',
    ]);
    assert.deepEqual(fields('$GPZZZ,000000,000000.00,093000.5'), ['000000', '000000.00', '093000.5']);
  });

  test('a valid RMC says when it was measured; an invalid or dateless one, and other sentences, do not', () => {
    const time = (line: string): unknown => {
      const decoded = decode(line, { checksumRequired: false });
      return 'body' in decoded && decoded.eventTime;
    };
    assert.equal(time('$GNRMC,080000.50,A,4807.038,N,01131.000,E,,,261126,,'), Date.UTC(2026, 10, 26, 8, 0, 0, 500));
    assert.equal(time('$GNRMC,080000.50,V,,,,,,,261126,,'), undefined);
    assert.equal(time('$GNRMC,080000.50,A,4807.038,N,01131.000,E,,,310226,,'), undefined);
    assert.equal(time('$GNRMC,250000,A,4807.038,N,01131.000,E,,,261126,,'), undefined);
    assert.equal(time('$GPZDA,201530.25,04,07,2002,00,00*67'), undefined);
  });

  test('a day that no month has gives no time, also in the second that may be a leap second', () => {
    const time = (line: string): unknown => {
      const decoded = decode(line, { checksumRequired: false });
      assert.ok('body' in decoded, JSON.stringify(decoded));
      const said = (JSON.parse(decoded.body.toString()) as Record<string, unknown>)['time'];
      assert.equal(decoded.eventTime, line.includes('RMC') && typeof said === 'string' ? Date.parse(said) : undefined);
      return said;
    };
    for (const [day, month] of ['3102', '2902', '3104', '0002', '0100', '0113', '3213'].map((at) => at.match(/../g)!)) {
      for (const clock of ['000000', '120000.50', '000060', '235960']) {
        assert.equal(
          time(`$GPRMC,${clock},A,4807.038,N,01131.000,E,,,${day}${month}26,,`),
          null,
          `${clock} ${day}${month}`,
        );
        assert.equal(time(`$GPZDA,${clock},${day},${month},2026,00,00`), null, `${clock} ${day}${month}`);
      }
    }
    assert.equal(time('$GPZDA,120000,31,2.,2026,00,00'), null);
    assert.equal(time('$GPZDA,120000,4,7,2002,00,00'), '2002-07-04T12:00:00.000Z');
    assert.equal(time('$GPRMC,235960,A,4807.038,N,01131.000,E,,,311216,,'), '2017-01-01T00:00:00.000Z');
    assert.equal(time('$GPZDA,120000,29,02,2028,00,00'), '2028-02-29T12:00:00.000Z');
  });

  test('a wrong or missing checksum, and what is no sentence, is malformed; noise before one does no harm', () => {
    assert.deepEqual(decode('$GPHDT,274.08,T*03'), { malformed: 'wrong checksum' });
    assert.deepEqual(decode('$GPHDT,274.07,T'), { malformed: 'a sentence without checksum' });
    assert.ok('body' in decode('$GPHDT,274.07,T', { checksumRequired: false }), 'without checksum');
    assert.deepEqual(decode('274.07,T*03'), { malformed: 'not a sentence of NMEA 0183' });
    assert.deepEqual(body('\xff\x00$GPH$GPHDT,274.07,T*03'), { talker: 'GP', sentence: 'HDT', heading: 274.07 });
    assert.deepEqual(body('\\s:rcv,c:1120959341*42\\$GPHDT,274.07,T*03\r'), {
      talker: 'GP',
      sentence: 'HDT',
      heading: 274.07,
    });
  });

  test('only the sentences that are asked for, and no more often', () => {
    const clock = new ManualClock();
    const readings: Reading[] = [];
    const options = {
      kind: 'nmea',
      sentences: ['HDT', 'GPGSV'],
      minIntervalMs: 1_000,
      checksumRequired: false,
    } as const;
    const decoder = streamDecoder(options, clock, {
      reading: (reading) => void readings.push(reading),
      malformed: (why) => assert.fail(why),
    });
    const second = '$GPHDT,1,T\r\n$HEHDT,2,T\r\n$GPGSV,2,1,8\r\n$GPGSV,2,2,8\r\n$GLGSV,1,1,2\r\n$GPVTG,1,T\r\n';
    decoder.push(Buffer.from(second));
    decoder.push(Buffer.from(second));
    assert.equal(readings.length, 4);
    clock.advance(1_000);
    decoder.push(Buffer.from(second));
    assert.equal(readings.length, 8);
  });

  test('a flipped bit never becomes another reading', () => {
    const lines = SAID.map(([line]) => line);
    fc.assert(
      fc.property(fc.constantFrom(...lines), fc.nat(), fc.integer({ min: 0, max: 7 }), (line, place, bit) => {
        const bytes = Buffer.from(line);
        bytes[place % bytes.length]! ^= 1 << bit;
        const decoded = decode(bytes.toString('latin1'));
        // The checksum is in hexadecimal, of either case.
        if (bytes.toString('latin1').toUpperCase() !== line.toUpperCase()) {
          assert.ok('malformed' in decoded, bytes.toString('latin1'));
        }
      }),
    );
  });
});
