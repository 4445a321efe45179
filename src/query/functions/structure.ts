import { parseText } from '../body-json.ts';
import { getField } from '../field.ts';
import { typeName, ValueError, type Fields, type Value } from '../value.ts';
import { scalar } from './signature.ts';

/** The parts of a path as text: `a.b`, `[a.b].c`, `[x]]y]`. */
const PART = /\[((?:[^\]]|\]\])*)\]|([^.[\]]+)/y;

/** The value at the end of a path of names; NULL where it leads nowhere. */
function propertyValue(record: Fields, path: string): Value {
  let value: Value = record;
  for (const name of namesOf(path)) value = getField(value, name);
  return value;
}

function namesOf(path: string): string[] {
  const names: string[] = [];
  for (let at = 0; ; at++) {
    PART.lastIndex = at;
    const found = PART.exec(path);
    if (found === null) throw new ValueError(`'${path}' is no path of names such as a.b or [a.b].c`);
    names.push(found[2] ?? found[1]!.replaceAll(']]', ']'));
    at = PART.lastIndex;
    if (at === path.length) return names;
    if (path[at] !== '.') throw new ValueError(`'${path}' is no path of names such as a.b or [a.b].c`);
  }
}

function parsed(text: string): Value {
  try {
    return parseText(text);
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
}

export const STRUCTURE = {
  gettype: scalar('GetType(x)', ['value'], typeName),
  getrecordpropertyvalue: {
    ...scalar('GetRecordPropertyValue(record, path)', ['record', 'text'], propertyValue),
    pattern: { position: 1, check: namesOf },
  },
  getarrayelement: scalar('GetArrayElement(array, index)', ['array', 'whole'], (array, index) => array[index] ?? null),
  getarraylength: scalar('GetArrayLength(array)', ['array'], (array) => array.length),
  json_parse: scalar('JSON_PARSE(text)', ['text'], parsed),
};
