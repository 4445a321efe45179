import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseScript } from '../src/query/parser.ts';
import { QueryProblem } from '../src/query/problem.ts';
import { replay } from './parts/replay.ts';

/** A query of so many steps, each of which is `made` of the one before it. */
function chain(steps: number, made: (before: string) => string): string {
  const texts = Array.from({ length: steps }, (_, index) => `s${index + 1} AS (${made(`s${index}`)})`);
  return `WITH s0 AS (SELECT a FROM input TIMESTAMP BY t), ${texts.join(', ')} SELECT a FROM s${steps}`;
}

/** The problem with a query, with the place that it is said of. */
function problem(script: string): string | null {
  try {
    parseScript(script);
  } catch (error) {
    assert.ok(error instanceof QueryProblem);
    return `${script.slice(error.at, error.at + 20)}: ${error.message}`;
  }
  return null;
}

describe('rows that one event becomes through steps', () => {
  const doubled = (before: string): string => `SELECT a FROM ${before} UNION SELECT a FROM ${before}`;
  const squared = (before: string): string =>
    `SELECT x.a FROM ${before} x JOIN ${before} y ON DATEDIFF(second, x, y) = 0`;

  test('steps that double each other are refused beyond 100,000 rows in all, where that is reached', () => {
    assert.equal(problem(chain(14, doubled)), null);
    assert.equal(problem(chain(15, doubled)), null);
    for (const steps of [16, 24, 2000]) {
      assert.equal(
        problem(chain(steps, doubled)),
        'SELECT a FROM s15 UN: up to here one event may become more than 100000 rows',
      );
    }
  });

  test('so are joins of a step with itself; those of single rows are not', () => {
    const two = (joins: number): string =>
      chain(joins, squared).replace(
        'WITH s0 AS (',
        'WITH d AS (SELECT a FROM input TIMESTAMP BY t), s0 AS (SELECT a FROM d UNION ',
      );
    assert.match(problem(two(5)) ?? '', /^SELECT x\.a FROM s4 x.*more than 100000 rows$/);
    assert.equal(problem(two(3)), null);
    assert.equal(problem(chain(100, squared)), null);
  });

  test('what is allowed gives all of its rows', () => {
    assert.equal(replay(chain(10, doubled), [{ secs: 1, fields: { a: 1 } }]).length, 1024);
  });
});
