/* Processes: starting programs as shells, make and container builds do. */
#include "base.h"

#include <linux/auxvec.h>
#include <linux/prctl.h>
#include <linux/resource.h>

#ifdef __NR_geteuid32
#define GET_EFFECTIVE_USER __NR_geteuid32
#elif defined(__NR_geteuid)
#define GET_EFFECTIVE_USER __NR_geteuid
#endif

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void exit_statuses(void)
{
	long pid;
	int status;

	for (int code = 0; code < 256; code += 51) {
		pid = need(fork(), "fork");
		if (pid == 0)
			leave(code);
		status = ended(pid);
		expect(EXITED(status) && EXIT_CODE(status) == code, "an exit status", status);
	}
	pid = need(fork(), "fork");
	if (pid == 0)
		for (;;)
			sleep_ms(1000);
	need(send(pid, SIGTERM), "kill");
	status = ended(pid);
	expect(SIGNAL_OF(status) == SIGTERM, "the signal that ended a child", status);
}

static volatile int told;

static void tell(void *nothing)
{
	(void)nothing;
	told = execute("/no/such/program", "x", NULL, NULL);
	leave(1);
}

/* posix_spawn: the child shares the parent's memory and tells there why it could not exec. */
static void spawn_error(void)
{
	static int tid;
	long pid = need(spawn(CLONE_VM | CLONE_VFORK | SIGCHLD, map(STACK, PROT_READ | PROT_WRITE, 0),
			      STACK, tell, NULL, &tid, NULL), "clone");

	ended(pid);
	expect(told == -ENOENT, "the parent is not told that the program is missing", told);
}

static int vfork_pipe[2];

static void end_late(void *nothing)
{
	(void)nothing;
	sleep_ms(60);
	CALL(__NR_write, vfork_pipe[1], "x", 1);
	leave(0);
}

/* vfork: the parent goes on when the child has ended, or has become another program. */
static void wait_for_child(void)
{
	static int tid;
	char byte;
	long pid, got;

	need(CALL(__NR_pipe2, vfork_pipe, O_NONBLOCK), "pipe2");
	pid = need(spawn(CLONE_VM | CLONE_VFORK | SIGCHLD, map(STACK, PROT_READ | PROT_WRITE, 0),
			 STACK, end_late, NULL, &tid, NULL), "clone");
	got = CALL(__NR_read, vfork_pipe[0], &byte, 1);
	ended(pid);
	expect(got == 1, "the parent did not wait", got);
}

static long tried(const char *leaf, const char *content, int mode)
{
	long fd = CALL(__NR_openat, AT_FDCWD, in_scratch(leaf), O_WRONLY | O_CREAT | O_TRUNC, 0700);

	need(fd, "a file in the scratch folder");
	write_all(fd, content, length(content));
	need(CALL(__NR_fchmod, fd, mode), "fchmod");
	CALL(__NR_close, fd);
	return execute(in_scratch(leaf), "x", NULL, NULL);
}

static void exec_errors(void)
{
	long got = execute(in_scratch("none"), "x", NULL, NULL);

	expect(got == -ENOENT, "a missing program", got);
	got = tried("data", "data", 0600);
	expect(got == -EACCES, "a file that may not run", got);
	got = tried("junk", "junk\n", 0700);
	expect(got == -ENOEXEC, "a file that is no program", got);
	got = tried("gone", "#!/no/such\n", 0700);
	expect(got == -ENOENT, "a missing #! program", got);
	got = execute(in_scratch("data/x"), "x", NULL, NULL);
	expect(got == -ENOTDIR, "ENOTDIR", got);
	got = execute(scratch, "x", NULL, NULL);
	expect(got == -EACCES, "a folder", got);
}

static void exec_self(void)
{
	int status = ran("/proc/self/exe", "workout", ":exit", "5");

	if (EXIT_CODE(status) == 126 && reading("/proc/self/exe", (u8 *)map(PAGE, 3, 0), 1) < 0)
		unsupported("no /proc", -ENOENT);
	expect(EXITED(status) && EXIT_CODE(status) == 5, "the status", status);
}

