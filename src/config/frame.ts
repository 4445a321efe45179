import * as z from 'zod';
import { roomProblems } from './frame-room.ts';
import { ALONGSIDE, ALONGSIDE_LIST, choice, complain, integer, list, misfit, section, show, text } from './values.ts';

/** Longest frame that may be asked for, bytes. */
export const FRAME_BYTES_MAX = 4096;
const FIELDS_MAX = 256;
/** Longest start and end, bytes. */
const FLAG_BYTES_MAX = 8;

const NUMBERS = [
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float32',
  'float64',
] as const;
const COUNTS = ['uint8', 'uint16', 'uint32'] as const;
/** Checksums as devices send them. The CRCs are named as in "Catalogue of parametrised CRC algorithms" (reveng). */
export const CHECKSUMS = [
  'sum8',
  'sum8-complement',
  'sum16',
  'xor8',
  'crc8',
  'crc16-modbus',
  'crc16-ccitt',
  'crc16-x25',
  'crc32',
] as const;

/** Bytes in hexadecimal, in quotes. */
function hexBytes(max: number, example: string) {
  const bytes = max === 1 ? 'one byte' : `1 to ${max} bytes`;
  const otherwise = misfit(`${bytes} in hexadecimal`, `for example ${example}`);
  return z
    .string({
      error: ({ input }) =>
        typeof input === 'number'
          ? `${input} is read as a number; put it in quotes, for example ${example}`
          : otherwise({ input }),
    })
    .regex(new RegExp(`^[0-9A-Fa-f]{2}( ?[0-9A-Fa-f]{2}){0,${max - 1}}$`), { error: otherwise })
    .transform((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}

const byteOrder = choice(['big', 'little']).describe('Which byte comes first: `big` the highest.').default('big');
const numberWrong = misfit('a number');
const scaleWrong = misfit('a number other than 0', 'for example 0.1');

const FieldSchema = section({
  name: text('a name', 'temperature').describe('Key of the value in the message.'),
  at: integer(0, FRAME_BYTES_MAX - 1).describe(
    'Position of its first byte in the frame: 0 is the first byte of `start`.',
  ),
  format: choice([...NUMBERS, 'bool', 'hex', 'string'])
    .describe('How to read it.')
    .default('uint8'),
  length: integer(1, FRAME_BYTES_MAX).describe('Bytes of `hex` and `string`.').exactOptional(),
  bit: integer(0, 7)
    .describe('With `bool`: which bit, 0 for the lowest. Left out: true is anything but 0.')
    .exactOptional(),
  byteOrder,
  scale: z
    .number({ error: scaleWrong })
    .refine((scale) => scale !== 0, { error: scaleWrong })
    .describe('The value is the number times this ...')
    .default(1),
  offset: z.number({ error: numberWrong }).describe('... plus this.').default(0),
}).superRefine((field, context) => {
  if (context.issues.length > 0) return;
  const { format, length, bit } = field;
  const hasLength = format === 'hex' || format === 'string';
  if (hasLength && length === undefined) complain(context, `missing; a ${format} needs it`, ['length']);
  if (!hasLength && length !== undefined)
    complain(context, `is for hex and string, and this is ${format}; remove it`, ['length']);
  if (bit !== undefined && format !== 'bool')
    complain(context, `is for bool, and this is ${format}; remove it`, ['bit']);
}, ALONGSIDE);

export const FrameOptions = section({
  start: hexBytes(FLAG_BYTES_MAX, '"7e"').describe('What every frame begins with, in hexadecimal.').exactOptional(),
  end: hexBytes(FLAG_BYTES_MAX, '"7e"')
    .describe('What every frame ends with. Or else `length`, or `size`.')
    .exactOptional(),
  escape: section({
    byte: hexBytes(1, '"7d"').describe('The byte that stands before.'),
    xor: hexBytes(1, '"20"').describe('What the byte after it is XORed with; `"00"` where it is only doubled.'),
  })
    .describe('With `end`: how bytes are sent that would mean something else.')
    .exactOptional(),
  length: section({
    at: integer(0, FRAME_BYTES_MAX - 1).describe('Position of its first byte in the frame.'),
    format: choice(COUNTS).describe('How to read it.').default('uint8'),
    byteOrder,
    adds: integer(-FRAME_BYTES_MAX, FRAME_BYTES_MAX)
      .describe('What is to be added for the length of the whole frame, from `start` to the end of the checksum.')
      .default(0),
  })
    .describe('A number in the frame that says how long it is.')
    .exactOptional(),
  size: integer(1, FRAME_BYTES_MAX).describe('All frames have this many bytes.').exactOptional(),
  frameBytesMax: integer(1, FRAME_BYTES_MAX).describe('A longer frame is malformed.').default(1024),
  checksum: section({
    kind: choice(CHECKSUMS).describe('How it is made; see [serial.md](serial.md).'),
    from: integer(0, FRAME_BYTES_MAX - 1)
      .describe('Position of the first byte that it covers; it covers all up to itself.')
      .default(0),
    byteOrder,
  })
    .describe('The last bytes of a frame, before `end`.')
    .exactOptional(),
  fields: list(FieldSchema, '[{ name: temperature, at: 4, format: int16, scale: 0.1 }]')
    .min(1, { error: 'an empty list; leave it out for frames as they are' })
    .max(FIELDS_MAX, { error: `more than ${FIELDS_MAX} fields` })
    .superRefine((fields, context) => {
      const seen = new Set<unknown>();
      fields.forEach((field, index) => {
        const name: unknown = field?.name;
        if (typeof name === 'string' && seen.has(name)) {
          complain(context, `${show(name)} stands twice; fields need names of their own`, [index, 'name']);
        }
        seen.add(name);
      });
    }, ALONGSIDE_LIST)
    .describe('What becomes of a frame: name to value. Left out: the message is the frame itself, as bytes.')
    .exactOptional(),
})
  .superRefine((frame, context) => {
    if (context.issues.length > 0) return;
    const ways = (['end', 'length', 'size'] as const).filter((key) => frame[key] !== undefined);
    if (ways.length === 0) complain(context, 'says nothing of where a frame ends; write end, length or size');
    if (ways.length > 1) complain(context, `${ways.join(' and ')} at once; keep one`);
    if (frame.end === undefined && frame.start === undefined && frame.checksum === undefined)
      complain(context, 'without start, end or checksum nothing tells a frame from noise; write one of them');
    if (frame.escape !== undefined && frame.end === undefined)
      complain(context, 'is for frames with end; remove it', ['escape']);
    if (ways.length !== 1) return;
    for (const { path, message } of roomProblems(frame)) complain(context, message, path);
  }, ALONGSIDE)
  .transform(({ start, escape, ...frame }) => ({
    ...frame,
    start: start ?? Buffer.alloc(0),
    ...(escape && { escape: { byte: escape.byte[0]!, xor: escape.xor[0]! } }),
  }))
  .describe('Binary frames.');
