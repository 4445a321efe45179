/*
 * A clock that goes faster than the world's, for whole programs (LD_PRELOAD): what asks the C library for the time is told
 * another, and what waits for a time waits accordingly less. The processor, the disk and the network stay as fast as they are.
 *
 * HOLDFAST_FIELD_CLOCK names a page that all programs of one world share, five 64-bit integers as the machine has them:
 *   rate         how many times faster
 *   origin       CLOCK_MONOTONIC at which both clocks agree, ns
 *   wall         CLOCK_REALTIME that belongs to it, ns
 *   step         what has been added to the wall clock alone since, ns
 *   synchronised what adjtimex says of it
 *
 * Not changed: time stamps of files, the time that processors were busy, poll, select and file descriptors of timers. Node.js, its
 * add-ons and mosquitto wait by none of these.
 *
 * Programs of this world end with whoever started them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

struct page {
  volatile int64_t rate, origin, wall, step, synchronised;
};

static const struct page *page;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
  if (page) return;
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  void *wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!wait) wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  real_cond_timedwait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))wait;
  const char *path = getenv("HOLDFAST_FIELD_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) abort();
  void *mapped = mmap(NULL, sizeof *page, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) abort();
  close(fd);
  page = mapped;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int64_t ns_of(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static struct timespec timespec_of(int64_t ns) {
  return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

static int64_t real_now(clockid_t clock) {
  struct timespec t;
  begin();
  real_clock_gettime(clock, &t);
  return ns_of(&t);
}

/* Nanoseconds since the origin, in this world. */
static int64_t elapsed(void) { return (real_now(CLOCK_MONOTONIC) - page->origin) * page->rate; }
static int64_t monotonic_now(void) { return page->origin + elapsed(); }
static int64_t wall_now(void) { return page->wall + page->step + elapsed(); }

/* So much real time must pass, ns: rounded up, so that nobody wakes before it is due. */
static int64_t real_wait(int64_t ns) { return ns <= 0 ? 0 : (ns + page->rate - 1) / page->rate + 1; }

int clock_gettime(clockid_t clock, struct timespec *t) {
  begin();
  switch (clock) {
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
      *t = timespec_of(monotonic_now());
      return 0;
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
      *t = timespec_of(wall_now());
      return 0;
    default:
      return real_clock_gettime(clock, t);
  }
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  (void)zone;
  int64_t now = wall_now();
  t->tv_sec = now / SECOND;
  t->tv_usec = now % SECOND / 1000;
  return 0;
}

time_t time(time_t *t) {
  time_t now = wall_now() / SECOND;
  if (t) *t = now;
  return now;
}

/* epoll_pwait2 (Linux 5.11), since a millisecond here is many in this world; where there is none, in milliseconds. */
static int wait_for_events(int epoll, struct epoll_event *events, int most, int ms, const sigset_t *signals) {
  begin();
  int64_t ns = real_wait(ms * 1000000LL);
  struct timespec t = timespec_of(ns);
  int found = syscall(SYS_epoll_pwait2, epoll, events, most, ms < 0 ? NULL : &t, signals, _NSIG / 8);
  if (found >= 0 || errno != ENOSYS) return found;
  return syscall(SYS_epoll_pwait, epoll, events, most, ms < 0 ? -1 : (int)((ns + 999999) / 1000000), signals, _NSIG / 8);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int ms) {
  return wait_for_events(epoll, events, most, ms, NULL);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int ms, const sigset_t *signals) {
  return wait_for_events(epoll, events, most, ms, signals);
}

int nanosleep(const struct timespec *asked, struct timespec *left) {
  begin();
  struct timespec t = timespec_of(real_wait(ns_of(asked)));
  int result = syscall(SYS_nanosleep, &t, left);
  if (result != 0 && left) *left = timespec_of(ns_of(left) * page->rate);
  return result;
}

int usleep(useconds_t us) {
  struct timespec t = timespec_of(us * 1000LL);
  return nanosleep(&t, NULL);
}

/* Which clock a condition goes by cannot be asked: a deadline after 2001 is one of the wall clock, since no machine runs so long. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *deadline) {
  begin();
  int by_wall = deadline->tv_sec > 1000000000;
  int64_t left = ns_of(deadline) - (by_wall ? wall_now() : monotonic_now());
  struct timespec t = timespec_of(real_now(by_wall ? CLOCK_REALTIME : CLOCK_MONOTONIC) + real_wait(left));
  return real_cond_timedwait(condition, mutex, &t);
}

int adjtimex(struct timex *t) {
  begin();
  memset(t, 0, sizeof *t);
  if (page->synchronised) return TIME_OK;
  t->status = STA_UNSYNC;
  return TIME_ERROR;
}
