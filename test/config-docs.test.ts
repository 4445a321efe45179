import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { PAGES } from '../scripts/write-docs.ts';
import { loadConfig } from '../src/config/load.ts';
import { profileJsonSchema } from '../src/config/profile-schema.ts';
import { keyText, schemaKeys } from '../src/config/reference.ts';
import { configJsonSchema, ConfigSchema } from '../src/config/schema.ts';

const root = path.join(import.meta.dirname, '..');

for (const [page, make] of Object.entries(PAGES)) {
  test(`${page} is what the source says (npm run docs)`, () => {
    assert.equal(fs.readFileSync(path.join(root, page), 'utf8'), make());
  });
}

test('the example in the reference loads without a warning', () => {
  const page = fs.readFileSync(path.join(root, 'docs/configuration.md'), 'utf8');
  const example = /```yaml\n(.*?)```/s.exec(page)?.[1];
  assert.ok(example);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-example-'));
  try {
    fs.writeFileSync(path.join(dir, 'gateway.yaml'), example);
    const { config, profile, warnings } = loadConfig(path.join(dir, 'gateway.yaml'));
    assert.deepEqual(warnings, []);
    assert.equal(profile.name, 'raspberry-pi-4');
    assert.equal(config.children.length, 8);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

for (const [name, schema] of Object.entries({ configuration: configJsonSchema(), profile: profileJsonSchema() })) {
  test(`the JSON Schema of a ${name} describes every key and lets no other through`, () => {
    assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
    for (const key of schemaKeys(schema)) {
      assert.ok(key.schema.description, `${keyText(key.path)} has no description`);
      if (key.schema.properties) assert.equal(key.schema.additionalProperties, false, keyText(key.path));
    }
    assert.deepEqual(JSON.parse(JSON.stringify(schema)), schema);
  });
}

test('the defaults in the JSON Schema are those that loading applies', () => {
  const stated = schemaKeys(configJsonSchema()).filter(
    ({ path: [section], schema }) => section === 'storeAndForward' && schema.default !== undefined,
  );
  const written = Object.fromEntries(stated.slice(1).map(({ path: [, key], schema }) => [key!, schema.default]));
  const gateway = { id: 'a' };
  assert.deepEqual(ConfigSchema.parse({ gateway, storeAndForward: written }), ConfigSchema.parse({ gateway }));
});

test('the JSON Schema says what no single key can: one kind a child, keys that need each other', () => {
  const { upstream, children } = configJsonSchema().properties as Record<string, { [key: string]: unknown }>;
  assert.deepEqual((children!['items'] as { oneOf: unknown }).oneOf, [
    { required: ['simulated'] },
    { required: ['serial'] },
    { required: ['gpio'] },
    { required: ['host'] },
    { required: ['connected'] },
  ]);
  assert.deepEqual(upstream!['dependentRequired'], {
    passwordFile: ['username'],
    clientCert: ['clientKey'],
    clientKey: ['clientCert'],
    proxyPasswordFile: ['proxy'],
  });
});
