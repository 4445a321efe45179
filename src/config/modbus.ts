import * as z from 'zod';
import {
  ALONGSIDE,
  ALONGSIDE_LIST,
  choice,
  complain,
  duration,
  flag,
  integer,
  list,
  milliseconds,
  misfit,
  section,
  show,
  text,
} from './values.ts';

/** Most registers of one child: as many as two full requests read bits. */
export const REGISTERS_MAX = 4000;
/** Most registers that a text takes, so that one request reads it. */
const STRING_LENGTH_MAX = 125;
const DAY_MS = 86_400_000;

const FORMATS = [
  'bool',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float32',
  'float64',
  'string',
] as const;

type Format = (typeof FORMATS)[number];

const numberWrong = misfit('a number');
const scaleWrong = misfit('a number other than 0', 'for example 0.1');

const RegisterSchema = section({
  name: text('a name', 'voltage').describe('Key of the value in the message.'),
  type: choice(['holding', 'input', 'coil', 'discrete']).describe('Which of the four tables.').default('holding'),
  address: integer(0, 0xffff).describe(
    'As on the wire, from 0: what a manual calls 40001 or 30001 is usually address 0.',
  ),
  format: choice(FORMATS)
    .describe('How to read it. Left out: `bool` for coils, discrete inputs and a `bit`, `uint16` for the others.')
    .exactOptional(),
  length: integer(1, STRING_LENGTH_MAX).describe('Registers of a `string`, two characters each.').exactOptional(),
  bit: integer(0, 15).describe('With `bool` in a register of 16 bits: which bit, 0 for the lowest.').exactOptional(),
  wordOrder: choice(['big', 'little'])
    .describe('Which of several registers comes first: `big` that with the highest digits.')
    .default('big'),
  byteOrder: choice(['big', 'little'])
    .describe('Which byte of a register comes first. The protocol says `big`; some devices do not.')
    .default('big'),
  scale: z
    .number({ error: scaleWrong })
    .refine((scale) => scale !== 0, { error: scaleWrong })
    .describe('The value is the number times this ...')
    .default(1),
  offset: z.number({ error: numberWrong }).describe('... plus this.').default(0),
  unit: text('a unit', 'V').describe('Unit of the value; travels in the property `units`.').exactOptional(),
  writable: flag().describe('The command `write` may set it; for `holding` and `coil`.').default(false),
})
  .superRefine((register, context) => {
    if (context.issues.length > 0) return;
    const { type, address, length, bit, scale, offset, writable } = register;
    const bits = type === 'coil' || type === 'discrete';
    const format = formatOf(register);
    const wrong = (key: string, message: string): void => complain(context, message, [key]);
    if (bits && format !== 'bool')
      wrong('format', `${show(format)} is for registers, and a ${type} is one bit; remove it`);
    if (format === 'string' && length === undefined) wrong('length', 'missing; a string needs it');
    if (format !== 'string' && length !== undefined)
      wrong('length', `is for format string, and this is ${format}; remove it`);
    if (bit !== undefined && (bits || format !== 'bool'))
      wrong('bit', 'is for format bool in a holding or input register; remove it');
    if ((format === 'bool' || format === 'string') && (scale !== 1 || offset !== 0))
      wrong(scale === 1 ? 'offset' : 'scale', `is for numbers, and this is ${format}; remove it`);
    if (writable && (type === 'input' || type === 'discrete'))
      wrong('writable', `no ${type} can be written; remove it`);
    if (writable && bit !== undefined) wrong('writable', 'a bit of a register cannot be written alone; remove it');
    const last = address + addresses(format, length) - 1;
    if (last > 0xffff) wrong('address', `${address} is too near to the end: it would reach to ${last}, past 65535`);
  }, ALONGSIDE)
  .transform((register) => ({
    ...register,
    format: formatOf(register),
  }));

function formatOf({ type, format, bit }: { type: string; format?: Format; bit?: number }): Format {
  return format ?? (type === 'coil' || type === 'discrete' || bit !== undefined ? 'bool' : 'uint16');
}

function addresses(format: Format, length = 1): number {
  if (format === 'string') return length;
  return format === 'bool' ? 1 : Number(/\d+$/.exec(format)![0]) / 16;
}

export const ModbusOptions = section({
  unit: integer(1, 247).describe('Address of the device on the line.'),
  every: duration(50, 7 * DAY_MS, 'from 50ms to 7d, with its unit', '5s')
    .describe('Time from poll to poll; each is one message.')
    .prefault('5s'),
  timeoutMs: milliseconds({ min: 10, max: 60_000 }, '500 or 500ms')
    .describe('How long an answer may take to begin.')
    .prefault(1000),
  retries: integer(0, 10).describe('How often a request without an answer is sent again.').default(1),
  gapMax: integer(0, 124)
    .describe(
      'Registers that nobody asked for are read along to save a request where no more than so many lie between two.',
    )
    .default(8),
  writeMultiple: flag().describe('Write with functions 15 and 16 only, for devices without 5 and 6.').default(false),
  registers: list(RegisterSchema)
    .min(1, { error: 'an empty list; write for example [{ name: voltage, type: input, address: 0 }]' })
    .max(REGISTERS_MAX, { error: `more than ${REGISTERS_MAX} registers` })
    .superRefine((registers, context) => {
      const seen = new Set<unknown>();
      registers.forEach((register, index) => {
        const name: unknown = register?.name;
        if (typeof name === 'string' && seen.has(name)) {
          complain(context, `${show(name)} stands twice; registers need names of their own`, [index, 'name']);
        }
        seen.add(name);
      });
    }, ALONGSIDE_LIST)
    .describe('What is read.'),
}).describe('A device that is asked for its registers over Modbus RTU. Several such children may share a port.');
