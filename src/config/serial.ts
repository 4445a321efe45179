import * as z from 'zod';
import { FrameOptions } from './frame.ts';
import { ModbusOptions } from './modbus.ts';
import { NmeaOptions } from './nmea.ts';
import { ALONGSIDE, choice, complain, duration, integer, list, misfit, quoted, section, show, text } from './values.ts';
import type { Wording } from './values.ts';

/** Longest line that may be asked for, bytes: the largest body of a message. */
export const LINE_BYTES_MAX = 262_144;
/** Longest line when nothing is said, bytes. */
export const LINE_BYTES_DEFAULT = 4096;
/** Longest delimiter, characters. */
export const DELIMITER_LENGTH_MAX = 8;
/** Most columns of a CSV line. */
export const COLUMNS_MAX = 256;

const delimiterWrong = misfit(`text of 1 to ${DELIMITER_LENGTH_MAX} characters`, 'for example "\\n"');
const separatorWrong = misfit('one character other than a quote or an end of line', 'for example ","');
const PATTERN_EXAMPLE = '"T=(?<temperature>[0-9.]+)"';
const FRAME_EXAMPLE = '{ frame: { start: "7e", end: "7e" } }';
const MODBUS_EXAMPLE = '{ modbus: { unit: 17, registers: [{ name: voltage, type: input, address: 0 }] } }';
const DECODER_EXAMPLES = `json, nmea, { csv: { columns: [temperature, humidity] } } or { regex: { pattern: ${PATTERN_EXAMPLE} } }; or a mapping with frame or modbus`;

const lineKeys = {
  delimiter: z
    .string({ error: delimiterWrong })
    .min(1, { error: delimiterWrong })
    .max(DELIMITER_LENGTH_MAX, { error: delimiterWrong })
    .describe('Ends a line. A carriage return before it is dropped.')
    .default('\n'),
  lineBytesMax: integer(16, LINE_BYTES_MAX)
    .describe('A longer line is counted as malformed and skipped.')
    .default(LINE_BYTES_DEFAULT),
};

const JsonOptions = section({ ...lineKeys }).describe('Each line is a JSON text, taken as it stands.');

const COLUMN_EXAMPLE = 'temperature or { name: serialNo, type: text }';
const columnName = text('the name of a column', 'temperature');
const valueType = choice(['text', 'number']);

const ColumnSchema = section({
  name: columnName.describe('Its name.'),
  type: valueType
    .describe(
      '`text`: as it stands; `number`: also with leading zeros or in quotes, and null where it is none. Left out: a number where it looks like one and nothing else; see [serial.md](serial.md#json-csv-and-patterns).',
    )
    .exactOptional(),
});