static void self_link(void)
{
	static char path[4096];
	long size = CALL(__NR_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof(path) - 1), at;

	if (size == -ENOENT)
		unsupported("no /proc", size);
	need(size, "readlink");
	for (at = size; at > 0 && path[at - 1] != '/'; at--)
		;
	for (long own = length(myself); size > at && own > 0 && myself[own - 1] != '/'; ) {
		size--;
		own--;
		expect(path[size] == myself[own], "another program's path", path[size]);
	}
	expect(size == at, "a longer path", size - at);
}

static void command_line(void)
{
	static u8 text[4096];
	long size = reading("/proc/self/cmdline", text, sizeof(text));

	if (size == -ENOENT)
		unsupported("no /proc", size);
	need(size, "/proc/self/cmdline");
	expect(equal((char *)text, myself), "another first word; bytes", size);
	expect(equal((char *)text + length(myself) + 1, name), "another second word", size);
}

static void script(void)
{
	static char line[256] = "#!";
	char *end = line + 2;
	long fd = create("script");
	int status;

	for (const char *from = myself; *from && end < line + 200; )
		*end++ = *from++;
	memcpy(end, " :script\n", 9);
	write_all(fd, line, end + 9 - line);
	CALL(__NR_close, fd);
	status = ran(in_scratch("script"), "x", "y", NULL);
	expect(EXITED(status) && EXIT_CODE(status) == 11, "the status", status);
}

