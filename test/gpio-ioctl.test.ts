import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as uapi from '../src/drivers/gpio-ioctl.ts';
import { scratch } from './parts/scratch.ts';

/*
 * What we put into the kernel's structures, byte by byte against what a C compiler makes of <linux/gpio.h>.
 */

const NO_COMPILER: string | false = (() => {
  try {
    execFileSync('gcc', ['-fsyntax-only', '-xc', '-'], { input: '#include <linux/gpio.h>\n', stdio: 'pipe' });
    return false;
  } catch {
    return 'gcc and the headers of Linux are not installed (apt-get install gcc linux-libc-dev)';
  }
})();

/** What a C program with this body puts out. */
function compiled(body: string): Buffer {
  const dir = scratch();
  const source = `#include <linux/gpio.h>
#include <stdio.h>
#include <string.h>
#define PUT(x) fwrite(&x, sizeof x, 1, stdout)
int main(void) { ${body} return 0; }`;
  writeFileSync(join(dir, 'main.c'), source);
  execFileSync('gcc', ['-Wall', '-Werror', '-o', join(dir, 'main'), join(dir, 'main.c')]);
  return execFileSync(join(dir, 'main'));
}

const INPUT: uapi.LineSettings = {
  offset: 17,
  consumer: 'holdfast',
  direction: 'in',
  edge: 'both',
  activeLow: false,
  bias: 'as-is',
  debounceMs: 0,
  eventsKept: 1024,
  initial: 0,
};

test("the numbers of the calls are the compiler's", { skip: NO_COMPILER }, () => {
  const calls = [uapi.GET_CHIP_INFO, uapi.GET_LINE_INFO, uapi.GET_LINE, uapi.GET_VALUES, uapi.SET_VALUES];
  const numbers =
    compiled(`unsigned int n[] = { GPIO_GET_CHIPINFO_IOCTL, GPIO_V2_GET_LINEINFO_IOCTL, GPIO_V2_GET_LINE_IOCTL,
    GPIO_V2_LINE_GET_VALUES_IOCTL, GPIO_V2_LINE_SET_VALUES_IOCTL, sizeof(struct gpio_v2_line_event) }; PUT(n);`);
  const expected = Array.from({ length: 6 }, (_, i) => numbers.readUInt32LE(4 * i));
  assert.deepEqual([...calls, uapi.LINE_EVENT_BYTES], expected);
});

test('a request for an input, and one for an output, are those that C would make', { skip: NO_COMPILER }, () => {
  const request = (body: string): Buffer =>
    compiled(`struct gpio_v2_line_request r; memset(&r, 0, sizeof r); r.offsets[0] = 17; r.num_lines = 1;
      strcpy(r.consumer, "holdfast"); ${body} PUT(r);`);
  const both = 'GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_EDGE_RISING | GPIO_V2_LINE_FLAG_EDGE_FALLING';
  assert.deepEqual(
    uapi.lineRequest(INPUT),
    request(`r.event_buffer_size = 1024; r.config.flags = ${both};`),
    'both edges',
  );
  assert.deepEqual(
    uapi.lineRequest({ ...INPUT, edge: 'rising', activeLow: true, bias: 'pull-up', debounceMs: 20 }),
    request(`r.event_buffer_size = 1024; r.config.flags = GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_EDGE_RISING |
      GPIO_V2_LINE_FLAG_ACTIVE_LOW | GPIO_V2_LINE_FLAG_BIAS_PULL_UP; r.config.num_attrs = 1;
      r.config.attrs[0].attr.id = GPIO_V2_LINE_ATTR_ID_DEBOUNCE;
      r.config.attrs[0].attr.debounce_period_us = 20000; r.config.attrs[0].mask = 1;`),
    'rising, active-low, pulled up, debounced',
  );
  for (const [bias, flag] of [
    ['none', 'BIAS_DISABLED'],
    ['pull-down', 'BIAS_PULL_DOWN'],
  ] as const) {
    const flags = `GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_${flag}`;
    assert.deepEqual(uapi.lineRequest({ ...INPUT, edge: 'none', bias }), request(`r.config.flags = ${flags};`), bias);
  }
  assert.deepEqual(
    uapi.lineRequest({ ...INPUT, direction: 'out', initial: 1 }),
    request(`r.config.flags = GPIO_V2_LINE_FLAG_OUTPUT; r.config.num_attrs = 1;
      r.config.attrs[0].attr.id = GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES;
      r.config.attrs[0].attr.values = 1; r.config.attrs[0].mask = 1;`),
    'an output that begins high',
  );
});

test('what the kernel answers is read where C would put it', { skip: NO_COMPILER }, () => {
  const event = compiled(`struct gpio_v2_line_event e; memset(&e, 0xee, sizeof e); e.timestamp_ns = 81234567890123ull;
    e.id = GPIO_V2_LINE_EVENT_FALLING_EDGE; e.offset = 17; e.seqno = 5; e.line_seqno = 4000000000u; PUT(e);
    e.id = GPIO_V2_LINE_EVENT_RISING_EDGE; PUT(e);`);
  assert.deepEqual(uapi.lineEvent(event, 0), { level: 0, at: 81_234_567.890123, number: 4_000_000_000 });
  assert.equal(uapi.lineEvent(event, uapi.LINE_EVENT_BYTES).level, 1);

  const values = (bits: string): Buffer =>
    compiled(`struct gpio_v2_line_values v; memset(&v, 0, sizeof v); v.bits = ${bits}; v.mask = 1; PUT(v);`);
  assert.deepEqual([uapi.lineValues(0), uapi.lineValues(1)], [values('0'), values('1')]);
  assert.deepEqual([uapi.levelOf(values('0')), uapi.levelOf(values('1'))], [0, 1]);

  const chip = compiled(`struct gpiochip_info c; memset(&c, 0, sizeof c); strcpy(c.name, "gpiochip0");
    strcpy(c.label, "pinctrl-bcm2711"); c.lines = 58; PUT(c);`);
  assert.deepEqual(uapi.chipInfo(chip), { name: 'gpiochip0', label: 'pinctrl-bcm2711', lines: 58 });
  assert.equal(uapi.chipInfoRequest().length, chip.length);

  const line = compiled(`struct gpio_v2_line_info l; memset(&l, 0, sizeof l); strcpy(l.name, "GPIO17");
    memset(l.consumer, 'x', sizeof l.consumer); l.offset = 17; l.flags = GPIO_V2_LINE_FLAG_USED | GPIO_V2_LINE_FLAG_INPUT; PUT(l);`);
  assert.deepEqual(uapi.lineInfo(line), { name: 'GPIO17', consumer: 'x'.repeat(32), used: true });
  const asked = compiled('struct gpio_v2_line_info l; memset(&l, 0, sizeof l); l.offset = 17; PUT(l);');
  assert.deepEqual(uapi.lineInfoRequest(17), asked);
});

test('a descriptor is found where the kernel puts it, and a long name keeps its NUL', { skip: NO_COMPILER }, () => {
  const answered = compiled('struct gpio_v2_line_request r; memset(&r, 0, sizeof r); r.fd = 42; PUT(r);');
  assert.equal(uapi.lineDescriptor(answered), 42);
  assert.equal(uapi.lineRequest({ ...INPUT, consumer: 'x'.repeat(40) })[256 + 31], 0);
});
