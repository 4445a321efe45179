/** How far the way out was gone when it ended. */
export type Stage = 'dns' | 'tcp' | 'proxy' | 'tls' | 'websocket';

/** What an attempt says that was ended from outside. */
export const GIVEN_UP = 'given up';

export interface DialDetails {
  readonly code?: string;
  readonly status?: number;
  readonly advice?: string;
}

/** Why there is no connection. One line for people; the same fault gives the same line each time. */
export class DialFailed extends Error {
  readonly stage: Stage;
  /** What Node or OpenSSL calls it, when it has a name. */
  readonly code: string | undefined;
  /** What to do about it, when that is known. */
  readonly advice: string | undefined;
  /** The HTTP status that a proxy or a WebSocket server gave instead. */
  readonly status: number | undefined;

  constructor(stage: Stage, message: string, { code, status, advice }: DialDetails = {}) {
    super(message);
    this.name = 'DialFailed';
    this.stage = stage;
    this.code = code;
    this.status = status;
    this.advice = advice;
  }
}

/** One line for people out of an error of Node's. */
export function reasonOf(error: Error): string {
  const { code, errors } = error as { code?: unknown; errors?: Error[] };
  if (errors !== undefined && errors.length > 0) return [...new Set(errors.map(reasonOf))].join('; ');
  if (error.message !== '') return error.message;
  return typeof code === 'string' ? code : error.name;
}

/** The name that Node or OpenSSL has for an error, as an option of {@link DialFailed}. */
export function codeOf(error: Error): { code?: string } {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? { code } : {};
}
