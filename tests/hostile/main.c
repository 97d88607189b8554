// SPDX-License-Identifier: Apache-2.0
//
// Gives a running back-end one malformed, hostile or merely unusual input of the catalogue in
// docs/conformance.md, and checks what follows from it: that the consequence is the one that the
// catalogue names, and that the back-end then serves the next front-end with nothing left behind.

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/hostile/hostile.h"

static const char usage[] =
	"usage: hostile [--program PATH] [--engine sync|uring|direct] [--folder PATH] ID\n"
	"       hostile --list [LETTER]\n"
	"  --program  what to attack [build/vhost-multi]\n"
	"  --engine   direct is uring that bypasses the page cache [sync]\n"
	"  --folder   for the disk image; its file system must know O_DIRECT for direct [build]\n";

static const struct input *const inputs[] = {
	socket_inputs, fd_inputs,	state_inputs,	 notify_inputs,	  memory_inputs,
	setup_inputs,  chain_inputs,	indirect_inputs, ring_inputs,	  blk_inputs,
	disk_inputs,   rng_inputs,	packed_inputs,	 inflight_inputs, console_inputs,
	device_inputs, postcopy_inputs,
};

static struct target target;

static void clean_up(void)
{
	target_remove(&target);
}

static const struct input *find(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		for (const struct input *input = inputs[i]; input->id; input++) {
			if (strcmp(input->id, id) == 0)
				return input;
		}
	}
	return NULL;
}

static int list(const char *letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		for (const struct input *input = inputs[i]; input->id; input++) {
			if (!letter || *letter == *input->id)
				printf("%s: %s\n", input->id, input->description);
		}
	}
	return 0;
}

/* What the back-end had to say, for who looks into a failure. */
static void print_log(void)
{
	FILE *file = target.log[0] ? fopen(target.log, "re") : NULL;
	int lines = 0;

	for (int c = file ? getc(file) : EOF; c != EOF && lines < 30; c = getc(file)) {
		fputc(c, stderr);
		lines += c == '\n';
	}
	if (file)
		fclose(file);
}

static void print_log_and_clean_up(void)
{
	if (target.pid > 0)
		print_log();
	clean_up();
}

static int run(const struct input *input, const char *folder)
{
	atexit(print_log_and_clean_up);
	target_start(&target, input, folder);
	input->run(&target);
	target_finish(&target);
	printf("%s ok (%s)\n", input->id, target.engine);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"program", required_argument, NULL, 'p'},
						{"engine", required_argument, NULL, 'e'},
						{"folder", required_argument, NULL, 'f'},
						{"list", no_argument, NULL, 'l'},
						{0}};
	const struct input *input;
	const char *folder = "build";
	int option;

	target.program = "build/vhost-multi";
	target.engine = "sync";
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'l')
			return list(argv[optind]);
		if (option == 'p')
			target.program = optarg;
		else if (option == 'e')
			target.engine = optarg;
		else if (option == 'f')
			folder = optarg;
	}
	input = argc - optind == 1 ? find(argv[optind]) : NULL;
	if (!input) {
		fputs(usage, stderr);
		return 2;
	}
	return run(input, folder);
}
