/* Files: what file systems are asked by package managers, compilers and tools of the system. */
#include "base.h"

#include <linux/inotify.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/falloc.h>
#include <asm/ioctls.h>

static void folder(const char *leaf)
{
	long got = CALL(__NR_mkdirat, AT_FDCWD, in_scratch(leaf), 0700);

	if (got != -EEXIST)
		need(got, "mkdir");
}

static u64 size_of(const char *path)
{
	struct statx now;

	need(CALL(__NR_statx, AT_FDCWD, path, 0, STATX_SIZE, &now), "statx");
	return now.stx_size;
}

/* struct linux_dirent64; d_off is what readdir of a 32-bit C library must put into 32 bits. */
struct entry {
	u64 inode;
	long long offset;
	u16 size;
	u8 type;
	char name[1];
};

enum { ENTRIES = 120 };

static long fill_folder(void)
{
	char leaf[] = "many/000";

	folder("many");
	for (int i = 0; i < ENTRIES; i++) {
		char *digit = leaf + 7;

		while (++*digit > '9')
			*digit-- = '0';
		CALL(__NR_close, create(leaf));
	}
	return need(CALL(__NR_openat, AT_FDCWD, in_scratch("many"), O_RDONLY | O_DIRECTORY, 0), "open");
}

static void directory(void)
{
	static u8 buffer[4096] __attribute__((aligned(8)));
	long fd = fill_folder(), got, found = 0;

	while ((got = need(CALL(__NR_getdents64, fd, buffer, sizeof(buffer)), "getdents64")) > 0)
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->size) {
			struct entry *each = (struct entry *)(buffer + at);

			found += each->name[0] != '.';
		}
	expect(found == ENTRIES, "entries of a folder", found);
}

/* How many entries a folder has; an end where a C library with 32 bits would not go on. */
static long read_with_offsets(long fd)
{
	static u8 buffer[4096] __attribute__((aligned(8)));
	long got, found = 0;

	while ((got = need(CALL(__NR_getdents64, fd, buffer, sizeof(buffer)), "getdents64")) > 0)
		for (long at = 0; at < got; at += ((struct entry *)(buffer + at))->size) {
			struct entry *each = (struct entry *)(buffer + at);

			if (IS_32BIT && (u32)(each->offset >> 32) != 0 && each->offset >> 31 != 0)
				fail("d_off has more than 32 bits: EOVERFLOW in readdir",
				     -EOVERFLOW);
			found += each->name[0] != '.';
		}
	return found;
}

static void directory_offsets(void)
{
	long found = read_with_offsets(fill_folder());

	expect(found == ENTRIES, "entries of a folder", found);
}

/* As in a container: the folder of an image's layer, seen through an overlay. */
static void overlay(void)
{
	long fd = CALL(__NR_openat, AT_FDCWD, "/overlay/layer", O_RDONLY | O_DIRECTORY, 0), found;

	if (fd == -ENOENT)
		unsupported("no overlay of file systems is to be had here", fd);
	found = read_with_offsets(need(fd, "open"));
	expect(found == 8, "entries of a folder", found);
}

static void old_directory(void)
{
#ifdef __NR_getdents
	static u8 buffer[4096] __attribute__((aligned(8)));
	long fd = fill_folder(), got, found = 0;

	while ((got = need(CALL(__NR_getdents, fd, buffer, sizeof(buffer)), "getdents")) > 0)
		for (long at = 0; at < got; found++)
			at += *(u16 *)(buffer + at + 2 * sizeof(long));
	expect(found == ENTRIES + 2, "entries of a folder", found);
#endif
}

static void large_file(void)
{
	long fd = CALL(__NR_openat, AT_FDCWD, in_scratch("large"),
		       O_RDWR | O_CREAT | O_TRUNC | O_LARGEFILE, 0700);
	char text[4] = "";

	need(fd, "open");
#ifdef __NR__llseek
	u64 where = 0;

	need(CALL(__NR__llseek, fd, 1, 0x40000000, &where, 0), "_llseek");
	expect((u32)(where >> 32) == 1, "where it says it is", (long)where);
	write_all(fd, "far", 3);
	need(CALL(__NR__llseek, fd, 1, 0x40000000, &where, 0), "_llseek");
#elif __SIZEOF_LONG__ == 8
	expect(seek(fd, 0x140000000, 0) == 0x140000000, "lseek", 0);
	write_all(fd, "far", 3);
	need(seek(fd, 0x140000000, 0), "lseek");
#else
	unsupported("not written for this processor", 0);
#endif
	need(CALL(__NR_read, fd, text, 3), "read");
	expect(equal(text, "far"), "what is 5 GiB into the file", text[0]);
	expect(size_of(in_scratch("large")) == 0x140000003ULL, "its size", 0);
}

