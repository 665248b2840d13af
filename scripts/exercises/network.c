/* Sockets and netlink: package managers, name lookup, test suites. */
#include "base.h"

#include <linux/in.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/socket.h>
#include <linux/un.h>
#include <asm/socket.h>

enum { STREAM = 1, DATAGRAM = 2 };
#if defined(__mips__)
#undef STREAM
#undef DATAGRAM
#define STREAM 2
#define DATAGRAM 1
#endif
#ifndef AF_UNIX
#define AF_UNIX 1
#define AF_INET 2
#define AF_NETLINK 16
#endif
#if defined(__alpha__) || defined(__hppa__)
#define NONBLOCK 0x40000000
#else
#define NONBLOCK O_NONBLOCK
#endif

#define LOOPBACK (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 0x7f000001U : 0x0100007fU)

struct message {
	void *name;
	int name_size;
	struct part {
		void *at;
		word size;
	} *parts;
	word count;
	void *control;
	word control_size;
	u32 flags;
};

struct control {
	word size;
	int level, type;
	int data[4];
};

static void pair(int *two, int kind)
{
	need(CALL(__NR_socketpair, AF_UNIX, kind, 0, two), "socketpair");
}

static void pass_descriptor(void)
{
	int two[2], pipe[2], got;
	char byte = 'b';
	struct part part = {&byte, 1};
	struct control control;
	struct message message;

	pair(two, STREAM);
	need(CALL(__NR_pipe2, pipe, 0), "pipe2");
	memset(&message, 0, sizeof(message));
	memset(&control, 0, sizeof(control));
	control.size = (word)((char *)control.data - (char *)&control) + sizeof(int);
	control.level = SOL_SOCKET;
	control.type = 1;	/* SCM_RIGHTS */
	control.data[0] = pipe[1];
	message.parts = &part;
	message.count = 1;
	message.control = &control;
	message.control_size = control.size;
	need(CALL(__NR_sendmsg, two[0], &message, 0), "sendmsg");
	memset(&control, 0, sizeof(control));
	message.control_size = sizeof(control);
	need(CALL(__NR_recvmsg, two[1], &message, 0), "recvmsg");
	expect(control.type == 1 && control.size == (word)((char *)control.data - (char *)&control) +
	       sizeof(int), "the control message", control.size);
	got = control.data[0];
	write_all(got, "y", 1);
	need(CALL(__NR_read, pipe[0], &byte, 1), "read");
	expect(byte == 'y' && got != pipe[1], "another descriptor", got);
}

static void peer(void)
{
	int two[2];
	struct {
		int pid;
		u32 uid, gid;
	} who = {0, 0, 0};
	u32 size = sizeof(who);

	pair(two, STREAM);
	need(CALL(__NR_getsockopt, two[0], SOL_SOCKET, SO_PEERCRED, &who, &size), "SO_PEERCRED");
	expect(who.pid == getpid() && size == sizeof(who), "the other end", who.pid);
}

static void options(void)
{
	int two[2], value = 0;
	u32 size = 4;

	pair(two, DATAGRAM);
	need(CALL(__NR_getsockopt, two[0], SOL_SOCKET, SO_TYPE, &value, &size), "SO_TYPE");
	expect(value == DATAGRAM, "the type", value);
	value = 20000;
	need(CALL(__NR_setsockopt, two[0], SOL_SOCKET, SO_SNDBUF, &value, 4), "SO_SNDBUF");
	need(CALL(__NR_getsockopt, two[0], SOL_SOCKET, SO_SNDBUF, &value, &size), "SO_SNDBUF");
	expect(value == 40000, "twice what was set", value);
}

static void receive_timeout(void)
{
	int two[2];
	char byte;
	struct __kernel_old_timeval limit = {0, 20000};
	long got;

	pair(two, STREAM);
	need(CALL(__NR_setsockopt, two[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)),
	     "SO_RCVTIMEO");
	got = CALL(__NR_read, two[0], &byte, 1);
	expect(got == -EAGAIN, "not EAGAIN", got);
}

static void many_messages(void)
{
	int two[2];
	char texts[3][4] = {"one", "two", "3"}, got[3][4];
	struct part parts[3];
	struct {
		struct message message;
		u32 size;
	} list[3];
	long count;

	pair(two, DATAGRAM);
	memset(list, 0, sizeof(list));
	for (int i = 0; i < 3; i++) {
		parts[i].at = texts[i];
		parts[i].size = 4;
		list[i].message.parts = &parts[i];
		list[i].message.count = 1;
	}
	count = want(CALL(__NR_sendmmsg, two[0], list, 3, 0), "sendmmsg");
	expect(count == 3, "messages sent", count);
	memset(got, 0, sizeof(got));
	for (int i = 0; i < 3; i++)
		parts[i].at = got[i];
#ifdef __NR_recvmmsg
	count = want(CALL(__NR_recvmmsg, two[1], list, 3, 0, NULL), "recvmmsg");
#else
	count = want(CALL(__NR_recvmmsg_time64, two[1], list, 3, 0, NULL), "recvmmsg");
#endif
	expect(count == 3 && equal(got[1], "two") && list[1].size == 4, "messages", count);
}

