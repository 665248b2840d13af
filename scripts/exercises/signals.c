/* Signals: handlers and what they are told, stacks, queues, restarts, timers. */
#include "base.h"

#include <asm/sigcontext.h>
#if defined(__arm__)
struct ucontext {	/* arch/arm/include/asm/ucontext.h; no header of user space has it */
	word flags;
	struct ucontext *link;
	stack_t stack;
	struct sigcontext uc_mcontext;
};
#elif defined(__aarch64__) || defined(__x86_64__) || defined(__i386__) || defined(__riscv) || \
	defined(__powerpc64__) || defined(__s390x__) || defined(__loongarch__) || defined(__mips__)
#include <asm/ucontext.h>
#endif
#include <linux/time.h>

#ifndef SS_ONSTACK
#define SS_ONSTACK 1
#endif
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static volatile int caught, caught_code, caught_value, caught_pid, count;
static volatile word caught_address;
static volatile int order[70];

static void note(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	caught_code = info->si_code;
	caught_pid = info->si_pid;
	caught_value = info->si_value.sival_int;
	if (count < COUNT(order))
		order[count] = caught_value;
	count++;
}

static long queue(int number, int value)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = number;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_value.sival_int = value;
	return CALL(__NR_rt_sigqueueinfo, getpid(), number, &info);
}

static void user(void)
{
	need(handle(SIGUSR1, note, 0), "rt_sigaction");
	need(send(getpid(), SIGUSR1), "kill");
	expect(caught == SIGUSR1 && caught_code == SI_USER, "what it is told", caught_code);
	expect(caught_pid == getpid(), "who sent it", caught_pid);
	need(queue(SIGUSR1, 77), "rt_sigqueueinfo");
	expect(caught_code == SI_QUEUE && caught_value == 77, "a value", caught_value);
}

/* Back from the handler by the kernel's own code, on the stack or in its page. */
static void back_by_kernel(void)
{
	need(handle_without_way_back(SIGUSR1, note, 0), "rt_sigaction");
	need(send(getpid(), SIGUSR1), "kill");
	expect(caught == SIGUSR1 && count == 1, "the signal", caught);
}

static void thread_directed(void)
{
	need(handle(SIGUSR1, note, 0), "rt_sigaction");
	need(CALL(__NR_tgkill, getpid(), gettid(), SIGUSR1), "tgkill");
	expect(caught == SIGUSR1 && caught_code == SI_TKILL, "what it is told", caught_code);
}

struct stack_of_signals {
#if defined(__mips__)
	void *at;
	word size;
	int flags;
#else
	void *at;
	int flags;
	word size;
#endif
};

static u8 *other_stack;
static volatile int on_stack, depth;

static void look_at_stack(int number, siginfo_t *info, void *context)
{
	volatile u8 here = 0;
	struct stack_of_signals now;

	(void)info;
	(void)context;
	on_stack += (u8 *)&here >= other_stack && (u8 *)&here < other_stack + STACK;
	CALL(__NR_sigaltstack, NULL, &now);
	on_stack += now.flags == SS_ONSTACK ? 10 : 0;
	if (++depth == 1)
		send(getpid(), number);
}

static void alternate_stack(void)
{
	struct stack_of_signals wanted = {0}, now;

	wanted.at = other_stack = map(STACK, PROT_READ | PROT_WRITE, 0);
	wanted.size = STACK;
	need(CALL(__NR_sigaltstack, &wanted, NULL), "sigaltstack");
	need(CALL(__NR_sigaltstack, NULL, &now), "sigaltstack");
	expect(now.at == other_stack && now.size == STACK && now.flags == 0, "what it says", now.flags);
	need(handle(SIGUSR1, look_at_stack, SA_ONSTACK | SA_NODEFER), "rt_sigaction");
	need(send(getpid(), SIGUSR1), "kill");
	expect(depth == 2 && on_stack == 22, "the handler was not on its stack", on_stack);
}

