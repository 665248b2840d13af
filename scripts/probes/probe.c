/*
 * A probe: the smallest program that proves that programs of one architecture run here.
 *
 * It prints one line,
 *
 *     binfmt-probe target=aarch64 machine=aarch64 argc=1 argv0=/probe
 *
 * then waits for one byte or the end of its standard input, and exits.  Whoever started
 * it reads in that line whether the program ran at all, what uname(2) said to it, and
 * whether the arguments came through an emulator unharmed.  While it waits, its
 * /proc/PID/exe shows which emulator really carries it.
 *
 *     exit 0   the whole line was written
 *     exit 1   write(2) failed, or took less than the whole line
 *     exit 2   uname(2) failed
 *
 * There is no C library, no writable data and nothing for a dynamic linker to do: what is
 * measured is the kernel and the emulator, and the file works in an empty directory.
 *
 * One file serves all targets.  Everything that differs between architectures is in part 1;
 * scripts/build-probes has the compilers and their options and defines TARGET, the name.
 */

/* ---- Part 1: what each architecture says about itself -------------------------------
 *
 * NUMBERS     the numbers of the four system calls used
 * START       text of _start: hand the address of the initial stack to report(), and leave
 *             the space that the calling convention lets report() overwrite
 * TRAP        text that enters the kernel and leaves a negative number for an error
 * REGISTERS   of the call's number and of its three arguments
 * RESULT      which of these holds the result afterwards: `number` or `first`
 * CLOBBERS    other registers that the kernel may change ("cc" where there are none)
 *
 * The source of the numbers and registers is named once per architecture; arch/ and
 * include/ are folders of the Linux sources.
 */

#define NUMBERS(read, write, exit, uname) \
	enum { READ = read, WRITE = write, EXIT = exit, UNAME = uname };

/* include/uapi/asm-generic/unistd.h: what newer architectures share */
#define NUMBERS_GENERIC NUMBERS(63, 64, 93, 160)
/* The order of Unix, which most older tables keep; only uname differs. */
#define NUMBERS_CLASSIC(uname) NUMBERS(3, 4, 1, uname)

#if defined(__aarch64__)
/* arch/arm64/kernel/entry.S, include/uapi/asm-generic/unistd.h */
NUMBERS_GENERIC
#define START		"mov	x0, sp\n	b	report"
#define TRAP		"svc	#0"
#define REGISTERS	"x8", "x0", "x1", "x2"
#define RESULT		first
#define CLOBBERS	"cc"

#elif defined(__alpha__)
/* arch/alpha/kernel/entry.S and syscalls/syscall.tbl (uname 59 there is OSF/1's); $19 tells
 * an error.  report() works out its global pointer from $27, the address it is called by. */
NUMBERS_CLASSIC(339)
#define START		"br	$27, 1f\n"				\
			"1:	ldgp	$29, 0($27)\n"			\
			"	mov	$30, $16\n"			\
			"	lda	$27, report\n"			\
			"	jmp	$31, ($27), report"
#define TRAP		"callsys\n	beq	$19, 1f\n	lda	$0, -1($31)\n1:"
#define REGISTERS	"$0", "$16", "$17", "$18"
#define RESULT		number
#define CLOBBERS	"$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$19", "$20", "$21", \
			"$22", "$23", "$24", "$25", "$27", "$28"

#elif defined(__arm__)
/* arch/arm/kernel/entry-common.S (EABI), arch/arm/tools/syscall.tbl.  An instruction that
 * first exists in the level which the name promises, so that a processor below it stops
 * here: `rev` came with ARMv6, `movw` with ARMv7 (it is in no ARMv6 that runs Linux). */
NUMBERS_CLASSIC(122)
#if __ARM_ARCH >= 7
#define LEVEL		"movw	r1, #7\n"
#elif __ARM_ARCH == 6
#define LEVEL		"rev	r1, r1\n"
#else
#define LEVEL		""
#endif
#define START		LEVEL "	mov	r0, sp\n	b	report"
#define TRAP		"svc	#0"
#define REGISTERS	"r7", "r0", "r1", "r2"
#define RESULT		first
#define CLOBBERS	"cc"

#elif defined(__hexagon__)
/* arch/hexagon/include/asm/syscall.h, include/uapi/asm-generic/unistd.h */
NUMBERS_GENERIC
#define START		"r0 = r29\n	jump	report"
#define TRAP		"trap0(#1)"
#define REGISTERS	"r6", "r0", "r1", "r2"
#define RESULT		first
#define CLOBBERS	"cc"

