import type { MessageView } from './message-view.ts';
import type { Condition, RouteValue } from './route-ast.ts';
import { compiled } from './route-condition.ts';
import { lets, type Route } from './route.ts';
import { sourceText } from './route-table.ts';

/** Longest piece of a route's text or of a value that is shown, characters. */
const SHOWN_MAX = 100;

/** Whether a route takes a message, and why; each reason is one line. */
export interface Explanation {
  readonly matches: boolean;
  readonly reasons: readonly string[];
}

export function explained(route: Route, view: MessageView): Explanation {
  const from = sourceText(view.message.source);
  if (!from.toLowerCase().startsWith(route.source.prefix)) {
    return { matches: false, reasons: [`the message comes from ${from}, the route takes ${route.source.text}`] };
  }
  if (route.condition === null) return { matches: true, reasons: [`it takes all of ${route.source.text}`] };
  const matches = lets(route, view);
  const parts = matches ? [route.condition] : untrueParts(route.condition, view);
  return { matches, reasons: parts.map((part) => reason(route, part, view)) };
}

/** The parts of a condition because of which it is not true. */
function untrueParts(condition: Condition, view: MessageView): Condition[] {
  const operator = condition.kind === 'chain' ? condition.rest[0]!.operator : null;
  if (condition.kind !== 'chain' || (operator !== 'and' && operator !== 'or')) return [condition];
  return [condition.first, ...condition.rest.map(({ operand }) => operand)]
    .filter((operand) => compiled(operand)(view) !== true)
    .flatMap((operand) => untrueParts(operand, view));
}

/** `$body.t > 30 is false: $body.t = 21`. */
function reason(route: Route, part: Condition, view: MessageView): string {
  const text = (of: Condition) => cut(route.text.slice(of.at, of.end).replaceAll(/\s+/g, ' '));
  const references = new Map(referencesIn(part).map((reference) => [text(reference), reference]));
  const found = [...references].map(([name, reference]) => {
    const value = compiled(reference)(view);
    return value === undefined ? `${name} is undefined${whyUndefined(reference, view)}` : `${name} = ${shown(value)}`;
  });
  if (references.has(text(part))) return found.join();
  const outcome = `${text(part)} is ${shown(compiled(part)(view))}`;
  return found.length === 0 ? outcome : `${outcome}: ${found.join(', ')}`;
}

function referencesIn(condition: Condition): Condition[] {
  switch (condition.kind) {
    case 'literal':
      return [];
    case 'property':
    case 'system':
      return [condition];
    case 'not':
    case 'negate':
      return referencesIn(condition.operand);
    case 'call':
      return condition.args.flatMap(referencesIn);
    case 'list':
      return condition.items.flatMap(referencesIn);
    case 'chain':
      return [condition.first, ...condition.rest.map(({ operand }) => operand)].flatMap(referencesIn);
  }
}

function whyUndefined(reference: Condition, view: MessageView): string {
  if (reference.kind === 'property') return ' (the message has no property of that name)';
  if (reference.kind !== 'system' || reference.body === null) return '';
  return ` (${view.bodyTrouble ?? 'the body has nothing there'})`;
}

function shown(value: RouteValue): string {
  return cut(value === undefined ? 'undefined' : typeof value === 'number' ? String(value) : JSON.stringify(value));
}

function cut(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}
