import type { Query, Script, Select, Step, Table } from './ast.ts';
import { checkScript } from './check.ts';
import { readType } from './parser-expressions.ts';
import { readSelect } from './parser-select.ts';
import { partitioned } from './partition.ts';
import { QueryProblem, type Offset } from './problem.ts';
import { Tokens } from './tokens.ts';

/** Where results go when nothing was said. */
const OUTPUT = 'output';
/** Words that go on behind a source. */
const CLAUSES = ['where', 'group', 'having', 'union', 'join', 'select', 'timestamp'];

/**
 * A query as it was written, checked as far as that goes without knowing its inputs (names and arguments of functions, and the
 * time bounds of joins, are looked at by who makes something of them). The language is that of docs/query-language.md. Takes time
 * in proportion to the text; throws a {@link QueryProblem} with the place for whatever is wrong, and nothing else.
 */
export function parseScript(text: string): Script {
  const script = partitioned(readScript(new Tokens(text)));
  checkScript(script);
  return script;
}

function readScript(tokens: Tokens): Script {
  const tables: Table[] = [];
  let steps: Step[] = [];
  const selects: Query[] = [];
  for (;;) {
    while (tokens.takeMark(';'));
    if (tokens.isWord('create')) {
      tables.push(readTable(tokens));
    } else if (tokens.isWord('with')) {
      const { at } = tokens;
      if (steps.length > 0)
        throw new QueryProblem(at, 'WITH stands twice', 'put all steps into one WITH, with commas between');
      if (selects.length > 0) throw new QueryProblem(at, 'WITH stands behind a SELECT', 'steps come first');
      tokens.next();
      steps = tokens.list(() => readStep(tokens));
    } else if (tokens.isWord('select')) {
      selects.push(readQuery(tokens, false));
    } else if (tokens.peek().kind === 'end') {
      break;
    } else {
      throw unexpectedStatement(tokens, selects.length > 0);
    }
  }
  const bare = selects.find(({ into }) => into === null);
  if (bare !== undefined && selects.length > 1) {
    throw new QueryProblem(
      bare.at,
      'each of several SELECTs needs INTO',
      'write INTO and the name of an output before FROM',
    );
  }
  if (selects.length === 0)
    throw tokens.unexpected('SELECT', [], 'a query gives out something: SELECT .. INTO output FROM input');
  return { tables, steps, selects: selects.map((query) => ({ ...query, into: query.into ?? OUTPUT })) };
}

function unexpectedStatement(tokens: Tokens, behindSelect: boolean): QueryProblem {
  if (!behindSelect) return tokens.unexpectedClause('SELECT, WITH or CREATE TABLE', ['select', 'with', 'create']);
  return tokens.unexpectedClause('the next clause, another SELECT or the end', CLAUSES);
}

function readTable(tokens: Tokens): Table {
  const { at } = tokens;
  tokens.next();
  if (!tokens.takeWord('table'))
    throw tokens.unexpected('TABLE after CREATE', ['table'], 'only CREATE TABLE is in the language');
  const name = tokens.needName('the name of an input after CREATE TABLE');
  tokens.needMark('(', 'before the columns');
  const columns = tokens.list(() => {
    const place = tokens.at;
    const column = tokens.needName('the name of a column');
    return { name: column, type: readType(tokens), at: place };
  });
  tokens.needMark(')', 'after the columns');
  return { name, columns, at };
}

function readStep(tokens: Tokens): Step {
  const { at } = tokens;
  const name = tokens.needName('the name of a step');
  tokens.needWord('as');
  tokens.needMark('(', 'before the SELECT of this step');
  const query = readQuery(tokens, true);
  if (!tokens.takeMark(')')) throw tokens.unexpectedClause('")" after the SELECT of this step', CLAUSES);
  return { name, query, at };
}

/** Selects joined by UNION; `into` is what was said. */
function readQuery(tokens: Tokens, inStep: boolean): Query {
  const { at } = tokens;
  const selects: Select[] = [];
  let into: { name: string; at: Offset } | null = null;
  do {
    const read = readSelect(tokens);
    if (read.into !== null) {
      if (inStep) {
        throw new QueryProblem(
          read.into.at,
          'a step of WITH has no INTO',
          'SELECT .. INTO output FROM step, behind the steps',
        );
      }
      if (selects.length > 0 && into?.name.toLowerCase() !== read.into.name.toLowerCase()) {
        throw new QueryProblem(read.into.at, 'a UNION goes to one output', 'write INTO in its first SELECT');
      }
      into = read.into;
    }
    selects.push(read.select);
  } while (takeUnion(tokens));
  return { into: into?.name ?? null, selects, at };
}

function takeUnion(tokens: Tokens): boolean {
  if (!tokens.takeWord('union')) return false;
  if (tokens.isWord('all') || tokens.isWord('distinct')) {
    throw new QueryProblem(tokens.at, 'UNION takes no ALL and no DISTINCT', 'write UNION: it keeps every row');
  }
  return true;
}