static void many_files(void)
{
	for (int i = 0; i < 200; i++)
		need(CALL(__NR_openat, AT_FDCWD, myself, O_RDONLY, 0), "file number 1 to 200");
}

static void times(void)
{
	struct statx now;
	struct __kernel_timespec wide[2] = {{1000000001, 123456789}, {1000000002, 987654321}};
	long fd = create("times"), got;

#ifdef __NR_utimensat_time64
	got = CALL(__NR_utimensat_time64, fd, NULL, wide, 0);
	if (got == -ENOSYS)
		unsupported("utimensat_time64", got);
#else
	got = CALL(__NR_utimensat, fd, NULL, wide, 0);
#endif
	need(got, "utimensat");
	need(CALL(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_ALL, &now), "statx");
	expect(now.stx_mtime.tv_sec == 1000000002, "seconds", (long)now.stx_mtime.tv_sec);
	expect(now.stx_mtime.tv_nsec == 987654321, "nanoseconds", now.stx_mtime.tv_nsec);
}

static void after_2038(void)
{
	struct statx now;
	struct __kernel_timespec wide[2] = {{4102444800LL, 0}, {4102444800LL, 0}};
	long fd = create("times"), got;

#ifdef __NR_utimensat_time64
	got = CALL(__NR_utimensat_time64, fd, NULL, wide, 0);
#else
	got = CALL(__NR_utimensat, fd, NULL, wide, 0);
#endif
	want(got, "utimensat");
	need(CALL(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_ALL, &now), "statx");
	expect(now.stx_mtime.tv_sec == 4102444800LL, "the year 2100", (long)now.stx_mtime.tv_sec);
}

static void status(void)
{
	struct statx now;
	long fd = create("status");

	write_all(fd, "abcde", 5);
	want(CALL(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_ALL, &now), "statx");
	expect(now.stx_size == 5 && (now.stx_mode & 0170000) == 0100000, "a file", now.stx_mode);
	expect(now.stx_nlink == 1 && now.stx_ino, "its links", now.stx_nlink);
	/* The header's structure is not the kernel's on sparc and alpha, nor for the ABI n32. */
#if defined(__NR_fstat) && !defined(__sparc__) && !defined(__alpha__) && \
	!(defined(__mips__) && _MIPS_SIM == _ABIN32)
	struct stat old;

	memset(&old, 0, sizeof(old));
	if (CALL(__NR_fstat, fd, &old) == 0) {
		expect(old.st_size == 5, "fstat: the size", (long)old.st_size);
		expect((old.st_mode & 0777) == (now.stx_mode & 0777), "fstat: the mode",
		       old.st_mode);
	}
#endif
}

static void open_how(void)
{
	struct open_how how;
	long fd, got;

	memset(&how, 0, sizeof(how));
	how.flags = O_RDONLY | O_DIRECTORY;
	fd = need(CALL(__NR_openat, AT_FDCWD, scratch, O_RDONLY | O_DIRECTORY, 0), "open");
	how.resolve = RESOLVE_BENEATH;
	want(CALL(__NR_openat2, fd, ".", &how, sizeof(how)), "openat2");
	got = CALL(__NR_openat2, fd, "..", &how, sizeof(how));
	expect(got == -EXDEV, "RESOLVE_BENEATH lets one out", got);
	got = CALL(__NR_openat2, fd, ".", &how, 4);
	expect(got == -EINVAL, "a short structure", got);
}

static void access_flags(void)
{
	long fd = create("access");

	need(CALL(__NR_fchmod, fd, 0400), "fchmod");
	want(CALL(__NR_faccessat2, AT_FDCWD, in_scratch("access"), 4, AT_EACCESS), "faccessat2");
	expect(CALL(__NR_faccessat2, AT_FDCWD, in_scratch("none"), 0, 0) == -ENOENT, "ENOENT", 0);
}

