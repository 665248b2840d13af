/* Threads: starting, locks, lost updates, what happens to them at fork, exec and exit. */
#include "base.h"

enum { THREADS = 8 };

static int counter, lock, started, stop;
static u8 byte_counter;
static u16 short_counter;
static word word_counter;

static void run_all(void (*work)(void *))
{
	static struct thread threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		start_thread(&threads[i], work, (void *)(long)i);
	for (int i = 0; i < THREADS; i++)
		join(&threads[i]);
}

static void count_up(void *nothing)
{
	(void)nothing;
	ADD(&counter, 1);
}

static void start(void)
{
	for (int round = 0; round < 10; round++)
		run_all(count_up);
	expect(counter == 10 * THREADS, "threads that ran", counter);
}

static void add_much(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 20000; i++) {
		ADD(&counter, 1);
		ADD(&word_counter, 3);
	}
}

static void atomic_add(void)
{
	run_all(add_much);
	expect(counter == THREADS * 20000, "updates that were not lost", counter);
	expect(word_counter == THREADS * 60000, "updates of a word", word_counter);
}

static void add_small(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 20000; i++) {
		ADD(&byte_counter, 1);
		ADD(&short_counter, 1);
	}
}

static void atomic_small(void)
{
	run_all(add_small);
	expect(byte_counter == (u8)(THREADS * 20000), "a byte's updates", byte_counter);
	expect(short_counter == (u16)(THREADS * 20000), "a short's updates", short_counter);
}