static void named(void)
{
	struct sockaddr_un where;
	long server = need(CALL(__NR_socket, AF_UNIX, STREAM, 0), "socket"), client, side;
	int size = 2;
	char byte = 0;

	memset(&where, 0, sizeof(where));
	where.sun_family = AF_UNIX;
	memcpy(where.sun_path, "\0workout", 8);
	need(CALL(__NR_bind, server, &where, 10), "bind");
	need(CALL(__NR_listen, server, 1), "listen");
	client = need(CALL(__NR_socket, AF_UNIX, STREAM, 0), "socket");
	need(CALL(__NR_connect, client, &where, 10), "connect");
	side = need(CALL(__NR_accept4, server, NULL, NULL, 0), "accept4");
	write_all(client, "z", 1);
	need(CALL(__NR_read, side, &byte, 1), "read");
	expect(byte == 'z', "what was sent", byte);
	size = sizeof(where);
	need(CALL(__NR_getsockname, server, &where, &size), "getsockname");
	expect(size == 10 && where.sun_path[0] == 0 && where.sun_path[1] == 'w', "its name", size);
}

static void internet(void)
{
	struct sockaddr_in where;
	long server = need(CALL(__NR_socket, AF_INET, STREAM, 0), "socket"), client, side, got;
	int size = sizeof(where);
	char text[8] = "";

	memset(&where, 0, sizeof(where));
	where.sin_family = AF_INET;
	where.sin_addr.s_addr = LOOPBACK;
	got = CALL(__NR_bind, server, &where, sizeof(where));
	if (got == -EADDRNOTAVAIL)
		unsupported("no loopback network", got);
	need(got, "bind");
	need(CALL(__NR_listen, server, 1), "listen");
	need(CALL(__NR_getsockname, server, &where, &size), "getsockname");
	expect(where.sin_port != 0, "no port", 0);
	client = need(CALL(__NR_socket, AF_INET, STREAM, 0), "socket");
	got = CALL(__NR_connect, client, &where, sizeof(where));
	if (got == -ENETUNREACH)
		unsupported("no loopback network", got);
	need(got, "connect");
	side = need(CALL(__NR_accept4, server, &where, &size, NONBLOCK), "accept4");
	expect(CALL(__NR_read, side, text, 8) == -EAGAIN, "SOCK_NONBLOCK of accept4", 0);
	write_all(client, "hello", 5);
	for (int i = 0; i < 100; i++) {
		got = CALL(__NR_read, side, text, 8);
		if (got != -EAGAIN)
			break;
		sleep_ms(5);
	}
	expect(got == 5 && equal(text, "hello"), "what was sent", got);
	need(CALL(__NR_shutdown, client, 1), "shutdown");
	sleep_ms(5);
	expect(CALL(__NR_read, side, text, 8) == 0, "the end", 0);
}

/* As a name is looked up: a server is asked, and an own address is found for one to be reached. */
static void datagrams(void)
{
	struct sockaddr_in where, own, from;
	long server = need(CALL(__NR_socket, AF_INET, DATAGRAM | O_CLOEXEC, 0), "socket"), client, got;
	int size = sizeof(where), yes = 1;
	char text[8] = "";

	memset(&where, 0, sizeof(where));
	where.sin_family = AF_INET;
	where.sin_addr.s_addr = LOOPBACK;
	got = CALL(__NR_bind, server, &where, sizeof(where));
	if (got == -EADDRNOTAVAIL)
		unsupported("no loopback network", got);
	need(got, "bind");
	need(CALL(__NR_getsockname, server, &where, &size), "getsockname");
	client = need(CALL(__NR_socket, AF_INET, DATAGRAM | O_CLOEXEC, 0), "socket");
	need(CALL(__NR_setsockopt, client, 0, 11, &yes, sizeof(yes)), "IP_RECVERR");
	got = CALL(__NR_connect, client, &where, sizeof(where));
	if (got == -ENETUNREACH)
		unsupported("no loopback network", got);
	need(got, "connect");
	size = sizeof(own);
	need(CALL(__NR_getsockname, client, &own, &size), "getsockname");
	expect(own.sin_addr.s_addr == LOOPBACK && own.sin_port, "its own address",
	       own.sin_addr.s_addr);
	write_all(client, "ask", 3);
	size = sizeof(from);
	got = need(CALL(__NR_recvfrom, server, text, 8, 0, &from, &size), "recvfrom");
	expect(got == 3 && equal(text, "ask"), "the question", got);
	expect(from.sin_port == own.sin_port && size == sizeof(from), "who asked", from.sin_port);
	got = CALL(__NR_sendto, server, "answer", 6, 0, &from, sizeof(from));
	expect(got == 6, "sendto", got);
	got = need(CALL(__NR_read, client, text, 8), "read");
	expect(got == 6 && equal(text, "answer"), "the answer", got);
}

