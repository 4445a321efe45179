import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './worker.ts';

/**
 * A medium that is slow to flush: a library for LD_PRELOAD that lets whatever makes data durable take so much longer, on the
 * thread that asked for it. That is fdatasync and fsync, and a write through a descriptor opened with O_DSYNC, which is how
 * LMDB writes its meta page.
 */
const SOURCE = String.raw`
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

static void delay(void) {
  const char *text = getenv("BENCH_FLUSH_MS");
  long ms = text ? atol(text) : 0;
  struct timespec left = { ms / 1000, (ms % 1000) * 1000000L };
  if (ms > 0) while (nanosleep(&left, &left) != 0) { }
}
static int synchronous(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags != -1 && (flags & O_DSYNC) != 0;
}
#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

int fdatasync(int fd) {
  REAL(fdatasync);
  int result = real(fd);
  delay();
  return result;
}
int fsync(int fd) {
  REAL(fsync);
  int result = real(fd);
  delay();
  return result;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  REAL(pwrite);
  ssize_t result = real(fd, bytes, length, at);
  if (synchronous(fd)) delay();
  return result;
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  REAL(pwrite64);
  ssize_t result = real(fd, bytes, length, at);
  if (synchronous(fd)) delay();
  return result;
}
`;

/** Compiles it; returns what makes it work for a process and all its flushes, or null where there is no C compiler. */
export function slowFlushes(): ((ms: number) => Readonly<Record<string, string>>) | null {
  const folder = join(ROOT, '.scratch', 'slow-flush');
  const library = join(folder, 'slow-flush.so');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'slow-flush.c'), SOURCE);
  try {
    execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', library, join(folder, 'slow-flush.c'), '-ldl'], {
      stdio: 'pipe',
    });
    return (ms) => (ms === 0 ? {} : { LD_PRELOAD: library, BENCH_FLUSH_MS: String(ms) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
