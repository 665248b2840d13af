/*
 * How fast: each exercise does a fixed amount of work and tells how many microseconds it took.
 * The same program, built for the host, gives the number to compare with.
 */
#include "base.h"

static volatile word sink;

/* The best of three, in microseconds: what disturbs makes it slower, never faster. */
static void measure(void (*work)(void))
{
	u64 best = ~0ULL;

	for (int i = 0; i < 3; i++) {
		u64 before = now(), took;

		work();
		took = now() - before;
		if (took < best)
			best = took;
	}
	/* 1 / 1000 = 1 / 1024 * 131 / 128, nearly; dividing takes a library on some processors. */
	result("ok", "microseconds", (long)(((best >> 10) * 131) >> 7));
}

static void compute(void)
{
	word hash = 5381;

	for (int i = 0; i < 4000000; i++)
		hash = (hash << 5) + hash + (i ^ (hash >> 7));
	sink = hash;
}

static void integer(void)
{
	measure(compute);
}

#ifndef NO_FLOAT
static volatile double result_of_floats;

static void compute_floats(void)
{
	double x = 0.5, sum = 0;

	for (int i = 0; i < 1000000; i++) {
		x = x * 3.7 * (1.0 - x);
		sum += x;
	}
	result_of_floats = sum;
}

static void floating(void)
{
	measure(compute_floats);
}
#else
static void floating(void)
{
	unsupported("built without floating point", 0);
}
#endif

static void call_much(void)
{
	for (int i = 0; i < 20000; i++)
		getpid();
}

static void calls(void)
{
	measure(call_much);
}

static void start_much(void)
{
	for (int i = 0; i < 10; i++)
		ran(myself, "workout", ":exit", "0");
}

static void starts(void)
{
	measure(start_much);
}

static u8 *block;

static void move_memory(void)
{
	word *from = (word *)block, *to = (word *)(block + MIB), count = MIB / sizeof(word);

	for (int round = 0; round < 64; round++)
		for (word i = 0; i < count; i++)
			to[i] = from[i] + round;
}

static void memory(void)
{
	block = map(2 * MIB, PROT_READ | PROT_WRITE, 0);
	measure(move_memory);
}

const struct exercise speed_exercises[] = {
	{"speed-integers", integer},
	{"speed-floats", floating},
	{"speed-calls", calls},
	{"speed-starts", starts},
	{"speed-memory", memory},
	{0},
};
