// SPDX-License-Identifier: Apache-2.0
//
// Somebody at the host's side of a console, for shell tests: connects, or runs a command on a terminal of its own, and
// then does one step after the other. Exit status: 0 all steps were done, 1 one failed, 2 wrong usage.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: console-client TARGET STEP...\n"
	"targets: unix:PATH  listen:PATH  tcp:PORT  pty:PATH  run:COLSxROWS:COMMAND\n"
	"steps:\n"
	"  send:TEXT        with \\n, \\r, \\e, \\\\ and \\^ (Ctrl-]) in it\n"
	"  expect:TEXT      wait until this comes\n"
	"  without:TEXT     this has not come since the last expect, nor comes in 200 ms\n"
	"  put:FILE         send a file\n"
	"  get:LEN:FILE     receive so many bytes to a file\n"
	"  echo:LEN:TIMES   send random bytes and receive the same, so many times\n"
	"  half-close       nothing more will be sent\n"
	"  end              wait until the other side closes\n"
	"  sleep:MS\n"
	"  await:FILE       until it is there\n"
	"  resize:COLSxROWS of run:\n"
	"  mode:raw|cooked  wait until the terminal of run: is in it\n"
	"  kill:SIGNAL      the command of run:, by number\n"
	"  exit:STATUS      the command of run: ends so; 128 + signal if by one\n";

enum { TIMEOUT_MS = 60000, MOST = 1 << 22 };

static int fd;
static pid_t command;
static uint8_t seen[MOST]; /* received and not yet looked at */
static size_t seen_len;

