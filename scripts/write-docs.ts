/** Writes the pages under docs/ that are made from the source; a test holds the committed pages to it. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { core } from 'zod';
import { profileJsonSchema } from '../src/config/profile-schema.ts';
import { ANY_NAME, EACH_ITEM, keyText, schemaKeys } from '../src/config/reference.ts';
import type { SchemaKey } from '../src/config/reference.ts';
import { configJsonSchema } from '../src/config/schema.ts';
import { formatSize } from '../src/config/units.ts';

type JsonSchema = core.JSONSchema.JSONSchema;

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Each generated page: its path from the root, and what makes it. */
export const PAGES: Readonly<Record<string, () => string>> = { 'docs/configuration.md': configurationPage };

const HEAD = `<!-- Made by scripts/write-docs.ts from src/config. Do not edit: run \`npm run docs\`. -->

# Configuration

The gateway reads one file: \`/etc/holdfast/gateway.yaml\`, or what \`--config FILE\` names. \`holdfast config check\` reads it
the same way and prints every problem at once, each with its line, its column, the value and what would be right:

    gateway.yaml:7:10: storeAndForward.quota: "12 parsecs" is not a size; write for example 512MiB or 10%

\`holdfast config schema\` prints a JSON Schema of the file for editors.

- The file is YAML 1.2 in UTF-8, at most 1 MiB. Unknown and repeated keys are errors. Names that look like numbers
  (\`id: 7\`) need quotes.
- **Times** are \`250ms\`, \`5s\`, \`2m\`, \`1h\`, \`7d\`. A key that ends in \`Secs\` or \`Ms\` also takes a plain number of that unit.
- **Sizes** are \`64KiB\`, \`512MiB\`, \`1GiB\` (1024s) or \`100MB\` (1000s); a plain number is bytes. **Percentages** are of the
  filesystem that holds \`dataDir\`.
- **Paths** that are relative start at the folder of the file. **Secrets** are never in the file: \`passwordFile\` names a file
  that is looked for in \`$CREDENTIALS_DIRECTORY\` (systemd's \`LoadCredential=\`) first, then in the folder of the file and in \`secrets\` there. A
  newline at its end is not part of the secret.
- The **profile** knows the board: its serial ports and GPIO lines by name, and the storage settings that suit its medium.
  What \`storeAndForward\` says counts first, then the profile, then the default below.

## Example

\`\`\`yaml
gateway:
  id: line-4
  profile: raspberry-pi-4
upstream:
  url: mqtts://broker.example:8883
  username: line-4
  passwordFile: upstream-password
  ca: ca.pem
storeAndForward:
  quota: 1GiB
  keepFree: 10%
  whenFull: drop-oldest
routes:
  telemetry: FROM /messages/* INTO $upstream
children:
  - id: press-1
    simulated: { sendIntervalMs: 5000, messageCount: -1 }
  - id: scale
    serial: { port: acm0, baudRate: 115200, decoder: json }
  - id: weather
    serial:
      port: usb1
      decoder: { csv: { columns: [temperature, humidity, pressure], separator: ";" } }
  - id: meter
    serial:
      port: rs485
      parity: even
      decoder:
        modbus:
          unit: 17
          registers:
            - { name: voltage, type: input, address: 0, scale: 0.1, unit: V }
            - { name: energy, type: input, address: 40, format: uint32, unit: Wh }
  - id: oven
    serial:
      port: header
      decoder: { regex: { pattern: 'T=(?<temperature>-?[0-9.]+)' } }
  - id: door
    gpio: { line: GPIO17, edge: both, debounceMs: 20 }
  - id: lamp
    gpio: { line: GPIO27, direction: out, initial: 0 }
  - id: board
    host: { every: 60s, metrics: [cpuTemperature, disk, memory, load] }
\`\`\`
`;

