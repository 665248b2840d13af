/* Other services of the kernel: a right result, or a clean refusal, never a wrong result. */
#include "base.h"

#include <asm/ioctls.h>
#include <asm/ptrace.h>
#include <asm/termios.h>
#include <linux/eventpoll.h>
#include <linux/io_uring.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <linux/time.h>

/* EPOLL's structure is packed on x86_64 alone. */
static void poll_events(void)
{
	struct epoll_event event, got;
	int pipe[2];
	long fd = need(CALL(__NR_epoll_create1, 0), "epoll_create1"), ready;

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	memset(&event, 0, sizeof(event));
	event.events = EPOLLIN;
	event.data = 0x123456789abcdef0ULL;
	need(CALL(__NR_epoll_ctl, fd, EPOLL_CTL_ADD, pipe[0], &event), "epoll_ctl");
	memset(&got, 0, sizeof(got));
	expect(CALL(__NR_epoll_pwait, fd, &got, 1, 0, NULL, 0) == 0, "ready too early", 0);
	write_all(pipe[1], "x", 1);
	ready = need(CALL(__NR_epoll_pwait, fd, &got, 1, 2000, NULL, 0), "epoll_pwait");
	expect(ready == 1 && got.events == EPOLLIN, "what is ready", got.events);
	expect(got.data == event.data, "its data", (long)got.data);
}

static void poll_events_exact(void)
{
	struct epoll_event got;
	struct __kernel_timespec limit = {0, 1000000};
	long fd = need(CALL(__NR_epoll_create1, 0), "epoll_create1");

	want(CALL(__NR_epoll_pwait2, fd, &got, 1, &limit, NULL, 0), "epoll_pwait2");
}

static void event_counter(void)
{
	u64 value = 5;
	long fd = need(CALL(__NR_eventfd2, 3, O_NONBLOCK), "eventfd2");

	write_all(fd, &value, 8);
	need(CALL(__NR_read, fd, &value, 8), "read");
	expect(value == 8, "the count", (long)value);
	expect(CALL(__NR_read, fd, &value, 8) == -EAGAIN, "not EAGAIN", 0);
}

static void timer_descriptor(void)
{
	struct __kernel_timespec wide[2] = {{0, 3000000}, {0, 3000000}};
	struct short_time words[2] = {{0, 3000000}, {0, 3000000}};
	u64 ticks = 0;
	long fd = want(CALL(__NR_timerfd_create, 1, 0), "timerfd_create");

#ifdef __NR_timerfd_settime
	(void)wide;
	need(CALL(__NR_timerfd_settime, fd, 0, words, NULL), "timerfd_settime");
#else
	(void)words;
	need(CALL(__NR_timerfd_settime64, fd, 0, wide, NULL), "timerfd_settime64");
#endif
	need(CALL(__NR_read, fd, &ticks, 8), "read");
	expect(ticks >= 1, "ticks", (long)ticks);
}

static void poll(void)
{
	int pipe[2];
	struct pollfd polled[2];
	struct __kernel_timespec wide = {0, 10000000};
	struct short_time words = {0, 10000000};
	long got;

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	polled[0].fd = pipe[0];
	polled[0].events = polled[1].events = POLLIN;
	polled[1].fd = -1;
	write_all(pipe[1], "x", 1);
#ifdef __NR_ppoll
	(void)wide;
	got = need(CALL(__NR_ppoll, polled, 2, &words, NULL, 0), "ppoll");
#else
	(void)words;
	got = need(CALL(__NR_ppoll_time64, polled, 2, &wide, NULL, 0), "ppoll_time64");
#endif
	expect(got == 1 && polled[0].revents == POLLIN, "what is ready", polled[0].revents);
	expect(polled[1].revents == 0, "what is not asked", polled[1].revents);
}

