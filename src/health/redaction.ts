import { inAscii } from '../message/ascii.ts';

/** Shorter ones are part of too many words: replacing them would spoil the text and hide little, characters. */
const SECRET_LENGTH_MIN = 4;
/** What is left of a secret at the end of a text that was cut short, characters: less of it tells nothing. */
const REST_LENGTH_MIN = 6;
/** The longest piece of a value that an error of the configuration repeats, characters. */
const SHOWN_LENGTH = 60;
const GONE = '[redacted]';
/** Stands where a text was cut short. */
const CUT = '...';

/** What looks like a secret, whoever wrote it there. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, GONE],
  // The same in one line of JSON or of a log.
  [/(SharedAccessKey|SharedAccessSignature|AccountKey|sig)(=|%3[dD]| sr=)[^\s"'&;,|]+/g, `$1$2${GONE}`],
  [/\bscrypt\$[0-9$A-Za-z+/=]+/g, GONE],
  // crypt(5), and what mosquitto makes of passwords.
  [/\$(?:[5-7y]|2[abxy]?|gy|argon2(?:i|d|id)|scrypt|pbkdf2[\w-]*)\$[^\s"',;]+/g, GONE],
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{8,}=*/gi, `$1 ${GONE}`],
  // To the last `@` of the word: a password that should have been encoded may have one, or a slash, or a quote.
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s"'<>]+@/gi, `$1${GONE}@`],
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/@,]+@/gi, `$1${GONE}@`],
  // A private JWK's own number; a public one has none.
  [/("(?:d|k|primaryKey|secondaryKey|password|psk|secret|token)"\s*:\s*)"[^"]*"/gi, `$1"${GONE}"`],
  [
    /^(\s*(?:-\s+)?["']?[\w-]*(?:password|passphrase|secret|token|psk|sharedAccessKey|privateKey)["']?\s*[:=]\s*)(?!\[redacted\])\S.*$/gim,
    `$1${GONE}`,
  ],
];

/**
 * Takes secrets out of text that goes to somebody else: those that are known, in the forms in which they get about, and whatever
 * has the shape of one.
 */
export class Redaction {
  readonly #known = new Set<string>();

  /** A secret; each of its lines is one, too. */
  add(secret: string): void {
    const whole = secret.trim();
    const forms = [whole, ...whole.split(/\r?\n/)].flatMap((text) => [
      text,
      // As an error shows what is long.
      text.slice(0, SHOWN_LENGTH),
      encodeURIComponent(text),
      JSON.stringify(text).slice(1, -1),
      Buffer.from(text).toString('base64'),
      // As a line of a sensor stands in the log.
      inAscii(text),
    ]);
    for (const form of forms) if (form.length >= SECRET_LENGTH_MIN && !form.startsWith('-----')) this.#known.add(form);
  }

  of(text: string): string {
    let clean = text;
    // Longer ones first: another may be a part of it.
    for (const secret of [...this.#known].sort((a, b) => b.length - a.length)) clean = clean.replaceAll(secret, GONE);
    const parts = clean.split(CUT);
    clean = parts.map((part, index) => (index < parts.length - 1 ? this.#withoutRest(part) : part)).join(CUT);
    for (const [shape, into] of SHAPES) clean = clean.replace(shape, into);
    return clean;
  }

  /** Text that was cut short at its end, without the beginning of a secret that it may end with. */
  #withoutRest(text: string): string {
    for (const secret of this.#known) {
      for (let length = Math.min(secret.length, text.length); length >= REST_LENGTH_MIN; length--)
        if (text.endsWith(secret.slice(0, length))) return `${text.slice(0, -length)}${GONE}`;
    }
    return text;
  }
}