const CsvOptions = section({
  columns: list(
    z.union([columnName, ColumnSchema], { error: quoted(misfit('a column', `for example ${COLUMN_EXAMPLE}`)) }),
    '[temperature, humidity]',
  )
    .min(1, { error: 'an empty list; write for example [temperature, humidity]' })
    .max(COLUMNS_MAX, { error: `more than ${COLUMNS_MAX} columns` })
    .superRefine((columns, context) => {
      const names = columns.map((column) => (typeof column === 'string' ? column : column.name));
      names.forEach((name, index) => {
        if (names.indexOf(name) === index) return;
        const path = typeof columns[index] === 'string' ? [index] : [index, 'name'];
        complain(context, `${show(name)} stands twice; columns need names of their own`, path);
      });
    })
    .describe('The columns from left to right: the name of each, or a mapping that also says what is in it.'),
  separator: z
    .string({ error: separatorWrong })
    .regex(/^[^"\r\n]$/u, { error: separatorWrong })
    .describe('Stands between columns.')
    .default(','),
  ...lineKeys,
}).describe('Each line is a row of separated values.');

/** The names of a pattern's groups, or what is wrong with it. */
function groupsOf(pattern: string): readonly string[] | string {
  let match: RegExpExecArray | null;
  try {
    new RegExp(pattern);
    // With an empty alternative it matches the empty text, and the match tells which groups exist.
    match = new RegExp(`${pattern}|`).exec('');
  } catch (error) {
    const reason = (error as Error).message.replace(/^.*: /, '').toLowerCase();
    return `${show(pattern)} is not a regular expression (${reason}); write for example ${PATTERN_EXAMPLE}`;
  }
  if (match?.groups === undefined) {
    return `${show(pattern)} has no named group; write for example ${PATTERN_EXAMPLE}`;
  }
  return Object.keys(match.groups);
}

const RegexOptions = section({
  pattern: text('a regular expression', PATTERN_EXAMPLE)
    .superRefine((pattern, context) => {
      const groups = groupsOf(pattern);
      if (typeof groups === 'string') complain(context, groups);
    })
    .describe('ECMAScript regular expression; its named groups become the fields of the message.'),
  types: z
    .record(z.string(), valueType, { error: misfit('a mapping', 'for example { serialNo: text }') })
    .describe(
      'What a group is, by its name: `text` as it stands, or `number`, which is null where it is none. Left out: a number where it looks like one and nothing else; see [serial.md](serial.md#json-csv-and-patterns).',
    )
    .exactOptional(),
  ...lineKeys,
})
  .superRefine(({ pattern, types }, context) => {
    if (context.issues.length > 0) return;
    const groups = groupsOf(pattern);
    if (typeof groups === 'string') return;
    for (const name of Object.keys(types ?? {})) {
      if (groups.includes(name)) continue;
      complain(context, `${show(name)} is no group of the pattern, which has ${groups.join(', ')}`, ['types', name]);
    }
  })
  .describe('Each line is matched against a pattern.');

const DECODERS = ['json', 'csv', 'regex', 'nmea', 'frame', 'modbus'] as const;

/** The error of a decoder that is neither a mapping nor a word that stands alone. */
const decoderFault: Wording = ({ input }) => {
  if (input === 'csv') return '"csv" needs columns; write for example { csv: { columns: [temperature, humidity] } }';
  if (input === 'modbus') return `"modbus" needs registers; write for example ${MODBUS_EXAMPLE}`;
  if (input === 'regex') return `"regex" needs a pattern; write for example { regex: { pattern: ${PATTERN_EXAMPLE} } }`;
  if (input === 'frame') return `"frame" needs to know what a frame is; write for example ${FRAME_EXAMPLE}`;
  return misfit('a decoder', DECODER_EXAMPLES)({ input });
};

const DecoderMapping = section({
  json: JsonOptions.exactOptional(),
  csv: CsvOptions.exactOptional(),
  regex: RegexOptions.exactOptional(),
  nmea: NmeaOptions.exactOptional(),
  frame: FrameOptions.exactOptional(),
  modbus: ModbusOptions.exactOptional(),
})
  .superRefine((decoder, context) => {
    if (context.issues.length > 0) return;
    const named = DECODERS.filter((kind) => decoder[kind] !== undefined);
    if (named.length === 1) return;
    const none = `an empty mapping is not a decoder; write ${DECODER_EXAMPLES}`;
    complain(context, named.length === 0 ? none : `${named.join(' and ')} at once; keep one`);
  })
  .meta({ minProperties: 1, maxProperties: 1 });

export type Decoder =
  | ({ kind: 'json' } & z.output<typeof JsonOptions>)
  | ({ kind: 'csv' } & z.output<typeof CsvOptions>)
  | ({ kind: 'regex' } & z.output<typeof RegexOptions>)
  | ({ kind: 'nmea' } & z.output<typeof NmeaOptions>)
  | ({ kind: 'frame' } & z.output<typeof FrameOptions>)
  | ({ kind: 'modbus' } & z.output<typeof ModbusOptions>);

const DecoderSchema = z
  .union([z.literal(['json', 'nmea']), DecoderMapping], { error: decoderFault })
  .transform((decoder): Decoder => {
    if (decoder === 'nmea') return { kind: 'nmea', ...NmeaOptions.parse({}) };
    if (decoder === 'json') return { kind: 'json', ...JsonOptions.parse({}) };
    if (decoder.csv !== undefined) return { kind: 'csv', ...decoder.csv };
    if (decoder.regex !== undefined) return { kind: 'regex', ...decoder.regex };
    if (decoder.nmea !== undefined) return { kind: 'nmea', ...decoder.nmea };
    if (decoder.frame !== undefined) return { kind: 'frame', ...decoder.frame };
    if (decoder.modbus !== undefined) return { kind: 'modbus', ...decoder.modbus };
    return { kind: 'json', ...decoder.json! };
  });

const PORT_EXAMPLE = 'rs485 or /dev/ttyUSB0';

/** Four hexadecimal digits, which YAML would take for a number. */
function usbNumber(what: string, example: string) {
  const error: Wording = ({ input }) =>
    typeof input === 'number'
      ? `${input} is read as a number; put it in quotes, for example ${example}`
      : misfit(`four hexadecimal digits`, `for example ${example}`)({ input });
  return z
    .string({ error })
    .regex(/^[0-9A-Fa-f]{4}$/, { error })
    .describe(what);
}

const UsbSchema = section({
  usb: section({
    vendor: usbNumber('Vendor, as `lsusb` shows it.', '"0403"'),
    product: usbNumber('Product, as `lsusb` shows it.', '"6001"'),
    serial: text('a serial number', '"A50285BI"')
      .describe('Serial number of the device, where several of a kind are plugged in.')
      .exactOptional(),
    interface: integer(0, 255).describe('Number of the interface, where one device has several ports.').exactOptional(),
  }).describe('The port of a USB device, wherever it is plugged in. `holdfast serial probe` shows the numbers.'),
});

const Rs485Schema = section({
  rtsOnSend: choice(['high', 'low']).describe('Level of RTS while sending; the other while listening.').default('high'),
  delayBeforeMs: integer(0, 1000).describe('Time from switching to the first bit, milliseconds.').default(0),
  delayAfterMs: integer(0, 1000).describe('Time from the last bit to switching back, milliseconds.').default(0),
}).describe(
  'For RS-485 transceivers whose direction is switched by RTS: the kernel does it, where the driver of the port can. USB adapters and most boards switch by themselves and need nothing.',
);

export const SerialSchema = section({
  port: z
    .union([text('a serial port', PORT_EXAMPLE), UsbSchema], {
      error: misfit('a serial port', `for example ${PORT_EXAMPLE}`),
    })
    .describe(
      'A name from the profile, the path of a device (those in `/dev/serial/by-id` and `by-path` stay), or a USB device.',
    ),
  baudRate: integer(50, 4_000_000).describe('Bits per second on the line.').default(9600),
  dataBits: choice([5, 6, 7, 8]).describe('Data bits in a character.').default(8),
  parity: choice(['none', 'even', 'odd']).describe('Parity bit.').default('none'),
  stopBits: choice([1, 2]).describe('Stop bits after a character.').default(1),
  decoder: DecoderSchema.describe('How what comes becomes messages: `json`, `nmea`, or one of the mappings below.'),
  rs485: Rs485Schema.exactOptional(),
  reopenAfter: duration(1000, 7 * 86_400_000, 'from 1s to 7d, with its unit', '5m')
    .describe(
      'The port is closed and opened again when nothing came for so long. Left out: never; with `modbus` after 2m of requests that nobody at the line answers.',
    )
    .exactOptional(),
})
  .superRefine(({ dataBits, decoder }, context) => {
    if (decoder?.kind !== 'modbus' || dataBits === 8) return;
    complain(context, `${show(dataBits)} is too few for Modbus RTU, whose bytes have 8 bits; remove it`, ['dataBits']);
  }, ALONGSIDE)
  .describe('A sensor on a serial line.');
