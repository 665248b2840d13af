/* What every exercise stands on; see base.h. */
#include "base.h"
#include "machine.h"

#include <linux/auxvec.h>

char **environment;
word *auxiliary;
long argument_count;
const char *scratch = "/scratch";
const char *myself;
const char *name = "?";

void workout_main(long *stack);
void thread_main(long *stack);

asm(
"	.text\n"
"	.globl	_start\n"
"	.type	_start, %function\n"
"_start:\n"
"	" START("workout_main") "\n"
"	.size	_start, . - _start\n"
);

/* ---- System calls -------------------------------------------------------------------------- */

#if defined(__i386__)
long i386_clone(long flags, void *stack, int *parent, void *tls, int *child);
asm(
"	.globl	call6\n"
"call6:	push	%ebp\n	push	%edi\n	push	%esi\n	push	%ebx\n"
"	mov	20(%esp), %eax\n	mov	24(%esp), %ebx\n	mov	28(%esp), %ecx\n"
"	mov	32(%esp), %edx\n	mov	36(%esp), %esi\n	mov	40(%esp), %edi\n"
"	mov	44(%esp), %ebp\n	int	$0x80\n"
"	pop	%ebx\n	pop	%esi\n	pop	%edi\n	pop	%ebp\n	ret\n"
"	.globl	i386_clone\n"
"i386_clone:	push	%edi\n	push	%esi\n	push	%ebx\n"
"	mov	16(%esp), %ebx\n	mov	20(%esp), %ecx\n	mov	24(%esp), %edx\n"
"	mov	28(%esp), %esi\n	mov	32(%esp), %edi\n	mov	$120, %eax\n"
"	int	$0x80\n	test	%eax, %eax\n	jnz	9f\n"
"	" START("thread_main") "\n"
"9:	pop	%ebx\n	pop	%esi\n	pop	%edi\n	ret\n"
);
#else
#define BIND(...) BIND_(__VA_ARGS__)
#define BIND_(r_n, r1, r2, r3, r4, r5, r6, n, a, b, c, d, e, f)	\
	register long number asm(r_n) = (n);			\
	register long first asm(r1) = (a);			\
	register long second asm(r2) = (b);			\
	register long third asm(r3) = (c);			\
	register long fourth asm(r4) = (d);			\
	register long fifth asm(r5) = (e);			\
	register long sixth asm(r6) = (f)
#define OPERANDS "+r"(number), "+r"(first), "+r"(second), "+r"(third), "+r"(fourth), \
		 "+r"(fifth), "+r"(sixth)

NOINLINE long call6(long n, long a, long b, long c, long d, long e, long f)
{
	BIND(REGISTERS, n, a, b, c, d, e, f);

	asm volatile(TRAP : OPERANDS : : "memory", CLOBBERS);
	return RESULT;
}
#endif

/* fork is clone without a stack: the one that every architecture has. */
NOINLINE long fork(void)
{
#if defined(__sparc__)
	BIND(REGISTERS, __NR_clone, SIGCHLD, 0, 0, 0, 0, 0);

	asm volatile(TRAP "\n" FORK : OPERANDS : : "memory", CLOBBERS);
	return RESULT;
#elif defined(__s390x__)
	return CALL(__NR_clone, 0, SIGCHLD);
#else
	return CALL(__NR_clone, SIGCHLD);
#endif
}

/* ---- Threads ------------------------------------------------------------------------------- */

__attribute__((used)) void thread_main(long *stack)
{
	((void (*)(void *))stack[0])((void *)stack[1]);
	for (;;)
		CALL(__NR_exit, 0);
}

