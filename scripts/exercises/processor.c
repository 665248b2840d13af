/* The processor itself: arithmetic, memory access, and the levels that distributions assume. */
#include "base.h"

static volatile u64 big = 0x123456789abcdef1ULL;
static volatile u32 half = 0x9abcdef1;
static volatile int small = -7;

/* What the compiler worked out against what the processor does. */
static void integers(void)
{
	u64 product = big * 0x10001ULL;
	u32 sum = half + 0x80000000U;

	expect(product == 0x123456789abcdef1ULL * 0x10001ULL, "64-bit product", (long)product);
	expect((big << 13) == 0x123456789abcdef1ULL << 13, "shift to the left", 0);
	expect((big >> 37) == 0x123456789abcdef1ULL >> 37, "shift to the right", 0);
	expect((small >> 1) == -4, "shift of a negative number", small >> 1);
	expect(sum == 0x1abcdef1, "a sum that overflows", sum);
	expect((long long)big - (long long)(big + 1) == -1, "a difference", 0);
	expect(__builtin_bswap32(half) == 0xf1debc9a, "bytes turned round", 0);
	expect((u64)half * half == 0x9abcdef1ULL * 0x9abcdef1ULL, "32 by 32 bits", 0);
}

static void unaligned(void)
{
	static struct __attribute__((packed)) {
		u8 byte;
		u64 value;
		u16 after;
	} odd;

	for (int i = 0; i < 4; i++) {
		odd.value = big + i;
		odd.after = 0x1234;
		expect(odd.value == big + i && odd.after == 0x1234, "a value at an odd address", i);
	}
}

#ifndef NO_FLOAT
static volatile double a = 3.0, b = 7.0, zero = 0.0, huge = 1e300, tiny = 1e-300;
static volatile float f = 1.0f, g = 3.0f;
static volatile int whole = 1000001;

static u64 bits(double value)
{
	u64 all;

	memcpy(&all, &value, 8);
	return all;
}

static void floats(void)
{
	/* Stored before they are compared: x87 and 68881 compute with more digits, and exponents. */
	volatile double third = a / b, product = huge * huge, none, sum = 0.1;
	volatile double least = tiny * tiny, little = 1.0 / huge;
	volatile float single = f / g;
	u32 raw;

	expect(bits(third) == 0x3fdb6db6db6db6dbULL, "3 / 7", (long)bits(third));
	memcpy(&raw, (void *)&single, 4);
	expect(raw == 0x3eaaaaab, "1 / 3 in single precision", raw);
	expect(bits(product) == 0x7ff0000000000000ULL, "not infinite", (long)bits(product));
	none = zero / zero;
	expect(none != none, "0 / 0 is a number", 0);
	expect(!(none < 1.0) && !(none > 1.0) && !(none == 1.0), "comparing no number", 0);
	expect((int)(double)whole == 1000001 && (int)-2.75 == -2, "conversions", 0);
	for (int i = 0; i < 9; i++)
		sum = sum + 0.1;
	expect(bits(sum) == 0x3fefffffffffffffULL || bits(sum) == 0x3ff0000000000000ULL,
	       "ten tenths", (long)bits(sum));
	expect(least == 0.0 && little > 0.0, "small numbers", 0);
}

/* Numbers so small that their first digits are zeros; some emulators flushed them. */
static void denormals(void)
{
	volatile double least = 2.2250738585072014e-308, half_of_it = least / 2.0;

	expect(half_of_it > 0.0 && half_of_it * 2.0 == least, "lost", (long)(bits(half_of_it) >> 32));
	expect(bits(half_of_it) == 0x0008000000000000ULL, "its bits", (long)bits(half_of_it));
}
#else
static void floats(void)
{
	unsupported("built without floating point", 0);
}
#define denormals floats
#endif

static void hardware_words(void)
{
	word seen = auxv(16);

#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__arm__) || \
	defined(__powerpc__) || defined(__s390x__) || defined(__riscv) || defined(__loongarch__)
	expect(seen != 0, "AT_HWCAP says that the processor has nothing", 0);
#else
	(void)seen;
#endif
}

/* level.c, built once for each level of the processor: see scripts/build-workout. */
#define LEVEL(name) int level_##name(void);
LEVELS
#undef LEVEL
#define LEVEL(name) \
	static void run_##name(void) \
	{ \
		int wrong = level_##name(); \
		expect(wrong == 0, "wrong results", wrong); \
	}
LEVELS
#undef LEVEL

const struct exercise processor_exercises[] = {
	{"integers", integers},
	{"unaligned", unaligned},
	{"floats", floats},
	{"denormals", denormals},
	{"hwcap", hardware_words},
#define LEVEL(name) {"level-" #name, run_##name},
LEVELS
#undef LEVEL
	{0},
};
