/*
 * Values of the query language. A type belongs to each value, not to a column:
 *
 *   NULL       null (a missing field is NULL too)
 *   bigint     number that is whole and safe; bigint beyond +-(2^53 - 1), within 64 bits
 *   float      number that is not whole; Float when the value is whole (20.0), so that 20.0 / 8 stays 2.5 and 20 / 8 is 2
 *   nvarchar   string
 *   datetime   DateTime
 *   bit        boolean
 *   record     Fields: an object as JSON.parse makes it; only its own properties count
 *   array      array
 */
export type Value = null | number | bigint | Float | string | DateTime | boolean | Fields | readonly Value[];

export interface Fields {
  readonly [name: string]: Value;
}

/** A float whose value is a whole number. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  toJSON(): number {
    return this.value;
  }
}

/** A moment in UTC, to 100 ns. */
export class DateTime {
  /** Whole milliseconds since 1970, rounded down. */
  readonly ms: number;
  /** Units of 100 ns beyond them, 0 to 9,999. */
  readonly ticks: number;

  constructor(ms: number, ticks = 0) {
    this.ms = ms;
    this.ticks = ticks;
  }

  /** As the reference writes it: always 7 digits of a second's fraction. */
  toString(): string {
    return `${new Date(this.ms).toISOString().slice(0, -1)}${String(this.ticks).padStart(4, '0')}Z`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A failed CAST, a wrong type, a division by zero: the event is dropped and counted. */
export class ValueError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ValueError';
  }
}