NOINLINE long spawn(long flags, void *stack, long size, void (*work)(void *), void *argument,
		    int *tid, void *tls)
{
	long *top = (long *)((char *)stack + (STACK_GROWS_UP ? 0 : size - 512));
	long pointer = (long)top + (STACK_GROWS_UP ? 192 : -STACK_BIAS);

	top[0] = (long)work;
	top[1] = (long)argument;
#if STACK_GROWS_UP
	top[8] = (long)work;	/* where CHILD looks: 128 bytes below the pointer */
	top[16] = (long)work;
	top[17] = (long)argument;
#endif
	if (pointer & 15)
		top = (long *)pointer;	/* cannot be: every part of it is a multiple of 16 */
#if defined(__i386__)
	return i386_clone(flags, (void *)pointer, tid, tls, tid);
#else
	/* Architectures differ in the order of what follows the stack. */
#if defined(__s390x__)
	long b = flags, a = pointer, c = (long)tid, d = (long)tid, e = (long)tls;
#elif defined(__x86_64__) || defined(__m68k__) || defined(__sh__) || defined(__alpha__) || \
	defined(__loongarch__)
	long a = flags, b = pointer, c = (long)tid, d = (long)tid, e = (long)tls;
#elif defined(__sparc__)
	/* %o4 is the thread's word, %o3 its register. */
	long a = flags, b = pointer, c = (long)tid, d = (long)tls, e = (long)tid;
#else
	long a = flags, b = pointer, c = (long)tid, d = (long)tls, e = (long)tid;
#endif
	BIND(REGISTERS, __NR_clone, a, b, c, d, e, 0);

	asm volatile(TRAP "\n	" PARENT "\n	" CHILD("thread_main") "\n9:"
		     : OPERANDS : : "memory", CLOBBERS);
	return RESULT;
#endif
}

void start_thread(struct thread *thread, void (*work)(void *), void *argument)
{
	thread->stack = map(STACK, PROT_READ | PROT_WRITE, 0);
	thread->tid = -1;
	need(spawn(NEW_STACK_FLAGS, thread->stack, STACK, work, argument, &thread->tid, NULL),
	     "clone of a thread");
}

void join(struct thread *thread)
{
	int tid;

	while ((tid = LOAD(&thread->tid)) != 0)
		futex(&thread->tid, FUTEX_WAIT, tid, NULL);
}

long futex(int *at, int what, int value, const struct __kernel_timespec *limit)
{
#ifdef __NR_futex
	struct short_time words = {0, 0};

	if (limit) {
		words.sec = limit->tv_sec;
		words.nsec = limit->tv_nsec;
	}
	return CALL(__NR_futex, at, what, value, limit ? &words : NULL, NULL, -1);
#else
	return CALL(__NR_futex_time64, at, what, value, limit, NULL, -1);
#endif
}

/* ---- Reporting ----------------------------------------------------------------------------- */

void say(const char *text)
{
	CALL(__NR_write, 1, text, length(text));
}

#if defined(__arm__) && __ARM_ARCH < 6
/* A processor without atomic instructions: the kernel has them, at a fixed address. */
#define CHANGED_BY_KERNEL(size, type)						\
	type add_##size(type *at, type more) asm("__sync_fetch_and_add_" #size);	\
	type add_##size(type *at, type more)					\
	{									\
		type seen;							\
		int *whole = (int *)((word)at & ~3UL);				\
		int shift = 8 * ((word)at & 3), old, new;			\
										\
		do {								\
			old = *(volatile int *)whole;				\
			seen = (u32)old >> shift;				\
			new = (old & ~((u32)(type)-1 << shift)) |		\
			      (u32)(type)(seen + more) << shift;		\
		} while (((int (*)(int, int, int *))0xffff0fc0)(old, new, whole)); \
		return seen;							\
	}
CHANGED_BY_KERNEL(1, u8)
CHANGED_BY_KERNEL(2, u16)
CHANGED_BY_KERNEL(4, u32)
u32 exchange_4(u32 *at, u32 old, u32 new) asm("__sync_val_compare_and_swap_4");
u32 exchange_4(u32 *at, u32 old, u32 new)
{
	for (;;) {
		u32 seen = *(volatile u32 *)at;

		if (seen != old)
			return seen;
		if (!((int (*)(int, int, int *))0xffff0fc0)(old, new, (int *)at))
			return old;
	}
}
u32 set_4(u32 *at, u32 new) asm("__sync_lock_test_and_set_4");
u32 set_4(u32 *at, u32 new)
{
	for (;;) {
		u32 seen = *(volatile u32 *)at;

		if (exchange_4(at, seen, new) == seen)
			return seen;
	}
}
void barrier_of_kernel(void) asm("__sync_synchronize");
void barrier_of_kernel(void)
{
	((void (*)(void))0xffff0fa0)();
}
#endif

