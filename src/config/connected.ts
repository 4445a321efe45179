import * as z from 'zod';
import { isFilter } from '../dialects/topic-filter.ts';
import { complain, identifier, list, misfit, section } from './values.ts';

/** Most grants of one child. */
const GRANTS_MAX = 100;

const filterWrong = misfit('a topic filter', 'for example "#" or "press-1/events/#"');

export const ConnectedSchema = section({}).describe(
  'A child that connects to the hub. Its credentials are in the registry: `holdfast children add`.',
);

const GrantSchema = section({
  invoke: identifier('press-1').describe('It may invoke methods of this child.').exactOptional(),
  send: identifier('press-1').describe('It may send messages to this child.').exactOptional(),
  observe: z
    .string({ error: filterWrong })
    .min(1, { error: filterWrong })
    .max(1024, { error: filterWrong })
    .refine(isFilter, { error: filterWrong })
    .describe('It may subscribe to events of this gateway: a topic filter under `holdfast/v1/{gateway}`, `#` for all.')
    .exactOptional(),
})
  .superRefine((grant, context) => {
    const count = [grant.invoke, grant.send, grant.observe].filter((each) => each !== undefined).length;
    if (count !== 1) complain(context, 'a grant is exactly one of invoke, send, observe');
  })
  .meta({ oneOf: ['invoke', 'send', 'observe'].map((key) => ({ required: [key] })) });

export const GrantsSchema = list(GrantSchema, '[ { invoke: press-1 } ]')
  .max(GRANTS_MAX, { error: `more than ${GRANTS_MAX} grants` })
  .describe('What it may do to others.');
