import { InvalidArgumentError, Option } from 'commander';

/** Where a gateway's configuration is when nothing else is said. */
export const DEFAULT_CONFIG = '/etc/holdfast/gateway.yaml';

export const config = () =>
  new Option('-c, --config <file>', 'the configuration').default(DEFAULT_CONFIG).env('HOLDFAST_CONFIG');
export const json = () => new Option('--json', 'as JSON');

export function examples(...commands: string[]): string {
  return `\n${commands.length === 1 ? 'Example' : 'Examples'}:\n${commands.map((command) => `  ${command}\n`).join('')}`;
}

/** A whole number within bounds. */
export function count(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    const bounds = max === Number.MAX_SAFE_INTEGER ? `of ${min} or more` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number ${bounds}.`);
  };
}

export function jsonText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new InvalidArgumentError(`It must be JSON: ${(error as Error).message}.`);
  }
}

/** Ids one by one or with commas between them. */
export function listed(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), ...text.split(',').filter((id) => id !== '')];
}

/** An option that may be given several times. */
export function repeated(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}
