/* Memory: what allocators, loaders, garbage collectors and sanitizers ask of mmap and its kin. */
#include "base.h"

#include <linux/auxvec.h>
#include <linux/memfd.h>
#include <linux/resource.h>

static long move_break(void *to)
{
	return CALL(__NR_brk, to);
}

static void grow_heap(long size)
{
	u8 *start = (u8 *)move_break(NULL), *end = start + size;

	expect((u8 *)move_break(end) == end, "the heap grew by less; KiB",
	       ((u8 *)move_break(NULL) - start) / KIB);
	for (u8 *at = start; at < end; at += 4096) {
		expect(*at == 0, "new heap is not empty", *at);
		*at = 1;
	}
	expect((u8 *)move_break(start) == start, "the heap does not shrink", 0);
	expect((u8 *)move_break(start + PAGE) == start + PAGE, "the heap does not grow again", 0);
	expect(*start == 0, "heap given back and taken again is not empty", *start);
}

static void heap(void)
{
	grow_heap(64 * MIB);
}

static void dontneed(void)
{
	u8 *at = map(2 * PAGE, PROT_READ | PROT_WRITE, 0);

	memset(at, 7, 2 * PAGE);
	need(CALL(__NR_madvise, at, PAGE, MADV_DONTNEED), "madvise");
	expect(at[0] == 0 && at[PAGE - 1] == 0, "the old bytes are still there", at[0]);
	expect(at[PAGE] == 7, "the next page was dropped as well", at[PAGE]);
}

static void noreplace(void)
{
	u8 *at = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	long got;

	at[PAGE] = 9;
	got = try_map(at + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		      -1);
	expect(at[PAGE] == 9, "what was there is gone", at[PAGE]);
	expect(got == -EEXIST, "it was put elsewhere", got < 0 && got > -4096 ? got : 0);
	CALL(__NR_munmap, at, 4 * PAGE);
	got = try_map(at + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		      -1);
	expect(got == (long)at + (long)PAGE, "a free place is refused", got < 0 ? got : 0);
}

/* Go, Java and the sanitizers reserve first and commit later. */
static void reserve(void)
{
	word size = IS_32BIT ? 512UL * MIB : 16UL * KIB * MIB;
	u8 *at = map(size, PROT_NONE, MAP_NORESERVE);

	need(CALL(__NR_mprotect, at + size / 2, PAGE, PROT_READ | PROT_WRITE), "mprotect inside");
	at[size / 2] = 1;
	at[size / 2 + PAGE - 1] = 2;
	need(CALL(__NR_munmap, at, size), "munmap");
}

/* Where Go's heap starts on 64-bit Linux; a runtime that cannot have it takes another place. */
static void go_heap(void)
{
#if __SIZEOF_LONG__ == 8
	u8 *wanted = (u8 *)0xc000000000UL;
	long got = try_map(wanted, 64UL * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	expect(got == (long)wanted, "another place was given", 0);
	got = try_map(wanted, 4UL * MIB, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
	expect(got == (long)wanted, "MAP_FIXED in a reservation", got);
	wanted[4 * MIB - 1] = 1;
#endif
}

static void remap_grow(void)
{
	u8 *at = map(2 * PAGE, PROT_READ | PROT_WRITE, 0), *grown;

	at[0] = 1;
	at[2 * PAGE - 1] = 2;
	grown = (u8 *)need(CALL(__NR_mremap, at, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE), "mremap");
	expect(grown[0] == 1 && grown[2 * PAGE - 1] == 2, "the content was lost", grown[0]);
	expect(grown[64 * PAGE - 1] == 0, "what was added is not empty", grown[64 * PAGE - 1]);
	need(CALL(__NR_mremap, grown, 64 * PAGE, PAGE, 0), "mremap to less");
	expect(grown[0] == 1, "the content was lost in shrinking", grown[0]);
	at = map(8 * PAGE, PROT_READ | PROT_WRITE, 0);
	memset(at + 4 * PAGE, 3, 4 * PAGE);
	need(CALL(__NR_mremap, at, 4 * PAGE, PAGE, 0), "mremap to less");
	expect(at[4 * PAGE] == 3 && at[8 * PAGE - 1] == 3, "what lay behind was lost", 0);
}

/* Not asked of msync: for 32-bit programs QEMU has all addresses mapped, and asks the host. */
static int is_mapped(void *at)
{
	int pipe[2];

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	return CALL(__NR_write, pipe[1], at, 1) != -EFAULT;
}

static void remap_fixed(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0), *place = map(4 * PAGE, PROT_NONE, 0);
	long got;

	at[5] = 5;
	got = CALL(__NR_mremap, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + PAGE);
	expect(got == (long)(place + PAGE), "mremap to a fixed place", got);
	expect(place[PAGE + 5] == 5, "the content was lost", place[PAGE + 5]);
	expect(!is_mapped(at), "the old place is still mapped", 0);
}

static void remap_keep(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0);
	u8 *moved;

	at[0] = 3;
	moved = (u8 *)CALL(__NR_mremap, at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0);
	if ((long)moved == -EINVAL)
		unsupported("MREMAP_DONTUNMAP", -EINVAL);
	need((long)moved, "mremap");
	expect(moved[0] == 3 && at[0] == 0, "not moved", at[0]);
}