#elif defined(__hppa__)
/* arch/parisc/kernel/syscall.S and syscalls/syscall.tbl.  The stack grows upwards, hence
 * argv arrives in a register (arch/parisc/include/asm/processor.h); argc lies before it.
 * The call is a branch into the kernel's gateway page, at 0x100. */
NUMBERS_CLASSIC(59)
#define START		"ldo	64(%r30), %r30\n"			\
			"	b	report\n"			\
			"	ldo	-4(%r24), %r26"
#define TRAP		"ble	0x100(%%sr2, %%r0)\n	nop\n	copy	%%r28, %%r26"
#define REGISTERS	"%r20", "%r26", "%r25", "%r24"
#define RESULT		first
#define CLOBBERS	"%r1", "%r2", "%r19", "%r21", "%r22", "%r23", "%r28", "%r29", "%r31"

#elif defined(__i386__)
/* arch/x86/entry/entry_32.S, arch/x86/entry/syscalls/syscall_32.tbl */
NUMBERS_CLASSIC(122)
#define START		"mov	%esp, %eax\n"				\
			"	and	$-16, %esp\n"			\
			"	sub	$12, %esp\n"			\
			"	push	%eax\n"				\
			"	call	report"
#define TRAP		"int	$0x80"
#define REGISTERS	"eax", "ebx", "ecx", "edx"
#define RESULT		number
#define CLOBBERS	"cc"

#elif defined(__loongarch__)
/* arch/loongarch/kernel/entry.S, include/uapi/asm-generic/unistd.h */
NUMBERS_GENERIC
#define START		"move	$a0, $sp\n	b	report"
#define TRAP		"syscall	0"
#define REGISTERS	"$a7", "$a0", "$a1", "$a2"
#define RESULT		first
#define CLOBBERS	"$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8"

#elif defined(__m68k__)
/* arch/m68k/kernel/entry.S, arch/m68k/kernel/syscalls/syscall.tbl */
NUMBERS_CLASSIC(122)
#define START		"move.l	%sp, %d0\n	move.l	%d0, -(%sp)\n	jbsr	report"
#define TRAP		"trap	#0"
#define REGISTERS	"d0", "d1", "d2", "d3"
#define RESULT		number
#define CLOBBERS	"cc"

#elif defined(__mips__)
/* arch/mips/kernel/scall*.S, arch/mips/kernel/syscalls/syscall_{o32,n64,n32}.tbl; $7 tells
 * an error.  report() may store its arguments in the 16 bytes above the stack pointer. */
#define GROW_STACK	"addiu	$29, $29, -32"
#if _MIPS_SIM == _ABIO32
NUMBERS(4003, 4004, 4001, 4122)
#elif _MIPS_SIM == _ABIN32
NUMBERS(6000, 6001, 6058, 6061)
#else
NUMBERS(5000, 5001, 5058, 5061)
#undef GROW_STACK
#define GROW_STACK	"daddiu	$29, $29, -32"
#endif
#define START		".set	noreorder\n"				\
			"	move	$4, $29\n"			\
			"	b	report\n"			\
			"	" GROW_STACK "\n"			\
			"	.set	reorder"
#define TRAP		".set	noreorder\n"				\
			"	syscall\n"				\
			"	beqz	$7, 1f\n"			\
			"	nop\n"					\
			"	li	$2, -1\n"			\
			"1:	.set	reorder"
#define REGISTERS	"$2", "$4", "$5", "$6"
#define RESULT		number
#define CLOBBERS	"$1", "$3", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", \
			"$24", "$25", "hi", "lo"

#elif defined(__or1k__) || defined(__OR1K__)
/* arch/openrisc/kernel/entry.S, include/uapi/asm-generic/unistd.h */
NUMBERS_GENERIC
#define START		"l.j	report\n	l.or	r3, r1, r1"
#define TRAP		"l.sys	1\n	l.nop"
#define REGISTERS	"r11", "r3", "r4", "r5"
#define RESULT		number
#define CLOBBERS	"r6", "r7", "r8", "r12", "r13", "r15", "r17", "r19", "r21", "r23", \
			"r25", "r27", "r29", "r31"

#elif defined(__powerpc__)
/* arch/powerpc/kernel/interrupt.c, arch/powerpc/kernel/syscalls/syscall.tbl; the summary
 * overflow bit tells an error.  report() finds constants through r2 where words have 64
 * bits, and saves its return address in the frame of its caller, so there must be one. */
NUMBERS_CLASSIC(122)
#if defined(__powerpc64__)
#define START		"bl	1f\n"					\
			"1:	mflr	2\n"				\
			"	addis	2, 2, .TOC.-1b@ha\n"		\
			"	addi	2, 2, .TOC.-1b@l\n"		\
			"	mr	3, 1\n"				\
			"	li	0, 0\n"				\
			"	stdu	0, -64(1)\n"			\
			"	bl	report\n"			\
			"	nop"
