import { isBits, type Register, type RegisterType, span } from './register.ts';

/** Most that one request may read ("MODBUS Application Protocol" V1.1b3, sections 6.1 to 6.4). */
export const READ_WORDS_MAX = 125;
export const READ_BITS_MAX = 2000;

/** What is read with one request: `count` addresses from `address` on, and the registers that lie in there. */
export interface Group<R extends Register = Register> {
  readonly type: RegisterType;
  readonly address: number;
  readonly count: number;
  readonly registers: readonly R[];
}

/**
 * Puts registers into as few requests as can be, in the order of type and address. Addresses that nobody asked for are
 * read along where no more than `gapMax` of them lie between two registers: a request costs more than a few words.
 */
export function pollGroups<R extends Register>(registers: readonly R[], gapMax: number): Group<R>[] {
  const groups: Group<R>[] = [];
  const sorted = registers.toSorted((a, b) => order(a) - order(b));
  for (const register of sorted) {
    const last = groups.at(-1);
    const end = register.address + span(register);
    if (last !== undefined && last.type === register.type) {
      const lastEnd = last.address + last.count;
      const joinedEnd = Math.max(end, lastEnd);
      const countMax = isBits(register.type) ? READ_BITS_MAX : READ_WORDS_MAX;
      if (register.address - lastEnd <= gapMax && joinedEnd - last.address <= countMax) {
        groups[groups.length - 1] = {
          ...last,
          count: joinedEnd - last.address,
          registers: [...last.registers, register],
        };
        continue;
      }
    }
    groups.push({ type: register.type, address: register.address, count: span(register), registers: [register] });
  }
  return groups;
}

const TYPES: readonly RegisterType[] = ['coil', 'discrete', 'holding', 'input'];

function order({ type, address }: Register): number {
  return TYPES.indexOf(type) * 0x10000 + address;
}

/** `holding 100 to 109`, for people. */
export function groupText({ type, address, count }: Pick<Group, 'type' | 'address' | 'count'>): string {
  return count === 1 ? `${type} ${address}` : `${type} ${address} to ${address + count - 1}`;
}
