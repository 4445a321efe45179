import { WRITE_BITS_MAX, WRITE_WORDS_MAX, writeCoilsRequest, writeWordsRequest } from './pdu.ts';
import { encodeWords, type Register, span } from './register.ts';

export interface WriteRequest {
  readonly pdu: Buffer;
  readonly names: readonly string[];
}

export type WritePlan =
  | { readonly requests: readonly WriteRequest[]; readonly readBack: boolean }
  | { readonly error: string };

const FORM = 'write needs {"name": "...", "value": ...}, or a list of them';

/** One value on its way to the device: the state of a coil, or words. */
interface Setting {
  readonly register: Register;
  readonly value: boolean | Buffer;
}

/**
 * The requests that a `write` payload asks for: `{name, value}` (or `register` for the name, or its address), a list of
 * those, or `{values: [...]}`; `readBack` stands beside. Neighbours in a list are set with one request, in the order of
 * the list.
 */
export function writeRequests(registers: readonly Register[], payload: unknown, multiple: boolean): WritePlan {
  const readBack = isMapping(payload) && payload['readBack'] === true;
  const listed = isMapping(payload) && Array.isArray(payload['values']) ? payload['values'] : payload;
  const orders: unknown[] = Array.isArray(listed) ? listed : [listed];
  if (orders.length === 0) return { error: FORM };
  const settings: Setting[] = [];
  for (const order of orders) {
    const setting = settingOf(registers, order);
    if (typeof setting === 'string') return { error: setting };
    settings.push(setting);
  }
  return { requests: neighbours(settings).map((run) => requestOf(run, multiple)), readBack };
}

function settingOf(registers: readonly Register[], order: unknown): Setting | string {
  if (!isMapping(order) || !Object.hasOwn(order, 'value')) return FORM;
  const wanted = order['name'] ?? order['register'];
  const writable = registers.filter((each) => each.writable);
  const register = writable.find(({ name, address }) => (typeof wanted === 'number' ? address : name) === wanted);
  if (register === undefined) {
    if (typeof wanted !== 'string' && typeof wanted !== 'number') return FORM;
    const names = writable.map(({ name }) => name).join(', ');
    return `there is no writable register ${JSON.stringify(wanted)}; ${names === '' ? 'none is writable' : `writable: ${names}`}`;
  }
  const { value } = order;
  if (register.type === 'coil') {
    if (typeof value !== 'boolean' && value !== 0 && value !== 1) return `${register.name} takes true or false`;
    return { register, value: Boolean(value) };
  }
  const words = encodeWords(register, value);
  return typeof words === 'string' ? words : { register, value: words };
}

/** Runs of settings that follow each other in the device's tables. */
function neighbours(settings: readonly Setting[]): Setting[][] {
  const runs: Setting[][] = [];
  let length = 0;
  for (const setting of settings) {
    const { type, address } = setting.register;
    const last = runs.at(-1)?.at(-1)?.register;
    const countMax = type === 'coil' ? WRITE_BITS_MAX : WRITE_WORDS_MAX;
    const follows = last !== undefined && last.type === type && last.address + span(last) === address;
    if (follows && length + span(setting.register) <= countMax) {
      runs.at(-1)!.push(setting);
      length += span(setting.register);
    } else {
      runs.push([setting]);
      length = span(setting.register);
    }
  }
  return runs;
}

function requestOf(run: readonly Setting[], multiple: boolean): WriteRequest {
  const { type, address } = run[0]!.register;
  const names = run.map(({ register }) => register.name);
  if (type === 'coil') {
    return {
      pdu: writeCoilsRequest(
        address,
        run.map(({ value }) => value === true),
        multiple,
      ),
      names,
    };
  }
  const words = run.flatMap(({ value }) => (typeof value === 'boolean' ? [] : [value]));
  return { pdu: writeWordsRequest(address, Buffer.concat(words), multiple), names };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
