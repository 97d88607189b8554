// SPDX-License-Identifier: Apache-2.0
// Parses --port: keys with and without values between commas, and which of them go with which type.
#include "applets/console/port_options.h"

#include <limits.h>
#include <string.h>

#include "applets/console/log_file.h"
#include "applets/options.h"
#include "core/log.h"

enum { LOG_MAX_LEAST = 4096 };

static const char *const type_names[] = {
	[PORT_STDIO] = "stdio", [PORT_PTY] = "pty", [PORT_UNIX] = "unix", [PORT_TCP] = "tcp",
	[PORT_FILE] = "file",	[PORT_FD] = "fd",   [PORT_FIFO] = "fifo", [PORT_NULL] = "null",
};

// Which keys a type takes beside those that all take.
enum { PATH_NONE, PATH_OPTIONAL, PATH_NEEDED, PATH_OR_INPUT };
static const struct {
	unsigned path;
	bool input, listens;
} type_keys[] = {
	[PORT_STDIO] = {.path = PATH_NONE},
	[PORT_PTY] = {.path = PATH_OPTIONAL},
	[PORT_UNIX] = {.path = PATH_NEEDED, .listens = true},
	[PORT_TCP] = {.path = PATH_NEEDED, .listens = true},
	[PORT_FILE] = {.path = PATH_NEEDED, .input = true},
	[PORT_FD] = {.path = PATH_OR_INPUT, .input = true},
	[PORT_FIFO] = {.path = PATH_OR_INPUT, .input = true},
	[PORT_NULL] = {.path = PATH_NONE},
};

const char *port_type_name(enum port_type type)
{
	return type_names[type];
}

static int set_type(struct port_options *options, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
		if (strcmp(name, type_names[i]) == 0) {
			options->type = (enum port_type)i;
			return 0;
		}
	}
	return log_errno(-EINVAL,
			 "--port type=%s: must be one of stdio, pty, unix, tcp, file, fd, fifo and "
			 "null",
			 name);
}

static int set_log_max(struct port_options *options, const char *value)
{
	if (options_parse_size(value, &options->log_max) || options->log_max < LOG_MAX_LEAST)
		return log_errno(-EINVAL,
				 "--port log-max=%s: needs a size of at least %d, such as 10M",
				 value, LOG_MAX_LEAST);
	return 0;
}

static int set_log_keep(struct port_options *options, const char *value)
{
	u64 keep;

	if (options_parse_size(value, &keep) || keep < 1 || keep > LOG_FILE_MOST_KEPT)
		return log_errno(-EINVAL, "--port log-keep=%s: needs a number from 1 to %d", value,
				 LOG_FILE_MOST_KEPT);
	options->log_keep = (unsigned)keep;
	return 0;
}

static int set_text(struct port_options *options, const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **value;
	} texts[] = {{"path", &options->path},
		     {"input", &options->input},
		     {"name", &options->name},
		     {"log", &options->log}};

	if (strcmp(key, "type") == 0)
		return set_type(options, value);
	if (strcmp(key, "log-max") == 0)
		return set_log_max(options, value);
	if (strcmp(key, "log-keep") == 0)
		return set_log_keep(options, value);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (strcmp(key, texts[i].key) != 0)
			continue;
		*texts[i].value = value;
		return *value ? 0 : log_errno(-EINVAL, "--port: %s= is empty", key);
	}
	return log_errno(-EINVAL, "--port: there is no key %s=", key);
}

static int set_flag(struct port_options *options, const char *key, bool *listens)
{
	const struct {
		const char *key;
		bool *value;
	} flags[] = {{"connect", &options->connect},	 {"listen", listens},
		     {"console", &options->console},	 {"filter", &options->filter},
		     {"timestamp", &options->timestamp}, {"drop", &options->drop}};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(key, flags[i].key) != 0)
			continue;
		*flags[i].value = true;
		return 0;
	}
	return log_errno(-EINVAL, "--port: there is no key '%s' without a value", key);
}

