// SPDX-License-Identifier: Apache-2.0
//
// A VMM for shell tests: connects to a vhost-user socket, of a disk unless said otherwise, does one
// thing and prints key=value lines. Exit status: 0 done, 1 the device or the back-end failed, 2 wrong usage.

#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/frontend/blk.h"
#include "tests/frontend/rng.h"
#include "tests/frontend/state.h"
#include "tests/frontend/vm.h"

static const char usage[] =
	"usage: vu-client [--profile NAME] [--queues N] [--queue-size N] [--regions N]\n"
	"                 [--queue N] [--timeout MS] [--lenient] [--accept] [--with BIT] [--without BIT]\n"
	"                 [--packed] [--in-order] [--log] COMMAND SOCKET [ARGUMENT...]\n"
	"  features SOCKET                 offered and acked features, queues, memory slots\n"
	"  config SOCKET                   the block device's configuration space\n"
	"  id SOCKET                       the serial, by GET_ID\n"
	"  read SOCKET SECTOR COUNT        sectors to stdout\n"
	"  write SOCKET SECTOR             stdin to the disk, padded to a sector\n"
	"  flush SOCKET\n"
	"  discard SOCKET SECTOR COUNT\n"
	"  zeroes SOCKET SECTOR COUNT [unmap]\n"
	"  idle SOCKET SECONDS             connect, set everything up, hold it\n"
	"  entropy SOCKET COUNT [LEN]      of an rng: COUNT bytes to stdout, LEN (64) a request\n"
	"  save SOCKET [WRITEBACK]         the state of any device to stdout, after its rings have stopped; a disk's\n"
	"                                  write cache is set before\n"
	"  load SOCKET                     the state from stdin; the rings go on\n"
	"  steps SOCKET                    start, then for each line of stdin do this, and print a line:\n"
	"    stop, resume                  the rings: ok\n"
	"    write SECTOR TEXT             4 KiB: ok\n"
	"    read SECTOR                   the text there\n"
	"    leave                         end, as at the end of stdin\n"
	"    changed                       wait for a changed configuration: the capacity\n"
	"  profile SOCKET                  start, write and read, stop, start again, read\n"
	"--accept: the back-end calls us at SOCKET; --with, --without: a feature to accept beside the profile's, or not\n"
	"--packed, --in-order, --log: these features must be offered, and are accepted\n"
	"profiles:";

struct client {
	struct vm_options options;
	const char *path;
	unsigned queue;
	uint64_t wanted; /* features without which nothing is done */
	char **arguments;
	int argument_count;
	struct vm vm;
	struct vm_disk disk;
};

static int print_usage(void)
{
	fputs(usage, stderr);
	for (unsigned i = 0; vm_profile_at(i); i++)
		fprintf(stderr, " %s", vm_profile_at(i)->name);
	fputc('\n', stderr);
	return 2;
}

static uint64_t argument(const struct client *client, int index)
{
	return index < client->argument_count ? strtoull(client->arguments[index], NULL, 0) : 0;
}

/* Says what failed; the exit status. */
static int report(const char *what, int result)
{
	if (result == 0)
		return 0;
	if (result < 0)
		fprintf(stderr, "vu-client: %s: %s\n", what, strerror(-result));
	else
		fprintf(stderr, "vu-client: %s: status %d\n", what, result);
	return 1;
}

static int start(struct client *client)
{
	int error = vm_start(&client->vm, client->path, &client->options);

	if (error)
		return report(vm_step_name(client->vm.step), error);
	if (client->wanted & ~client->vm.features)
		return report("a wanted feature is not offered", -EOPNOTSUPP);
	vm_disk_init(&client->disk, &client->vm, client->queue);
	return 0;
}

static int features(struct client *client)
{
	const struct vm *vm = &client->vm;

	printf("offered_features=%#" PRIx64 "\nacked_features=%#" PRIx64 "\n", vm->offered_features,
	       vm->features);
	printf("offered_protocol_features=%#" PRIx64 "\nacked_protocol_features=%#" PRIx64 "\n",
	       vm->offered_protocol_features, vm->protocol_features);
	printf("queue_num=%" PRIu64 "\nmax_mem_slots=%" PRIu64 "\n", vm->queue_num,
	       vm->max_mem_slots);
	return 0;
}

