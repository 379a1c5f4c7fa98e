/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kmod/sort.c needs besides kshim.h. Included before it. */
#pragma once

#include "tests/unit/kshim/kshim.h"

typedef int32_t s32;
typedef unsigned int gfp_t;

#define S32_MAX	   INT32_MAX
#define S32_MIN	   INT32_MIN
#define BIT_ULL(n) (1ULL << (n))
#define GFP_KERNEL 0

#define LONG_BITS		(8 * sizeof(unsigned long))
#define DECLARE_BITMAP(name, n) unsigned long name[((n) + LONG_BITS - 1) / LONG_BITS]
#define ilog2(n)		(31 - __builtin_clz(n))
#define roundup_pow_of_two(n)	(1u << (32 - __builtin_clz((n)-1)))
#define round_up(x, to)		(((x) + (to)-1) & ~((to)-1))

static inline bool test_bit(unsigned int n, const unsigned long *map)
{
	return map[n / LONG_BITS] >> n % LONG_BITS & 1;
}

static inline void set_bit(unsigned int n, unsigned long *map)
{
	map[n / LONG_BITS] |= 1ul << n % LONG_BITS;
}

static inline bool bitmap_intersects(const unsigned long *a, const unsigned long *b, unsigned int n)
{
	for (unsigned int i = 0; i < n / LONG_BITS; i++)
		if (a[i] & b[i])
			return true;
	return false;
}

static inline u64 get_unaligned_le64(const void *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline u32 get_unaligned_le32(const void *p)
{
	u32 v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline void put_unaligned_le32(u32 v, void *p)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_unaligned_le16(u16 v, void *p)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline u16 get_unaligned_le16(const void *p)
{
	u16 v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}