static void mode_flags(void)
{
	struct statx now;

	CALL(__NR_close, create("mode"));
	want(CALL(__NR_fchmodat2, AT_FDCWD, in_scratch("mode"), 0640, AT_SYMLINK_NOFOLLOW),
	     "fchmodat2");
	need(CALL(__NR_statx, AT_FDCWD, in_scratch("mode"), 0, STATX_ALL, &now), "statx");
	expect((now.stx_mode & 07777) == 0640, "the mode", now.stx_mode);
}

static void close_many(void)
{
	int pipe[2];

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	want(CALL(__NR_close_range, pipe[0], pipe[1], 0), "close_range");
	expect(CALL(__NR_fcntl, pipe[1], F_GETFD, 0) == -EBADF, "it is still open", 0);
	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	need(CALL(__NR_close_range, pipe[0], 1000, 4), "CLOSE_RANGE_CLOEXEC");
	expect(CALL(__NR_fcntl, pipe[1], F_GETFD, 0) == 1, "close-on-exec", 0);
}

static void copy_range(void)
{
	long from = create("from"), to = create("to"), got;
	char text[6] = "";
	u64 offset = 1;

	write_all(from, "abcdef", 6);
	got = CALL(__NR_copy_file_range, from, &offset, to, NULL, 4, 0);
	want(got, "copy_file_range");
	expect(got == 4 && offset == 5, "bytes copied", got);
	need(seek(to, 0, 0), "lseek");
	need(CALL(__NR_read, to, text, 5), "read");
	expect(equal(text, "bcde"), "what was copied", text[0]);
}

static void splice(void)
{
	long file = create("spliced"), got;
	int pipe[2];
	char text[6] = "";
	u64 offset = 2;

	write_all(file, "abcdef", 6);
	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	got = want(CALL(__NR_splice, file, &offset, pipe[1], NULL, 3, 0), "splice");
	expect(got == 3 && offset == 5, "bytes moved", got);
	need(CALL(__NR_read, pipe[0], text, 3), "read");
	expect(equal(text, "cde"), "what was moved", text[0]);
}

static void send_file(void)
{
	long from = create("from"), to = create("to"), got;
	char text[8] = "";

	write_all(from, "abcdef", 6);
	need(seek(from, 1, 0), "lseek");
	got = want(CALL(__NR_sendfile, to, from, NULL, 100), "sendfile");
	expect(got == 5, "bytes sent", got);
	need(seek(to, 0, 0), "lseek");
	need(CALL(__NR_read, to, text, 7), "read");
	expect(equal(text, "bcdef"), "what was sent", text[0]);
}

static void rename_flags(void)
{
	long got;

	CALL(__NR_close, create("one"));
	write_all(create("two"), "22", 2);
	got = CALL(__NR_renameat2, AT_FDCWD, in_scratch("one"), AT_FDCWD, in_scratch("two"), 1);
	if (got == -EINVAL)
		unsupported("RENAME_NOREPLACE", got);
	if (got != -EEXIST)
		want(got, "renameat2");
	expect(got == -EEXIST, "RENAME_NOREPLACE replaced", got);
	got = CALL(__NR_renameat2, AT_FDCWD, in_scratch("one"), AT_FDCWD, in_scratch("two"), 2);
	if (got == -EINVAL)
		unsupported("RENAME_EXCHANGE", got);
	want(got, "RENAME_EXCHANGE");
	expect(size_of(in_scratch("one")) == 2, "they were not exchanged", 0);
}

static void unnamed(void)
{
	long fd = CALL(__NR_openat, AT_FDCWD, scratch, O_TMPFILE | O_RDWR, 0600);

	if (fd == -EOPNOTSUPP || fd == -EISDIR)
		unsupported("O_TMPFILE", fd);
	need(fd, "O_TMPFILE");
	write_all(fd, "x", 1);
}

