/*
 * A property bag: names and values that travel in a topic, `name=value&name=value`, both percent-encoded (RFC 3986, 2.1). A plus
 * is a plus, unlike in forms.
 */

/** Names and values in order; null when it is not percent-encoded UTF-8. An empty name is left out, a missing value is empty. */
export function bagPairs(text: string): [name: string, value: string][] | null {
  const pairs: [string, string][] = [];
  try {
    for (const piece of text.split('&')) {
      const equals = piece.indexOf('=');
      const name = decodeURIComponent(equals < 0 ? piece : piece.slice(0, equals));
      if (name !== '') pairs.push([name, equals < 0 ? '' : decodeURIComponent(piece.slice(equals + 1))]);
    }
  } catch {
    return null;
  }
  return pairs;
}

export function bagText(pairs: Iterable<readonly [name: string, value: string]>): string {
  let text = '';
  for (const [name, value] of pairs) text += `${text === '' ? '' : '&'}${encoded(name)}=${encoded(value)}`;
  return text;
}

/** One level of a topic, or one part of a bag. Half of a surrogate pair has no UTF-8 and becomes U+FFFD. */
export function encoded(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return encodeURIComponent(Buffer.from(text, 'utf8').toString('utf8'));
  }
}

/** No prototype: a property may be called `__proto__`. */
export function noProperties(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}
