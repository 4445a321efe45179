import { z } from 'zod';
import { ChipLineSchema } from './gpio.ts';
import { storageKeys } from './storage.ts';
import { choice, identifier, integer, list, misfit, section, size, text } from './values.ts';

const ratedWrong = misfit('a number of terabytes', 'for example 40');
const mappingWrong = misfit('a mapping', '"NAME: value" lines');

const devicePath = text('the path of a device', '/dev/ttyUSB0').regex(/^\//, {
  error: misfit('the path of a device', 'for example /dev/ttyUSB0'),
});

/** A kind of board: `device-profiles/*.yaml`. Says what is there and what suits it; `gateway.yaml` has the last word. */
export const ProfileSchema = section({
  name: identifier('raspberry-pi-4').describe('Its name: that of the file without `.yaml`.'),
  description: text('a description', 'Raspberry Pi 4 Model B').describe('One line for people.'),
  recognise: list(text('a model', 'Raspberry Pi 4 Model B'))
    .describe('Beginnings of `/proc/device-tree/model` that tell this board.')
    .prefault([]),
  serial: z
    .record(identifier('rs485'), devicePath, { error: mappingWrong })
    .describe('Serial ports: a stable name to the path of a device.')
    .prefault({}),
  gpio: section({
    lines: z
      .record(identifier('GPIO17'), ChipLineSchema, { error: mappingWrong })
      .describe('Lines: the name on the header to a chip label and an offset.')
      .prefault({}),
  })
    .describe('The GPIO header.')
    .prefault({}),
  storage: section({
    medium: choice(['sd', 'emmc', 'ssd', 'simulated']).describe('What `dataDir` usually lies on.'),
    ratedTerabytesWritten: z
      .number({ error: ratedWrong })
      .positive({ error: ratedWrong })
      .describe('Endurance that the maker of the medium promises.')
      .exactOptional(),
    quota: storageKeys.quota.exactOptional(),
    commitEveryMs: storageKeys.commitEveryMs.exactOptional(),
    write: storageKeys.write.exactOptional(),
    durability: storageKeys.durability.exactOptional(),
  }).describe('The medium, and what suits it where `storeAndForward` says nothing.'),
  leds: z
    .record(identifier('activity'), text('the name of a LED', 'ACT'), { error: mappingWrong })
    .describe('LEDs: what it is for to its name under `/sys/class/leds`.')
    .prefault({}),
  watchdog: section({
    device: devicePath.describe('The watchdog device.'),
    maxSecs: integer(1, 3600).describe('Longest timeout that the hardware takes, seconds.'),
  })
    .describe('The hardware watchdog.')
    .exactOptional(),
  memory: section({
    limit: size(64 * 1024 ** 2, Number.MAX_SAFE_INTEGER, '256MiB').describe(
      'The most memory that the gateway should take.',
    ),
  })
    .describe('How much memory there is for the gateway.')
    .exactOptional(),
});

export type Profile = z.output<typeof ProfileSchema>;

/** The JSON Schema (draft 2020-12) of what a profile may say. */
export function profileJsonSchema(): z.core.JSONSchema.JSONSchema {
  return { title: 'Holdfast device profile', ...z.toJSONSchema(ProfileSchema, { io: 'input' }) };
}