static void remap_duplicate(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED), *twin;

	twin = (u8 *)need(CALL(__NR_mremap, at, 0, PAGE, MREMAP_MAYMOVE), "mremap of nothing");
	at[0] = 4;
	expect(twin != at && twin[0] == 4, "no second view of the same memory", twin[0]);
}

static void wipe_on_fork(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0);
	long pid;

	at[0] = 1;
	need(CALL(__NR_madvise, at, PAGE, MADV_WIPEONFORK), "MADV_WIPEONFORK");
	pid = need(fork(), "fork");
	if (pid == 0)
		leave(at[0]);
	expect(EXIT_CODE(ended(pid)) == 0, "the child sees the parent's secret", 1);
	expect(at[0] == 1, "the parent's own was wiped", at[0]);
}

static u8 *untouchable;

static void touch(void)
{
	*(volatile u8 *)untouchable;
}

static void change(void)
{
	*(volatile u8 *)untouchable = 1;
}

static void protection(void)
{
	int status;

	untouchable = map(PAGE, PROT_READ | PROT_WRITE, 0);
	change();
	need(CALL(__NR_mprotect, untouchable, PAGE, PROT_READ), "mprotect");
	touch();
	status = in_child(change);
	expect(SIGNAL_OF(status) == SIGSEGV, "writing to read-only memory", status);
	need(CALL(__NR_mprotect, untouchable, PAGE, PROT_NONE), "mprotect");
	status = in_child(touch);
	expect(SIGNAL_OF(status) == SIGSEGV, "reading what may not be read", status);
}

static void hole(void)
{
	u8 *at = map(8 * PAGE, PROT_READ | PROT_WRITE, 0);

	at[0] = at[7 * PAGE] = 1;
	need(CALL(__NR_munmap, at + 2 * PAGE, 3 * PAGE), "munmap of the middle");
	expect(at[0] == 1 && at[7 * PAGE] == 1, "what is left changed", at[0]);
	untouchable = at + 3 * PAGE;
	expect(SIGNAL_OF(in_child(touch)) == SIGSEGV, "the hole can still be read", 0);
}

static void bad_address(void)
{
	int pipe[2];

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	expect(CALL(__NR_write, pipe[1], 8, 1) == -EFAULT, "writing from a bad address", 0);
	untouchable = map(PAGE, PROT_NONE, 0);
	expect(CALL(__NR_write, pipe[1], untouchable, 1) == -EFAULT, "from unreadable memory", 0);
	write_all(pipe[1], "x", 1);
	need(CALL(__NR_mprotect, untouchable, PAGE, PROT_READ), "mprotect");
	expect(CALL(__NR_read, pipe[0], untouchable, 1) == -EFAULT, "reading into constants", 0);
}