static int config(struct client *client)
{
	struct vm_blk_config blk;

	memcpy(&blk, client->vm.config, sizeof(blk));
	printf("capacity=%" PRIu64 "\nsize_max=%u\nseg_max=%u\nblk_size=%u\n",
	       le64toh(blk.capacity), le32toh(blk.size_max), le32toh(blk.seg_max),
	       le32toh(blk.blk_size));
	printf("physical_block_exp=%u\nalignment_offset=%u\nmin_io_size=%u\nopt_io_size=%u\n",
	       blk.physical_block_exp, blk.alignment_offset, le16toh(blk.min_io_size),
	       le32toh(blk.opt_io_size));
	printf("writeback=%u\nnum_queues=%u\n", blk.writeback, le16toh(blk.num_queues));
	printf("max_discard_sectors=%u\nmax_discard_seg=%u\ndiscard_sector_alignment=%u\n",
	       le32toh(blk.max_discard_sectors), le32toh(blk.max_discard_seg),
	       le32toh(blk.discard_sector_alignment));
	printf("max_write_zeroes_sectors=%u\nmax_write_zeroes_seg=%u\n"
	       "write_zeroes_may_unmap=%u\n",
	       le32toh(blk.max_write_zeroes_sectors), le32toh(blk.max_write_zeroes_seg),
	       blk.write_zeroes_may_unmap);
	return 0;
}

static int get_id(struct client *client)
{
	char id[VM_BLK_ID_BYTES + 1];
	int status = vm_disk_get_id(&client->disk, id);

	if (status == 0)
		printf("id=%s\n", id);
	return report("GET_ID", status);
}

static int read_sectors(struct client *client)
{
	static char buffer[VM_DISK_BUFFER];
	uint64_t sector = argument(client, 0), left = argument(client, 1) * VM_BLK_SECTOR;

	while (left) {
		uint32_t len = left < sizeof(buffer) ? (uint32_t)left : (uint32_t)sizeof(buffer);
		int status = vm_disk_read(&client->disk, sector, buffer, len);

		if (status)
			return report("IN", status);
		if (fwrite(buffer, 1, len, stdout) != len)
			return report("stdout", -errno);
		sector += len / VM_BLK_SECTOR;
		left -= len;
	}
	return 0;
}

static int write_sectors(struct client *client)
{
	static char buffer[VM_DISK_BUFFER];
	uint64_t sector = argument(client, 0);
	size_t got;

	while ((got = fread(buffer, 1, sizeof(buffer), stdin)) > 0) {
		uint32_t len = (uint32_t)(got + VM_BLK_SECTOR - 1) / VM_BLK_SECTOR * VM_BLK_SECTOR;
		int status;

		memset(buffer + got, 0, len - got);
		status = vm_disk_write(&client->disk, sector, buffer, len);
		if (status)
			return report("OUT", status);
		sector += len / VM_BLK_SECTOR;
	}
	return 0;
}

static int flush(struct client *client)
{
	return report("FLUSH", vm_disk_flush(&client->disk));
}

static int discard(struct client *client)
{
	return report("DISCARD", vm_disk_discard(&client->disk, argument(client, 0),
						 (uint32_t)argument(client, 1)));
}

static int write_zeroes(struct client *client)
{
	uint32_t flags = client->argument_count > 2 ? VM_BLK_UNMAP : 0;

	return report("WRITE_ZEROES", vm_disk_write_zeroes(&client->disk, argument(client, 0),
							   (uint32_t)argument(client, 1), flags));
}

static int idle(struct client *client)
{
	puts("ready=1");
	fflush(stdout);
	sleep((unsigned)argument(client, 0));
	return 0;
}

static int entropy(struct client *client)
{
	uint64_t left = argument(client, 0), most = argument(client, 1);
	struct vm_rng rng;

	vm_rng_init(&rng, &client->vm);
	most = most ? most : 64;
	while (left) {
		int got = vm_rng_ask(&rng, (uint32_t)(left < most ? left : most));

		if (got == 0)
			got = vm_rng_wait(&rng, client->vm.frontend.timeout_ms);
		if (got <= 0 || (uint64_t)got > left)
			return report("entropy", got < 0 ? got : -EPROTO);
		if (fwrite(rng.data, 1, (size_t)got, stdout) != (size_t)got)
			return report("stdout", -errno);
		left -= (uint64_t)got;
	}
	return 0;
}

