/*
 * What every exercise stands on: system calls, a way to report, processes and threads.
 * There is no C library: the kernel's own headers (linux-libc-dev) say what calls look like.
 */
#ifndef BASE_H
#define BASE_H

#include <asm/bitsperlong.h>	/* first: fcntl.h of MIPS looks at it */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <linux/wait.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/stat.h>

#if !defined(__NR__llseek) && defined(__NR_llseek)
#define __NR__llseek __NR_llseek
#endif
#ifndef __NR_sendfile
#define __NR_sendfile __NR_sendfile64
#endif
#ifndef __NR_fcntl
#define __NR_fcntl __NR_fcntl64
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long word;
typedef long time_t;	/* for macros of the headers */

#define NULL ((void *)0)
#define NORETURN __attribute__((noreturn))
#define NOINLINE __attribute__((noinline))
#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))
#define IS_32BIT (sizeof(long) == 4)
enum { KIB = 1024, MIB = 1024 * KIB };

/* One system call; -errno for an error. */
long call6(long number, long a, long b, long c, long d, long e, long f);
#define CALL_(n, a, b, c, d, e, f, ...) \
	call6((long)(n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(...) CALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* ---- Reporting: one line, and the process ends ------------------------------------------ */
void say(const char *text);
NORETURN void leave(int status);
NORETURN void result(const char *status, const char *detail, long value);
NORETURN void fail(const char *detail, long value);		/* wrong: value tells what came */
NORETURN void unsupported(const char *detail, long value);	/* refused cleanly */
/* A call must succeed: its value, or the end of the exercise. */
long need(long value, const char *what);
/* A call that an older kernel or emulator may lack: ENOSYS and the like are "unsupported". */
long want(long value, const char *what);
static inline void expect(int truth, const char *what, long value)
{
	if (!truth)
		fail(what, value);
}

/* ---- Memory and text -------------------------------------------------------------------- */
void *memset(void *to, int value, word size);
void *memcpy(void *to, const void *from, word size);
int memcmp(const void *a, const void *b, word size);
word length(const char *text);
int equal(const char *a, const char *b);
int contains(const u8 *in, long size, const char *text);
char *put_number(char *end, unsigned long value);
void *map(word size, int protection, int flags);	/* anonymous memory, or the end */
void *map_file(void *at, word size, int protection, int flags, int fd, word page);
long try_map(void *at, word size, int protection, int flags, int fd);
long try_map_from(word offset, void *at, word size, int protection, int flags, int fd);
#define PAGE 65536UL	/* a multiple of every page size there is */

/* ---- Files ------------------------------------------------------------------------------- */
extern char **environment;
extern word *auxiliary;
extern long argument_count;
extern const char *scratch;	/* the folder to write in */
extern const char *myself;	/* this program's path */
extern const char *name;	/* of the exercise */
word auxv(word type);		/* 0 where it is not given */
const char *in_scratch(const char *leaf);	/* a path there; few at a time */
long create(const char *leaf);
long seek(int fd, word offset, int whence);
long reading(const char *path, u8 *into, long size);	/* all that a small file has, or -errno */
void write_all(int fd, const void *data, long size);

/* ---- Processes --------------------------------------------------------------------------- */
long fork(void);
int ended(long pid);			/* the status as wait(2) has it; waits for it */
#define EXITED(status) (((status) & 0x7f) == 0)
#define EXIT_CODE(status) (((status) >> 8) & 0xff)
#define SIGNAL_OF(status) ((status) & 0x7f)
/* Run something in a child; its status. */
int in_child(void (*work)(void));
long execute(const char *path, const char *first, const char *second, const char *third);
/* The status of a child that becomes a program. */
int ran(const char *path, const char *first, const char *second, const char *third);

/* ---- Threads ----------------------------------------------------------------------------- */
struct thread {
	int tid;		/* the kernel clears it and wakes us when the thread is gone */
	void *stack;
	void *tls;
	struct robust_list_head robust;
};
enum { STACK = 256 * KIB };
void start_thread(struct thread *thread, void (*work)(void *), void *argument);
void join(struct thread *thread);
long futex(int *at, int what, int value, const struct __kernel_timespec *limit);
#define NEW_STACK_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
			 CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
long spawn(long flags, void *stack, long size, void (*work)(void *), void *argument, int *tid,
	   void *tls);

#define ADD(at, n) __atomic_fetch_add(at, n, __ATOMIC_SEQ_CST)
#define LOAD(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
#define STORE(at, n) __atomic_store_n(at, n, __ATOMIC_SEQ_CST)

/* ---- Signals ----------------------------------------------------------------------------- */
typedef struct {
#if defined(__mips__)
	word bits[128 / 8 / sizeof(word)];
#else
	word bits[64 / 8 / sizeof(word)];
#endif
} signals;

typedef void handler(int number, siginfo_t *info, void *context);
struct action {
#if defined(__mips__)
	unsigned int flags;
	handler *handle;
	signals mask;
#else
	handler *handle;
	unsigned long flags;
#if !defined(__alpha__) && !defined(__hppa__) && (defined(SA_RESTORER) || defined(__sparc__) || defined(__m68k__))
	void (*restorer)(void);
#endif
	signals mask;
#endif
};
long handle(int number, handler *function, unsigned long flags);
long handle_without_way_back(int number, handler *function, unsigned long flags);
void set_signal(signals *set, int number);
int has_signal(const signals *set, int number);
long mask(int how, int number);		/* block or unblock one signal */
long send(long pid, int number);
long gettid(void);
long getpid(void);

/* ---- Time -------------------------------------------------------------------------------- */
u64 now(void);			/* nanoseconds of the monotonic clock */
void sleep_ms(long milliseconds);
struct short_time {		/* what the classic calls take: words */
	long sec, nsec;
};

/* ---- The exercises ----------------------------------------------------------------------- */
struct exercise {
	const char *name;
	void (*run)(void);
};
extern const struct exercise memory_exercises[], thread_exercises[], process_exercises[],
	signal_exercises[], jit_exercises[], file_exercises[], kernel_exercises[],
	network_exercises[], processor_exercises[], speed_exercises[];
/* What is not an exercise but is started by one: `workout :what …`. */
void be_helper(const char *what, const char *argument);

#endif
