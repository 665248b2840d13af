/*
 * One level of a processor: instructions that a distribution's programs are built with.
 *
 * Built once for each level, with the compiler's option for it and LEVEL_NAME; nothing else of
 * the workout is, so that only this exercise dies of an instruction that is missing.
 */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define FUNCTION JOIN(level_, LEVEL_NAME)
#define LANES 8

typedef unsigned int u32;
typedef unsigned char u8;
typedef u32 vector __attribute__((vector_size(4 * LANES)));
typedef u8 bytes __attribute__((vector_size(16)));
typedef unsigned long long u64;

static volatile u32 seed = 12345;
static volatile u64 wide = 0x0123456789abcdefULL;

/* An instruction that the compiler may not choose by itself. */
static inline void certainly(void)
{
#if defined(CERTAINLY)
	asm volatile(CERTAINLY : : : "memory" CERTAINLY_CHANGES);
#endif
}

int FUNCTION(void);
__attribute__((noinline)) int FUNCTION(void)
{
	u32 numbers[LANES], state = seed;
	vector some, more;
	bytes small, other;
	int wrong = 0;

	certainly();
	for (int i = 0; i < LANES; i++) {
		state = state * 1103515245u + 12345u;
		numbers[i] = state;
		some[i] = state;
		more[i] = state >> 3;
	}
	for (int i = 0; i < 16; i++) {
		small[i] = numbers[i & 7] >> i;
		other[i] = i * 17;
	}
	vector sum = some + more, product = some * more, mixed = (some ^ more) & ~(some << 3);
	vector larger = (vector)(some > more), shifted = some >> 5;
	bytes total = small + other, least = (bytes)(small < other);

	for (int i = 0; i < LANES; i++) {
		u32 x = numbers[i], y = x >> 3;

		wrong += sum[i] != x + y;
		wrong += product[i] != x * y;
		wrong += mixed[i] != ((x ^ y) & ~(x << 3));
		wrong += larger[i] != (x > y ? 0xffffffffu : 0);
		wrong += shifted[i] != x >> 5;
	}
	for (int i = 0; i < 16; i++) {
		u8 x = numbers[i & 7] >> i, y = i * 17;

		wrong += total[i] != (u8)(x + y);
		wrong += least[i] != (x < y ? 0xff : 0);
	}
	/* Bits counted, found and turned round: instructions of their own on newer levels. */
	u64 value = wide;
	int count = 0;

	for (u64 rest = value; rest; rest &= rest - 1)
		count++;
#ifdef COUNTS_BITS
	wrong += __builtin_popcountll(value) != count;
	wrong += __builtin_ctzll(value << 9) != 9;
	wrong += __builtin_clzll(value) != 7;
#endif
	wrong += __builtin_bswap64(value) != 0xefcdab8967452301ULL;
	wrong += count != 32;
	return wrong;
}
