import { main } from './cli/program.ts';

// LMDB's commits share libuv's pool with name look-ups, of which a dead network keeps several waiting for half a minute, and
// with the draining of serial ports. Four threads could all be taken; the pool is made at its first use, after this line.
process.env['UV_THREADPOOL_SIZE'] ??= '8';

void main(process.argv).then((code) => {
  process.exitCode = code;
});
