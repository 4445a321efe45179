import { ValueError } from './value.ts';

/*
 * Regular expressions as programs for the machine of pattern.ts. The syntax is ECMAScript's without what cannot be searched in linear
 * time: back references, lookahead and lookbehind. Lazy quantifiers are as good as others, for only where a match begins is asked.
 */

/** Longest pattern, in characters; deepest nesting of groups; longest program, in instructions: `(ab){100}` has 200. */
const PATTERN_MAX = 1000;
const DEPTH_MAX = 50;
const PROGRAM_MAX = 1000;

export type Instruction =
  | { readonly kind: 'unit'; readonly has: (code: number) => boolean }
  | { readonly kind: 'split'; readonly to: readonly number[] }
  | { readonly kind: 'assert'; readonly holds: (text: string, at: number) => boolean }
  | { readonly kind: 'match' };

/** Ignores case; `^` and `$` are the text's ends. Throws ValueError when the pattern is none that we can search for. */
export function programOf(pattern: string): readonly Instruction[] {
  if (pattern.length > PATTERN_MAX) throw new ValueError(`a regular expression of more than ${PATTERN_MAX} characters`);
  const reader = new Reader(pattern);
  const program: Instruction[] = [];
  emit(reader.whole(), program);
  push(program, { kind: 'match' });
  return program;
}

type Node =
  | { readonly kind: 'unit'; readonly has: (code: number) => boolean }
  | { readonly kind: 'assert'; readonly holds: (text: string, at: number) => boolean }
  | { readonly kind: 'sequence'; readonly parts: readonly Node[] }
  | { readonly kind: 'choice'; readonly branches: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly least: number; readonly most: number };

function push(program: Instruction[], instruction: Instruction): void {
  if (program.length >= PROGRAM_MAX) throw new ValueError('a regular expression that repeats too much');
  program.push(instruction);
}

function emit(node: Node, program: Instruction[]): void {
  switch (node.kind) {
    case 'unit':
    case 'assert':
      push(program, node);
      break;
    case 'sequence':
      for (const part of node.parts) emit(part, program);
      break;
    case 'choice':
      emitChoice(node.branches, program);
      break;
    case 'repeat':
      emitRepeat(node.part, node.least, node.most, program);
      break;
    default:
      node satisfies never;
  }
}

function emitChoice(branches: readonly Node[], program: Instruction[]): void {
  const starts: number[] = [];
  const ends: number[][] = [];
  push(program, { kind: 'split', to: starts });
  for (const branch of branches) {
    starts.push(program.length);
    emit(branch, program);
    const end: number[] = [];
    ends.push(end);
    push(program, { kind: 'split', to: end });
  }
  for (const end of ends) end.push(program.length);
}

function emitRepeat(part: Node, least: number, most: number, program: Instruction[]): void {
  for (let count = 0; count < least; count++) {
    const before = program.length;
    emit(part, program);
    // Nothing is nothing however often, and groups of it within groups could be counted for ever.
    if (program.length === before) break;
  }
  if (most === Infinity) {
    const to = [program.length + 1];
    const start = program.length;
    push(program, { kind: 'split', to });
    emit(part, program);
    push(program, { kind: 'split', to: [start] });
    to.push(program.length);
    return;
  }
  const exits: number[][] = [];
  for (let count = least; count < most; count++) {
    const to = [program.length + 1];
    exits.push(to);
    push(program, { kind: 'split', to });
    emit(part, program);
  }
  for (const to of exits) to.push(program.length);
}

const DIGIT: Node = { kind: 'unit', has: (code) => code >= 48 && code <= 57 };
const WORD: Node = { kind: 'unit', has: isWord };
const SPACE: Node = { kind: 'unit', has: (code) => /\s/.test(String.fromCharCode(code)) };
const ANY: Node = {
  kind: 'unit',
  has: (code) => code !== 10 && code !== 13 && code !== 0x2028 && code !== 0x2029,
};
const CLASSES: Readonly<Record<string, Node & { kind: 'unit' }>> = {
  d: DIGIT,
  w: WORD,
  s: SPACE,
  D: not(DIGIT),
  W: not(WORD),
  S: not(SPACE),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

function isWord(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122);
}

function not(unit: Node & { kind: 'unit' }): Node & { kind: 'unit' } {
  return { kind: 'unit', has: (code) => !unit.has(code) };
}

/** Capital and small letter are the same. */
function inRange(from: number, to: number): Node & { kind: 'unit' } {
  const within = (code: number): boolean => code >= from && code <= to;
  return {
    kind: 'unit',
    has(code) {
      if (within(code)) return true;
      const sign = String.fromCharCode(code);
      return within(sign.toLowerCase().charCodeAt(0)) || within(sign.toUpperCase().charCodeAt(0));
    },
  };
}