/* getifaddrs: the kernel's list of network interfaces and addresses. */
static void dump(int kind, int answer)
{
	static u8 buffer[16 * KIB] __attribute__((aligned(8)));
	struct {
		struct nlmsghdr head;
		u8 family, rest[15];
	} ask;
	long fd = CALL(__NR_socket, AF_NETLINK, DATAGRAM | O_CLOEXEC, 0), got, found = 0;
	struct sockaddr_nl where;
	int size = sizeof(where);

	if (fd == -EAFNOSUPPORT || fd == -EPROTONOSUPPORT)
		unsupported("netlink", fd);
	need(fd, "netlink");
	memset(&where, 0, sizeof(where));
	where.nl_family = AF_NETLINK;
	need(CALL(__NR_bind, fd, &where, sizeof(where)), "bind");
	need(CALL(__NR_getsockname, fd, &where, &size), "getsockname");
	expect(size == sizeof(where) && where.nl_family == AF_NETLINK, "its name", size);
	memset(&ask, 0, sizeof(ask));
	ask.head.nlmsg_len = sizeof(ask.head) + 16;
	ask.head.nlmsg_type = kind;
	ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	ask.head.nlmsg_seq = 1;
	expect(need(CALL(__NR_sendto, fd, &ask, ask.head.nlmsg_len, 0, NULL, 0), "sendto") ==
	       (long)ask.head.nlmsg_len, "sendto", 0);
	for (;;) {
		got = need(CALL(__NR_recvfrom, fd, buffer, sizeof(buffer), 0, NULL, NULL), "recvfrom");
		expect(got > 0, "an empty answer", got);
		for (long at = 0; at + (long)sizeof(struct nlmsghdr) <= got; ) {
			struct nlmsghdr *each = (void *)(buffer + at);

			if (each->nlmsg_type == NLMSG_DONE)
				goto done;
			expect(each->nlmsg_type == answer, "what came", each->nlmsg_type);
			expect(each->nlmsg_len >= sizeof(*each), "its size", each->nlmsg_len);
			at += (each->nlmsg_len + 3) & ~3U;
			found++;
		}
	}
done:
	if (kind == RTM_GETLINK)
		expect(found >= 1, "no interface, not even lo", found);
}

static void interfaces(void)
{
	dump(RTM_GETLINK, RTM_NEWLINK);
}

static void addresses(void)
{
	dump(RTM_GETADDR, RTM_NEWADDR);
}

static void routes(void)
{
	dump(RTM_GETROUTE, RTM_NEWROUTE);
}

static void errors(void)
{
	struct sockaddr_un where;
	long got, client = need(CALL(__NR_socket, AF_UNIX, STREAM, 0), "socket");

	memset(&where, 0, sizeof(where));
	where.sun_family = AF_UNIX;
	memcpy(where.sun_path, "\0nobody", 7);
	got = CALL(__NR_connect, client, &where, 9);
	expect(got == -ECONNREFUSED, "not ECONNREFUSED", got);
	got = CALL(__NR_socket, 77, STREAM, 0);
	expect(got == -EAFNOSUPPORT, "not EAFNOSUPPORT", got);
}

static void peek(void)
{
	int two[2];
	char text[8] = "";
	long got;

	pair(two, DATAGRAM);
	write_all(two[0], "hello", 5);
	got = CALL(__NR_recvfrom, two[1], text, 2, 0x20 | 2, NULL, NULL);
	expect(got == 5 && text[0] == 'h' && !text[2], "MSG_TRUNC and MSG_PEEK", got);
	got = CALL(__NR_recvfrom, two[1], text, 8, 0x40, NULL, NULL);
	expect(got == 5, "the message is gone", got);
	got = CALL(__NR_recvfrom, two[1], text, 8, 0x40, NULL, NULL);
	expect(got == -EAGAIN, "MSG_DONTWAIT", got);
}

const struct exercise network_exercises[] = {
	{"pass-descriptor", pass_descriptor},
	{"peer-credentials", peer},
	{"socket-options", options},
	{"receive-timeout", receive_timeout},
	{"many-messages", many_messages},
	{"unix-sockets", named},
	{"tcp", internet},
	{"udp", datagrams},
	{"netlink-links", interfaces},
	{"netlink-addresses", addresses},
	{"netlink-routes", routes},
	{"socket-errors", errors},
	{"peek", peek},
	{0},
};