void leave(int status)
{
	for (;;)
		CALL(__NR_exit_group, status);
}

/* The numbers of errors differ between architectures; their names do not. */
static const char *error_name(long value)
{
	static const struct {
		int number;
		const char *name;
	} names[] = {
		{ENOSYS, "ENOSYS"}, {EINVAL, "EINVAL"}, {ENOENT, "ENOENT"}, {EPERM, "EPERM"},
		{EACCES, "EACCES"}, {ENOMEM, "ENOMEM"}, {EFAULT, "EFAULT"}, {EAGAIN, "EAGAIN"},
		{ETIMEDOUT, "ETIMEDOUT"}, {EOPNOTSUPP, "EOPNOTSUPP"}, {EBADF, "EBADF"},
		{EEXIST, "EEXIST"}, {EIO, "EIO"}, {EOVERFLOW, "EOVERFLOW"}, {EINTR, "EINTR"},
		{ENOEXEC, "ENOEXEC"}, {ENOTDIR, "ENOTDIR"}, {ECHILD, "ECHILD"},
	};

	for (int i = 0; i < COUNT(names); i++)
		if (value == -names[i].number)
			return names[i].name;
	return NULL;
}

/* The whole line in one write, below PIPE_BUF: threads do not mix theirs. */
void result(const char *status, const char *detail, long value)
{
	char line[256], *end = line;
	const char *error = error_name(value);
	const char *parts[] = {name, " ", status, " ", detail, ": ", error ? error :
			       value < 0 ? "-" : ""};
	int most = !*detail ? 3 : value ? COUNT(parts) : 5;

	for (int i = 0; i < most; i++)
		for (const char *from = parts[i]; *from && end < line + 200; )
			*end++ = *from++;
	if (*detail && value && !error)
		end = put_number(end, value < 0 ? -(unsigned long)value : (unsigned long)value);
	*end++ = '\n';
	CALL(__NR_write, 1, line, end - line);
	leave(0);
}

void fail(const char *detail, long value)
{
	result("fail", detail, value);
}

void unsupported(const char *detail, long value)
{
	result("unsupported", detail, value);
}

long need(long value, const char *what)
{
	if (value < 0 && value > -4096)
		fail(what, value);
	return value;
}

long want(long value, const char *what)
{
	if (value == -ENOSYS || value == -EOPNOTSUPP || value == -EPERM || value == -EACCES)
		unsupported(what, value);
	return need(value, what);
}

/* ---- Memory and text ----------------------------------------------------------------------- */

void *memset(void *to, int value, word size)
{
	volatile u8 *at = to;

	while (size--)
		*at++ = value;
	return to;
}

void *memcpy(void *to, const void *from, word size)
{
	volatile u8 *at = to;
	const u8 *source = from;

	while (size--)
		*at++ = *source++;
	return to;
}

int memcmp(const void *a, const void *b, word size)
{
	const volatile u8 *left = a, *right = b;

	for (; size--; left++, right++)
		if (*left != *right)
			return *left - *right;
	return 0;
}

word length(const char *text)
{
	const volatile char *end = text;

	while (*end)
		end++;
	return (const char *)end - text;
}

int equal(const char *a, const char *b)
{
	return length(a) == length(b) && !memcmp(a, b, length(a));
}

int contains(const u8 *in, long size, const char *text)
{
	long wanted = length(text);

	for (long at = 0; at + wanted <= size; at++)
		if (!memcmp(in + at, text, wanted))
			return 1;
	return 0;
}