static void fail(const char *what, const char *step)
{
	fprintf(stderr, "console-client: %s: %s; the last that came: %.*s\n", step, what,
		(int)(seen_len < 400 ? seen_len : 400),
		(const char *)seen + (seen_len < 400 ? 0 : seen_len - 400));
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- targets ---- */

/* For a while, in case that nobody is there yet. */
static int connect_to(const struct sockaddr *address, socklen_t len)
{
	int64_t end = now_ms() + TIMEOUT_MS;

	for (;;) {
		int connected = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(connected, address, len) == 0)
			return connected;
		close(connected);
		if (now_ms() > end)
			return -1;
		sleep_ms(20);
	}
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int connect_unix(const char *path)
{
	const struct sockaddr_un address = unix_address(path);

	return connect_to((const struct sockaddr *)&address, sizeof(address));
}

/* Lets itself be called, once. */
static int listen_unix(const char *path)
{
	const struct sockaddr_un address = unix_address(path);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), connected = -1;

	if (bind(listening, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(listening, 1) == 0)
		connected = accept(listening, NULL, NULL);
	close(listening);
	unlink(path);
	return connected;
}

static int connect_tcp(const char *port)
{
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons((uint16_t)atoi(port)),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return connect_to((const struct sockaddr *)&address, sizeof(address));
}

static struct winsize parse_size(const char *text)
{
	struct winsize size = {0};

	sscanf(text, "%hux%hu", &size.ws_col, &size.ws_row);
	return size;
}

/* Standard error stays ours, so that what the command says is not taken for the guest's output. */
static int run_on_terminal(const char *what)
{
	struct winsize size = parse_size(what);
	const char *text = strchr(what, ':');
	int master, error = dup(STDERR_FILENO);

	if (!text)
		return -1;
	command = forkpty(&master, NULL, NULL, &size);
	if (command == 0) {
		dup2(error, STDERR_FILENO);
		close(error);
		execl("/bin/sh", "sh", "-c", text + 1, (char *)NULL);
		_exit(127);
	}
	close(error);
	return command < 0 ? -1 : master;
}

static int open_target(const char *target)
{
	if (strncmp(target, "unix:", 5) == 0)
		return connect_unix(target + 5);
	if (strncmp(target, "listen:", 7) == 0)
		return listen_unix(target + 7);
	if (strncmp(target, "tcp:", 4) == 0)
		return connect_tcp(target + 4);
	if (strncmp(target, "pty:", 4) == 0)
		return open(target + 4, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (strncmp(target, "run:", 4) == 0)
		return run_on_terminal(target + 4);
	return -1;
}

/* ---- bytes ---- */

/* False if nothing came in time. */
static bool receive_more(int64_t end_ms, const char *step)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int64_t left = end_ms - now_ms();
	ssize_t got;

	if (poll(&poll_fd, 1, left < 0 ? 0 : (int)left) != 1)
		return false;
	if (seen_len == sizeof(seen))
		fail("too much came", step);
	got = read(fd, seen + seen_len, sizeof(seen) - seen_len);
	if (got <= 0)
		fail("the other side has closed", step);
	seen_len += (size_t)got;
	return true;
}

static void forget(size_t len)
{
	memmove(seen, seen + len, seen_len - len);
	seen_len -= len;
}

static void send_bytes(const uint8_t *bytes, size_t len, const char *step)
{
	while (len > 0) {
		ssize_t sent = write(fd, bytes, len);

		if (sent < 0)
			fail(strerror(errno), step);
		bytes += sent;
		len -= (size_t)sent;
	}
}

static size_t unescape(const char *text, uint8_t *bytes)
{
	static const char from[] = "nre\\^", to[] = "\n\r\033\\\035";
	size_t len = 0;

	for (; *text; text++) {
		const char *escaped = text[0] == '\\' && text[1] ? strchr(from, text[1]) : NULL;

		bytes[len++] = (uint8_t)(escaped ? to[escaped - from] : *text);
		text += escaped != NULL;
	}
	return len;
}

/* ---- steps ---- */

static void step_send(const char *text, const char *step)
{
	uint8_t bytes[4096];

	if (strlen(text) <= sizeof(bytes))
		send_bytes(bytes, unescape(text, bytes), step);
}

static void step_expect(const char *text, const char *step)
{
	int64_t end = now_ms() + TIMEOUT_MS;
	uint8_t wanted[4096];
	size_t len = unescape(text, wanted);
	const uint8_t *found;

	while (!(found = memmem(seen, seen_len, wanted, len)))
		if (!receive_more(end, step))
			fail("did not come", step);
	forget((size_t)(found - seen) + len);
}

static void step_without(const char *text, const char *step)
{
	int64_t end = now_ms() + 200;

	while (receive_more(end, step))
		;
	if (memmem(seen, seen_len, text, strlen(text)))
		fail("did come", step);
}

static void step_put(const char *path, const char *step)
{
	uint8_t bytes[65536];
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file)
		fail(strerror(errno), step);
	while ((len = fread(bytes, 1, sizeof(bytes), file)) > 0)
		send_bytes(bytes, len, step);
	fclose(file);
}

static void step_get(const char *argument, const char *step)
{
	int64_t end = now_ms() + INT64_C(3) * TIMEOUT_MS;
	size_t len = strtoul(argument, NULL, 10);
	FILE *file = fopen(strchr(argument, ':') + 1, "we");

	while (seen_len < len)
		if (!receive_more(end, step))
			fail("not all came", step);
	if (!file || fwrite(seen, 1, len, file) != len || fclose(file) != 0)
		fail(strerror(errno), step);
	forget(len);
}