static int save(struct client *client)
{
	static struct vm_state state;
	const uint8_t writeback = argument(client, 0) != 0;
	int error = 0;

	if (client->argument_count > 0)
		error = frontend_set_config(&client->vm.frontend,
					    offsetof(struct vm_blk_config, writeback), 1, 0,
					    &writeback) != 0
				? -EREMOTEIO
				: 0;
	if (!error)
		error = vm_stop(&client->vm);
	if (!error)
		error = vm_state_save(&client->vm, &state);
	return report("save", error ? error : vm_state_write(&state, STDOUT_FILENO));
}

/* What a disk says afterwards of its write cache. */
static int load(struct client *client)
{
	static struct vm_state state;
	uint8_t writeback;
	int error = vm_state_read(&state, STDIN_FILENO);

	if (!error)
		error = vm_stop(&client->vm);
	if (!error)
		error = vm_state_load(&client->vm, &state);
	if (!error)
		error = vm_resume(&client->vm);
	if (error)
		return report("load", error);
	if (client->vm.protocol_features & VU_BIT(VU_PROTOCOL_F_CONFIG) &&
	    frontend_get_config(&client->vm.frontend, offsetof(struct vm_blk_config, writeback), 1,
				0, &writeback) == 0)
		printf("writeback=%u\n", writeback);
	printf("loaded=%zu\n", state.len);
	return 0;
}

/* Writes a pattern through every queue, reads it back through every other. */
static int check_io(struct client *client, uint8_t seed)
{
	uint8_t written[4096], got[4096];
	unsigned queues = client->vm.queues;

	for (unsigned i = 0; i < queues; i++) {
		uint64_t sector = i * (sizeof(written) / VM_BLK_SECTOR);
		int status;

		memset(written, seed + (int)i, sizeof(written));
		client->disk.ring = &client->vm.rings[i];
		status = vm_disk_write(&client->disk, sector, written, sizeof(written));
		if (status)
			return report("OUT", status);
		client->disk.ring = &client->vm.rings[(i + 1) % queues];
		status = vm_disk_read(&client->disk, sector, got, sizeof(got));
		if (status)
			return report("IN", status);
		if (memcmp(written, got, sizeof(got)))
			return report("the bytes read differ from the bytes written", -EIO);
	}
	return 0;
}

/* Stops and starts again in the profile's way. */
static int restart(struct client *client)
{
	int error;

	if (client->vm.profile->stop == VM_STOP_DISCONNECT) {
		vm_close(&client->vm);
		return start(client);
	}
	error = vm_stop(&client->vm);
	if (!error)
		error = vm_resume(&client->vm);
	return report(vm_step_name(client->vm.step), error);
}

static int run_profile(struct client *client)
{
	int failed = check_io(client, 1);

	if (!failed)
		failed = restart(client);
	if (!failed)
		failed = check_io(client, 101);
	if (!failed)
		printf("profile=%s ok=1\n", client->vm.profile->name);
	return failed;
}

/* Prints what a step came to: the text if it went well. True if the client has lost the device. */
static bool tell(const char *text, int result)
{
	if (result == 0)
		puts(text);
	else if (result > 0)
		printf("status %d\n", result);
	else
		printf("error %s\n", strerror(-result));
	fflush(stdout);
	return result < 0;
}

enum { STEP_LEN = 4096 };

static int write_text(struct client *client, uint64_t sector, const char *text)
{
	char bytes[STEP_LEN] = {0};

	snprintf(bytes, sizeof(bytes), "%s", text);
	return vm_disk_write(&client->disk, sector, bytes, sizeof(bytes));
}

static int await_change(struct client *client, char *answer, size_t size)
{
	struct vm_blk_config blk;
	int error = vm_wait_config_change(&client->vm);

	memcpy(&blk, client->vm.config, sizeof(blk));
	snprintf(answer, size, "%" PRIu64, le64toh(blk.capacity));
	return error;
}

