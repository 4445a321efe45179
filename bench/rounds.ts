import type { Figures } from './worker.ts';

/** One of those compared. */
export interface Contender {
  readonly name: string;
  measure(): Promise<Figures>;
}

/** What came out, round by round. */
export class Results {
  readonly #rounds = new Map<string, Figures[]>();

  add(contender: string, figures: Figures): void {
    const rounds = this.#rounds.get(contender) ?? [];
    rounds.push(figures);
    this.#rounds.set(contender, rounds);
  }

  has(contender: string): boolean {
    return this.#rounds.has(contender);
  }

  /** All values of one figure, in the order of the rounds; empty when it was not measured. */
  values(contender: string, figure: string): number[] {
    return (this.#rounds.get(contender) ?? []).flatMap((figures) => figures[figure] ?? []);
  }

  median(contender: string, figure: string): number {
    return median(this.values(contender, figure));
  }

  /** Median of the ratios within each round: what slows the machine for a while slows both. */
  ratio(contender: string, other: string, figure: string): number {
    const others = this.values(other, figure);
    return median(this.values(contender, figure).map((value, round) => value / (others[round] ?? Number.NaN)));
  }
}

/** Lets all have their turn, then again, so that none has the machine's good moments for itself. */
export async function interleave(contenders: readonly Contender[], rounds: number): Promise<Results> {
  const results = new Results();
  for (let round = 1; round <= rounds; round++) {
    for (const contender of contenders) {
      const { name } = contender;
      const figures = await contender.measure();
      results.add(name, figures);
      const shown = Object.entries(figures).map(([figure, value]) => `${figure} ${show(value)}`);
      process.stderr.write(`  round ${round} of ${rounds}: ${name}: ${shown.join(', ')}\n`);
    }
  }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three digits that matter, thousands apart. */
export function show(value: number): string {
  if (Number.isNaN(value)) return '';
  const size = Math.abs(value);
  const digits = size >= 100 || size === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  const rounded = size >= 1000 ? Number(value.toPrecision(3)) : value;
  return rounded.toLocaleString('en-US', { maximumFractionDigits: digits });
}

/** "median (least to most)". */
export function spread(values: readonly number[]): string {
  if (values.length === 0) return '';
  if (values.length === 1) return show(values[0]!);
  return `${show(median(values))} (${show(Math.min(...values))} to ${show(Math.max(...values))})`;
}