static void select(void)
{
	int pipe[2];
	word set[1024 / 8 / sizeof(word)];
	struct short_time words = {2, 0};
	long got;

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	memset(set, 0, sizeof(set));
	set[0] = 1UL << pipe[0];
	write_all(pipe[1], "x", 1);
#ifdef __NR_pselect6
	got = need(CALL(__NR_pselect6, pipe[0] + 1, set, NULL, NULL, &words, NULL), "pselect6");
#else
	(void)words;
	got = need(CALL(__NR_pselect6_time64, pipe[0] + 1, set, NULL, NULL, NULL, NULL), "pselect6");
#endif
	expect(got == 1 && set[0] == 1UL << pipe[0], "what is ready", set[0]);
}

static void clocks(void)
{
	u64 before = now(), after;

	sleep_ms(20);
	after = now();
	expect(after > before + 15000000 && after < before + 5000000000ULL, "the clock's steps",
	       (long)(after - before));
	for (int i = 0; i < 1000; i++, before = after)
		expect((after = now()) >= before, "the clock went back", 0);
}

static void wide_clocks(void)
{
#ifdef __NR_clock_gettime64
	struct __kernel_timespec time = {-1, -1}, soon = {0, 2000000};
	int nobody = 0;
	long got;

	want(CALL(__NR_clock_gettime64, 0, &time), "clock_gettime64");
	expect(time.tv_sec > 1600000000 && time.tv_nsec < 1000000000, "the time", (long)time.tv_sec);
	need(CALL(__NR_clock_getres_time64, 0, &time), "clock_getres_time64");
	need(CALL(__NR_clock_nanosleep_time64, 1, 0, &soon, NULL), "clock_nanosleep_time64");
	got = CALL(__NR_futex_time64, &nobody, FUTEX_WAIT, 0, &soon);
	expect(got == -ETIMEDOUT, "futex_time64", got);
	got = CALL(__NR_ppoll_time64, NULL, 0, &soon, NULL, 0);
	expect(got == 0, "ppoll_time64", got);
	got = CALL(__NR_pselect6_time64, 0, NULL, NULL, NULL, &soon, NULL);
	expect(got == 0, "pselect6_time64", got);
#endif
}

static void sleeping(void)
{
	struct __kernel_timespec wide = {0, 5000000};
	struct short_time words = {0, 5000000};
	u64 before = now();
	long got;

#ifdef __NR_clock_nanosleep
	(void)wide;
	got = CALL(__NR_clock_nanosleep, 1, 0, &words, NULL);
	words.nsec = 2000000000;
	expect(CALL(__NR_clock_nanosleep, 1, 0, &words, NULL) == -EINVAL, "a bad time", 0);
#else
	(void)words;
	got = CALL(__NR_clock_nanosleep_time64, 1, 0, &wide, NULL);
#endif
	need(got, "clock_nanosleep");
	expect(now() >= before + 4000000, "it came back too early", 0);
}

static void processors(void)
{
	word set[1024 / 8 / sizeof(word)];
	u32 which = -1;
	long got;

	memset(set, 0, sizeof(set));
	got = need(CALL(__NR_sched_getaffinity, 0, sizeof(set), set), "sched_getaffinity");
	expect(got > 0 && got <= (long)sizeof(set), "the set's size", got);
	expect(set[0] != 0 || set[1] != 0, "no processor", 0);
	need(CALL(__NR_sched_setaffinity, 0, sizeof(set), set), "sched_setaffinity");
	need(CALL(__NR_getcpu, &which, NULL, NULL), "getcpu");
	expect(which < 1024, "the processor", which);
}

static void scheduling(void)
{
	struct {
		u32 size, policy;
		u64 flags;
		int nice;
		u32 priority;
		u64 rest[6];
	} about;

	memset(&about, 0, sizeof(about));
	want(CALL(__NR_sched_getattr, 0, &about, sizeof(about), 0), "sched_getattr");
	expect(about.policy == 0 && about.size >= 48, "the policy", about.policy);
}

static void kernel_name(void)
{
	struct {
		char part[6][65];
	} names;

	need(CALL(__NR_uname, &names), "uname");
	expect(equal(names.part[0], "Linux"), "another system", names.part[0][0]);
	expect(names.part[2][0] >= '3' && names.part[4][0] != 0, "the release", names.part[2][0]);
#if !defined(__x86_64__) && !defined(__i386__)
	expect(!contains((u8 *)names.part[4], 65, "x86_64"), "the machine is the host's", 0);
#endif
}

