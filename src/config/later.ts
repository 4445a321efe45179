/** The release whose settings the schema describes; a test holds it to the package's version. */
export const RELEASE = '0.1';

/** Words of the design that this release does not have yet, and what they will be. */
export const LATER: Readonly<Record<string, string>> = {
  nmea: 'it will decode NMEA 0183 sentences',
  frame: 'it will decode binary frames',
};

/** The error for a word of a later release, or undefined when it is none. */
export function laterText(word: string): string | undefined {
  if (!Object.hasOwn(LATER, word)) return undefined;
  return `"${word}" is not part of Holdfast ${RELEASE}: ${LATER[word]}; remove it`;
}
