/*
 * What each architecture says about itself: how a program starts, calls the kernel and starts a
 * thread.  As in probe.c, arch/ in the sources of Linux (kernel/entry*, syscalls/) is the origin.
 *
 * START(f)   text: hand the address of the initial stack to f(), and leave the space that the
 *            calling convention lets f() overwrite
 * TRAP       text that enters the kernel and leaves -errno for an error
 * REGISTERS  of the call's number and of its six arguments
 * RESULT     which of these holds the result afterwards
 * PARENT     text that jumps to label 9 in the parent of a new thread or process
 */
#ifndef MACHINE_H
#define MACHINE_H

#if defined(__aarch64__)
#define START(f)	"mov	x0, sp\n	b	" f
#define TRAP		"svc	#0"
#define REGISTERS	"x8", "x0", "x1", "x2", "x3", "x4", "x5"
#define RESULT		first
#define CLOBBERS	"cc"
#define PARENT		"cbnz	x0, 9f"

#elif defined(__alpha__)
#define START(f)	"br	$27, 1f\n"				\
			"1:	ldgp	$29, 0($27)\n"			\
			"	mov	$30, $16\n"			\
			"	lda	$27, " f "\n"			\
			"	jmp	$31, ($27), " f
#define TRAP		"callsys\n	beq	$19, 1f\n	subq	$31, $0, $0\n1:"
#define REGISTERS	"$0", "$16", "$17", "$18", "$19", "$20", "$21"
#define RESULT		number
#define CLOBBERS	"$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", \
			"$22", "$23", "$24", "$25", "$27", "$28"
#define PARENT		"bne	$0, 9f"

#elif defined(__arm__)
#define START(f)	"mov	r0, sp\n	b	" f
#define TRAP		"svc	#0"
#define REGISTERS	"r7", "r0", "r1", "r2", "r3", "r4", "r5"
#define RESULT		first
#define CLOBBERS	"cc"
#define PARENT		"cmp	r0, #0\n	bne	9f"

#elif defined(__hppa__)
/* The stack grows upwards; a thread's word lies at its start. What is stored lies by %r27. */
#define START(f)	"ldo	64(%r30), %r30\n"			\
			"	ldil	L%$global$, %r27\n"		\
			"	ldo	R%$global$(%r27), %r27\n"	\
			"	b	" f "\n"			\
			"	ldo	-4(%r24), %r26"
#define TRAP		"ble	0x100(%%sr2, %%r0)\n	nop\n	copy	%%r28, %%r26"
#define REGISTERS	"%r20", "%r26", "%r25", "%r24", "%r23", "%r22", "%r21"
#define RESULT		first
#define CLOBBERS	"%r1", "%r2", "%r19", "%r28", "%r29", "%r31"
#define PARENT		"cmpib,<>,n	0, %%r28, 9f"
#define CHILD(f)	"ldo	-128(%%r30), %%r26\n	b	" f "\n	nop"
#define STACK_GROWS_UP	1

#elif defined(__i386__)
/* Too few registers for inline assembly: base.c has the call as a function. */
#define START(f)	"mov	%esp, %eax\n"				\
			"	and	$-16, %esp\n"			\
			"	sub	$12, %esp\n"			\
			"	push	%eax\n"				\
			"	call	" f

#elif defined(__loongarch__)
#define START(f)	"move	$a0, $sp\n	b	" f
#define TRAP		"syscall	0"
#define REGISTERS	"$a7", "$a0", "$a1", "$a2", "$a3", "$a4", "$a5"
#define RESULT		first
#define CLOBBERS	"$t0", "$t1", "$t2", "$t3", "$t4", "$t5", "$t6", "$t7", "$t8"
#define PARENT		"bnez	$a0, 9f"

#elif defined(__m68k__)
#define START(f)	"move.l	%sp, %d0\n	move.l	%d0, -(%sp)\n	jbsr	" f
#define CHILD(f)	"move.l	%%sp, %%d0\n	move.l	%%d0, -(%%sp)\n	jbsr	" f
#define TRAP		"trap	#0"
#define REGISTERS	"d0", "d1", "d2", "d3", "d4", "d5", "a0"
#define RESULT		number
#define CLOBBERS	"cc"
#define PARENT		"tst.l	%%d0\n	bne	9f"

#elif defined(__mips__)
#if _MIPS_SIM == _ABI64
#define GROW_STACK	"daddiu	$29, $29, -32"
#else
#define GROW_STACK	"addiu	$29, $29, -32"
#endif
#define START(f)	".set	noreorder\n"				\
			"	move	$4, $29\n"			\
			"	b	" f "\n"			\
			"	" GROW_STACK "\n"			\
			"	.set	reorder"
#define NEGATE		"	beqz	$7, 1f\n	nop\n	subu	$2, $0, $2\n1:	.set	reorder"
#if _MIPS_SIM == _ABIO32
/* Arguments five and six are on the stack. */
#define TRAP		".set	noreorder\n	addiu	$29, $29, -32\n"	\
			"	sw	$8, 16($29)\n	sw	$9, 20($29)\n"	\
			"	syscall\n	addiu	$29, $29, 32\n" NEGATE