#else
#define START		"mr	3, 1\n	li	0, 0\n	stwu	0, -32(1)\n	bl	report"
#endif
#define TRAP		"sc\n	bns+	1f\n	li	3, -1\n1:"
#define REGISTERS	"r0", "r3", "r4", "r5"
#define RESULT		first
#define CLOBBERS	"cr0", "ctr", "r6", "r7", "r8", "r9", "r10", "r11", "r12"

#elif defined(__riscv)
/* arch/riscv/kernel/entry.S, include/uapi/asm-generic/unistd.h */
NUMBERS_GENERIC
#define START		"mv	a0, sp\n	j	report"
#define TRAP		"ecall"
#define REGISTERS	"a7", "a0", "a1", "a2"
#define RESULT		first
#define CLOBBERS	"cc"

#elif defined(__s390x__)
/* arch/s390/kernel/entry.S, arch/s390/kernel/syscalls/syscall.tbl.  report() saves
 * registers in the 160 bytes above the stack pointer. */
NUMBERS_CLASSIC(122)
#define START		"lgr	%r2, %r15\n	aghi	%r15, -160\n	jg	report"
#define TRAP		"svc	0"
#define REGISTERS	"r1", "r2", "r3", "r4"
#define RESULT		first
#define CLOBBERS	"cc"

#elif defined(__sh__)
/* arch/sh/kernel/entry-common.S, arch/sh/kernel/syscalls/syscall.tbl.  0x13 is 0x10 plus
 * three arguments.  Renesas' technical update tnsh7456ae wants five harmless instructions
 * after it. */
NUMBERS_CLASSIC(122)
#define START		"bra	report\n	mov	r15, r4"
#define TRAP		"trapa	#0x13\n	.rept	5\n	or	r0, r0\n	.endr\n	mov	r0, r4"
#define REGISTERS	"r3", "r4", "r5", "r6"
#define RESULT		first
#define CLOBBERS	"r0", "t"

#elif defined(__sparc__)
/* arch/sparc/kernel/entry.S and syscalls/syscall.tbl; the carry bit tells an error.  argc
 * lies above the space for one register window; report() may store six arguments there. */
NUMBERS_CLASSIC(189)
#if defined(__arch64__)
#define START		"add	%sp, 2047 + 16 * 8, %o0\n	b	report\n	sub	%sp, 6 * 8, %sp"
#define TRAP		"ta	0x6d\n	bcc,pt	%%xcc, 1f\n	nop\n	mov	-1, %%o0\n1:"
#else
#define START		"add	%sp, 16 * 4, %o0\n	b	report\n	sub	%sp, 8 * 4, %sp"
#define TRAP		"ta	0x10\n	bcc	1f\n	nop\n	mov	-1, %%o0\n1:"
#endif
#define REGISTERS	"g1", "o0", "o1", "o2"
#define RESULT		first
#define CLOBBERS	"cc", "o3", "o4", "o5", "o7"

#elif defined(__x86_64__)
/* arch/x86/entry/entry_64.S, arch/x86/entry/syscalls/syscall_64.tbl.  One instruction of each
 * feature that a level of the psABI (x86-64 ABI, table 3.1) adds to the one below: where one is
 * missing the program stops here.  `lzcnt` is `bsr` there, so its result is looked at. */
NUMBERS(0, 1, 60, 63)
#if X86_LEVEL >= 2
#define LEVEL_2		"cmpxchg16b	-16(%rsp)\n"			\
			"	lahf\n"				\
			"	popcnt	%rax, %rax\n"			\
			"	haddps	%xmm0, %xmm0\n"			\
			"	pshufb	%xmm0, %xmm0\n"			\
			"	pmulld	%xmm0, %xmm0\n"			\
			"	pcmpgtq	%xmm0, %xmm0\n"
#else
#define LEVEL_2		""
#endif
#if X86_LEVEL >= 3
#define LEVEL_3		"	vxorps	%ymm0, %ymm0, %ymm0\n"		\
			"	vpaddd	%ymm0, %ymm0, %ymm0\n"		\
			"	vfmadd213ps	%ymm0, %ymm0, %ymm0\n"	\
			"	vcvtph2ps	%xmm0, %ymm0\n"		\
			"	andn	%rax, %rax, %rcx\n"		\
			"	shlx	%rax, %rax, %rcx\n"		\
			"	movbe	-16(%rsp), %rcx\n"		\
			"	mov	$1, %eax\n"			\
			"	lzcnt	%rax, %rax\n"			\
			"	cmp	$63, %rax\n"			\
			"	je	1f\n"				\
			"	ud2\n"					\
			"1:\n"
