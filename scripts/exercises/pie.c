/*
 * A program that may lie anywhere (static PIE): does its heap grow?  `ldconfig` is such a one.
 *
 *     pie NAME     one line, as from a workout: by 64 MiB, or by 256 KiB where NAME ends in -small
 *
 * Nothing in here needs to be relocated: no table, no address in data.
 */
#include <asm/unistd.h>
#include "machine.h"

__asm__(
"	.text\n	.globl	_start\n	.type	_start, %function\n_start:\n"
"	" START("pie_main") "\n	.size	_start, . - _start\n"
#if defined(__i386__)
"call6:	push	%ebx\n	mov	8(%esp), %eax\n	mov	12(%esp), %ebx\n"
"	mov	16(%esp), %ecx\n	mov	20(%esp), %edx\n	int	$0x80\n"
"	pop	%ebx\n	ret\n"
#endif
);

#if defined(__i386__)
__attribute__((visibility("hidden"))) long call6(long n, long a, long b, long c);
#define enter call6
#else
#define BIND(...) BIND_(__VA_ARGS__)
#define BIND_(r_n, r1, r2, r3, r4, r5, r6, n, a, b, c)	\
	register long number __asm__(r_n) = (n);	\
	register long first __asm__(r1) = (a);		\
	register long second __asm__(r2) = (b);		\
	register long third __asm__(r3) = (c);		\
	register long fourth __asm__(r4) = 0;		\
	register long fifth __asm__(r5) = 0;		\
	register long sixth __asm__(r6) = 0

static __attribute__((noinline)) long enter(long n, long a, long b, long c)
{
	BIND(REGISTERS, n, a, b, c);

	__asm__ volatile(TRAP : "+r"(number), "+r"(first), "+r"(second), "+r"(third), "+r"(fourth),
			 "+r"(fifth), "+r"(sixth) : : "memory", CLOBBERS);
	return RESULT;
}
#endif

static char *put(char *end, const char *text)
{
	while (*text)
		*end++ = *text++;
	return end;
}

__attribute__((noreturn, used, visibility("hidden"))) void pie_main(long *stack)
{
	const char *name = (const char *)stack[2], *last = name;
	char line[128], *end = line, *start, *now;
	unsigned long size = 65536, grown;
	int place = 5;

	while (*last)
		last++;
	if (last[-1] == 'l')
		size = 256;
	start = (char *)enter(__NR_brk, 0, 0, 0);
	now = (char *)enter(__NR_brk, (long)(start + size * 1024), 0, 0);
	grown = (unsigned long)(now - start) >> 10;
	/* Not all of its pages: it is started a hundred times. */
	for (volatile char *at = start; at < now; at += size * 16)
		at[0] = at[size * 16 - 1] = 1;
	end = put(end, name);
	if (grown == size) {
		end = put(end, " ok ");
	} else {
		static const unsigned powers[] = {1, 10, 100, 1000, 10000, 100000};

		end = put(end, " fail the heap grew by less; KiB: ");
		for (; place > 0 && grown < powers[place]; place--)
			;
		for (; place >= 0; place--) {
			char digit = '0';

			for (; grown >= powers[place] && digit <= '9'; grown -= powers[place])
				digit++;
			*end++ = digit;
		}
	}
	*end++ = '\n';
	enter(__NR_write, 1, (long)line, end - line);
	for (;;)
		enter(__NR_exit, 0, 0, 0);
}