static void disarmed_stack(void)
{
	struct stack_of_signals wanted = {0}, now;

	wanted.at = other_stack = map(STACK, PROT_READ | PROT_WRITE, 0);
	wanted.size = STACK;
	wanted.flags = SS_AUTODISARM;
	need(CALL(__NR_sigaltstack, &wanted, NULL), "SS_AUTODISARM");
	need(CALL(__NR_sigaltstack, NULL, &now), "sigaltstack");
	expect(now.flags == (int)SS_AUTODISARM, "its flags", now.flags);
	depth = 1;
	need(handle(SIGUSR1, look_at_stack, SA_ONSTACK), "rt_sigaction");
	need(send(getpid(), SIGUSR1), "kill");
	expect(depth == 2 && on_stack == 1, "it was not given up for the handler", on_stack);
}

static u8 *guarded;

static void unguard(int number, siginfo_t *info, void *context)
{
	(void)context;
	caught = number;
	caught_code = info->si_code;
	caught_address = (word)info->si_addr;
	count++;
	if (number != SIGSEGV || count > 3 ||
	    CALL(__NR_mprotect, guarded, PAGE, PROT_READ | PROT_WRITE) < 0)
		fail("the handler was called for, or again", number);
}

/*
 * Garbage collectors write-protect memory, and go on where they were.  Linux tells the page alone
 * on s390x, and the first processors of Alpha write whole words.
 */
static void recover(void)
{
#if defined(__s390x__)
	enum { AT = 4096 };
#else
	enum { AT = 104 };
#endif
	guarded = map(PAGE, PROT_READ, 0);
	need(handle(SIGSEGV, unguard, 0), "rt_sigaction");
	*(volatile word *)(guarded + AT) = 5;
	expect(*(volatile word *)(guarded + AT) == 5 && count == 1, "the write was lost", count);
	expect(caught_address == (word)guarded + AT, "the address it is told is off by",
	       caught_address - (word)guarded - AT);
}

static void report_code(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	leave(info->si_code & 0x7f);
}

static void fault(void)
{
	handle(SIGSEGV, report_code, 0);
	*(volatile u8 *)guarded = 1;
}

static void fault_code(void)
{
	int code;

	guarded = map(PAGE, PROT_READ, 0);
	code = EXIT_CODE(in_child(fault));
	expect(code == SEGV_ACCERR, "for read-only memory, not 2", code);
	CALL(__NR_munmap, guarded, PAGE);
	code = EXIT_CODE(in_child(fault));
	expect(code == SEGV_MAPERR, "for no memory, not 1", code);
	guarded = NULL;
	code = EXIT_CODE(in_child(fault));
	expect(code == SEGV_MAPERR, "for a null pointer, not 1", code);
}

static void jump_bad(void)
{
	handle(SIGSEGV, unguard, 0);
	((void (*)(void))guarded)();
}

/* No rights to run: the data of a program must not become code. */
static void no_exec(void)
{
	int status;

	guarded = map(PAGE, PROT_READ | PROT_WRITE, 0);
	CALL(__NR_munmap, guarded, PAGE);
	status = in_child(jump_bad);
	expect(!EXITED(status) || EXIT_CODE(status) == 0, "calling no code", status);
}

/* The program counter: handlers move it (Go's panics, Java's checks for null). */
#if defined(__aarch64__)
#define COUNTER(c) ((c)->uc_mcontext.pc)
#elif defined(__arm__)
#define COUNTER(c) ((c)->uc_mcontext.arm_pc)
#elif defined(__x86_64__)
#define COUNTER(c) ((c)->uc_mcontext.rip)
#elif defined(__i386__)
#define COUNTER(c) ((c)->uc_mcontext.eip)
#elif defined(__riscv)
#define COUNTER(c) ((c)->uc_mcontext.sc_regs.pc)
#elif defined(__powerpc64__)
#define COUNTER(c) ((c)->uc_mcontext.gp_regs[32])
#elif defined(__s390x__)
#define COUNTER(c) ((c)->uc_mcontext.regs.psw.addr)
#elif defined(__loongarch__)
#define COUNTER(c) ((c)->uc_mcontext.sc_pc)
#elif defined(__mips__) && _MIPS_SIM != _ABIO32
#define COUNTER(c) ((c)->uc_mcontext.sc_pc)
#endif

#ifdef COUNTER
static void landed(void)
{
	result("ok", "", 0);
}

static void counter(void);