static int check_path(const struct port_options *options)
{
	const char *type = type_names[options->type];
	unsigned path = type_keys[options->type].path;

	if (path == PATH_NONE && options->path)
		return log_errno(-EINVAL, "--port type=%s takes no path=", type);
	if (path == PATH_NEEDED && !options->path)
		return log_errno(-EINVAL, "--port type=%s needs path=", type);
	if (path == PATH_OR_INPUT && !options->path && !options->input)
		return log_errno(-EINVAL, "--port type=%s needs path= for output or input=", type);
	return 0;
}

static int check(const struct port_options *options, bool listens)
{
	const char *type = type_names[options->type];

	if (options->input && !type_keys[options->type].input)
		return log_errno(-EINVAL, "--port type=%s takes no input=", type);
	if ((options->connect || listens) && !type_keys[options->type].listens)
		return log_errno(-EINVAL, "--port type=%s neither listens nor connects", type);
	if (options->connect && listens)
		return log_errno(-EINVAL, "--port: either listen or connect, please");
	if (options->timestamp && !options->log && options->type != PORT_FILE)
		return log_errno(-EINVAL, "--port: timestamp is for log= and for type=file");
	if (options->log_max && !options->log && options->type != PORT_FILE)
		return log_errno(-EINVAL, "--port: log-max= is for log= and for type=file");
	if (options->log_keep && !options->log_max)
		return log_errno(-EINVAL, "--port: log-keep= needs log-max=");
	if (options->name && strlen(options->name) > PORT_NAME_MAX)
		return log_errno(-EINVAL, "--port name=%s: longer than %d bytes", options->name,
				 PORT_NAME_MAX);
	return check_path(options);
}

int port_options_set(struct port_options *options, enum port_type type, const char *path)
{
	*options = (struct port_options){.type = type};
	if (!path)
		return 0;
	options->text = strdup(path);
	options->path = options->text;
	return options->text ? 0 : log_errno(-ENOMEM, "cannot make a port");
}

static int parse_keys(struct port_options *options)
{
	bool listens = false, has_type = false;
	char *rest = options->text;
	int error = 0;

	while (!error && rest) {
		const char *key = strsep(&rest, ",");
		char *value = strchr(key, '=');

		if (value)
			*value++ = '\0';
		has_type = has_type || strcmp(key, "type") == 0;
		error = value ? set_text(options, key, value) : set_flag(options, key, &listens);
	}
	if (!error && !has_type)
		return log_errno(-EINVAL, "--port needs type=, such as type=unix,path=PATH");
	return error ? error : check(options, listens);
}

int port_options_parse(struct port_options *options, const char *text)
{
	int error;

	*options = (struct port_options){.text = strdup(text)};
	if (!options->text)
		return log_errno(-ENOMEM, "cannot make a port");
	error = parse_keys(options);
	if (error)
		port_options_fini(options);
	return error;
}

// The number behind `key` in `word`, -1 if it is none.
static int number_of(const char *word, const char *key)
{
	size_t len = strlen(key);
	char *end;
	unsigned long number;

	if (strncmp(word, key, len) != 0 || word[len] < '0' || word[len] > '9')
		return -1;
	number = strtoul(word + len, &end, 10);
	return number <= INT_MAX && (*end == ',' || !*end) ? (int)number : -1;
}

unsigned port_options_fds(const char *text, int fds[2])
{
	int path = -1, input = -1;
	bool is_fd = false;
	unsigned count = 0;

	for (const char *word = text; word; word = strchr(word, ',')) {
		word += *word == ',';
		is_fd = is_fd || strncmp(word, "type=fd", 7) == 0;
		path = path >= 0 ? path : number_of(word, "path=");
		input = input >= 0 ? input : number_of(word, "input=");
	}
	if (is_fd && path >= 0)
		fds[count++] = path;
	if (is_fd && input >= 0)
		fds[count++] = input;
	return count;
}

void port_options_fini(struct port_options *options)
{
	free(options->text);
	*options = (struct port_options){.text = NULL};
}
