import { programOf, type Instruction } from './pattern-program.ts';
import { ValueError } from './value.ts';

/*
 * REGEXMATCH. JavaScript's own regular expressions can take for ever over a few characters ((a+)+$), and the gateway would stand still;
 * this machine (Thompson's, as Pike wrote it) goes through the text once and tries all ways at the same time.
 */

/** Longest text, in characters, and the most of text times program. */
const TEXT_MAX = 65_536;
const WORK_MAX = 16_777_216;

/**
 * A search for a pattern: position of the leftmost match in the text, from 1; 0 when there is none. Throws ValueError when the pattern is
 * none that we can search for. The search throws it when the text is too long.
 */
export function pattern(source: string): (text: string) => number {
  const program = programOf(source);
  return (text) => {
    if (text.length > TEXT_MAX || text.length * program.length > WORK_MAX) {
      throw new ValueError(`REGEXMATCH: a text of ${text.length} characters is too long`);
    }
    return search(program, text);
  };
}

/** Ways through the program that are open at one place of the text, each once, those that began further left first. */
interface Threads {
  readonly places: number[];
  readonly starts: number[];
}

function search(program: readonly Instruction[], text: string): number {
  /** At which place of the text an instruction was last reached. */
  const reached = new Int32Array(program.length).fill(-1);
  let found = -1;
  let now: Threads = { places: [], starts: [] };
  let next: Threads = { places: [], starts: [] };

  const enter = (threads: Threads, place: number, start: number, at: number): void => {
    if (reached[place] === at) return;
    reached[place] = at;
    const instruction = program[place]!;
    if (instruction.kind === 'match') {
      if (found < 0 || start < found) found = start;
    } else if (instruction.kind === 'split') {
      for (const to of instruction.to) enter(threads, to, start, at);
    } else if (instruction.kind === 'unit') {
      threads.places.push(place);
      threads.starts.push(start);
    } else if (instruction.holds(text, at)) {
      enter(threads, place + 1, start, at);
    }
  };

  for (let at = 0; at <= text.length; at++) {
    if (found < 0) enter(now, 0, at, at);
    if (at === text.length || (found >= 0 && now.places.length === 0)) break;
    const code = text.charCodeAt(at);
    for (let index = 0; index < now.places.length; index++) {
      const start = now.starts[index]!;
      if (found >= 0 && start >= found) continue;
      const instruction = program[now.places[index]!]!;
      if (instruction.kind === 'unit' && instruction.has(code)) enter(next, now.places[index]! + 1, start, at + 1);
    }
    [now, next] = [next, now];
    next.places.length = 0;
    next.starts.length = 0;
  }
  return found + 1;
}
