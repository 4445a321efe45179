import { type Decoded, type LineDecoder, NOT_UTF8, utf8Text } from './decoder.ts';

/** Each line is one JSON value; the body is the line's bytes as they came, so that what upstream sees is what was said. */
export class JsonLineDecoder implements LineDecoder {
  decode(line: Buffer): Decoded {
    const text = utf8Text(line);
    if (text === undefined) return NOT_UTF8;
    try {
      JSON.parse(text);
    } catch {
      // The parser's own message quotes the input, which the sample already shows in printable form.
      return { malformed: 'not JSON' };
    }
    return { body: Buffer.from(line) };
  }
}
