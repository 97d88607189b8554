// SPDX-License-Identifier: Apache-2.0
// Little-endian integers as distinct types, so that forgetting a conversion does not compile.
// VIRTIO 1.3, 1.4 "Structure Specifications": le16, le32 and le64.
#pragma once

#include "core/base.h"

typedef struct {
	u16 raw;
} le16;
typedef struct {
	u32 raw;
} le32;
typedef struct {
	u64 raw;
} le64;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define le_swap16(value) (value)
#define le_swap32(value) (value)
#define le_swap64(value) (value)
#else
#define le_swap16(value) __builtin_bswap16(value)
#define le_swap32(value) __builtin_bswap32(value)
#define le_swap64(value) __builtin_bswap64(value)
#endif

static inline u16 le16_get(le16 value)
{
	return (u16)le_swap16(value.raw);
}

static inline u32 le32_get(le32 value)
{
	return le_swap32(value.raw);
}

static inline u64 le64_get(le64 value)
{
	return le_swap64(value.raw);
}

static inline le16 le16_of(u16 value)
{
	return (le16){(u16)le_swap16(value)};
}

static inline le32 le32_of(u32 value)
{
	return (le32){le_swap32(value)};
}

static inline le64 le64_of(u64 value)
{
	return (le64){le_swap64(value)};
}

// One load or store of memory shared with the guest: never torn, repeated or elided by the compiler.
static inline u16 le16_load(const le16 *shared)
{
	return (u16)le_swap16(__atomic_load_n(&shared->raw, __ATOMIC_RELAXED));
}

static inline u16 le16_load_acquire(const le16 *shared)
{
	return (u16)le_swap16(__atomic_load_n(&shared->raw, __ATOMIC_ACQUIRE));
}

static inline void le16_store(le16 *shared, u16 value)
{
	__atomic_store_n(&shared->raw, (u16)le_swap16(value), __ATOMIC_RELAXED);
}

static inline void le16_store_release(le16 *shared, u16 value)
{
	__atomic_store_n(&shared->raw, (u16)le_swap16(value), __ATOMIC_RELEASE);
}
