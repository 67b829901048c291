// SPDX-License-Identifier: GPL-2.0-or-later
/* What the test reads: numbers while all is well, and a text when it is not. */
#include "chaos.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "common.h"

void count(struct task *task, enum counter counter, int64_t n)
{
	atomic_fetch_add(&task->counters[counter], (uint64_t)n);
}

uint64_t counted(const struct task *task, enum counter counter)
{
	return atomic_load(&task->counters[counter]);
}

void note(struct task *task, struct conn *conn, const char *what, int64_t value)
{
	conn->notes[conn->n_notes++ % NOTES] = (struct note){task->now, what, value};
}

static size_t add(char *text, size_t room, size_t len, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + len, room - len, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= room - len ? room - 1 : len + (size_t)n;
}

static void name_ends(int fd, char local[80], char peer[80])
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	getsockname(fd, (struct sockaddr *)&address, &len);
	format_address(&address, local, 80);
	address.ss_family = 0;
	len = sizeof(address);
	getpeername(fd, (struct sockaddr *)&address, &len);
	format_address(&address, peer, 80);
}

static size_t describe(
	const struct task *task, const struct conn *conn, char *text, size_t room, size_t len)
{
	const struct plan *plan = &conn->plan;
	char local[80], peer[80];

	name_ends(conn->fd, local, peer);
	len = add(text, room, len,
		"  connection %llx %s %s -> %s fd %d state %d, in %llu of %llu, out %llu of %llu\n",
		(unsigned long long)conn->id, conn->side == CONNECTOR ? "connector" : "acceptor",
		local, peer, conn->fd, tcp_state(conn->fd), (unsigned long long)conn->in,
		(unsigned long long)plan->total[!conn->side], (unsigned long long)conn->out,
		(unsigned long long)plan->total[conn->side]);
	len = add(text, room, len,
		"  plan: reset by %u at %llu, early %d%d, shut-read %d%d, urgent %d; known %d "
		"confirmed %d reads %d writes %d eof %d fin %d broken %d closing %d style %d "
		"can %d%d\n",
		plan->reset_by, (unsigned long long)plan->reset_at, plan->early_close[0],
		plan->early_close[1], plan->shut_read[0], plan->shut_read[1], plan->urgent,
		conn->known, conn->confirmed, conn->reads, conn->writes, conn->eof, conn->fin,
		conn->broken, conn->closing, conn->style, conn->can_read, conn->can_write);
	for (unsigned int i = conn->n_notes > NOTES ? conn->n_notes - NOTES : 0; i < conn->n_notes;
		i++) {
		const struct note *at = &conn->notes[i % NOTES];

		len = add(text, room, len, "  %10.3f ms ago: %s %lld\n",
			(double)(task->now - at->at) / 1000, at->what, (long long)at->value);
	}
	return len;
}

void fail(struct task *task, const struct conn *conn, const char *format, ...)
{
	char text[8192];
	size_t len = add(text, sizeof(text), 0,
		"seed %llu, %s, task %u (pid %d): ", (unsigned long long)task->seed,
		task->container ? "container" : "peer", task->number, (int)getpid());
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + len, sizeof(text) - len, format, args);
	va_end(args);
	if (n > 0)
		len += (size_t)n;
	len = add(text, sizeof(text), len, "\n");
	if (conn)
		len = describe(task, conn, text, sizeof(text), len);
	if (write(task->log, text, len) < 0)
		count(task, N_FAILED, 1);
	count(task, N_FAILED, 1);
	for (;;)
		pause();
}