#else
#define LEVEL_3		""
#endif
#if X86_LEVEL >= 4
#define LEVEL_4		"	vpaddd	%zmm0, %zmm0, %zmm0\n"		\
			"	vpaddb	%zmm0, %zmm0, %zmm0\n"		\
			"	vpconflictd	%zmm0, %zmm0\n"		\
			"	vpmullq	%zmm0, %zmm0, %zmm0\n"		\
			"	vpaddd	%ymm16, %ymm16, %ymm16\n"
#else
#define LEVEL_4		""
#endif
#define START		LEVEL_2 LEVEL_3 LEVEL_4				\
			"	mov	%rsp, %rdi\n	and	$-16, %rsp\n	call	report"
#define TRAP		"syscall"
#define REGISTERS	"rax", "rdi", "rsi", "rdx"
#define RESULT		number
#define CLOBBERS	"cc", "rcx", "r11"

#elif defined(__xtensa__)
/* arch/xtensa/kernel/entry.S, arch/xtensa/kernel/syscalls/syscall.tbl */
NUMBERS(12, 13, 118, 208)
#define START		"mov	a2, a1\n	j	report"
#define TRAP		"syscall"
#define REGISTERS	"a2", "a6", "a3", "a4"
#define RESULT		number
#define CLOBBERS	"a5", "a7", "a8", "a9", "a10", "a11"

#else
#error "no part 1 for this architecture"
#endif

/* ---- Part 2: entering the program and the kernel ------------------------------------ */

asm(
"	.text\n"
"	.globl	_start\n"
"	.type	_start, %function\n"
"_start:\n"
"	" START "\n"
"	.size	_start, . - _start\n"
);

#define BIND(registers, ...) BIND_(registers, __VA_ARGS__)
#define BIND_(r_number, r_first, r_second, r_third, v_number, v_first, v_second, v_third) \
	register long number asm(r_number) = (v_number);	\
	register long first asm(r_first) = (v_first);		\
	register long second asm(r_second) = (v_second);	\
	register long third asm(r_third) = (v_third)

/* One system call; the result is negative exactly when it failed. */
static inline long enter(long call, long a, const void *b, long c)
{
	BIND(REGISTERS, call, a, (long)b, c);

	asm volatile(TRAP
		     : "+r"(number), "+r"(first), "+r"(second), "+r"(third)
		     :
		     : "memory", CLOBBERS);
	return RESULT;
}

/* ---- Part 3: the program ------------------------------------------------------------- */

enum {
	ARGV0_MAX = 100,	/* the line stays below PIPE_BUF, so it arrives in one piece */
	FIELD = 65,		/* size of one field of uname(2), final NUL included */
};

/* struct new_utsname of include/uapi/linux/utsname.h */
struct names {
	char sysname[FIELD], nodename[FIELD], release[FIELD];
	char version[FIELD], machine[FIELD], domainname[FIELD];
};

static char *put(char *end, const char *text, int most)
{
	while (most-- > 0 && *text)
		*end++ = *text++;
	return end;
}

/* Subtracts instead of dividing: many processors divide only with a library's help. */
static char *put_number(char *end, unsigned long value)
{
	static const unsigned powers[] = { 1, 10, 100, 1000, 10000, 100000, 1000000,
					   10000000, 100000000, 1000000000 };
	int place = sizeof(powers) / sizeof(*powers) - 1;

	while (place > 0 && value < powers[place])
		place--;
	for (; place >= 0; place--) {
		char digit = '0';

		for (; value >= powers[place]; value -= powers[place])
			digit++;
		*end++ = digit;
	}
	return end;
}

static __attribute__((noreturn)) void leave(long status)
{
	for (;;)
		enter(EXIT, status, 0, 0);
}

/* The kernel leaves argc at the start of the stack, then the addresses of the arguments. */
__attribute__((noreturn, used)) void report(const long *stack)
{
	char line[384], *end = line, byte;
	struct names names;
	long argc = stack[0], length;

	if (enter(UNAME, (long)&names, 0, 0) < 0)
		leave(2);
	end = put(end, "binfmt-probe target=" TARGET " machine=", FIELD);
	end = put(end, names.machine, FIELD);
	end = put(end, " argc=", FIELD);
	end = put_number(end, argc);
	end = put(end, " argv0=", FIELD);
	if (argc > 0)
		end = put(end, (const char *)stack[1], ARGV0_MAX);
	*end++ = '\n';
	length = end - line;
	if (enter(WRITE, 1, line, length) != length)
		leave(1);
	enter(READ, 0, &byte, 1);
	leave(0);
}