const PROFILES = `
## Profiles

A profile describes a kind of board. It is a YAML file: a name in \`gateway.profile\` is looked for in the folders of
\`HOLDFAST_PROFILES\` (separated by colons), then among those that come with Holdfast (\`device-profiles/\`), then in
\`/usr/share/holdfast/device-profiles\`; a value with a \`/\` or ending in \`.yaml\` is a path.
`;

function configurationPage(): string {
  const parts = [
    HEAD,
    ...chapters(configJsonSchema(), 2),
    PROFILES,
    table(children(schemaKeys(profileJsonSchema()), [])),
    ...chapters(profileJsonSchema(), 3),
  ];
  return `${parts.join('\n').trimEnd()}\n`;
}

/** A heading and a table for each mapping inside a schema, beginning at a level of headings. */
function chapters(schema: JsonSchema, level: number): string[] {
  const keys = schemaKeys(schema);
  const homes = new Map(keys.map(({ path: at }) => [keyText(at.slice(0, -1)), at.slice(0, -1)]));
  return [...homes.values()]
    .filter((home) => home.length > 0)
    .map((home) => {
      const named = home.filter((step) => !isAnonymous(step));
      const owner = keys.find(
        ({ path: at }) => keyText(at) === keyText(isAnonymous(home.at(-1)!) ? home.slice(0, -1) : home),
      );
      const heading = `${'#'.repeat(Math.min(level + named.length - 1, 5))} \`${keyText(home)}\``;
      return [heading, '', owner?.schema.description ?? '', '', table(children(keys, home))].join('\n');
    });
}

/** The keys right inside a mapping. */
function children(keys: readonly SchemaKey[], home: readonly string[]): SchemaKey[] {
  return keys.filter(
    ({ path: at }) => at.length === home.length + 1 && home.every((step, index) => at[index] === step),
  );
}

function isAnonymous(step: string): boolean {
  return step === EACH_ITEM || step === ANY_NAME;
}

function table(keys: readonly SchemaKey[]): string {
  const rows = keys.map(({ path: at, schema, required }) => {
    const cells = [`\`${at.at(-1)}\``, typeText(schema), defaultText(schema, required), schema.description ?? ''];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return ['| key | takes | default | meaning |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}

function typeText(schema: JsonSchema): string {
  const { title, type, anyOf, items, enum: words, const: word } = schema;
  const branches = anyOf?.filter((branch) => typeof branch === 'object') ?? [];
  const plain = branches.find((branch) => branch.type === 'number');
  if (title?.startsWith('size')) return plain?.minimum ? `${title}, at least ${formatSize(plain.minimum)}` : title;
  if (title !== undefined) return `${title}${range(plain ?? {})}`;
  if (words !== undefined) return words.map((value) => `\`${String(value)}\``).join(', ');
  if (word !== undefined) return `\`${String(word)}\``;
  if (branches.length > 0) return branches.map(typeText).join(' or ');
  switch (type) {
    case 'integer':
      return `whole number${range(schema)}`;
    case 'number':
      return `number${range(schema)}`;
    case 'boolean':
      return '`true`, `false`';
    case 'array':
      return typeof items === 'object' && !Array.isArray(items) ? `list of ${typeText(items)}` : 'list';
    case 'object':
      return 'mapping';
    default:
      return 'text';
  }
}

function range({ minimum, maximum, exclusiveMinimum }: JsonSchema): string {
  if (exclusiveMinimum !== undefined) return `, more than ${exclusiveMinimum}`;
  return minimum === undefined || maximum === undefined ? '' : `, ${minimum} to ${maximum}`;
}

function defaultText(schema: JsonSchema, required: boolean): string {
  if (required) return '**required**';
  const value: unknown = schema.default;
  if (value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0))
    return '';
  if (Array.isArray(value)) return value.map((item) => `\`${String(item)}\``).join(', ');
  return `\`${typeof value === 'string' && !/\s|,/.test(value) ? value : JSON.stringify(value)}\``;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [page, make] of Object.entries(PAGES)) {
    fs.writeFileSync(path.join(ROOT, page), make());
    console.log(page);
  }
}
