import { Composer, isScalar, Lexer, Parser, visit } from 'yaml';
import type { CST, Document, LineCounter, Node, Scalar, YAMLMap, YAMLSeq } from 'yaml';

/** Deepest nesting; a configuration needs about eight. The library recurses, and a deep pit would end the process. */
export const DEPTH_MAX = 64;

/** Something wrong at an offset of the text, characters. */
export interface Fault {
  readonly offset: number;
  readonly message: string;
}

/** Text to a YAML document whose keys are words and stand once in their mapping, or what keeps it from being one. */
export function parseYaml(text: string, lines: LineCounter): Document.Parsed | { readonly faults: readonly Fault[] } {
  let documents: Document.Parsed[];
  try {
    // The library compares each key with all others; `nodeFaults` does not.
    const composer = new Composer({ lineCounter: lines, uniqueKeys: false });
    documents = [...composer.compose(tokens(text, lines), true, text.length)] as Document.Parsed[];
  } catch (error) {
    if (!(error instanceof TooDeep)) throw error;
    return { faults: [{ offset: error.offset, message: `nested more than ${DEPTH_MAX} deep` }] };
  }
  const [document, second] = documents;
  if (document === undefined) return { faults: [{ offset: 0, message: 'the file is empty' }] };
  const faults = document.errors.map(({ pos, message }) => ({ offset: pos[0], message: syntaxText(message) }));
  if (second !== undefined) {
    faults.push({ offset: second.range[0], message: 'a second document begins here (---); a file holds one' });
  }
  if (document.directives.yaml.explicit && document.directives.yaml.version !== '1.2') {
    faults.push({ offset: 0, message: 'the file is read as YAML 1.2; remove the %YAML line' });
  }
  // Where the syntax is broken, what follows from it says little.
  if (faults.length === 0) faults.push(...nodeFaults(document));
  return faults.length > 0 ? { faults } : document;
}

class TooDeep extends Error {
  readonly offset: number;

  constructor(offset: number) {
    super('too deep');
    this.offset = offset;
  }
}

/** The parser's own loop, with an eye on its stack. */
function* tokens(text: string, lines: LineCounter): Generator<CST.Token, void> {
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    if (parser.stack.length > DEPTH_MAX) throw new TooDeep(parser.offset);
  }
  yield* parser.end();
}

/** What YAML allows and a configuration has no use for. */
function nodeFaults(document: Document.Parsed): Fault[] {
  const faults: Fault[] = [];
  const complain = (node: Node | null, message: string): void => {
    faults.push({ offset: node?.range?.[0] ?? 0, message });
  };
  // Not `alias.resolve`: that walks through the document for each alias.
  const anchors = new Map<string, Node>();
  const enter = (node: Scalar | YAMLSeq | YAMLMap): void => {
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    // Some tags turn a mapping into something that no longer looks like one.
    if (node.tag) complain(node, 'a tag (!name) has no meaning here; remove it');
  };
  visit(document, {
    Scalar: (_, scalar) => enter(scalar),
    Seq: (_, seq) => enter(seq),
    Alias(_, alias, path) {
      const target = anchors.get(alias.source);
      if (target === undefined) complain(alias, `there is no &${alias.source} before *${alias.source}`);
      else if (path.includes(target)) complain(alias, `*${alias.source} stands inside what it repeats`);
    },
    Map(_, map) {
      enter(map);
      const seen = new Set<string>();
      for (const { key } of map.items as { key: Node | null }[]) {
        if (!isScalar(key) || (typeof key.value !== 'string' && typeof key.value !== 'number')) {
          complain(key, 'a key must be a word');
          continue;
        }
        const word = String(key.value);
        if (seen.has(word)) complain(key, `"${word}" stands twice here; keep one`);
        if (word === '__proto__') complain(key, '"__proto__" cannot be a key');
        seen.add(word);
      }
    },
  });
  return faults;
}

function syntaxText(message: string): string {
  return `not YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
}
