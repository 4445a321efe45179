/** Steps from the root of a document to a value: keys of mappings and indexes of lists. */
export type Path = readonly (string | number)[];

/** One thing that is wrong, or worth a warning, in a file that somebody wrote. */
export interface Problem {
  /** As the caller named it. */
  readonly file: string;
  /** Both count from 1; both are 0 when it is about the file itself, such as one that does not exist. */
  readonly line: number;
  readonly column: number;
  /** The key, such as `children[0].serial.port`; empty when it is about no key. */
  readonly path: string;
  readonly message: string;
}

/** A configuration or a profile cannot be used. Carries every problem that was found, in the order of the file. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = inOrder(problems);
    super(sorted.map(problemText).join('\n'));
    this.name = 'ConfigError';
    this.problems = sorted;
  }
}

/** `gateway.yaml:7:13: storeAndForward.quota: "12 parsecs" is not a size; ...` */
export function problemText({ file, line, column, path, message }: Problem): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  return path === '' ? `${place}: ${message}` : `${place}: ${path}: ${message}`;
}

/** Problems by position, each once; those of the file that was named first come first. */
export function inOrder(problems: readonly Problem[]): Problem[] {
  const files = [...new Set(problems.map(({ file }) => file))];
  const once = new Map(problems.map((problem) => [problemText(problem), problem]));
  return [...once.values()].sort(
    (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
  );
}

/** A path as a person writes it: `children[0].serial.port`. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) text += typeof step === 'number' ? `[${step}]` : text === '' ? step : `.${step}`;
  return text;
}
