// SPDX-License-Identifier: GPL-2.0-or-later
/* The commands which hf-peer reads from stdin, and its answers: one line of JSON for each. */
#include "peer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char *const phase_names[] = {
	[PHASE_CONNECT] = "connect",
	[PHASE_HELLO] = "hello",
	[PHASE_RUN] = "run",
	[PHASE_FINISH] = "finish",
	[PHASE_KEPT] = "kept",
	[PHASE_LOST] = "lost",
};

/* None of the strings can hold a quote or a backslash: see parse_target(), pconn_lost(). */
static void print_conn(struct pconn *c, uint64_t now)
{
	printf("{\"id\":%u,\"role\":\"%s\",\"family\":\"%s\",\"local\":\"%s\",\"remote\":\"%s\","
	       "\"server_pid\":%" PRIu32 ",\"phase\":\"%s\",\"state\":\"%s\",\"sent\":%" PRIu64
	       ",\"acked\":%" PRIu64 ",\"checked\":%" PRIu64 ",\"stall_ms\":%" PRIu64
	       ",\"kept\":%s,\"error\":\"%s\",\"asked\":%" PRIu64 ",\"answered\":%" PRIu64,
		c->id, role_names[c->spec->role], c->target->label, c->local, c->remote,
		c->server_pid, phase_names[c->phase], c->state, c->up, c->acked, c->down,
		pconn_stall_ms(c, now), c->phase == PHASE_LOST ? "false" : "true", c->error,
		c->asked, c->answered);
}

static void print_stats(struct peer *p)
{
	uint64_t now = now_ns();

	printf("{\"event\":\"stats\",\"connections\":[");
	for (unsigned int i = 0; i < p->n_conns; i++) {
		struct pconn *c = &p->conns[i];

		pconn_sample(c, now);
		printf("%s", i ? "," : "");
		print_conn(c, now);
		printf(",\"inq\":%" PRIu64 ",\"outq\":%" PRIu64 "}", pconn_inq(c),
			c->up - c->acked);
	}
	printf("]}\n");
}

static void mark(struct peer *p)
{
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < p->n_conns; i++) {
		struct pconn *c = &p->conns[i];

		pconn_sample(c, now);
		c->in.since = c->out.since = now;
		c->in.longest = c->out.longest = 0;
		c->marked = true;
		c->arrived = 0;
	}
	printf("{\"event\":\"mark\"}\n");
}

/*
 * What lies in our own receive queue came before the command and proves nothing: only bytes beyond
 * it count.
 */
static void progress_start(struct peer *p)
{
	uint64_t now = now_ns();

	p->progress_since = now;
	p->progress_until = now + p->patience * MS_NS;
	for (unsigned int i = 0; i < p->n_conns; i++) {
		struct pconn *c = &p->conns[i];
		uint32_t role = c->spec->role;

		pconn_sample(c, now);
		c->mark_in = c->down + pconn_inq(c);
		c->mark_out = c->acked;
		c->want_in = role == WIRE_ECHO || role == WIRE_SOURCE || role == WIRE_DUPLEX;
		c->want_out = role == WIRE_SINK || role == WIRE_DUPLEX;
	}
}

static bool made_progress(const struct pconn *c)
{
	if (c->phase == PHASE_LOST)
		return false;
	return (!c->want_in || c->down > c->mark_in) && (!c->want_out || c->acked > c->mark_out);
}

static void progress_check(struct peer *p, uint64_t now)
{
	bool all = true, waiting = false, first = true;

	if (!p->progress_until)
		return;
	for (unsigned int i = 0; i < p->n_conns; i++) {
		const struct pconn *c = &p->conns[i];

		if (made_progress(c))
			continue;
		all = false;
		if (c->phase != PHASE_LOST)
			waiting = true;
	}
	if (waiting && now < p->progress_until)
		return;
	printf("{\"event\":\"progress\",\"ok\":%s,\"waited_ms\":%" PRIu64 ",\"missing\":[",
		all ? "true" : "false", (now - p->progress_since) / MS_NS);
	for (unsigned int i = 0; i < p->n_conns; i++) {
		if (made_progress(&p->conns[i]))
			continue;
		printf("%s%u", first ? "" : ",", i);
		first = false;
	}
	printf("]}\n");
	p->progress_until = 0;
}

static void ask(struct peer *p)
{
	for (unsigned int i = 0; i < p->n_conns; i++)
		pconn_ask(&p->conns[i]);
	printf("{\"event\":\"ask\"}\n");
}

static void finish(struct peer *p)
{
	uint64_t now = now_ns();

	p->finishing = true;
	for (unsigned int i = 0; i < p->n_conns; i++)
		pconn_finish(&p->conns[i], now);
}

static void command(struct peer *p, const char *line)
{
	if (!strcmp(line, "stats"))
		print_stats(p);
	else if (!strcmp(line, "mark"))
		mark(p);
	else if (!strcmp(line, "progress"))
		progress_start(p);
	else if (!strcmp(line, "ask"))
		ask(p);
	else if (!strcmp(line, "finish"))
		finish(p);
	else
		printf("{\"event\":\"error\",\"error\":\"unknown command\"}\n");
}

void commands_read(struct peer *p)
{
	ssize_t n = read(
		STDIN_FILENO, p->command + p->command_len, sizeof(p->command) - p->command_len - 1);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		/* Whoever commands us is gone. */
		p->done = true;
		return;
	}
	p->command_len += (size_t)n;
	p->command[p->command_len] = 0;
	while ((end = strchr(p->command, '\n'))) {
		*end = 0;
		command(p, p->command);
		p->command_len -= (size_t)(end + 1 - p->command);
		memmove(p->command, end + 1, p->command_len + 1);
	}
	if (p->command_len == sizeof(p->command) - 1)
		p->command_len = 0;
}

static void ready_check(struct peer *p)
{
	unsigned int lost = 0;

	if (p->ready)
		return;
	for (unsigned int i = 0; i < p->n_conns; i++) {
		if (p->conns[i].phase < PHASE_RUN)
			return;
		lost += p->conns[i].phase == PHASE_LOST;
	}
	p->ready = true;
	printf("{\"event\":\"ready\",\"connections\":%u,\"lost\":%u,\"ms\":%" PRIu64 "}\n",
		p->n_conns, lost, (now_ns() - p->started) / MS_NS);
}

void commands_tick(struct peer *p, uint64_t now)
{
	ready_check(p);
	progress_check(p, now);
	if (p->finishing) {
		p->done = true;
		for (unsigned int i = 0; i < p->n_conns; i++)
			if (p->conns[i].phase < PHASE_KEPT)
				p->done = false;
	}
	fflush(stdout);
}

int commands_report(struct peer *p)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < p->n_conns; i++)
		kept += p->conns[i].phase == PHASE_KEPT;
	if (p->finishing) {
		printf("{\"event\":\"report\",\"kept\":%u,\"lost\":%u,\"connections\":[", kept,
			p->n_conns - kept);
		for (unsigned int i = 0; i < p->n_conns; i++) {
			printf("%s", i ? "," : "");
			print_conn(&p->conns[i], now_ns());
			printf(",\"resumed\":%" PRIu64 ",\"arrived\":%" PRIu64
			       ",\"advanced\":%" PRIu64 "}",
				p->conns[i].resumed, p->conns[i].arrived, p->conns[i].advanced);
		}
		printf("]}\n");
	}
	fflush(stdout);
	return kept == p->n_conns ? 0 : 1;
}