static void file_pages(void)
{
	long fd = create("pages");
	u8 *at, byte = 0;

	for (int i = 0; i < 3; i++)
		write_all(fd, map(PAGE, PROT_READ, 0), PAGE);
	at = map_file(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	at[PAGE + 1] = 6;
	need(seek(fd, PAGE + 1, 0), "lseek");
	need(CALL(__NR_read, fd, &byte, 1), "read");
	expect(byte == 6, "a write to memory is not in the file", byte);
	need(seek(fd, 2 * PAGE, 0), "lseek");
	write_all(fd, "\7", 1);
	expect(at[2 * PAGE] == 7, "a write to the file is not in memory", at[2 * PAGE]);
	need(CALL(__NR_msync, at, 3 * PAGE, MS_SYNC), "msync");
}

static void file_end(void)
{
	long fd = create("short");

	write_all(fd, "abc", 3);
	untouchable = map_file(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	expect(untouchable[0] == 'a' && untouchable[3] == 0, "the file's bytes", untouchable[3]);
	untouchable += 2 * PAGE;
	expect(SIGNAL_OF(in_child(touch)) == SIGBUS, "behind the end of a file: no SIGBUS",
	       SIGNAL_OF(in_child(touch)));
}

static void shared_by_fork(void)
{
	volatile u8 *at = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	long pid = need(fork(), "fork");

	if (pid == 0) {
		at[0] = 1;
		leave(0);
	}
	ended(pid);
	expect(at[0] == 1, "the child's write is not seen", at[0]);
}

static void system_v(void)
{
#ifdef __NR_shmget
	long id = want(CALL(__NR_shmget, 0, PAGE, 01600), "shmget"), pid;
	volatile u8 *at = (u8 *)need(CALL(__NR_shmat, id, NULL, 0), "shmat");

	CALL(__NR_shmctl, id, 0 | (IS_32BIT ? 0x100 : 0), NULL);
	pid = need(fork(), "fork");
	if (pid == 0) {
		at[1] = 1;
		leave(0);
	}
	ended(pid);
	expect(at[1] == 1, "the child's write is not seen", at[1]);
	need(CALL(__NR_shmdt, at), "shmdt");
	untouchable = (u8 *)at;
	expect(SIGNAL_OF(in_child(touch)) == SIGSEGV, "memory given back can be read", 0);
#else
	unsupported("shmget", -ENOSYS);
#endif
}

static void memory_file(void)
{
	long fd = want(CALL(__NR_memfd_create, "m", MFD_ALLOW_SEALING), "memfd_create");
	u8 *at;

	write_all(fd, "hello", 5);
	at = map_file(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	expect(at[4] == 'o', "its bytes", at[4]);
	need(CALL(__NR_fcntl, fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), "sealing");
	expect(CALL(__NR_write, fd, "x", 1) == -EPERM, "a sealed file was written", 0);
}

static void in_core(void)
{
	u8 state[64], *at = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	word page = auxv(AT_PAGESZ);

	at[0] = 1;
	memset(state, 0x55, sizeof(state));
	if (page * 16 < 4 * PAGE)
		page = 4 * PAGE / 16;
	need(CALL(__NR_mincore, at, PAGE, state), "mincore");
	expect(state[0] & 1, "touched memory is said to be away", state[0]);
}

static void locked(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0);
	long got = CALL(__NR_mlock2, at, PAGE, 1);

	if (got == -ENOMEM || got == -EAGAIN)
		unsupported("the limit forbids it", got);
	want(got, "mlock2");
}

static void page_size(void)
{
	word size = auxv(AT_PAGESZ);
	u8 *at = map(16 * size, PROT_READ | PROT_WRITE, 0);

	expect(size >= 4096 && !(size & (size - 1)), "AT_PAGESZ", size);
	need(CALL(__NR_mprotect, at + size, size, PROT_NONE), "mprotect of one page");
	at[0] = at[2 * size] = 1;
	untouchable = at + size;
	expect(SIGNAL_OF(in_child(touch)) == SIGSEGV, "one page's protection", 0);
}

/* MAP_FIXED over a part of a mapping, as loaders lay out libraries. */
static void loader(void)
{
	long fd = create("library");
	word page = auxv(AT_PAGESZ);
	u8 *at, *image = map(16 * page, PROT_NONE, 0);

	at = map(4 * page, PROT_READ | PROT_WRITE, 0);
	at[3 * page] = 3;
	write_all(fd, at, 4 * page);
	need(try_map(image, 4 * page, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd), "the text");
	need(try_map(image + 2 * page, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd),
	     "the data");
	need(try_map(image + 4 * page, page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1), "the zeros");
	image[2 * page] = 1;
	image[4 * page] = 1;
	expect(image[0] == 0 && image[5 * page - 1] == 0, "the layout", image[0]);
}

static NOINLINE long deep(long levels)
{
	volatile u8 frame[1024];

	frame[0] = levels;
	frame[1023] = levels >> 8;
	return levels ? deep(levels - 1) + (frame[0] == (u8)levels) : 0;
}

static void stack(void)
{
	expect(deep(6000) == 6000, "frames that came back right", deep(6000));
}

static void address_limit(void)
{
	u64 limit[] = {IS_32BIT ? 0x20000000u : 0x20000000u, IS_32BIT ? 0x20000000u : 0x20000000u};
	long got;

	need(CALL(__NR_prlimit64, 0, RLIMIT_AS, limit, NULL), "prlimit64");
	got = try_map(NULL, 1024UL * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	expect(got == -ENOMEM, "more was given than the limit allows", got < 0 ? got : 0);
}

/* The line of /proc/self/maps that covers an address: its rights; 0 where there is none. */
static int rights_in_maps(const u8 *text, long size, word wanted)
{
	long at = 0;

	while (at < size) {
		u64 bounds[2] = {0, 0};

		for (int i = 0; i < 2; i++, at++)
			for (; at < size && text[at] != '-' && text[at] != ' '; at++)
				bounds[i] = bounds[i] << 4 |
					    (text[at] <= '9' ? text[at] - '0' : text[at] - 'a' + 10);
		if (wanted >= bounds[0] && wanted < bounds[1])
			return (text[at] == 'r') | (text[at + 1] == 'w') << 1 |
			       (text[at + 2] == 'x') << 2 | 8;
		while (at < size && text[at++] != '\n')
			;
	}
	return 0;
}

static void own_maps(void)
{
	static u8 text[64 * KIB];
	u8 *at = map(4 * PAGE, PROT_READ, 0);
	long size;
	int local = 0;

	need(CALL(__NR_mprotect, at + PAGE, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	size = reading("/proc/self/maps", text, sizeof(text));
	if (size == -ENOENT)
		unsupported("no /proc", size);
	need(size, "/proc/self/maps");
	expect(rights_in_maps(text, size, (word)at) == 9, "a mapping's rights",
	       rights_in_maps(text, size, (word)at));
	expect(rights_in_maps(text, size, (word)at + PAGE) == 11, "changed rights",
	       rights_in_maps(text, size, (word)at + PAGE));
	expect(rights_in_maps(text, size, (word)&local) >= 11, "the stack",
	       rights_in_maps(text, size, (word)&local));
	expect((rights_in_maps(text, size, (word)own_maps) & 13) == 13, "the program's code",
	       rights_in_maps(text, size, (word)own_maps));
}

static void own_memory(void)
{
	static volatile u32 secret;
	u32 found = 0;
	long fd = CALL(__NR_openat, AT_FDCWD, "/proc/self/mem", O_RDONLY, 0);

	if (fd == -ENOENT || fd == -EACCES || fd == -EPERM)
		unsupported("/proc/self/mem", fd);
	need(fd, "/proc/self/mem");
	secret = 0x12345678;
#ifdef __NR__llseek
	u64 where;
	need(CALL(__NR__llseek, fd, 0, (word)&secret, &where, 0), "_llseek");
#else
	need(seek(fd, (word)&secret, 0), "lseek");
#endif
	need(CALL(__NR_read, fd, &found, sizeof(found)), "read");
	expect(found == secret, "other bytes than the program's", 0);
}

static void validated(void)
{
	long fd = create("validated");
	long got;

	write_all(fd, map(PAGE, PROT_READ, 0), PAGE);
	got = try_map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, fd);
	need(got, "MAP_SHARED_VALIDATE");
	*(u8 *)got = 8;
	expect(CALL(__NR_read, fd, (u8 *)&got, 0) == 0, "read", 0);
	got = try_map(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 0x2000000, fd);
	expect(got == -EOPNOTSUPP, "an unknown flag was not refused", got < 0 ? got : 0);
}

static void many_maps(void)
{
	enum { MANY = 2000 };
	u8 *at = map(2 * MANY * 4096UL * (auxv(AT_PAGESZ) / 4096), PROT_NONE, 0);
	word page = auxv(AT_PAGESZ);

	for (long i = 0; i < MANY; i++)
		need(CALL(__NR_mprotect, at + 2 * i * page, page, PROT_READ | PROT_WRITE),
		     "mprotect");
	for (long i = 0; i < MANY; i++)
		at[2 * i * page] = i;
	for (long i = 0; i < MANY; i++)
		expect(at[2 * i * page] == (u8)i, "a page's byte", i);
}

static void other_process(void)
{
	static volatile u32 secret = 5;
	u32 found = 0;
	struct {
		void *at;
		word size;
	} here = {&found, 4}, there = {(void *)&secret, 4};

	want(CALL(__NR_process_vm_readv, getpid(), &here, 1, &there, 1, 0), "process_vm_readv");
	expect(found == 5, "other bytes than the program's", found);
}

const struct exercise memory_exercises[] = {
	{"heap", heap},
	{"madvise-dontneed", dontneed},
	{"map-fixed-noreplace", noreplace},
	{"map-reserve", reserve},
	{"map-go-heap", go_heap},
	{"mremap-grow", remap_grow},
	{"mremap-fixed", remap_fixed},
	{"mremap-dontunmap", remap_keep},
	{"mremap-duplicate", remap_duplicate},
	{"madvise-wipeonfork", wipe_on_fork},
	{"mprotect", protection},
	{"munmap-middle", hole},
	{"efault", bad_address},
	{"map-file-shared", file_pages},
	{"map-file-end", file_end},
	{"map-shared-fork", shared_by_fork},
	{"sysv-memory", system_v},
	{"memfd", memory_file},
	{"mincore", in_core},
	{"mlock2", locked},
	{"page-size", page_size},
	{"map-loader", loader},
	{"deep-stack", stack},
	{"address-limit", address_limit},
	{"proc-maps", own_maps},
	{"proc-mem", own_memory},
	{"map-shared-validate", validated},
	{"many-maps", many_maps},
	{"process-vm-readv", other_process},
	{0},
};