static void memory_sizes(void)
{
	struct {
		long uptime;
		word loads[3], total, free, rest[32];
	} about;

	memset(&about, 0, sizeof(about));
	need(CALL(__NR_sysinfo, &about), "sysinfo");
	expect(about.uptime > 0 && about.total > 0, "the memory", about.total);
}

static void processor_file(void)
{
	static u8 text[16 * KIB];
	long size = reading("/proc/cpuinfo", text, sizeof(text));
	static const char *const words[] = {
#if defined(__aarch64__) || defined(__arm__)
		"CPU implementer", "CPU architecture"
#elif defined(__powerpc__)
		"cpu\t\t: "
#elif defined(__s390x__)
		"IBM/S390", "vendor_id"
#elif defined(__riscv)
		"isa\t\t: rv"
#elif defined(__loongarch__)
		"Loongson", "loongarch"
#elif defined(__mips__)
		"system type", "cpu model"
#elif defined(__sparc__)
		"type\t\t: sun"
#elif defined(__hppa__)
		"PA-RISC"
#elif defined(__m68k__)
		"MMU:", "CPU:\t\t"
#elif defined(__alpha__)
		"Alpha"
#elif defined(__sh__)
		"SuperH", "cpu type"
#else
		"vendor_id"
#endif
	};

	if (size == -ENOENT)
		unsupported("no /proc", size);
	need(size, "/proc/cpuinfo");
	for (int i = 0; i < COUNT(words); i++)
		if (contains(text, size, words[i]))
			return;
	fail("it shows another processor's words", size);
}

