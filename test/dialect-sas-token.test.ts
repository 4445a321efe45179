import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isSignedBy, parseSasToken, signSasToken } from '../src/dialects/sas-token.ts';

const KEY = Buffer.from('a key of thirty-two bytes, really');
/** Made by azure-iot-common 1.13.3 (`SharedAccessSignature.create`). */
const OF_DEVICE =
  'SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fpress-1&sig=go0mP2tNdCctKgtpJr7f7bJ5ggK3pJiJoDOfLrmxSWA%3D&se=1893456000';
const OF_MODULE =
  'SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fpress-1%2Fmodules%2Fm&sig=KQ0qg7SuqeW%2BEEDkl%2B2eokCLOOI3HKJGTUBzmh27F4o%3D&skn=owner%20%281%29&se=1893456000';

describe('a shared access signature', () => {
  test("that Azure's own library made is verified", () => {
    const token = parseSasToken(OF_DEVICE);
    assert.ok(token);
    assert.equal(token.resource, 'myhub.azure-devices.net/devices/press-1');
    assert.equal(token.expirySecs, 1_893_456_000);
    assert.equal(token.keyName, null);
    assert.equal(isSignedBy(token, KEY), true);
    assert.equal(isSignedBy(token, Buffer.from('another')), false);
    const ofModule = parseSasToken(OF_MODULE);
    assert.ok(ofModule);
    assert.equal(ofModule.resource, 'myhub.azure-devices.net/devices/press-1/modules/m');
    assert.equal(ofModule.keyName, 'owner (1)');
    assert.equal(isSignedBy(ofModule, Buffer.from('k')), true);
  });

  test('is made as that library makes it', () => {
    assert.equal(signSasToken('myhub.azure-devices.net/devices/press-1', KEY, 1_893_456_000), OF_DEVICE);
  });

  test('of which anything was changed is not verified', () => {
    for (const [was, is] of [
      ['press-1', 'press-2'],
      ['1893456000', '1893456001'],
      ['sr=myhub', 'sr=Myhub'],
      ['%2F', '%2f'],
      ['sig=go', 'sig=gO'],
    ] as const) {
      const token = parseSasToken(OF_DEVICE.replace(was, is));
      assert.ok(token, is);
      assert.equal(isSignedBy(token, KEY), false, is);
    }
  });

  for (const text of [
    '',
    'password',
    'SharedAccessSignature',
    'SharedAccessSignature ',
    OF_DEVICE.replace('SharedAccessSignature', 'sharedaccesssignature'),
    OF_DEVICE.replace('&se=1893456000', ''),
    OF_DEVICE.replace('1893456000', '1e9'),
    OF_DEVICE.replace('1893456000', '-1'),
    OF_DEVICE.replace('1893456000', '9999999999999'),
    `${OF_DEVICE}&se=1`,
    OF_DEVICE.replace('sig=', 'sig=%zz'),
    OF_DEVICE.replace('sig=go0m', 'sig=go0mgo0m'),
    OF_DEVICE.replace('sr=', 'sr=%ff'),
    OF_DEVICE + 'x'.repeat(5000),
  ]) {
    test(`"${text.slice(0, 120)}" is none`, () => assert.equal(parseSasToken(text), null));
  }
});