static void move_counter(int number, siginfo_t *info, void *context)
{
	struct ucontext *here = context;
	word at = COUNTER(here);

	(void)number;
	(void)info;
	if (at < (word)counter || at > (word)counter + 512)
		fail("the program counter it is told is off by", at - (word)counter);
	COUNTER(here) = (word)landed;
#if defined(__powerpc64__)
	here->uc_mcontext.gp_regs[12] = (word)landed;
#endif
}
#endif

static NOINLINE void counter(void)
{
#ifdef COUNTER
	guarded = NULL;
	need(handle(SIGSEGV, move_counter, 0), "rt_sigaction");
	asm volatile("" : : : "memory");
	*(volatile u8 *)8 = 1;
	fail("the handler did not move the program counter", 0);
#else
	unsupported("not written for this processor", 0);
#endif
}

static void restart(void)
{
	int pipe[2];
	char byte;

	for (int again = 0; again < 2; again++) {
		long pid, got;

		need(CALL(__NR_pipe2, pipe, 0), "pipe2");
		need(handle(SIGUSR1, note, again ? SA_RESTART : 0), "rt_sigaction");
		pid = need(fork(), "fork");
		if (pid == 0) {
			sleep_ms(60);
			send(CALL(__NR_getppid), SIGUSR1);
			sleep_ms(60);
			write_all(pipe[1], "x", 1);
			leave(0);
		}
		got = CALL(__NR_read, pipe[0], &byte, 1);
		expect(again ? got == 1 : got == -EINTR, again ? "it was not restarted" :
		       "it was not interrupted", got);
		ended(pid);
	}
}

static void masks(void)
{
	signals set;
	struct short_time soon = {0, 50000000};

	need(handle(SIGUSR1, note, 0), "rt_sigaction");
	need(mask(SIG_BLOCK, SIGUSR1), "rt_sigprocmask");
	need(send(getpid(), SIGUSR1), "kill");
	expect(count == 0, "a blocked signal came", count);
	memset(&set, 0, sizeof(set));
	need(CALL(__NR_rt_sigpending, &set, sizeof(set)), "rt_sigpending");
	expect(has_signal(&set, SIGUSR1), "it is not pending", 0);
	memset(&set, 0, sizeof(set));
	expect(CALL(__NR_rt_sigsuspend, &set, sizeof(set)) == -EINTR && count == 1,
	       "rt_sigsuspend", count);
	expect(count == 1, "signals that came", count);
	need(send(getpid(), SIGUSR1), "kill");
	need(mask(SIG_UNBLOCK, SIGUSR1), "rt_sigprocmask");
	expect(count == 2, "signals that came", count);
	(void)soon;
}

static void real_time_queue(void)
{
	need(handle(40, note, 0), "rt_sigaction");
	need(mask(SIG_BLOCK, 40), "rt_sigprocmask");
	for (int i = 0; i < 10; i++)
		need(queue(40, 100 + i), "rt_sigqueueinfo");
	need(mask(SIG_UNBLOCK, 40), "rt_sigprocmask");
	expect(count == 10, "queued signals that came", count);
	for (int i = 0; i < 10; i++)
		expect(order[i] == 100 + i, "their order", order[i]);
}

static void every_signal(void)
{
	for (int number = 1; number <= 64; number++) {
		if (number == SIGKILL || number == SIGSTOP)
			continue;
		caught = 0;
		expect(handle(number, note, 0) == 0, "no handler for", number);
		expect(send(getpid(), number) == 0, "it cannot be sent", number);
		expect(caught == number, "it did not come", number);
	}
}

static void action_kept(void)
{
	struct action now;
	long got;

	need(handle(SIGUSR2, note, SA_RESTART | SA_NODEFER), "rt_sigaction");
#if defined(__sparc__)
	got = CALL(__NR_rt_sigaction, SIGUSR2, NULL, &now, NULL, sizeof(signals));
#else
	got = CALL(__NR_rt_sigaction, SIGUSR2, NULL, &now, sizeof(signals));
#endif
	need(got, "rt_sigaction");
	expect(now.handle == note, "another handler", 0);
	expect((now.flags & (SA_RESTART | SA_NODEFER | SA_SIGINFO)) ==
	       (SA_RESTART | SA_NODEFER | SA_SIGINFO), "other flags", now.flags);
}

