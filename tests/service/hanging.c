/* Preloaded into a program, makes a file system that hangs: while the file $HANG_FLAG is there, no call on a path below $HANG_FOLDER comes back. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void hang(const char *path)
{
    const char *folder = getenv("HANG_FOLDER"), *flag = getenv("HANG_FLAG");
    if (folder && flag && path && strncmp(path, folder, strlen(folder)) == 0)
        while (syscall(SYS_access, flag, F_OK) == 0)
            usleep(20000);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); hang(path)

int stat(const char *path, struct stat *out) { REAL(stat); return real(path, out); }
int lstat(const char *path, struct stat *out) { REAL(lstat); return real(path, out); }
int fstatat(int at, const char *path, struct stat *out, int flags) { REAL(fstatat); return real(at, path, out, flags); }
int stat64(const char *path, struct stat64 *out) { REAL(stat64); return real(path, out); }
int lstat64(const char *path, struct stat64 *out) { REAL(lstat64); return real(path, out); }
int fstatat64(int at, const char *path, struct stat64 *out, int flags) { REAL(fstatat64); return real(at, path, out, flags); }
int access(const char *path, int mode) { REAL(access); return real(path, mode); }
DIR *opendir(const char *path) { REAL(opendir); return real(path); }

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    REAL(open);
    return real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    REAL(open64);
    return real(path, flags, mode);
}
