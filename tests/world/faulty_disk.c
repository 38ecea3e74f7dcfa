// A disk that fails, for one folder's files: preloaded into a process (faulty_disk.mjs). Which way it fails is said by
// files beside the folder FAULTY_DISK names:
//   FOLDER.fsync      the next fsync fails with EIO and takes the file away, so that each one after it succeeds: as the
//                     system does, which forgets that it could not write
//   FOLDER.no-fsync   every fsync fails with EIO
//   FOLDER.read-only  nothing can be written or opened for writing: EROFS

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char *folder(void) { return getenv("FAULTY_DISK"); }

static int is_within(const char *path) {
  const char *own = folder();
  return own && path && strncmp(path, own, strlen(own)) == 0 && path[strlen(own)] == '/';
}

static int is_ours(int fd) {
  char link[64], path[PATH_MAX];
  if (!folder()) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_within(path) || strcmp(path, folder()) == 0;
}

static int told(const char *how, int once) {
  char flag[PATH_MAX];
  if (!folder()) return 0;
  snprintf(flag, sizeof flag, "%s.%s", folder(), how);
  return once ? unlink(flag) == 0 : access(flag, F_OK) == 0;
}

static int fail(int error) {
  errno = error;
  return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_not_synced(int fd) {
  int kept = errno, failed = is_ours(fd) && (told("no-fsync", 0) || told("fsync", 1));
  errno = kept;
  return failed;
}

static int is_read_only(int fd) {
  int kept = errno, failed = told("read-only", 0) && is_ours(fd);
  errno = kept;
  return failed;
}

int fsync(int fd) { return is_not_synced(fd) ? fail(EIO) : REAL(fsync)(fd); }
int fdatasync(int fd) { return is_not_synced(fd) ? fail(EIO) : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *bytes, size_t count) {
  return is_read_only(fd) ? fail(EROFS) : REAL(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  return is_read_only(fd) ? fail(EROFS) : REAL(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  return is_read_only(fd) ? fail(EROFS) : REAL(pwrite64)(fd, bytes, count, at);
}
int ftruncate(int fd, off_t length) { return is_read_only(fd) ? fail(EROFS) : REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { return is_read_only(fd) ? fail(EROFS) : REAL(ftruncate64)(fd, length); }
int unlink(const char *path) {
  return is_within(path) && told("read-only", 0) ? fail(EROFS) : REAL(unlink)(path);
}

static int is_refused(const char *path, int flags) {
  if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC))) return 0;
  int kept = errno, failed = is_within(path) && told("read-only", 0);
  errno = kept;
  return failed;
}

#define MODE(flags)                                \
  mode_t mode = 0;                                 \
  if ((flags) & (O_CREAT | O_TMPFILE)) {           \
    va_list rest;                                  \
    va_start(rest, flags);                         \
    mode = va_arg(rest, mode_t);                   \
    va_end(rest);                                  \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return is_refused(path, flags) ? fail(EROFS) : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags)
  return is_refused(path, flags) ? fail(EROFS) : REAL(open64)(path, flags, mode);
}