static void interval_timer(void)
{
	struct __kernel_old_timeval interval[2] = {{0, 5000}, {0, 5000}};

	need(handle(SIGALRM, note, SA_RESTART), "rt_sigaction");
	need(CALL(__NR_setitimer, 0, interval, NULL), "setitimer");
	for (int i = 0; i < 400 && count < 5; i++)
		sleep_ms(5);
	expect(count >= 5, "ticks", count);
}

static void posix_timer(void)
{
	union {
		struct {
			sigval_t value;
			int number, notify;
		} event;
		u8 all[64];
	} what;
	int timer = -1;
	long interval[4] = {0, 5000000, 0, 5000000};

	memset(&what, 0, sizeof(what));
	what.event.value.sival_int = 55;
	what.event.number = 41;
	need(handle(41, note, 0), "rt_sigaction");
	need(CALL(__NR_timer_create, 1, &what, &timer), "timer_create");
#ifdef __NR_timer_settime
	need(CALL(__NR_timer_settime, timer, 0, interval, NULL), "timer_settime");
#else
	struct __kernel_timespec wide[2] = {{0, 5000000}, {0, 5000000}};
	(void)interval;
	need(CALL(__NR_timer_settime64, timer, 0, wide, NULL), "timer_settime64");
#endif
	for (int i = 0; i < 400 && count < 3; i++)
		sleep_ms(5);
	expect(count >= 3, "ticks", count);
	expect(caught_code == SI_TIMER, "what it is told", caught_code);
	expect(caught_value == 55, "its value", caught_value);
	need(CALL(__NR_timer_delete, timer), "timer_delete");
}

static void thread_timer(void)
{
	struct {
		sigval_t value;
		int number, notify, tid, rest[12];
	} what;
	int timer = -1;

	memset(&what, 0, sizeof(what));
	what.number = SIGUSR1;
	what.notify = 4;	/* SIGEV_THREAD_ID: Go's profiler */
	what.tid = gettid();
	need(handle(SIGUSR1, note, 0), "rt_sigaction");
	want(CALL(__NR_timer_create, 1, &what, &timer), "timer_create for a thread");
}

static void wait_for_one(void)
{
	signals set;
	siginfo_t info;
	struct __kernel_timespec wide = {2, 0};
	struct short_time limit = {2, 0};
	long got;

	memset(&set, 0, sizeof(set));
	set_signal(&set, SIGUSR1);
	need(mask(SIG_BLOCK, SIGUSR1), "rt_sigprocmask");
	need(queue(SIGUSR1, 31), "rt_sigqueueinfo");
#ifdef __NR_rt_sigtimedwait
	(void)wide;
	got = CALL(__NR_rt_sigtimedwait, &set, &info, &limit, sizeof(set));
#else
	(void)limit;
	got = CALL(__NR_rt_sigtimedwait_time64, &set, &info, &wide, sizeof(set));
#endif
	expect(got == SIGUSR1, "the signal", got);
	expect(info.si_value.sival_int == 31, "its value", info.si_value.sival_int);
}

static void descriptor(void)
{
	signals set;
	struct {
		u32 number;
		int error, code;
		u32 pid, uid, rest[27];
	} info;
	long fd;

	memset(&set, 0, sizeof(set));
	set_signal(&set, SIGUSR1);
	need(mask(SIG_BLOCK, SIGUSR1), "rt_sigprocmask");
	fd = want(CALL(__NR_signalfd4, -1, &set, sizeof(set), 0), "signalfd4");
	need(send(getpid(), SIGUSR1), "kill");
	need(CALL(__NR_read, fd, &info, sizeof(info)), "read");
	expect(info.number == SIGUSR1, "the signal", info.number);
	expect((long)info.pid == getpid(), "who sent it", info.pid);
}

static void child_signal(void)
{
	long pid;

	need(handle(SIGCHLD, note, 0), "rt_sigaction");
	pid = need(fork(), "fork");
	if (pid == 0)
		leave(3);
	for (int i = 0; i < 400 && !count; i++)
		sleep_ms(5);
	expect(caught == SIGCHLD && caught_code == CLD_EXITED, "what it is told", caught_code);
	expect(caught_pid == pid, "which child", caught_pid);
	ended(pid);
}