static void traced(void)
{
	long pid = need(fork(), "fork"), got;
	int status;

	if (pid == 0) {
		got = CALL(__NR_ptrace, PTRACE_TRACEME, 0, 0, 0);
		if (got < 0)
			leave(got == -ENOSYS || got == -EPERM ? 1 : 2);
		send(getpid(), SIGSTOP);
		leave(3);
	}
#ifdef __NR_wait4
	got = CALL(__NR_wait4, pid, &status, 0, NULL);
	if (got == pid && (status & 0xff) == 0x7f) {
		expect(status >> 8 == SIGSTOP, "what stopped it", status);
		need(CALL(__NR_ptrace, PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
		status = ended(pid);
		expect(EXIT_CODE(status) == 3, "the status", status);
		return;
	}
#else
	status = ended(pid);
#endif
	expect(EXITED(status) && EXIT_CODE(status) == 1, "neither traced nor refused", status);
	unsupported("ptrace", -ENOSYS);
}

static void filtered(void)
{
	struct {
		u16 code;
		u8 yes, no;
		u32 value;
	} allow = {6, 0, 0, SECCOMP_RET_ALLOW};
	struct {
		u16 count;
		void *rules;
	} program = {1, &allow};

	CALL(__NR_prctl, 38, 1, 0, 0, 0);
	if (CALL(__NR_prctl, 22, SECCOMP_MODE_FILTER, &program) == 0)
		return;
	want(CALL(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

/* Calls that runtimes try first: what counts is that the refusal is one that they know. */
static void refusal(long number, const char *what)
{
	long got = CALL(number, -1, NULL, NULL, NULL, NULL, NULL);

	if (got == -ENOSYS)
		unsupported(what, got);
	expect(got < 0 && got > -4096, "it takes nonsense", got);
}

/* One request that does nothing goes through both rings. */
static void rings(void)
{
	struct io_uring_params about;
	struct io_uring_sqe *entry;
	struct io_uring_cqe *done;
	int kind = PROT_READ | PROT_WRITE;
	word size, other;
	u8 *ring;
	long fd;

	memset(&about, 0, sizeof(about));
	fd = want(CALL(__NR_io_uring_setup, 4, &about), "io_uring_setup");
	if (!(about.features & IORING_FEAT_SINGLE_MMAP))
		return;
	size = about.sq_off.array + about.sq_entries * sizeof(u32);
	other = about.cq_off.cqes + about.cq_entries * sizeof(*done);
	size = other > size ? other : size;
	ring = (u8 *)need(try_map_from(0, NULL, size, kind, MAP_SHARED, fd), "mmap of its rings");
	entry = (void *)need(try_map_from(IORING_OFF_SQES, NULL, about.sq_entries * sizeof(*entry),
					  kind, MAP_SHARED, fd), "mmap of its requests");
	entry->opcode = IORING_OP_NOP;
	entry->user_data = 0x123456789abcdef0ULL;
	STORE((u32 *)(ring + about.sq_off.tail), 1);
	need(CALL(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
	done = (void *)(ring + about.cq_off.cqes);
	expect(LOAD((u32 *)(ring + about.cq_off.tail)) == 1, "no answer", 0);
	expect(done->user_data == entry->user_data && done->res == 0, "the answer", done->res);
}

static void rings_old(void)
{
	word context = 0;

	want(CALL(__NR_io_setup, 4, &context), "io_setup");
	need(CALL(__NR_io_destroy, context), "io_destroy");
}

static void landlock(void)
{
	want(CALL(__NR_landlock_create_ruleset, NULL, 0, 1), "landlock_create_ruleset");
}

static void user_faults(void)
{
	refusal(__NR_userfaultfd, "userfaultfd");
}

static void performance(void)
{
	refusal(__NR_perf_event_open, "perf_event_open");
}

static void programs_of_kernel(void)
{
	refusal(__NR_bpf, "bpf");
}

static void attach_nothing(void)
{
	long got = CALL(__NR_mount, "none", scratch, "tmpfs", 0, NULL);

	if (got == -ENOSYS)
		unsupported("mount", got);
	expect(got == -EPERM || got == -EACCES || got == 0, "not EPERM", got);
}

static void new_mounts(void)
{
	long got = CALL(__NR_open_tree, AT_FDCWD, scratch, 0);

	if (got != -EPERM)
		want(got, "open_tree");
}

static void capabilities(void)
{
	struct {
		u32 version;
		int pid;
	} head = {0x20080522, 0};
	u32 sets[6] = {1, 1, 1, 1, 1, 1};

	need(CALL(__NR_capget, &head, sets), "capget");
	expect(sets[0] == 0 && sets[3] == 0, "rights that it should not have", sets[0]);
}

static void groups(void)
{
	u32 list[64];
	long got = need(CALL(__NR_getgroups, 0, NULL), "getgroups");

	need(CALL(__NR_getgroups, 64, list), "getgroups");
	expect(got <= 64, "how many groups", got);
}

static void clock_page(void)
{
	word at = auxv(33);	/* AT_SYSINFO_EHDR */

#if defined(__m68k__) || defined(__alpha__) || defined(__hppa__) || defined(__sh__) || \
	defined(__sparc__)
	unsupported("Linux has none on this processor", 0);
#endif
	if (!at)
		unsupported("no vDSO: each look at the clock is a system call", 0);
	expect(!memcmp((void *)at, "\177ELF", 4), "it is no ELF file", 0);
}

static void random_flags(void)
{
	u8 bytes[256];

	expect(need(CALL(__NR_getrandom, bytes, 256, 1), "getrandom") == 256, "bytes", 0);
	expect(CALL(__NR_getrandom, bytes, 256, 0x100) == -EINVAL, "an unknown flag", 0);
}

static void unknown(void)
{
	long got = CALL(100000, 0, 0, 0, 0, 0, 0);

	expect(got == -ENOSYS, "an unknown call", got);
}

static void messages(void)
{
	struct {
		long flags, most, size, now, rest[4];
	} about = {0, 4, 32, 0, {0}};
	char text[64] = "";
	const char *name = &"/workout"[1];	/* as the C library passes it on */
	long fd = CALL(__NR_mq_open, name, O_RDWR | O_CREAT, 0600, &about);

	want(fd, "mq_open");
	CALL(__NR_mq_unlink, name);
#ifndef __NR_mq_timedsend
#define __NR_mq_timedsend __NR_mq_timedsend_time64
#define __NR_mq_timedreceive __NR_mq_timedreceive_time64
#endif
	u32 priority = 0;

	need(CALL(__NR_mq_timedsend, fd, "hello", 6, 3, NULL), "mq_timedsend");
	need(CALL(__NR_mq_timedreceive, fd, text, 32, &priority, NULL), "mq_timedreceive");
	expect(equal(text, "hello") && priority == 3, "the message", priority);
}

static void semaphores(void)
{
#ifdef __NR_semget
	struct {
		u16 number;
		short change, flags;
	} step = {0, 1, 0};
	long id = want(CALL(__NR_semget, 0, 1, 01600), "semget"), got;

#ifdef __NR_semtimedop
#define STEP __NR_semtimedop
#else
#define STEP __NR_semtimedop_time64
#endif
	need(CALL(STEP, id, &step, 1, NULL), "semop, up");
	step.change = -1;
	step.flags = 04000;	/* IPC_NOWAIT */
	need(CALL(STEP, id, &step, 1, NULL), "semop, down");
	got = CALL(STEP, id, &step, 1, NULL);
	expect(got == -EAGAIN, "down below nothing", got);
	CALL(__NR_semctl, id, 0, 0, 0);
#else
	unsupported("semget", -ENOSYS);
#endif
}

static void terminal(void)
{
	char text[8] = "", path[32] = "/dev/pts/";
	long host = CALL(__NR_openat, AT_FDCWD, "/dev/ptmx", O_RDWR, 0), guest;
	u32 number = 0;
	int unlock = 0;
	u16 size[4] = {24, 80, 0, 0}, now[4] = {0, 0, 0, 0};

	if (host == -ENOENT)
		unsupported("no /dev/ptmx", host);
	need(host, "/dev/ptmx");
	need(CALL(__NR_ioctl, host, TIOCSPTLCK, &unlock), "TIOCSPTLCK");
	need(CALL(__NR_ioctl, host, TIOCGPTN, &number), "TIOCGPTN");
	*put_number(path + 9, number) = 0;
	guest = need(CALL(__NR_openat, AT_FDCWD, path, O_RDWR | O_NOCTTY, 0), "the terminal");
	need(CALL(__NR_ioctl, guest, TIOCSWINSZ, size), "TIOCSWINSZ");
	need(CALL(__NR_ioctl, host, TIOCGWINSZ, now), "TIOCGWINSZ");
	expect(now[0] == 24 && now[1] == 80, "its size", now[0]);
	struct termios settings;
	need(CALL(__NR_ioctl, guest, TCGETS, &settings), "TCGETS");
	write_all(host, "hi\n", 3);
	expect(need(CALL(__NR_read, guest, text, 8), "read") == 3, "a line", 0);
}

const struct exercise kernel_exercises[] = {
	{"epoll", poll_events},
	{"epoll-pwait2", poll_events_exact},
	{"eventfd", event_counter},
	{"timerfd", timer_descriptor},
	{"poll", poll},
	{"select", select},
	{"clock", clocks},
	{"time64", wide_clocks},
	{"sleep", sleeping},
	{"affinity", processors},
	{"sched-getattr", scheduling},
	{"uname", kernel_name},
	{"sysinfo", memory_sizes},
	{"proc-cpuinfo", processor_file},
	{"ptrace", traced},
	{"seccomp", filtered},
	{"io-uring", rings},
	{"aio", rings_old},
	{"landlock", landlock},
	{"userfaultfd", user_faults},
	{"perf-events", performance},
	{"bpf", programs_of_kernel},
	{"mount", attach_nothing},
	{"open-tree", new_mounts},
	{"capabilities", capabilities},
	{"groups", groups},
	{"vdso", clock_page},
	{"getrandom", random_flags},
	{"unknown-call", unknown},
	{"message-queue", messages},
	{"semaphores", semaphores},
	{"terminal", terminal},
	{0},
};