/* A new thread has its own stack pointer: it starts 32 bytes lower. */
#define STACK_BIAS	32
#else
#define TRAP		".set	noreorder\n	syscall\n" NEGATE
#endif
#define REGISTERS	"$2", "$4", "$5", "$6", "$7", "$8", "$9"
#define RESULT		number
#define CLOBBERS	"$1", "$3", "$10", "$11", "$12", "$13", "$14", "$15", \
			"$24", "$25", "hi", "lo"
#define PARENT		"bnez	$2, 9f"

#elif defined(__powerpc__)
#if defined(__powerpc64__)
#define START(f)	"bl	1f\n"					\
			"1:	mflr	2\n"				\
			"	addis	2, 2, .TOC.-1b@ha\n"		\
			"	addi	2, 2, .TOC.-1b@l\n"		\
			"	mr	3, 1\n"				\
			"	li	0, 0\n"				\
			"	stdu	0, -64(1)\n"			\
			"	bl	" f "\n"			\
			"	nop"
#else
#define START(f)	"mr	3, 1\n	li	0, 0\n	stwu	0, -32(1)\n	bl	" f
#endif
#define TRAP		"sc\n	bns+	1f\n	neg	3, 3\n1:"
#define REGISTERS	"r0", "r3", "r4", "r5", "r6", "r7", "r8"
#define RESULT		first
#define CLOBBERS	"cr0", "ctr", "r9", "r10", "r11", "r12"
#define PARENT		"cmpwi	3, 0\n	bne	9f"

#elif defined(__riscv)
#define START(f)	"mv	a0, sp\n	j	" f
#define TRAP		"ecall"
#define REGISTERS	"a7", "a0", "a1", "a2", "a3", "a4", "a5"
#define RESULT		first
#define CLOBBERS	"cc"
#define PARENT		"bnez	a0, 9f"

#elif defined(__s390x__)
#define START(f)	"lgr	%r2, %r15\n	aghi	%r15, -160\n	jg	" f
#define CHILD(f)	"lgr	%%r2, %%r15\n	aghi	%%r15, -160\n	jg	" f
#define TRAP		"svc	0"
#define REGISTERS	"r1", "r2", "r3", "r4", "r5", "r6", "r7"
#define RESULT		first
#define CLOBBERS	"cc"
#define PARENT		"ltgr	%%r2, %%r2\n	jne	9f"

#elif defined(__sh__)
#define START(f)	"mov.l	1f, r0\n	jmp	@r0\n	mov	r15, r4\n"	\
			"	.align	2\n1:	.long	" f
#define TRAP		"trapa	#0x16\n	.rept	5\n	or	r0, r0\n	.endr"
#define REGISTERS	"r3", "r4", "r5", "r6", "r7", "r0", "r1"
#define RESULT		fifth
#define CLOBBERS	"t"
#define PARENT		"tst	r0, r0\n	bf	9f"

#elif defined(__sparc__)
#if defined(__arch64__)
#define START(f)	"add	%sp, 2047 + 16 * 8, %o0\n	b	" f "\n	sub	%sp, 6 * 8, %sp"
#define CHILD(f)	"add	%%sp, 2047 + 16 * 8, %%o0\n	b	" f "\n	sub	%%sp, 6 * 8, %%sp"
#define TRAP		"ta	0x6d\n	bcc,pt	%%xcc, 1f\n	nop\n	sub	%%g0, %%o0, %%o0\n1:"
#define RETURN		"ta	0x6d"
#define STACK_BIAS	(2047 + 16 * 8)
#else
#define START(f)	"add	%sp, 16 * 4, %o0\n	b	" f "\n	sub	%sp, 8 * 4, %sp"
#define CHILD(f)	"add	%%sp, 16 * 4, %%o0\n	b	" f "\n	sub	%%sp, 8 * 4, %%sp"
#define TRAP		"ta	0x10\n	bcc	1f\n	nop\n	sub	%%g0, %%o0, %%o0\n1:"
#define RETURN		"ta	0x10"
#define STACK_BIAS	(16 * 4)
#endif
#define REGISTERS	"g1", "o0", "o1", "o2", "o3", "o4", "o5"
#define RESULT		first
#define CLOBBERS	"cc", "o7"
/* %o1 is 0 in the parent and 1 in the child, where %o0 is the parent. */
#define PARENT		"cmp	%%o1, 1\n	bne	9f\n	nop"
#define FORK		"	bcs	8f\n	nop\n	sub	%%o1, 1, %%o1\n"	\
			"	and	%%o0, %%o1, %%o0\n8:"

#elif defined(__x86_64__)
#define START(f)	"mov	%rsp, %rdi\n	and	$-16, %rsp\n	call	" f
#define CHILD(f)	"mov	%%rsp, %%rdi\n	and	$-16, %%rsp\n	call	" f
#define TRAP		"syscall"
#define REGISTERS	"rax", "rdi", "rsi", "rdx", "r10", "r8", "r9"
#define RESULT		number
#define CLOBBERS	"cc", "rcx", "r11"
#define PARENT		"test	%%rax, %%rax\n	jnz	9f"

#else
#error "this architecture is not known here"
#endif

#ifndef CHILD
#define CHILD(f) START(f)
#endif
#ifndef FORK
#define FORK ""
#endif
#ifndef STACK_BIAS
#define STACK_BIAS 0
#endif
#ifndef STACK_GROWS_UP
#define STACK_GROWS_UP 0
#endif

#endif