static void one_shot(void)
{
	need(handle(SIGUSR1, note, SA_RESETHAND), "rt_sigaction");
	need(send(getpid(), SIGUSR1), "kill");
	expect(count == 1, "signals that came", count);
	long pid = need(fork(), "fork");
	if (pid == 0) {
		send(getpid(), SIGUSR1);
		leave(0);
	}
	expect(SIGNAL_OF(ended(pid)) == SIGUSR1, "the handler is still there", 0);
}

static void ignored_child(void)
{
	struct action action;
	long pid;

	memset(&action, 0, sizeof(action));
	action.handle = (handler *)(word)1;
#if defined(__sparc__)
	need(CALL(__NR_rt_sigaction, SIGCHLD, &action, NULL, NULL, sizeof(signals)), "rt_sigaction");
#else
	need(CALL(__NR_rt_sigaction, SIGCHLD, &action, NULL, sizeof(signals)), "rt_sigaction");
#endif
	pid = need(fork(), "fork");
	if (pid == 0)
		leave(0);
#ifdef __NR_wait4
	expect(CALL(__NR_wait4, pid, NULL, 0, NULL) == -ECHILD, "the child was not forgotten", 0);
#endif
}

#if defined(__hppa__)
#define TRAPS_BY_CONDITION 1
#else
#define TRAPS_BY_CONDITION 0
#endif

#if !defined(__sh__)
static void trap(void)
{
	__builtin_trap();
}

static void illegal(void)
{
	int number = SIGNAL_OF(in_child(trap));

	/* GCC for PA-RISC takes an addition that traps on a condition. */
	expect(number == SIGILL || number == SIGTRAP || number == SIGABRT || number == SIGSEGV ||
	       (TRAPS_BY_CONDITION && number == SIGFPE), "no signal, or another", number);
}
#endif

static volatile u64 floats[2];

static void use_registers(int number, siginfo_t *info, void *context)
{
	volatile double value = 3.25;

	(void)info;
	(void)context;
#ifndef NO_FLOAT
	for (int i = 0; i < 20; i++)
		value = value * 1.5 - 0.25;
#endif
	count += number != 0;
	(void)value;
}

/* What a handler does to the floating point registers must be undone. */
static void float_kept(void)
{
#ifndef NO_FLOAT
	double sum = 0, wanted = 0;
	struct __kernel_old_timeval interval[2] = {{0, 1000}, {0, 1000}};

	for (int i = 0; i < 400000; i++)
		wanted += 0.5;
	need(handle(SIGALRM, use_registers, SA_RESTART), "rt_sigaction");
	need(CALL(__NR_setitimer, 0, interval, NULL), "setitimer");
	for (int round = 0; round < 200 && count < 20; round++) {
		sum = 0;
		for (int i = 0; i < 400000; i++)
			sum += 0.5;
		expect(sum == wanted, "a sum changed under signals; signals so far", count);
	}
	expect(count > 0, "no signal came", count);
#else
	unsupported("no floating point", 0);
#endif
	(void)floats;
	(void)use_registers;
}

const struct exercise signal_exercises[] = {
	{"signal-user", user},
	{"signal-return", back_by_kernel},
	{"signal-thread", thread_directed},
	{"sigaltstack", alternate_stack},
	{"sigaltstack-disarm", disarmed_stack},
	{"segv-recover", recover},
	{"segv-code", fault_code},
	{"segv-call", no_exec},
	{"signal-counter", counter},
	{"signal-restart", restart},
	{"signal-masks", masks},
	{"signal-queue", real_time_queue},
	{"signal-every", every_signal},
	{"sigaction", action_kept},
	{"timer-interval", interval_timer},
	{"timer-posix", posix_timer},
	{"timer-thread", thread_timer},
	{"sigtimedwait", wait_for_one},
	{"signalfd", descriptor},
	{"signal-child", child_signal},
	{"signal-once", one_shot},
	{"signal-child-ignored", ignored_child},
#if !defined(__sh__)
	{"trap-instruction", illegal},
#endif
	{"signal-float", float_kept},
	{0},
};
