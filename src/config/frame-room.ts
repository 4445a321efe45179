/** A frame as far as its room is concerned. Each key is sound by itself, and one of `end`, `length` and `size` is there. */
interface FrameShape {
  readonly start?: Buffer;
  readonly end?: Buffer;
  readonly length?: { readonly at: number; readonly format: string; readonly adds: number };
  readonly size?: number;
  readonly frameBytesMax: number;
  readonly checksum?: { readonly kind: string; readonly from: number };
  readonly fields?: readonly { readonly at: number; readonly format: string; readonly length?: number }[];
}

/** Where in the frame's section a problem is, and what to do about it. */
interface RoomProblem {
  readonly path: (string | number)[];
  readonly message: string;
}

/** How many bytes there are for everything but `end`, at most. */
interface Room {
  readonly bytes: number;
  /** For people: `a frame has at most 14 (frameBytesMax without end)`. */
  readonly said: string;
  /** What to write to have room for so many; undefined where that is not one key's matter. */
  readonly toHave: (bytes: number) => string | undefined;
}

/** What can never be in a frame that its own configuration allows. */
export function roomProblems(frame: FrameShape): RoomProblem[] {
  const problems = delimiterProblems(frame);
  // What else has no room has none for the same reason.
  if (problems.length > 0) return problems;
  const room = roomOf(frame);
  return [...checksumProblems(frame, room), ...fieldProblems(frame, room)];
}

/** Bytes of a number or a checksum, whose names say how many bits it has. */
export function bytesOf(name: string): number {
  return Number(/\d+/.exec(name)![0]) / 8;
}

function delimiterProblems({ start, end, size, length, frameBytesMax }: FrameShape): RoomProblem[] {
  const before = start?.length ?? 0;
  if (size !== undefined && size < before) {
    const message = `${size} is less than the ${counted(before)} of start; write at least ${before}`;
    return [{ path: ['size'], message }];
  }
  if (end !== undefined && before + end.length > frameBytesMax) {
    const message = `${frameBytesMax} is less than start and end have; write at least ${before + end.length}`;
    return [{ path: ['frameBytesMax'], message }];
  }
  if (length === undefined) return [];
  const { at, format, adds } = length;
  const until = at + bytesOf(format);
  const longest = largest(format) + adds;
  if (until > frameBytesMax) {
    return [{ path: ['length', 'at'], message: tooFar(at, format, bytesOf(format), atMost(frameBytesMax)) }];
  }
  const wrong = (message: string): RoomProblem[] => [{ path: ['length', 'adds'], message }];
  if (adds > frameBytesMax) {
    const remedy = `write at most ${frameBytesMax}, or a frameBytesMax of at least ${adds}`;
    return wrong(`${adds} alone is more than frameBytesMax, which is ${frameBytesMax}; ${remedy}`);
  }
  if (longest < until) {
    const would = `with the largest length a frame would have ${counted(longest)}, and its length stands in the first ${until}`;
    return wrong(`${adds} is too little: ${would}; write at least ${until - largest(format)}`);
  }
  return [];
}

function roomOf({ end, size, length, frameBytesMax }: FrameShape): Room {
  if (size !== undefined) {
    return { bytes: size, said: `a frame has ${size} (size)`, toHave: (bytes) => `a size of at least ${bytes}` };
  }
  const longest = length === undefined ? Infinity : largest(length.format) + length.adds;
  if (length !== undefined && longest < frameBytesMax) {
    const said = `a frame has at most ${longest} (${largest(length.format)} of length and ${length.adds} of adds)`;
    return { bytes: longest, said, toHave: () => undefined };
  }
  return atMost(frameBytesMax, end?.length);
}

function atMost(frameBytesMax: number, endBytes = 0): Room {
  const bytes = frameBytesMax - endBytes;
  const said = `a frame has at most ${bytes} (frameBytesMax${endBytes > 0 ? ' without end' : ''})`;
  return { bytes, said, toHave: (wanted) => `a frameBytesMax of at least ${wanted + endBytes}` };
}

function checksumProblems({ start, checksum }: FrameShape, room: Room): RoomProblem[] {
  if (checksum === undefined) return [];
  const { kind, from } = checksum;
  const before = start?.length ?? 0;
  const own = bytesOf(kind);
  // Of nothing a checksum says nothing, so that without a start one byte more is needed.
  const least = Math.max(before, 1) + own;
  if (least > room.bytes) {
    const behind = before > 0 ? ` behind the ${before} of start` : '';
    const remedy = or(undefined, room.toHave(least)) ?? 'write a shorter kind';
    const message = `${JSON.stringify(kind)} has ${counted(own)}${behind}, and ${room.said}; ${remedy}`;
    return [{ path: ['checksum', 'kind'], message }];
  }
  if (from + own < room.bytes) return [];
  const remedy = or(`at most ${room.bytes - own - 1}`, room.toHave(from + own + 1));
  const message = `${from} is too far: nothing stands between there and the ${counted(own)} of ${kind}, and ${room.said}; ${remedy}`;
  return [{ path: ['checksum', 'from'], message }];
}

function fieldProblems({ fields = [] }: FrameShape, room: Room): RoomProblem[] {
  return fields.flatMap(({ at, format, length }, index): RoomProblem[] => {
    const own = length ?? (/\d/.test(format) ? bytesOf(format) : 1);
    return at + own <= room.bytes ? [] : [{ path: ['fields', index, 'at'], message: tooFar(at, format, own, room) }];
  });
}

function tooFar(at: number, format: string, own: number, room: Room): string {
  const nearest = room.bytes - own;
  const remedy = or(nearest < 0 ? undefined : `at most ${nearest}`, room.toHave(at + own)) ?? 'write a shorter one';
  return `${at} is too far: the ${format} there has ${counted(own)}, and ${room.said}; ${remedy}`;
}

function or(...ways: (string | undefined)[]): string | undefined {
  const open = ways.filter((way) => way !== undefined);
  return open.length === 0 ? undefined : `write ${open.join(', or ')}`;
}

function largest(format: string): number {
  return 2 ** (bytesOf(format) * 8) - 1;
}

function counted(bytes: number): string {
  return `${bytes} byte${bytes === 1 ? '' : 's'}`;
}