static void locks(void)
{
	long fd = create("locked"), other, pid;

	other = need(CALL(__NR_openat, AT_FDCWD, in_scratch("locked"), O_RDWR, 0), "open");
	need(CALL(__NR_flock, fd, 2), "flock");
	expect(CALL(__NR_flock, other, 2 | 4) == -EAGAIN, "locked twice", 0);
	need(CALL(__NR_flock, fd, 8), "flock");
#if !defined(__NR_fcntl64)
	struct flock all;
#define LOCKING __NR_fcntl
#define SETLK F_SETLK
#else
	struct flock64 all;
#define LOCKING __NR_fcntl64
#define SETLK F_SETLK64
#endif
	memset(&all, 0, sizeof(all));
	all.l_type = F_WRLCK;
	need(CALL(LOCKING, fd, SETLK, &all), "fcntl of a lock");
	pid = need(fork(), "fork");
	if (pid == 0)
		leave(CALL(LOCKING, other, SETLK, &all) == -EAGAIN ? 0 : 1);
	expect(ended(pid) == 0, "another process got the lock", 0);
	all.l_type = F_UNLCK;
	need(CALL(LOCKING, fd, SETLK, &all), "fcntl to unlock");
	all.l_type = F_WRLCK;
	need(CALL(LOCKING, fd, 37, &all), "a lock of an open file (F_OFD_SETLK)");
}

static void positions(void)
{
	long fd = create("positions"), got;
	char one[3] = "", two[3] = "";
	struct {
		void *at;
		word size;
	} parts[2] = {{one, 2}, {two, 2}};

	write_all(fd, "abcdefgh", 8);
	got = CALL(__NR_preadv, fd, parts, 2, 3, 0);
	need(got, "preadv");
	expect(got == 4 && equal(one, "de") && equal(two, "fg"), "preadv", got);
}

static void positions_flags(void)
{
	long fd = create("positions"), got;
	char one[3] = "";
	struct {
		void *at;
		word size;
	} parts = {one, 2};

	write_all(fd, "abcdefgh", 8);
	got = want(CALL(__NR_preadv2, fd, &parts, 1, 3, 0, 0), "preadv2");
	expect(got == 2 && equal(one, "de"), "preadv2", got);
}

static void links(void)
{
	char text[64] = "";
	long got;

	CALL(__NR_unlinkat, AT_FDCWD, in_scratch("link"), 0);
	CALL(__NR_close, create("target"));
	need(CALL(__NR_symlinkat, "target", AT_FDCWD, in_scratch("link")), "symlink");
	got = need(CALL(__NR_readlinkat, AT_FDCWD, in_scratch("link"), text, 63), "readlink");
	expect(got == 6 && equal(text, "target"), "the link's text", got);
	got = CALL(__NR_openat, AT_FDCWD, in_scratch("link"), O_RDONLY | O_NOFOLLOW, 0);
	expect(got == -ELOOP, "O_NOFOLLOW followed", got);
	need(CALL(__NR_linkat, AT_FDCWD, in_scratch("target"), AT_FDCWD, in_scratch("hard"), 0), "link");
	CALL(__NR_unlinkat, AT_FDCWD, in_scratch("hard"), 0);
}

static void attributes(void)
{
	long fd = create("attributes"), got;
	char text[8] = "";

	got = CALL(__NR_fsetxattr, fd, "user.a", "value", 5, 0);
	if (got == -EOPNOTSUPP)
		unsupported("this file system has none", got);
	want(got, "fsetxattr");
	got = need(CALL(__NR_fgetxattr, fd, "user.a", text, 8), "fgetxattr");
	expect(got == 5 && equal(text, "value"), "the value", got);
	got = need(CALL(__NR_flistxattr, fd, text, 8), "flistxattr");
	expect(got == 7, "the list", got);
}

static void watch(void)
{
	static u8 buffer[512] __attribute__((aligned(8)));
	struct inotify_event *event = (void *)buffer;
	long fd = want(CALL(__NR_inotify_init1, 0), "inotify_init1"), got, watching;

	folder("watched");
	watching = need(CALL(__NR_inotify_add_watch, fd, in_scratch("watched"), IN_CREATE | IN_CLOSE_WRITE),
			"inotify_add_watch");
	CALL(__NR_unlinkat, AT_FDCWD, in_scratch("watched/new"), 0);
	CALL(__NR_close, create("watched/new"));
	got = need(CALL(__NR_read, fd, buffer, sizeof(buffer)), "read");
	expect(got >= (long)sizeof(*event) && event->wd == watching, "which watch", event->wd);
	expect(event->mask & IN_CREATE && equal(event->name, "new"), "what happened", event->mask);
}

