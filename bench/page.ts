import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './worker.ts';

/** docs/benchmarks.md: what is between its markers is written here, the rest by hand. */
const PAGE = join(ROOT, 'docs', 'benchmarks.md');

export interface Goal {
  readonly goal: string;
  readonly measured: string;
  readonly met: boolean;
}

/** A bench's part of the page, Markdown. */
export interface Report {
  readonly title: string;
  /** What is counted, how, how often. */
  readonly method: readonly string[];
  readonly tables: readonly string[];
  readonly goals: readonly Goal[];
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

export function markdown(report: Report, command: string): string {
  const goals = report.goals.map(({ goal, measured, met }) => [goal, measured, met ? 'met' : '**missed**']);
  return [
    ...report.method,
    ...report.tables,
    ...(goals.length > 0 ? [table(['goal', 'measured', ''], goals)] : []),
    `${new Date().toISOString().slice(0, 10)}, \`${command}\`, ${machine()}.`,
  ].join('\n\n');
}

/** Puts a bench's part between its markers. */
export function writeToPage(name: string, text: string): void {
  const [begin, end] = [`<!-- bench ${name} -->`, `<!-- /bench ${name} -->`];
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '# Benchmarks\n';
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  const part = `${begin}\n\n${text}\n\n${end}`;
  writeFileSync(
    PAGE,
    from === -1 || to === -1 ? `${page}\n${part}\n` : page.slice(0, from) + part + page.slice(to + end.length),
  );
}

function machine(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return [
    `${processors.length} x ${processors[0]?.model.trim() ?? 'unknown processor'}`,
    `${memory} GiB`,
    `Linux ${release()}`,
    `Node ${process.versions.node}`,
    `commit ${commit()}`,
  ].join(', ');
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--', 'src') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? ' and changes to src/' : '');
  } catch {
    return 'unknown';
  }
}
