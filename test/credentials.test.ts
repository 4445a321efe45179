import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCredentials } from '../src/config/credentials.ts';
import { loadConfig } from '../src/config/load.ts';
import { scratch } from './parts/scratch.ts';

const time = { known: true, now: () => Date.UTC(2026, 0, 1) };

test('an authority that cannot be read keeps nobody from a broker without TLS, and is named where there is TLS', () => {
  const dir = scratch();
  const path = join(dir, 'gateway.yaml');
  const read = (upstream: string) => {
    writeFileSync(path, `gateway: { id: line-4, dataDir: data }\nupstream: { ${upstream}, ca: gone.pem }\n`);
    return readCredentials(loadConfig(path).config.upstream!, path, time);
  };
  assert.equal(read('url: "mqtt://127.0.0.1"').tls.ca, undefined);
  assert.throws(() => read('url: "mqtts://127.0.0.1"'), /gone\.pem \(upstream\.ca\) is not there/);
  assert.throws(() => read('url: "mqtt://127.0.0.1", proxy: "https://proxy.example:3128"'), /gone\.pem/);
});