/* Subtracts instead of dividing: many processors divide only with a library's help. */
char *put_number(char *end, unsigned long value)
{
	static const u32 powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
				     100000000, 1000000000};
	int place = COUNT(powers) - 1;

	while (place > 0 && value < powers[place])
		place--;
	for (; place >= 0; place--) {
		char digit = '0';

		for (; value >= powers[place] && digit < '9' + 1; value -= powers[place])
			digit++;
		*end++ = digit;
	}
	return end;
}

long try_map_from(word offset, void *at, word size, int protection, int flags, int fd)
{
#if defined(__s390x__)
	word arguments[] = {(word)at, size, protection, flags, fd, offset};

	return CALL(__NR_mmap, arguments);
#elif defined(__NR_mmap2)
	return CALL(__NR_mmap2, at, size, protection, flags, fd, offset >> 12);
#else
	return CALL(__NR_mmap, at, size, protection, flags, fd, offset);
#endif
}

long try_map(void *at, word size, int protection, int flags, int fd)
{
	return try_map_from(0, at, size, protection, flags, fd);
}

void *map(word size, int protection, int flags)
{
	int kind = flags & (MAP_SHARED | MAP_PRIVATE) ? 0 : MAP_PRIVATE;

	return (void *)need(try_map(NULL, size, protection, flags | kind | MAP_ANONYMOUS, -1),
			    "mmap");
}

void *map_file(void *at, word size, int protection, int flags, int fd, word page)
{
	(void)page;
	return (void *)need(try_map(at, size, protection, flags, fd), "mmap of a file");
}

/* ---- Files --------------------------------------------------------------------------------- */

word auxv(word type)
{
	for (word *pair = auxiliary; pair[0] != AT_NULL; pair += 2)
		if (pair[0] == type)
			return pair[1];
	return 0;
}

const char *in_scratch(const char *leaf)
{
	static char paths[4][256];
	static int next;
	char *path = paths[next++ & 3], *end = path;

	memcpy(end, scratch, length(scratch));
	end += length(scratch);
	*end++ = '/';
	memcpy(end, leaf, length(leaf) + 1);
	return path;
}

long create(const char *leaf)
{
	return need(CALL(__NR_openat, AT_FDCWD, in_scratch(leaf), O_RDWR | O_CREAT | O_TRUNC, 0700),
		    "a file in the scratch folder");
}

long seek(int fd, word offset, int whence)
{
#ifdef __NR_lseek
	return CALL(__NR_lseek, fd, offset, whence);
#else
	u64 where = 0;
	long got = CALL(__NR__llseek, fd, 0, offset, &where, whence);

	return got < 0 ? got : (long)where;
#endif
}

long reading(const char *path, u8 *into, long size)
{
	long fd = CALL(__NR_openat, AT_FDCWD, path, O_RDONLY, 0), all = 0, got = fd;

	if (fd < 0)
		return fd;
	while (all < size && (got = CALL(__NR_read, fd, into + all, size - all)) > 0)
		all += got;
	CALL(__NR_close, fd);
	return got < 0 ? got : all;
}

void write_all(int fd, const void *data, long size)
{
	expect(need(CALL(__NR_write, fd, data, size), "write") == size, "a short write", size);
}

/* ---- Processes ----------------------------------------------------------------------------- */

int ended(long pid)
{
#ifdef __NR_wait4
	int status = 0;
	long got;

	do
		got = CALL(__NR_wait4, pid, &status, __WALL, NULL);
	while (got == -EINTR);
	expect(got == pid, "wait4", got);
	return status;
#else
	siginfo_t info;
	long got;

	memset(&info, 0, sizeof(info));
	do
		got = CALL(__NR_waitid, P_PID, pid, &info, WEXITED | __WALL, NULL);
	while (got == -EINTR);
	need(got, "waitid");
	return info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status;
#endif
}

int in_child(void (*work)(void))
{
	long pid = need(fork(), "fork");

	if (pid == 0) {
		work();
		leave(0);
	}
	return ended(pid);
}

long execute(const char *path, const char *first, const char *second, const char *third)
{
	const char *arguments[] = {first, second, third, NULL};

	return CALL(__NR_execve, path, arguments, environment);
}

