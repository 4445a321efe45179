import { parseSasToken } from '../dialects/sas-token.ts';
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/*
 * Passwords as they are kept: `scrypt$N$r$p$salt$hash` (RFC 7914), salt and hash in base64. Every guess costs memory and time
 * (16 MiB here), ours too: so one is reckoned at a time, a few wait, and who was right a short while ago is not reckoned again.
 */

/** Parameters of hashes that are made here. */
const COST = { N: 16_384, r: 8, p: 1 } as const;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Most memory that a hash from elsewhere may ask for, bytes; and the most of the other parameters. */
const MEMORY_BYTES_MAX = 64 * 2 ** 20;
const R_MAX = 32;
const P_MAX = 4;
/** Longest password, bytes. */
const PASSWORD_BYTES_MAX = 1024;
/** Hashes that wait to be reckoned. */
const WAITING_MAX = 32;
/** How long a right password is remembered, ms, and how many are. */
const REMEMBERED_MS = 600_000;
const REMEMBERED_MAX = 1000;

/** A hash that no password has: what is held against it takes as long as against one that is made here. */
export const NOBODYS_PASSWORD = hashText(randomBytes(SALT_BYTES), randomBytes(HASH_BYTES));

interface Parsed {
  readonly options: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number };
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Whether a text is a hash that can be held against a password. */
export function isPasswordHash(text: string): boolean {
  return parse(text) !== null;
}

/** Why a password cannot be given to a child; null: it can. Of what a client sends the same is refused. */
export function passwordFault(password: Buffer): string | null {
  if (password.length === 0 || password.length > PASSWORD_BYTES_MAX)
    return `a password has 1 to ${PASSWORD_BYTES_MAX} bytes`;
  // HMAC, inside scrypt, fills short keys up with NULs (RFC 2104, section 2): one more of them would make no difference.
  if (password.includes(0))
    return 'a password has no NUL (zero byte) in it; text in UTF-16 is full of them: save it as UTF-8';
  // Children with keys come with those: that none is reckoned keeps the SDKs' refusals cheap, and alike for all ids.
  if (parseSasToken(password.toString('utf8')) !== null) return 'a shared access signature is no password';
  return null;
}

/** A fresh hash of a password. */
export async function hashPassword(password: Buffer): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const options = { ...COST, maxmem: memory(COST.N, COST.r, COST.p) };
  const hash = await reckoned(password, { options, salt, hash: Buffer.alloc(HASH_BYTES) });
  return hashText(salt, hash);
}

function hashText(salt: Buffer, hash: Buffer): string {
  return `scrypt$${COST.N}$${COST.r}$${COST.p}$${salt.toString('base64')}$${hash.toString('base64')}`;
}

/** Holds passwords against hashes. */
export class Passwords {
  readonly #now: () => number;
  /** Nobody else has it: what is remembered is of no use outside this process. */
  readonly #secret = randomBytes(32);
  /** Digests of right passwords and the hash they were right for, and until when; oldest first. */
  readonly #right = new Map<string, number>();
  #busy: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** `now`: monotonic ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether this password was right for this hash a short while ago. */
  knows(password: Buffer, hash: string): boolean {
    const until = this.#right.get(this.#digest(password, hash));
    return until !== undefined && until > this.#now();
  }

  /** Whether it is right; null when too many wait to be reckoned. */
  async matches(password: Buffer, hash: string): Promise<boolean | null> {
    if (this.knows(password, hash)) return true;
    const parsed = parse(hash);
    if (parsed === null || passwordFault(password) !== null) return false;
    if (this.#waiting >= WAITING_MAX) return null;
    this.#waiting++;
    const turn = this.#busy.then(() => reckoned(password, parsed));
    this.#busy = turn.catch(() => undefined);
    try {
      const right = timingSafeEqual(await turn, parsed.hash);
      if (right) this.#remember(this.#digest(password, hash));
      return right;
    } finally {
      this.#waiting--;
    }
  }

  #remember(digest: string): void {
    this.#right.delete(digest);
    this.#right.set(digest, this.#now() + REMEMBERED_MS);
    for (const oldest of this.#right.keys()) {
      if (this.#right.size <= REMEMBERED_MAX) break;
      this.#right.delete(oldest);
    }
  }

  /** The lookup by it is not of constant time, and need not be: without our secret nobody can aim at a digest. */
  #digest(password: Buffer, hash: string): string {
    return createHmac('sha256', this.#secret).update(hash).update('\0').update(password).digest('base64');
  }
}

function parse(text: string): Parsed | null {
  const match =
    /^scrypt\$(\d{1,9})\$(\d{1,3})\$(\d{1,2})\$([A-Za-z0-9+/]{8,172}={0,2})\$([A-Za-z0-9+/]{22,172}={0,2})$/.exec(text);
  if (match === null) return null;
  const [N, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const [salt, hash] = [Buffer.from(match[4]!, 'base64'), Buffer.from(match[5]!, 'base64')];
  if (N < 2 || (N & (N - 1)) !== 0 || r < 1 || r > R_MAX || p < 1 || p > P_MAX || hash.length < 16) return null;
  const maxmem = memory(N, r, p);
  return maxmem > MEMORY_BYTES_MAX ? null : { options: { N, r, p, maxmem }, salt, hash };
}

/** What OpenSSL counts against its bound (providers/implementations/kdfs/scrypt.c), and a little. */
function memory(N: number, r: number, p: number): number {
  return 128 * r * (N + p + 2) + 4096;
}

function reckoned(password: Buffer, { options, salt, hash }: Parsed): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, hash.length, options, (error, made) => (error === null ? resolve(made) : reject(error)));
  });
}