static void exec_descriptor(void)
{
	const char *arguments[] = {"workout", ":exit", "6", NULL};
	long fd = need(CALL(__NR_openat, AT_FDCWD, myself, O_RDONLY, 0), "its own file");
	long pid, got;
	int status;

	got = CALL(__NR_execveat, -1, "", arguments, environment, 0);
	if (got == -ENOSYS)
		unsupported("execveat", got);
	pid = need(fork(), "fork");
	if (pid == 0) {
		CALL(__NR_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
		leave(126);
	}
	status = ended(pid);
	expect(EXITED(status) && EXIT_CODE(status) == 6, "the status", status);
}

static void first_word(void)
{
	int status = ran(myself, "another name", ":argv0", "another name");

	expect(EXITED(status) && EXIT_CODE(status) == 0, "argv[0] is another", status);
}

static void long_command_line(void)
{
	enum { MANY = 500 };
	static const char *arguments[MANY + 4];
	static char word[200];
	long pid = need(fork(), "fork");
	int status;

	memset(word, 'w', sizeof(word) - 1);
	if (pid == 0) {
		arguments[0] = "workout";
		arguments[1] = ":count";
		for (int i = 0; i < MANY; i++)
			arguments[2 + i] = word;
		CALL(__NR_execve, myself, arguments, environment);
		leave(126);
	}
	status = ended(pid);
	expect(EXITED(status) && EXIT_CODE(status) == ((MANY + 2) & 0xff), "arguments", status);
}

static void too_long(void)
{
	static const char *arguments[] = {"workout", NULL, NULL};
	long got, size = 300 * KIB;
	char *word = map(size, PROT_READ | PROT_WRITE, 0);

	memset(word, 'w', size - 1);
	arguments[1] = word;
	got = CALL(__NR_execve, myself, arguments, environment);
	expect(got == -E2BIG, "not E2BIG", got);
}

static void close_on_exec(void)
{
	int pipe[2];
	char text[2] = {0, 0};
	int status;

	need(CALL(__NR_pipe2, pipe, O_CLOEXEC), "pipe2");
	expect(pipe[0] < 10 && pipe[1] < 10, "descriptors are not the lowest", pipe[1]);
	text[0] = '0' + pipe[1];
	status = ran(myself, "workout", ":closed", text);
	expect(EXIT_CODE(status) == 0, "a descriptor stayed open", status);
	need(CALL(__NR_fcntl, pipe[1], F_SETFD, 0), "fcntl");
	status = ran(myself, "workout", ":closed", text);
	expect(EXIT_CODE(status) == 1, "a descriptor was closed", status);
}

static void new_clone(void)
{
#ifdef __NR_clone3
	struct clone_args arguments;
	long pid;

	memset(&arguments, 0, sizeof(arguments));
	arguments.exit_signal = SIGCHLD;
	pid = want(CALL(__NR_clone3, &arguments, sizeof(arguments)), "clone3");
	if (pid == 0)
		leave(3);
	expect(EXIT_CODE(ended(pid)) == 3, "the child's status", 0);
#else
	unsupported("Linux has none on this processor", 0);
#endif
}

static void pidfd(void)
{
	long pid = need(fork(), "fork"), fd;
	struct pollfd poll;
	siginfo_t info;
	struct short_time limit = {5, 0};

	if (pid == 0) {
		sleep_ms(5000);
		leave(0);
	}
	fd = CALL(__NR_pidfd_open, pid, 0);
	if (fd < 0)
		send(pid, SIGKILL);
	want(fd, "pidfd_open");
	want(CALL(__NR_pidfd_send_signal, fd, SIGTERM, NULL, 0), "pidfd_send_signal");
	poll.fd = fd;
	poll.events = POLLIN;
#ifdef __NR_ppoll
	need(CALL(__NR_ppoll, &poll, 1, &limit, NULL, 0), "ppoll");
#else
	(void)limit;
#endif
	memset(&info, 0, sizeof(info));
	need(CALL(__NR_waitid, P_PIDFD, fd, &info, WEXITED, NULL), "waitid of a pidfd");
	expect(info.si_pid == pid && info.si_status == SIGTERM, "what waitid says", info.si_status);
}

static void wait_info(void)
{
	long pid = need(fork(), "fork");
	siginfo_t info;

	if (pid == 0)
		leave(4);
	memset(&info, 0, sizeof(info));
	need(CALL(__NR_waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL), "waitid, WNOWAIT");
	expect(info.si_code == CLD_EXITED && info.si_status == 4, "the status", info.si_status);
	expect(info.si_pid == pid && info.si_signo == SIGCHLD, "the process", info.si_pid);
	need(CALL(__NR_waitid, P_PID, pid, &info, WEXITED, NULL), "waitid");
	expect(CALL(__NR_waitid, P_PID, pid, &info, WEXITED, NULL) == -ECHILD, "waited twice", 0);
}

/* What a child used: `time`, and every build system that tells how long a step took. */
static void wait_usage(void)
{
	struct rusage usage;
	siginfo_t info;
	long pid = need(fork(), "fork");

	if (pid == 0) {
		memset(map(4 * MIB, PROT_READ | PROT_WRITE, 0), 1, 4 * MIB);
		leave(0);
	}
	memset(&usage, 0, sizeof(usage));
	need(CALL(__NR_waitid, P_PID, pid, &info, WEXITED, &usage), "waitid");
	expect(usage.ru_maxrss > 0, "waitid says nothing of what was used", usage.ru_maxrss);
}

static void limits(void)
{
	u64 old[2] = {0, 0}, wanted[2], now[2] = {0, 0};

	need(CALL(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, old), "prlimit64");
	wanted[0] = 33;
	wanted[1] = old[1];
	need(CALL(__NR_prlimit64, 0, RLIMIT_NOFILE, wanted, now), "prlimit64");
	expect(now[0] == old[0], "the old limit", now[0]);
	need(CALL(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, now), "prlimit64");
	expect(now[0] == 33, "the new limit", now[0]);
	expect(CALL(__NR_fcntl, 1, F_DUPFD, 33) == -EINVAL, "a descriptor above the limit", 0);
}

static void sessions(void)
{
	long pid = need(fork(), "fork");

	if (pid == 0) {
		long session = CALL(__NR_setsid);

		leave(session == getpid() && CALL(__NR_getpgid, 0) == session &&
		      CALL(__NR_getsid, 0) == session ? 0 : 1);
	}
	expect(ended(pid) == 0, "setsid", 0);
}

static void task_name(void)
{
	char now[17] = "";

	need(CALL(__NR_prctl, PR_SET_NAME, "exercise"), "PR_SET_NAME");
	need(CALL(__NR_prctl, PR_GET_NAME, now), "PR_GET_NAME");
	expect(equal(now, "exercise"), "another name", now[0]);
}

static volatile int heard;

static void hear(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	heard = number;
}

static void parent_death(void)
{
	int pipe[2];
	char byte;
	long pid;

	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	need(CALL(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER");
	pid = need(fork(), "fork");
	if (pid == 0) {
		if (need(fork(), "fork") == 0) {
			handle(SIGUSR2, hear, 0);
			CALL(__NR_prctl, PR_SET_PDEATHSIG, SIGUSR2);
			CALL(__NR_write, pipe[1], "r", 1);
			for (int i = 0; i < 200 && !heard; i++)
				sleep_ms(10);
			CALL(__NR_write, pipe[1], heard == SIGUSR2 ? "y" : "n", 1);
			leave(0);
		}
		CALL(__NR_read, pipe[0], &byte, 1);
		leave(0);
	}
	ended(pid);
	need(CALL(__NR_read, pipe[0], &byte, 1), "read");
	expect(byte == 'y', "no signal when the parent died", 0);
}

static void many_forks(void)
{
	for (int i = 0; i < 60; i++) {
		long pid = need(fork(), "fork");

		if (pid == 0)
			leave(i & 7);
		expect(EXIT_CODE(ended(pid)) == (i & 7), "a status", i);
	}
}

static void random_bytes(void)
{
	u8 *at = (u8 *)auxv(AT_RANDOM), bytes[16], other[16];

	expect(at != NULL, "no AT_RANDOM", 0);
	need(CALL(__NR_getrandom, bytes, 16, 0), "getrandom");
	need(CALL(__NR_getrandom, other, 16, 0), "getrandom");
	expect(memcmp(bytes, other, 16) && memcmp(at, bytes, 16), "the same bytes again", 0);
}

static void file_name(void)
{
	const char *path = (const char *)auxv(AT_EXECFN);

	expect(path != NULL, "no AT_EXECFN", 0);
	expect(equal(path, myself), "another path", path[0]);
}

static void secure(void)
{
	expect(auxv(AT_SECURE) == 0, "AT_SECURE", auxv(AT_SECURE));
	expect(auxv(AT_PAGESZ) && auxv(AT_CLKTCK) && auxv(AT_PHDR), "a missing value", 0);
}

/* Started from a file of another user's, with the set-user-ID bit: sudo, ping, newuidmap. */
static void set_user_id(void)
{
	struct statx file;
	word effective = CALL(GET_EFFECTIVE_USER);

	need(CALL(__NR_statx, AT_FDCWD, myself, 0, STATX_BASIC_STATS, &file), "statx");
	if (!(file.stx_mode & S_ISUID) || file.stx_uid == auxv(AT_UID))
		unsupported("no second user is to be had here", 0);
	if (effective == auxv(AT_UID))
		unsupported("the bit counts for nothing: the registration is without flag C", 0);
	expect(effective == file.stx_uid, "another user", effective);
	expect(auxv(AT_EUID) == effective, "AT_EUID", auxv(AT_EUID));
	expect(auxv(AT_SECURE) == 1, "AT_SECURE: its loader obeys who started it", auxv(AT_SECURE));
}

/* `workout :what argument`: programs that the exercises above start. */
void be_helper(const char *what, const char *argument)
{
	if (equal(what, ":exit"))
		leave(argument[0] - '0');
	if (equal(what, ":script"))
		leave(equal(argument, in_scratch("script")) || contains((u8 *)argument,
			(long)length(argument), "script") ? 11 : 12);
	if (equal(what, ":argv0"))
		leave(!equal(myself, argument));
	if (equal(what, ":closed"))
		leave(CALL(__NR_fcntl, argument[0] - '0', F_GETFD) != -EBADF);
	if (equal(what, ":count"))
		leave(argument_count & 0xff);
	leave(99);
}

const struct exercise process_exercises[] = {
	{"exit-status", exit_statuses},
	{"spawn-error", spawn_error},
	{"vfork", wait_for_child},
	{"exec-errors", exec_errors},
	{"exec-self", exec_self},
	{"proc-self-exe", self_link},
	{"proc-cmdline", command_line},
	{"script", script},
	{"execveat", exec_descriptor},
	{"argv0", first_word},
	{"long-arguments", long_command_line},
	{"too-long-arguments", too_long},
	{"close-on-exec", close_on_exec},
	{"clone3", new_clone},
	{"pidfd", pidfd},
	{"waitid", wait_info},
	{"waitid-usage", wait_usage},
	{"limits", limits},
	{"sessions", sessions},
	{"task-name", task_name},
	{"parent-death", parent_death},
	{"many-forks", many_forks},
	{"random", random_bytes},
	{"exec-file-name", file_name},
	{"auxiliary-values", secure},
	{"setuid", set_user_id},
	{0},
};