int ran(const char *path, const char *first, const char *second, const char *third)
{
	long pid = need(fork(), "fork");

	if (pid == 0) {
		execute(path, first, second, third);
		leave(126);
	}
	return ended(pid);
}

/* ---- Signals ------------------------------------------------------------------------------- */

#if defined(__x86_64__)
void back_from_signal(void);
asm("	.globl	back_from_signal\nback_from_signal:	mov	$15, %eax\n	syscall\n");
#elif defined(__i386__)
void back_from_signal(void);
asm("	.globl	back_from_signal\nback_from_signal:	mov	$173, %eax\n	int	$0x80\n");
#elif defined(__arm__)
void back_from_signal(void);
asm("	.globl	back_from_signal\n	.type	back_from_signal, %function\n"
    "back_from_signal:	mov	r7, #173\n	svc	#0\n");
#elif defined(__sparc__)
void back_from_signal(void);
asm("	.globl	back_from_signal\nback_from_signal:	nop\n	nop\n	mov	101, %g1\n	" RETURN "\n");
#endif

static long set_handler(int number, handler *function, unsigned long flags, int restores)
{
	struct action action;

	memset(&action, 0, sizeof(action));
	action.handle = function;
	action.flags = flags | SA_SIGINFO;
#if defined(__x86_64__)
	restores = 1;		/* the kernel has no other way back */
#endif
#if defined(__x86_64__) || defined(__i386__) || defined(__arm__)
	if (restores) {
		action.flags |= SA_RESTORER;
		action.restorer = back_from_signal;
	}
#endif
	(void)restores;
#if defined(__sparc__)
	return CALL(__NR_rt_sigaction, number, &action, NULL, back_from_signal, sizeof(signals));
#else
	return CALL(__NR_rt_sigaction, number, &action, NULL, sizeof(signals), NULL);
#endif
}

/* As C libraries do it: where the kernel takes the way back of the program, it is given. */
long handle(int number, handler *function, unsigned long flags)
{
	return set_handler(number, function, flags, 1);
}

long handle_without_way_back(int number, handler *function, unsigned long flags)
{
	return set_handler(number, function, flags, 0);
}

void set_signal(signals *set, int number)
{
	enum { BITS = 8 * sizeof(word) };

	set->bits[(number - 1) / BITS] |= 1UL << ((number - 1) % BITS);
}

int has_signal(const signals *set, int number)
{
	enum { BITS = 8 * sizeof(word) };

	return set->bits[(number - 1) / BITS] >> ((number - 1) % BITS) & 1;
}

long mask(int how, int number)
{
	signals set;

	memset(&set, 0, sizeof(set));
	set_signal(&set, number);
	return CALL(__NR_rt_sigprocmask, how, &set, NULL, sizeof(set));
}

long gettid(void)
{
	return CALL(__NR_gettid);
}

long getpid(void)
{
#ifdef __NR_getpid
	return CALL(__NR_getpid);
#else
	return CALL(__NR_getxpid);
#endif
}

long send(long pid, int number)
{
	return CALL(__NR_kill, pid, number);
}

/* ---- Time ---------------------------------------------------------------------------------- */

u64 now(void)
{
#ifdef __NR_clock_gettime
	struct short_time time = {0, 0};

	CALL(__NR_clock_gettime, 1, &time);
	/* Multiplied in halves: a 32-bit processor multiplies 64 bits with a library's help. */
	return (u64)(u32)time.sec * 1000000000u + (u32)time.nsec;
#else
	struct __kernel_timespec time = {0, 0};

	CALL(__NR_clock_gettime64, 1, &time);
	return (u64)(u32)time.tv_sec * 1000000000u + (u32)time.tv_nsec;
#endif
}

void sleep_ms(long milliseconds)
{
	int nobody = 0;
	struct __kernel_timespec time = {0, 0};

	for (; milliseconds >= 1000; milliseconds -= 1000)
		time.tv_sec++;
	time.tv_nsec = milliseconds * 1000000L;
	futex(&nobody, FUTEX_WAIT, 0, &time);
}