/* Sends while it receives, since neither side keeps much. */
static void echo_once(const uint8_t *bytes, size_t len, const char *step)
{
	int64_t end = now_ms() + TIMEOUT_MS;
	size_t sent = 0;

	while (seen_len < len) {
		struct pollfd poll_fd = {.fd = fd,
					 .events = (short)(POLLIN | (sent < len ? POLLOUT : 0))};

		if (poll(&poll_fd, 1, (int)(end - now_ms())) != 1)
			fail("stalled", step);
		if (poll_fd.revents & POLLOUT) {
			ssize_t result =
				send(fd, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

			sent += result > 0 ? (size_t)result : 0;
		}
		if (poll_fd.revents & (POLLIN | POLLHUP))
			receive_more(end, step);
	}
	if (seen_len != len || memcmp(seen, bytes, len) != 0)
		fail("something else came back", step);
	seen_len = 0;
}

/* Other bytes each time, so that none of an earlier round is taken for one of this. */
static void step_echo(const char *argument, const char *step)
{
	static uint8_t bytes[MOST];
	size_t len = strtoul(argument, NULL, 10);
	long times = atol(strchr(argument, ':') + 1);

	while (times-- > 0) {
		for (size_t i = 0; i < len && i < sizeof(bytes); i += 256)
			if (getrandom(bytes + i, len - i < 256 ? len - i : 256, 0) < 0)
				fail(strerror(errno), step);
		echo_once(bytes, len < sizeof(bytes) ? len : sizeof(bytes), step);
	}
}

static void step_end(const char *step)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	uint8_t ignored[4096];

	while (poll(&poll_fd, 1, TIMEOUT_MS) == 1)
		if (read(fd, ignored, sizeof(ignored)) <= 0)
			return;
	fail("the other side is still there", step);
}

static void step_await(const char *path, const char *step)
{
	int64_t end = now_ms() + 5L * TIMEOUT_MS;

	while (access(path, F_OK) != 0) {
		if (now_ms() > end)
			fail("it is not", step);
		sleep_ms(10);
	}
}

static void step_mode(const char *mode, const char *step)
{
	int64_t end = now_ms() + TIMEOUT_MS;
	struct termios termios;

	do {
		if (tcgetattr(fd, &termios) != 0)
			fail(strerror(errno), step);
		if (!(termios.c_lflag & (ICANON | ECHO)) == (strcmp(mode, "raw") == 0))
			return;
		sleep_ms(10);
	} while (now_ms() < end);
	fail("it is not", step);
}

static void step_exit(const char *argument, const char *step)
{
	int64_t end = now_ms() + TIMEOUT_MS;
	int status, code;

	while (waitpid(command, &status, WNOHANG) == 0) {
		if (now_ms() > end)
			fail("it has not ended", step);
		sleep_ms(10);
	}
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (code != atoi(argument)) {
		fprintf(stderr, "status %d\n", code);
		fail("it ended otherwise", step);
	}
	command = 0;
}

static void step_resize(const char *argument, const char *step)
{
	struct winsize size = parse_size(argument);

	if (ioctl(fd, TIOCSWINSZ, &size) != 0)
		fail(strerror(errno), step);
}

static void step_kill(const char *argument, const char *step)
{
	if (kill(command, atoi(argument)) != 0)
		fail(strerror(errno), step);
}

static void step_half_close(const char *argument, const char *step)
{
	(void)argument;
	if (shutdown(fd, SHUT_WR) != 0)
		fail(strerror(errno), step);
}

static void step_wait_for_end(const char *argument, const char *step)
{
	(void)argument;
	step_end(step);
}

static void step_sleep(const char *argument, const char *step)
{
	(void)step;
	sleep_ms(atol(argument));
}

static const struct {
	const char *name;
	void (*run)(const char *argument, const char *step);
} steps[] = {
	{"send:", step_send},	    {"expect:", step_expect},
	{"without:", step_without}, {"put:", step_put},
	{"get:", step_get},	    {"echo:", step_echo},
	{"end", step_wait_for_end}, {"half-close", step_half_close},
	{"sleep:", step_sleep},	    {"mode:", step_mode},
	{"await:", step_await},	    {"exit:", step_exit},
	{"resize:", step_resize},   {"kill:", step_kill},
};

static bool run_step(const char *step)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		size_t len = strlen(steps[i].name);

		if (strncmp(step, steps[i].name, len) != 0)
			continue;
		steps[i].run(step + len, step);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	fd = open_target(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "console-client: cannot open %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		if (!run_step(argv[i])) {
			fprintf(stderr, "console-client: no step %s\n%s", argv[i], usage);
			return 2;
		}
	}
	return 0;
}