static void swap_much(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 20000; i++) {
		int seen = LOAD(&counter);

		while (!__atomic_compare_exchange_n(&counter, &seen, seen + 1, 0,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
	}
}

static void compare_exchange(void)
{
	run_all(swap_much);
	expect(counter == THREADS * 20000, "updates that were not lost", counter);
}

static void take(int *at)
{
	int free = 0;

	while (!__atomic_compare_exchange_n(at, &free, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		futex(at, FUTEX_WAIT, 1, NULL);
		free = 0;
	}
}

static void give(int *at)
{
	STORE(at, 0);
	futex(at, FUTEX_WAKE, 1, NULL);
}

static void locked_count(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 1000; i++) {
		take(&lock);
		*(volatile int *)&counter += 1;
		give(&lock);
	}
}

static void mutex(void)
{
	run_all(locked_count);
	expect(counter == THREADS * 1000, "updates under a lock", counter);
}

/*
 * Store buffering: of two threads that store and then look, one sees the other's store.  They meet,
 * race for a while without waiting, and meet again; only afterwards each look is held against the
 * other's: one that missed a store, whose own look missed the store before the first.
 *
 * On a busy machine they may seldom run at the same time.  But where an emulator leaves a fence out,
 * it costs nothing, which is certain.
 *
 * Without a fence, by sequentially consistent accesses alone, QEMU up to 11.1 gets it wrong on
 * x86, but on a busy machine not each time: that is no exercise.
 */
enum { BATCH = 500, BATCHES = 400, LOOKS = 300, RACES = 400, MOST_SECONDS = 3 };
static int x __attribute__((aligned(128))), y __attribute__((aligned(128)));
static int looks[2][LOOKS * RACES] __attribute__((aligned(128))), go, rounds;

#if defined(__m68k__) || defined(__sh__)
#define HAS_FENCE 0		/* Linux runs them with one processor each */
#else
#define HAS_FENCE 1
#endif

static void meet(int *at, int wanted)
{
	ADD(at, 1);
	for (int turns = 0; LOAD(at) < wanted; turns++)
		if ((turns & 0x3ff) == 0x3ff)
			CALL(__NR_sched_yield);
}

static void look_all_the_time(void *which)
{
	int *mine = which ? &x : &y, *other = which ? &y : &x, *found = looks[!!which];
	u64 start = now();

	for (int round = 0; ; round++) {
		if (which && (round == RACES || now() - start > MOST_SECONDS * 1000000000ULL))
			STORE(&rounds, round);
		meet(&go, 2 * (round + 1));
		if (LOAD(&rounds) <= round)
			break;
		for (int i = round * LOOKS; i < (round + 1) * LOOKS; i++) {
			__atomic_store_n(mine, i + 1, __ATOMIC_RELAXED);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			found[i] = LOAD(other);
		}
	}
}

static int processors_here(void)
{
	u8 set[128];
	long size = CALL(__NR_sched_getaffinity, 0, sizeof(set), set);
	int found = 0;

	for (long i = 0; i < 8 * size; i++)
		found += set[i / 8] >> (i & 7) & 1;
	return found;
}

static void race(void)
{
	static struct thread one, other;
	int all;

	if (!HAS_FENCE || processors_here() < 2)
		return;
	rounds = RACES + 1;
	start_thread(&one, look_all_the_time, NULL);
	start_thread(&other, look_all_the_time, (void *)1);
	join(&one);
	join(&other);
	all = rounds * LOOKS;
	for (int i = 0; i < all; i++)
		if (looks[0][i] < all && looks[1][looks[0][i]] < i + 1)
			fail("both stores were late, at look", i);
}

static u64 shortest(u64 best, u64 before)
{
	u64 passed = now() - before;

	return passed < best ? passed : best;
}

/* What a fence costs, in nanoseconds for a batch: the least of many, as others run as well. */
static long cost_of_fence(void)
{
	u64 with = 1000000000, without = with, before;

	for (int batch = 0; batch < BATCHES; batch++) {
		before = now();
		for (int i = 0; i < BATCH; i++) {
			__atomic_store_n(&x, i, __ATOMIC_RELAXED);
			__atomic_load_n(&y, __ATOMIC_RELAXED);
		}
		without = shortest(without, before);
		before = now();
		for (int i = 0; i < BATCH; i++) {
			__atomic_store_n(&x, i, __ATOMIC_RELAXED);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			__atomic_load_n(&y, __ATOMIC_RELAXED);
		}
		with = shortest(with, before);
	}
	return (long)with - (long)without;
}

static void memory_order(void)
{
	race();
	/* Only now: QEMU makes fences for programs that have had a second thread. */
	expect(!HAS_FENCE || cost_of_fence() > BATCH, "a fence does nothing", 0);
}

static void timeouts(void)
{
	struct __kernel_timespec soon = {0, 20000000};
	u64 before = now();
	long got = futex(&counter, FUTEX_WAIT, 0, &soon);

	expect(got == -ETIMEDOUT, "not ETIMEDOUT", got);
	expect(now() - before >= 15000000, "it came too early", 0);
	expect(futex(&counter, FUTEX_WAIT, 1, &soon) == -EAGAIN, "not EAGAIN", 0);
}

static void absolute_timeout(void)
{
#if defined(__NR_futex) && defined(__NR_clock_gettime)
	struct short_time soon;
	long got;

	need(CALL(__NR_clock_gettime, 1, &soon), "clock_gettime");
	soon.sec += 0;
	soon.nsec += 20000000;
	if (soon.nsec >= 1000000000) {
		soon.nsec -= 1000000000;
		soon.sec++;
	}
	got = CALL(__NR_futex, &counter, FUTEX_WAIT_BITSET, 0, &soon, NULL, -1);
	expect(got == -ETIMEDOUT, "not ETIMEDOUT", got);
#endif
}

static void wait_on_lock(void *at)
{
	ADD(&started, 1);
	while (!LOAD(&stop))
		futex(at, FUTEX_WAIT, 0, NULL);
}

static void requeue(void)
{
	static struct thread threads[4];
	int other = 0;
	long got = 0;

	for (int i = 0; i < COUNT(threads); i++)
		start_thread(&threads[i], wait_on_lock, &lock);
	while (LOAD(&started) < COUNT(threads))
		sleep_ms(1);
	sleep_ms(20);
#ifdef __NR_futex
	got = CALL(__NR_futex, &lock, FUTEX_CMP_REQUEUE, 1, 100, &other, 0);
#else
	got = CALL(__NR_futex_time64, &lock, FUTEX_CMP_REQUEUE, 1, 100, &other, 0);
#endif
	need(got, "FUTEX_CMP_REQUEUE");
	expect(got >= 3, "threads woken or moved", got);
	STORE(&stop, 1);
	futex(&other, FUTEX_WAKE, 100, NULL);
	futex(&lock, FUTEX_WAKE, 100, NULL);
	for (int i = 0; i < COUNT(threads); i++)
		join(&threads[i]);
}

/* A thread dies with a lock in its robust list: the kernel marks the lock and wakes a waiter. */
static struct {
	struct robust_list list;
	int owner;
} robust_lock;

static void die_with_lock(void *nothing)
{
	struct robust_list_head *head = map(PAGE, PROT_READ | PROT_WRITE, 0);
	long got;

	(void)nothing;
	robust_lock.list.next = &head->list;
	head->list.next = &robust_lock.list;
	head->futex_offset = (char *)&robust_lock.owner - (char *)&robust_lock.list;
	got = CALL(__NR_set_robust_list, head, sizeof(*head));
	if (got < 0)
		STORE(&started, got);
	STORE(&robust_lock.owner, gettid() | FUTEX_WAITERS);
}

static void robust(void)
{
	static struct thread thread;
	struct __kernel_timespec limit = {0, 50000000};

	start_thread(&thread, die_with_lock, NULL);
	join(&thread);
	for (int i = 0; i < 10 && !(LOAD(&robust_lock.owner) & FUTEX_OWNER_DIED); i++)
		futex(&robust_lock.owner, FUTEX_WAIT, robust_lock.owner, &limit);
	expect(LOAD(&robust_lock.owner) & FUTEX_OWNER_DIED,
	       "the lock of a thread that died stays locked", started);
}

static void priority_lock(void)
{
	int held = 0;
	long got;

#ifdef __NR_futex
	got = CALL(__NR_futex, &held, FUTEX_LOCK_PI, 0, NULL);
#else
	got = CALL(__NR_futex_time64, &held, FUTEX_LOCK_PI, 0, NULL);
#endif
	want(got, "FUTEX_LOCK_PI");
	expect((held & FUTEX_TID_MASK) == gettid(), "who holds the lock", held);
	need(futex(&held, FUTEX_UNLOCK_PI, 0, NULL), "FUTEX_UNLOCK_PI");
	expect(held == 0, "it is still held", held);
}

static int signalled, signalled_in;

static void note_thread(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	STORE(&signalled_in, (int)gettid());
	STORE(&signalled, number);
}

static void wait_for_signal(void *nothing)
{
	(void)nothing;
	STORE(&started, (int)gettid());
	while (!LOAD(&signalled))
		CALL(__NR_sched_yield);
}

static void thread_signal(void)
{
	static struct thread thread;

	need(handle(SIGUSR1, note_thread, 0), "rt_sigaction");
	start_thread(&thread, wait_for_signal, NULL);
	while (!LOAD(&started))
		CALL(__NR_sched_yield);
	need(CALL(__NR_tgkill, getpid(), started, SIGUSR1), "tgkill");
	join(&thread);
	expect(signalled_in == started, "another thread got the signal", signalled_in);
}

static void exit_now(void *nothing)
{
	(void)nothing;
	leave(7);
}

static void with_exiting_thread(void)
{
	static struct thread threads[3];

	start_thread(&threads[0], wait_for_signal, NULL);
	start_thread(&threads[1], exit_now, NULL);
	for (;;)
		sleep_ms(100);
}

static void exit_all(void)
{
	int status = in_child(with_exiting_thread);

	expect(EXITED(status) && EXIT_CODE(status) == 7, "the status", status);
}

static void work_memory(void *nothing)
{
	(void)nothing;
	while (!LOAD(&stop)) {
		void *at = map(PAGE, PROT_READ | PROT_WRITE, 0);

		*(volatile u8 *)at = 1;
		CALL(__NR_munmap, at, PAGE);
		ADD(&counter, 1);
	}
}

/* Builds fork while threads run: make, Go, Java and Python all do. */
static void fork_beside_threads(void)
{
	static struct thread threads[3];

	for (int i = 0; i < COUNT(threads); i++)
		start_thread(&threads[i], work_memory, NULL);
	for (int i = 0; i < 40; i++) {
		long pid = need(fork(), "fork");

		if (pid == 0) {
			u8 *at = map(PAGE, PROT_READ | PROT_WRITE, 0);

			*at = 1;
			CALL(__NR_mprotect, at, PAGE, PROT_READ);
			leave(*at == 1 ? 0 : 1);
		}
		int status = ended(pid);

		expect(status == 0, "a child's status", status);
	}
	STORE(&stop, 1);
	for (int i = 0; i < COUNT(threads); i++)
		join(&threads[i]);
}

static void exec_now(void *nothing)
{
	(void)nothing;
	execute(myself, "workout", ":exit", "9");
	leave(126);
}

static void with_executing_thread(void)
{
	static struct thread threads[2];

	start_thread(&threads[0], wait_for_signal, NULL);
	start_thread(&threads[1], exec_now, NULL);
	for (;;)
		sleep_ms(100);
}

static void exec_from_thread(void)
{
	int status = in_child(with_executing_thread);

	expect(EXITED(status) && EXIT_CODE(status) == 9, "the status", status);
}

static void barrier(void)
{
	long commands = want(CALL(__NR_membarrier, 0, 0, 0), "membarrier");

	if (!(commands & 8))
		unsupported("membarrier without private expedited", commands);
	need(CALL(__NR_membarrier, 16, 0, 0), "membarrier, registering");
	need(CALL(__NR_membarrier, 8, 0, 0), "membarrier");
}

static void wait_many(void)
{
#ifdef __NR_futex_waitv
	long got = CALL(__NR_futex_waitv, NULL, 0, 0, NULL, 0);

	if (got != -EINVAL)
		want(got, "futex_waitv");
#endif
}

static void restartable(void)
{
#ifdef __NR_rseq
	static struct {
		u32 cpu_start, cpu;
		u64 section;
		u32 flags, rest[3];
	} area __attribute__((aligned(32)));
	long got = CALL(__NR_rseq, &area, sizeof(area), 0, 0x53053053);

	want(got, "rseq");
#endif
}

static void spin(void *nothing)
{
	volatile word *at = map(PAGE, PROT_READ | PROT_WRITE, 0);
	word sum = 0;

	(void)nothing;
	STORE(&started, (int)gettid());
	for (int i = 0; i < 3000000; i++) {
		at[i & 63] = i;
		sum += at[i & 63] ^ at[(i + 1) & 63];
	}
	word_counter = sum;
	STORE(&stop, 1);
}

/* Go interrupts its threads so, thousands of times a second. */
static void storm(void)
{
	static struct thread thread;
	word wanted;
	long sent = 0;

	spin(NULL);
	wanted = word_counter;
	word_counter = started = stop = 0;
	need(handle(SIGURG, note_thread, SA_RESTART), "rt_sigaction");
	start_thread(&thread, spin, NULL);
	while (!LOAD(&started))
		CALL(__NR_sched_yield);
	while (!LOAD(&stop) && CALL(__NR_tgkill, getpid(), started, SIGURG) == 0)
		sent++;
	join(&thread);
	expect(word_counter == wanted, "the sum under signals is wrong; signals", sent);
}

#if defined(__i386__)
static struct {		/* struct user_desc; the kernel says which entry is free */
	u32 entry;
	word base;
	u32 limit, flags;
} segment = {-1, 0, 0xfffff, 0x51};
#endif

static inline word thread_register(void)
{
	word value;
#if defined(__aarch64__)
	asm volatile("mrs %0, tpidr_el0" : "=r"(value));
#elif defined(__alpha__)
	register word v0 asm("$0");
	asm volatile("call_pal 0x9e" : "=r"(v0) : : "$1", "$16", "$22", "$23", "$24", "$25");
	value = v0;
#elif defined(__arm__) && __ARM_ARCH >= 7
	asm volatile("mrc p15, 0, %0, c13, c0, 3" : "=r"(value));
#elif defined(__arm__)
	value = ((word (*)(void))0xffff0fe0)();
#elif defined(__hppa__)
	asm volatile("mfctl %%cr27, %0" : "=r"(value));
#elif defined(__i386__)
	asm volatile("mov %1, %%gs\n	mov %%gs:0, %0" : "=r"(value) : "r"(segment.entry * 8 + 3));
#elif defined(__loongarch__)
	asm volatile("move %0, $tp" : "=r"(value));
#elif defined(__m68k__)
	value = CALL(__NR_get_thread_area);
#elif defined(__mips__)
	register word v1 asm("$3");
	asm volatile(".set push\n.set mips32r2\nrdhwr $3, $29\n.set pop" : "=r"(v1));
	value = v1;
#elif defined(__powerpc64__)
	asm volatile("mr %0, 13" : "=r"(value));
#elif defined(__powerpc__)
	asm volatile("mr %0, 2" : "=r"(value));
#elif defined(__riscv)
	asm volatile("mv %0, tp" : "=r"(value));
#elif defined(__s390x__)
	word low;
	asm volatile("ear %0, %%a0\n sllg %0, %0, 32\n ear %1, %%a1" : "=r"(value), "=r"(low));
	value |= low & 0xffffffff;
#elif defined(__sh__)
	asm volatile("stc gbr, %0" : "=r"(value));
#elif defined(__sparc__)
	asm volatile("mov %%g7, %0" : "=r"(value));
#elif defined(__x86_64__)
	asm volatile("mov %%fs:0, %0" : "=r"(value));
#endif
	return value;
}

static void check_register(void *wanted)
{
#if defined(__i386__)
	meet(&go, 4);	/* each has a descriptor of its own by now */
#endif
	for (int i = 0; i < 100; i++) {
		if (thread_register() != (word)wanted)
			ADD(&counter, 1);
		CALL(__NR_sched_yield);
	}
	ADD(&started, 1);
}

static void thread_pointer(void)
{
	static struct thread threads[4];

#if defined(__i386__)
	need(CALL(__NR_set_thread_area, &segment), "set_thread_area");
#endif
	for (long i = 0; i < 4; i++) {
		void **place = map(PAGE, PROT_READ | PROT_WRITE, 0), *tls = place;

		*place = place;		/* on x86 it is read from there */
#if defined(__i386__)
		segment.base = (word)place;
		tls = &segment;
#endif
		threads[i].tid = -1;
		need(spawn(NEW_STACK_FLAGS | CLONE_SETTLS, map(STACK, PROT_READ | PROT_WRITE, 0), STACK,
			   check_register, place, &threads[i].tid, tls), "clone");
	}
	for (long i = 0; i < 4; i++)
		join(&threads[i]);
	expect(started == 4 && counter == 0, "a thread saw another's register", counter);
}

const struct exercise thread_exercises[] = {
	{"threads", start},
	{"atomic-add", atomic_add},
	{"atomic-small", atomic_small},
	{"atomic-compare", compare_exchange},
	{"futex-lock", mutex},
	{"memory-order", memory_order},
	{"futex-timeout", timeouts},
	{"futex-bitset", absolute_timeout},
	{"futex-requeue", requeue},
	{"robust-lock", robust},
	{"priority-lock", priority_lock},
	{"thread-signal", thread_signal},
	{"thread-exit", exit_all},
	{"fork-threads", fork_beside_threads},
	{"exec-thread", exec_from_thread},
	{"membarrier", barrier},
	{"futex-waitv", wait_many},
	{"rseq", restartable},
	{"signal-storm", storm},
	{"thread-pointer", thread_pointer},
	{0},
};
