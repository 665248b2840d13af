/* Code that is written while the program runs: Java, Node, .NET, Lua, PCRE, Erlang. */
#include "base.h"

#include <linux/memfd.h>

#if defined(__mips__)
#include <asm/cachectl.h>
#endif

enum { CODE = 64 };
typedef long code(void);

/* Their machine code is copied: no calls, no constants, nothing that depends on the place. */
#define ALONE __attribute__((noinline, used, aligned(64)))
ALONE static long one(void) { return 1; }
ALONE static long two(void) { return 2; }

/* What a processor needs before it runs what was written. */
static void flush(void *at, long size)
{
	char *start = at, *end = start + size;

	asm volatile("" : : : "memory");
#if defined(__aarch64__)
	for (char *line = start; line < end; line += 16)
		asm volatile("dc cvau, %0" : : "r"(line) : "memory");
	asm volatile("dsb ish" : : : "memory");
	for (char *line = start; line < end; line += 16)
		asm volatile("ic ivau, %0" : : "r"(line) : "memory");
	asm volatile("dsb ish\n	isb" : : : "memory");
#elif defined(__arm__)
	CALL(0xf0002, start, end, 0);
#elif defined(__mips__)
	CALL(__NR_cacheflush, start, size, BCACHE);
#elif defined(__m68k__)
	CALL(__NR_cacheflush, start, 1, 3, size);
#elif defined(__riscv)
	asm volatile("fence.i" : : : "memory");
#elif defined(__powerpc__)
	for (char *line = start; line < end; line += 16)
		asm volatile("dcbst 0, %0" : : "r"(line) : "memory");
	asm volatile("sync" : : : "memory");
	for (char *line = start; line < end; line += 16)
		asm volatile("icbi 0, %0" : : "r"(line) : "memory");
	asm volatile("isync" : : : "memory");
#elif defined(__loongarch__)
	asm volatile("dbar 0\n	ibar 0" : : : "memory");
#elif defined(__alpha__)
	asm volatile("call_pal 0x86" : : : "memory");
#elif defined(__sparc__)
	for (char *line = start; line < end; line += 8)
		asm volatile("flush %0" : : "r"(line) : "memory");
#elif defined(__hppa__)
	for (char *line = start; line < end; line += 16)
		asm volatile("fdc %%r0(%0)\n	sync\n	fic %%r0(%%sr4,%0)\n	sync" : : "r"(line));
#endif
	(void)start;
	(void)end;
}

static void put_code(u8 *at, u8 *seen_at, code *source)
{
	memcpy(at, (void *)source, CODE);
	flush(seen_at, CODE);
}

static void one_mapping(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

	for (int round = 0; round < 200; round++) {
		put_code(at, at, round & 1 ? one : two);
		expect(((code *)at)() == (round & 1 ? 1 : 2), "old code ran, in round", round);
	}
}

static void by_turns(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0);

	for (int round = 0; round < 50; round++) {
		need(CALL(__NR_mprotect, at, PAGE, PROT_READ | PROT_WRITE), "mprotect to write");
		put_code(at, at, round & 1 ? one : two);
		need(CALL(__NR_mprotect, at, PAGE, PROT_READ | PROT_EXEC), "mprotect to run");
		expect(((code *)at)() == (round & 1 ? 1 : 2), "old code ran, in round", round);
	}
}

static void two_mappings(void)
{
	long fd = CALL(__NR_memfd_create, "code", MFD_CLOEXEC);
	u8 *writable, *runs;

	if (fd < 0)
		fd = create("code");
	need(seek(fd, 0, 0), "lseek");
	write_all(fd, map(PAGE, PROT_READ, 0), PAGE);
	writable = map_file(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	runs = map_file(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int round = 0; round < 20; round++) {
		put_code(writable, runs, round & 1 ? one : two);
		expect(((code *)runs)() == (round & 1 ? 1 : 2), "old code ran, in round", round);
	}
}

static void much_code(void)
{
	enum { FUNCTIONS = 4000 };
	u8 *at = map(FUNCTIONS * CODE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

	for (int i = 0; i < FUNCTIONS; i++)
		put_code(at + i * CODE, at + i * CODE, i & 3 ? one : two);
	for (int i = 0; i < FUNCTIONS; i++)
		expect(((code *)(at + i * CODE))() == (i & 3 ? 1 : 2), "a wrong function", i);
}

static void replaced(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

	for (int round = 0; round < 50; round++) {
		need(try_map(at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1), "mmap over code");
		put_code(at, at, round & 1 ? one : two);
		expect(((code *)at)() == (round & 1 ? 1 : 2), "old code ran, in round", round);
	}
}

/* Code read from a file into memory that runs already: a loader of plug-ins, a kernel's write. */
static void read_into(void)
{
	long fd = create("plugin");
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);

	write_all(fd, (void *)one, CODE);
	write_all(fd, (void *)two, CODE);
	for (int round = 0; round < 20; round++) {
		need(seek(fd, round & 1 ? 0 : CODE, 0), "lseek");
		need(CALL(__NR_read, fd, at, CODE), "read");
		flush(at, CODE);
		expect(((code *)at)() == (round & 1 ? 1 : 2), "old code ran, in round", round);
	}
}

static volatile int stop;
static u8 *shared_code;

static void call_all_the_time(void *wrong)
{
	while (!LOAD(&stop)) {
		long got = ((code *)shared_code)();

		if (got != 1 && got != 2)
			ADD((int *)wrong, 1);
	}
}

/* One thread runs code beside which another writes more, on the same page. */
static void beside_a_thread(void)
{
	static struct thread threads[3];
	static int wrong;

	shared_code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	put_code(shared_code, shared_code, one);
	for (int i = 0; i < COUNT(threads); i++)
		start_thread(&threads[i], call_all_the_time, &wrong);
	for (int round = 0; round < 500; round++) {
		u8 *at = shared_code + CODE * (1 + (round & 31));

		put_code(at, at, round & 7 ? one : two);
		expect(((code *)at)() == (round & 7 ? 1 : 2), "old code ran, in round", round);
	}
	STORE(&stop, 1);
	for (int i = 0; i < COUNT(threads); i++)
		join(&threads[i]);
	expect(wrong == 0, "wrong results in other threads", wrong);
}

static void child_code(void)
{
	u8 *at = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	int status;
	long pid;

	put_code(at, at, one);
	expect(((code *)at)() == 1, "the code", 0);
	pid = need(fork(), "fork");
	if (pid == 0) {
		put_code(at, at, two);
		leave(((code *)at)());
	}
	status = ended(pid);
	expect(EXIT_CODE(status) == 2, "the child's code", status);
	expect(((code *)at)() == 1, "the parent's code changed with the child's", 0);
}

const struct exercise jit_exercises[] = {
	{"jit-one-mapping", one_mapping},
	{"jit-by-turns", by_turns},
	{"jit-two-mappings", two_mappings},
	{"jit-much-code", much_code},
	{"jit-replaced", replaced},
	{"jit-read", read_into},
	{"jit-threads", beside_a_thread},
	{"jit-fork", child_code},
	{0},
};