static int do_step(struct client *client, const char *word, uint64_t sector, const char *text)
{
	char answer[STEP_LEN + 1] = "ok";
	int result = -EINVAL;

	if (strcmp(word, "stop") == 0)
		result = vm_stop(&client->vm);
	else if (strcmp(word, "resume") == 0)
		result = vm_resume(&client->vm);
	else if (strcmp(word, "write") == 0)
		result = write_text(client, sector, text);
	else if (strcmp(word, "read") == 0)
		result = vm_disk_read(&client->disk, sector, answer, STEP_LEN);
	else if (strcmp(word, "changed") == 0)
		result = await_change(client, answer, sizeof(answer));
	return tell(answer, result);
}

static int steps(struct client *client)
{
	char line[256];
	int failed = tell("ready", 0);

	while (!failed && fgets(line, sizeof(line), stdin) && strcmp(line, "leave\n") != 0) {
		char word[16] = "", text[200] = "";
		uint64_t sector = 0;

		sscanf(line, "%15s %" SCNu64 " %199[^\n]", word, &sector, text);
		failed = do_step(client, word, sector, text);
	}
	return failed;
}

static const struct command {
	const char *name;
	int arguments;
	int (*run)(struct client *client);
} commands[] = {
	{"features", 0, features},   {"config", 0, config},	  {"id", 0, get_id},
	{"read", 2, read_sectors},   {"write", 1, write_sectors}, {"flush", 0, flush},
	{"discard", 2, discard},     {"zeroes", 2, write_zeroes}, {"idle", 1, idle},
	{"profile", 0, run_profile}, {"entropy", 1, entropy},	  {"save", 0, save},
	{"load", 0, load},	     {"steps", 0, steps},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* Reads the options into the client; false if one is wrong. */
static bool parse_options(struct client *client, int argc, char **argv)
{
	static const struct option options[] = {{"profile", required_argument, NULL, 'p'},
						{"queues", required_argument, NULL, 'n'},
						{"queue-size", required_argument, NULL, 's'},
						{"regions", required_argument, NULL, 'r'},
						{"queue", required_argument, NULL, 'q'},
						{"timeout", required_argument, NULL, 't'},
						{"lenient", no_argument, NULL, 'l'},
						{"accept", no_argument, NULL, 'a'},
						{"without", required_argument, NULL, 'w'},
						{"with", required_argument, NULL, 'W'},
						{"packed", no_argument, NULL, 'P'},
						{"in-order", no_argument, NULL, 'O'},
						{"log", no_argument, NULL, 'L'},
						{0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 0) : 0;

		if (option == 'p')
			client->options.profile = vm_profile_find(optarg);
		else if (option == 'n')
			client->options.queues = number;
		else if (option == 's')
			client->options.queue_size = (uint16_t)number;
		else if (option == 'r')
			client->options.regions = number;
		else if (option == 'q')
			client->queue = number;
		else if (option == 't')
			client->options.timeout_ms = (int)number;
		else if (option == 'l')
			client->options.lenient = true;
		else if (option == 'w')
			client->options.without_features |= VU_BIT(number & 63);
		else if (option == 'W')
			client->options.features |= VU_BIT(number & 63);
		else if (option == 'P')
			client->wanted |= VU_BIT(VM_F_RING_PACKED);
		else if (option == 'O')
			client->wanted |= VU_BIT(VM_F_IN_ORDER);
		else if (option == 'L')
			client->wanted |= VU_BIT(VM_F_LOG_ALL);
		else if (option == 'a')
			client->options.accept = true;
		if (option == '?' || (option == 'p' && !client->options.profile))
			return false;
	}
	client->options.features |= client->wanted;
	if (!client->options.queues)
		client->options.queues = client->queue + 1;
	return client->queue < client->options.queues;
}

int main(int argc, char **argv)
{
	static struct client client;
	const struct command *command;
	int failed;

	if (!parse_options(&client, argc, argv) || argc - optind < 2)
		return print_usage();
	command = find_command(argv[optind]);
	client.path = argv[optind + 1];
	client.arguments = argv + optind + 2;
	client.argument_count = argc - optind - 2;
	if (!command || client.argument_count < command->arguments)
		return print_usage();
	failed = start(&client);
	if (failed)
		return failed;
	failed = command->run(&client);
	vm_close(&client.vm);
	return fflush(stdout) ? report("stdout", -errno) : failed;
}
