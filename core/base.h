// SPDX-License-Identifier: Apache-2.0
// The words every file uses: fixed-width types, checked arithmetic, cleanup and attribute macros.
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;

#define must_check __attribute__((warn_unused_result))
#define printf_like(text, first) __attribute__((format(printf, text, first)))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define BIT64(n) (UINT64_C(1) << (n))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

// The struct of the given type whose member `member` is at `pointer`.
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline unsigned min_uint(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

// True if a + b does not fit; otherwise *sum is a + b.
static inline must_check bool add_overflows(u64 a, u64 b, u64 *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

// True if a * b does not fit; otherwise *product is a * b.
static inline must_check bool mul_overflows(u64 a, u64 b, u64 *product)
{
	return __builtin_mul_overflow(a, b, product);
}

static inline bool is_power_of_two(u64 value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static inline void cleanup_fd_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

// An fd that is closed at the end of its scope, unless taken out of it before.
#define cleanup_fd __attribute__((cleanup(cleanup_fd_close)))

// Moves an fd out of its holder: the holder is left with -1 and the caller owns the fd.
static inline int take_fd(int *holder)
{
	int fd = *holder;

	*holder = -1;
	return fd;
}

// Closes the fd held, if any, and leaves -1.
static inline void close_fd(int *holder)
{
	if (*holder >= 0)
		close(take_fd(holder));
}
