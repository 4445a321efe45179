import * as z from 'zod';
import { ChipLineSchema } from './gpio.ts';
import { storageKeys } from './storage.ts';
import { choice, identifier, integer, list, misfit, section, size, text } from './values.ts';

/** What a folder can lie on. */
export const MEDIA = ['sd', 'emmc', 'ssd'] as const;
export type Medium = (typeof MEDIA)[number];

const mappingWrong = misfit('a mapping', '"NAME: value" lines');

const devicePath = text('the path of a device', '/dev/ttyUSB0').regex(/^\//, {
  error: misfit('the path of a device', 'for example /dev/ttyUSB0'),
});

const devicePaths = z.union([devicePath, list(devicePath).min(1, { error: 'an empty list; write some paths' })], {
  error: misfit('the path of a device, or a list of them', 'for example /dev/ttyUSB0'),
});
const ledName = text('the name of a LED', 'ACT');

/** What suits a medium. */
const mediumKeys = {
  ratedTerabytesWritten: storageKeys.ratedTerabytesWritten.exactOptional(),
  quota: storageKeys.quota.exactOptional(),
  commitEveryMs: storageKeys.commitEveryMs.exactOptional(),
  write: storageKeys.write.exactOptional(),
  durability: storageKeys.durability.exactOptional(),
};

/** A kind of board: `device-profiles/*.yaml`. Says what is there and what suits it; `gateway.yaml` has the last word. */
export const ProfileSchema = section({
  name: identifier('raspberry-pi-4').describe('Its name: that of the file without `.yaml`.'),
  description: text('a description', 'Raspberry Pi 4 Model B').describe('One line for people.'),
  recognise: list(text('a model', 'Raspberry Pi 4 Model B'))
    .describe('Beginnings, in whole words, of `/proc/device-tree/model` that tell this board.')
    .prefault([]),
  recogniseDmi: list(text('a maker and a product', 'Dell Inc. Edge Gateway 3001'))
    .describe('The same of the maker and the product that the firmware of a PC tells (`/sys/class/dmi/id`).')
    .prefault([]),
  processors: list(choice(['arm', 'arm64', 'ia32', 'x64', 'riscv64']))
    .describe('Processors that tell it where nothing else does: for a profile of any such machine.')
    .prefault([]),
  serial: z
    .record(identifier('rs485'), devicePaths, { error: mappingWrong })
    .describe('Serial ports: a stable name to the path of a device; of several paths the first that is there counts.')
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
    medium: choice([...MEDIA, 'simulated']).describe('What `dataDir` usually lies on.'),
    ...mediumKeys,
    media: section({
      sd: section(mediumKeys).describe('On a card.').exactOptional(),
      emmc: section(mediumKeys).describe('On an eMMC.').exactOptional(),
      ssd: section(mediumKeys).describe('On a disk without moving parts.').exactOptional(),
    })
      .describe('The same for one medium, where `dataDir` is seen to lie on it; else for the usual one.')
      .prefault({}),
  }).describe('The medium, and what suits it where `storeAndForward` says nothing.'),
  leds: z
    .record(identifier('activity'), z.union([ledName, list(ledName)], { error: misfit('the name of a LED') }), {
      error: mappingWrong,
    })
    .describe('LEDs: what it is for to its name under `/sys/class/leds`; of several names the first that is there.')
    .prefault({}),
  watchdog: section({
    device: devicePath.describe('The watchdog device.'),
    maxSecs: integer(1, 86_400).describe('Longest timeout that the hardware takes, seconds.'),
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