static void holes(void)
{
	long fd = create("holes"), got;

	for (int i = 0; i < 4; i++)
		write_all(fd, map(PAGE, PROT_READ, 0), PAGE);
#if __SIZEOF_LONG__ == 8 || (defined(__mips__) && _MIPS_SIM == _ABIN32)
	got = CALL(__NR_fallocate, fd, 3, PAGE, PAGE);
#elif __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	got = CALL(__NR_fallocate, fd, 3, 0, PAGE, 0, PAGE);
#else
	got = CALL(__NR_fallocate, fd, 3, PAGE, 0, PAGE, 0);
#endif
	want(got, "fallocate");
	got = seek(fd, 0, 4);
	if (got == -EINVAL)
		unsupported("SEEK_HOLE", got);
	expect(got == (long)PAGE || got == (long)(4 * PAGE), "where the hole is", got);
}

static void file_systems(void)
{
	/* struct statfs begins with two words: type, and the size of a block. */
	union {
		word words[32];
		u32 halves[64];
	} about;
	long got;

	memset(&about, 0, sizeof(about));
#ifdef __NR_statfs64
#if defined(__arm__)
	got = CALL(__NR_statfs64, scratch, 84, &about);
	if (got == -EINVAL)
		got = CALL(__NR_statfs64, scratch, 88, &about);
#else
	got = CALL(__NR_statfs64, scratch, 84, &about);
	if (got == -EINVAL)
		got = CALL(__NR_statfs64, scratch, 88, &about);
#endif
#else
	got = CALL(__NR_statfs, scratch, &about);
#endif
	need(got, "statfs");
#if defined(__s390x__)
	expect(about.halves[1] >= 512, "the size of a block", about.halves[1]);
#else
	expect(about.words[1] >= 512, "the size of a block", about.words[1]);
#endif
}

static void current_folder(void)
{
	char path[256] = "";
	long got;

	need(CALL(__NR_chdir, scratch), "chdir");
	got = need(CALL(__NR_getcwd, path, sizeof(path)), "getcwd");
	expect(got == (long)length(scratch) + 1 && equal(path, scratch), "where it is", got);
	expect(CALL(__NR_getcwd, path, 2) == -ERANGE, "a short buffer", 0);
}

static void handles(void)
{
	struct {
		u32 size;
		int type;
		u8 bytes[128];
	} about;
	int mount;
	long got;

	about.size = sizeof(about.bytes);
	got = CALL(__NR_name_to_handle_at, AT_FDCWD, scratch, &about, &mount, 0);
	want(got, "name_to_handle_at");
	expect(about.size > 0 && about.size <= 128, "the handle's size", about.size);
}

static void advice(void)
{
	long fd = create("advice");

	write_all(fd, "abc", 3);
#if defined(__NR_sync_file_range) && __SIZEOF_LONG__ == 8
	want(CALL(__NR_sync_file_range, fd, 0, 0, 7), "sync_file_range");
#endif
	want(CALL(__NR_fdatasync, fd), "fdatasync");
	want(CALL(__NR_syncfs, fd), "syncfs");
}

static void requests(void)
{
	long fd = create("requests");
	int waiting = -1;
	int pipe[2];

	(void)fd;
	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	write_all(pipe[1], "abc", 3);
	need(CALL(__NR_ioctl, pipe[0], FIONREAD, &waiting), "FIONREAD");
	expect(waiting == 3, "bytes that wait", waiting);
}

const struct exercise file_exercises[] = {
	{"directory", directory},
	{"directory-offsets", directory_offsets},
	{"directory-overlay", overlay},
	{"directory-old", old_directory},
	{"large-file", large_file},
	{"many-files", many_files},
	{"file-times", times},
	{"after-2038", after_2038},
	{"statx", status},
	{"openat2", open_how},
	{"faccessat2", access_flags},
	{"fchmodat2", mode_flags},
	{"close-range", close_many},
	{"copy-file-range", copy_range},
	{"splice", splice},
	{"sendfile", send_file},
	{"renameat2", rename_flags},
	{"tmpfile", unnamed},
	{"file-locks", locks},
	{"preadv", positions},
	{"preadv2", positions_flags},
	{"links", links},
	{"xattr", attributes},
	{"inotify", watch},
	{"fallocate", holes},
	{"statfs", file_systems},
	{"getcwd", current_folder},
	{"file-handles", handles},
	{"sync", advice},
	{"pipe-size", requests},
	{0},
};