function atEdgeOfWord(text: string, at: number): boolean {
  return isWord(text.charCodeAt(at - 1)) !== isWord(text.charCodeAt(at));
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Node {
    const node = this.#choice(0);
    if (this.#at < this.#text.length) this.#wrong('there is no ( for this )');
    return node;
  }

  #choice(depth: number): Node {
    if (depth > DEPTH_MAX) this.#wrong('groups are nested too deeply');
    const branches = [this.#sequence(depth)];
    while (this.#takes('|')) branches.push(this.#sequence(depth));
    return branches.length === 1 ? branches[0]! : { kind: 'choice', branches };
  }

  #sequence(depth: number): Node {
    const parts: Node[] = [];
    while (this.#at < this.#text.length && !'|)'.includes(this.#text[this.#at]!)) parts.push(this.#quantified(depth));
    return { kind: 'sequence', parts };
  }

  #quantified(depth: number): Node {
    const part = this.#atom(depth);
    const sign = this.#text[this.#at];
    let least = 0;
    let most = Infinity;
    if (sign === '+') least = 1;
    else if (sign === '?') most = 1;
    else if (sign === '{') [least, most] = this.#counts();
    else if (sign !== '*') return part;
    if (sign !== '{') this.#at++;
    this.#takes('?');
    if (part.kind === 'assert') this.#wrong('nothing to repeat');
    return { kind: 'repeat', part, least, most };
  }

  #counts(): [number, number] {
    const found = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(this.#text.slice(this.#at, this.#at + 12));
    if (found === null) return this.#wrong('{ begins a count such as {2,5}; \\{ is the character');
    this.#at += found[0].length;
    const least = Number(found[1]);
    const most = found[2] === undefined ? least : found[3] === '' ? Infinity : Number(found[3]);
    return most < least ? this.#wrong('the counts are the wrong way round') : [least, most];
  }

  #atom(depth: number): Node {
    const sign = this.#text[this.#at++]!;
    switch (sign) {
      case '(':
        return this.#group(depth);
      case '[':
        return this.#set();
      case '.':
        return ANY;
      case '^':
        return { kind: 'assert', holds: (_, at) => at === 0 };
      case '$':
        return { kind: 'assert', holds: (text, at) => at === text.length };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        return this.#wrong('nothing to repeat');
      default:
        return inRange(sign.charCodeAt(0), sign.charCodeAt(0));
    }
  }

  #group(depth: number): Node {
    if (this.#takes('?')) {
      const head = /^(?::|<[A-Za-z_$][\w$]*>)/.exec(this.#text.slice(this.#at))?.[0];
      if (head === undefined) return this.#wrong('lookahead and lookbehind are not supported');
      this.#at += head.length;
    }
    const node = this.#choice(depth + 1);
    if (!this.#takes(')')) this.#wrong('a ( is not closed');
    return node;
  }

  #escape(): Node {
    const edge = this.#text[this.#at];
    if (edge === 'b' || edge === 'B') {
      this.#at++;
      return { kind: 'assert', holds: (text, at) => atEdgeOfWord(text, at) === (edge === 'b') };
    }
    const unit = this.#escaped();
    return typeof unit === 'number' ? inRange(unit, unit) : unit;
  }

  /** What an escape means, in a set or outside: one character's code, or a class of them. */
  #escaped(): number | (Node & { kind: 'unit' }) {
    const sign = this.#text[this.#at++];
    if (sign === undefined) return this.#wrong('it ends with a \\');
    if (Object.hasOwn(CLASSES, sign)) return CLASSES[sign]!;
    if (Object.hasOwn(CONTROLS, sign)) return CONTROLS[sign]!;
    if (sign === 'x' || sign === 'u') {
      const digits = this.#text.slice(this.#at, this.#at + (sign === 'x' ? 2 : 4));
      if (!/^(?:[\da-f]{2}){1,2}$/i.test(digits) || digits.length !== (sign === 'x' ? 2 : 4)) {
        return this.#wrong(`\\${sign} needs its hexadecimal digits`);
      }
      this.#at += digits.length;
      return Number.parseInt(digits, 16);
    }
    if (/[1-9k]/.test(sign)) return this.#wrong('back references are not supported');
    if (/[A-Za-z]/.test(sign)) return this.#wrong(`\\${sign} means nothing`);
    return sign.charCodeAt(0);
  }

  #set(): Node {
    const negated = this.#takes('^');
    const members: (Node & { kind: 'unit' })[] = [];
    while (!this.#takes(']')) {
      if (this.#at >= this.#text.length) this.#wrong('a [ is not closed');
      const from = this.#member();
      if (typeof from !== 'number') {
        members.push(from);
      } else if (this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']' && this.#at + 1 < this.#text.length) {
        this.#at++;
        const to = this.#member();
        if (typeof to !== 'number' || to < from) return this.#wrong('a range in [ ] is the wrong way round');
        members.push(inRange(from, to));
      } else {
        members.push(inRange(from, from));
      }
    }
    return { kind: 'unit', has: (code) => members.some((member) => member.has(code)) !== negated };
  }

  #member(): number | (Node & { kind: 'unit' }) {
    const sign = this.#text[this.#at++]!;
    if (sign !== '\\') return sign.charCodeAt(0);
    if (this.#takes('b')) return 8;
    if (this.#takes('-')) return 45;
    return this.#escaped();
  }

  #takes(sign: string): boolean {
    if (this.#text[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }

  #wrong(why: string): never {
    throw new ValueError(`no regular expression at its position ${this.#at}: ${why}`);
  }
}
