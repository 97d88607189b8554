// SPDX-License-Identifier: Apache-2.0
// Checks and maps what front-ends share.
#include "core/shared_map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/sys.h"

// The file must hold the whole part: an access past its end would be a SIGBUS.
static int check_file(const char *what, u64 len, u64 offset, int fd, u64 *block_len, bool *blank)
{
	struct stat file;
	u64 end;
	int flags = sys_int(fcntl(fd, F_GETFL));

	if (flags < 0 || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) ||
	    (flags & O_ACCMODE) != O_RDWR)
		return log_errno(-EINVAL,
				 "%s is not a file that can be read and written; "
				 "use memory-backend-memfd,share=on or the like",
				 what);
	if (len == 0 || add_overflows(offset, len, &end) || end > (u64)file.st_size)
		return log_errno(-EINVAL,
				 "%s of %#" PRIx64 " bytes at offset %#" PRIx64
				 " ends after its file of %#" PRIx64 " bytes",
				 what, len, offset, (u64)file.st_size);
	*blank = file.st_blocks == 0;
	*block_len = (u64)sysconf(_SC_PAGESIZE);
	if (is_power_of_two((u64)file.st_blksize) && (u64)file.st_blksize > *block_len &&
	    file.st_blksize <= SHARED_MAP_MAX_BLOCK)
		*block_len = (u64)file.st_blksize; // huge pages can only be mapped whole
	return 0;
}

int shared_map_open(struct shared_map *map, const char *what, u64 len, u64 offset, int fd)
{
	u64 block_len = 0, before, map_len;
	bool blank = false;
	int error = check_file(what, len, offset, fd, &block_len, &blank);
	void *mapped;

	if (error)
		return error;
	before = offset & (block_len - 1);
	map_len = (before + len + block_len - 1) & ~(block_len - 1);
	mapped = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)(offset - before));
	if (mapped == MAP_FAILED)
		return log_errno(-errno, "cannot map %s of %#" PRIx64 " bytes", what, len);
	*map = (struct shared_map){.bytes = (u8 *)mapped + before,
				   .len = len,
				   .map = mapped,
				   .map_len = map_len,
				   .block_len = block_len,
				   .blank = blank};
	return 0;
}

void shared_map_close(struct shared_map *map)
{
	if (map->bytes)
		munmap(map->map, map->map_len);
	*map = (struct shared_map){0};
}
