// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/kick.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/kick.h"
#include "sys/clock.h"
#include "sys/heard.h"
#include "sys/raw_socket.h"

#define ACKS_AT_ONCE  256
#define KICKS_AT_ONCE 32   /* peers */
#define PAUSE_US      1000 /* between so many, at least */
#define THIRD_US      200000
#define GENTLE        2 /* times as long as they took, where nobody is known to wait */

struct waker {
	const struct hf_wake *wake;
	struct hf_raw raw;
	uint64_t start_us;
	unsigned int errors; /* for each peer that is kicked */
	bool paused_known;   /* which peers were told to pause */
};

/* A peer that is seen to later. */
struct later {
	const struct hf_conn *conn;
	uint32_t due_us;
};

void hf_wake_note(struct hf_conn *shared, const struct hf_conn *conn)
{
	struct hf_conn hidden = *conn;

	hidden.state = 0;
	__atomic_store_n(&shared->state, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*shared = hidden;
	__atomic_store_n(&shared->state, conn->state, __ATOMIC_RELEASE);
}

void hf_wake_open(struct hf_raw *raw, const struct hf_conn *conn, uint32_t n)
{
	struct hf_segment word;

	if (!hf_kick_wanted(conn))
		return;
	word = hf_kick_first_word(conn, n);
	hf_raw_send(raw, &word, NULL);
}

/*
 * We may be in the container's cgroup, as runc has it, which cannot be removed as long as we are:
 * when the program has ended, so do we.
 */
static void pause_for(const struct waker *waker, uint64_t us)
{
	struct pollfd task = {waker->wake->task, POLLIN, 0};
	const struct timespec time = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};

	if (ppoll(&task, 1, &time, NULL) > 0)
		_exit(0);
}

static void kick(struct waker *waker, const struct hf_conn *conn)
{
	uint8_t packet[HF_KICK_SIZE];
	size_t len = hf_kick_build(packet, conn);

	for (unsigned int i = 0; i < waker->errors; i++)
		hf_raw_send_packet(&waker->raw, conn->family, &conn->peer, packet, len, NULL);
}

static void open_all(struct waker *waker)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < waker->wake->n; i++) {
		hf_wake_open(&waker->raw, &waker->wake->conns[i], waker->wake->n);
		if (++told % ACKS_AT_ONCE == 0)
			pause_for(waker, PAUSE_US);
	}
}

static void kick_at_once(struct waker *waker)
{
	uint32_t kicked = 0;

	for (uint32_t i = 0; i < waker->wake->n; i++) {
		const struct hf_conn *conn = &waker->wake->conns[i];

		if (!hf_kick_wanted(conn) || !hf_kick_at_once(conn))
			continue;
		kick(waker, conn);
		if (++kicked % KICKS_AT_ONCE == 0)
			pause_for(waker, PAUSE_US);
	}
}

/*
 * The window is told twice, and to who was sending a third time: where the first word is lost, a
 * peer that has paused asks for it as late as one that sends again would try, after as long as the
 * outage has lasted. When the network is new, more than a few packets are lost until the way to the
 * first router is known.
 *
 * An image that names nobody who has paused, but says that some have, is an old one.
 */
static bool needs_word(const struct waker *waker, const struct hf_conn *conn)
{
	return conn->peer_paused || (waker->wake->paused && !waker->paused_known);
}

static bool needs_kick(const struct waker *waker, const struct hf_conn *conn)
{
	return waker->wake->kick && !hf_kick_at_once(conn);
}

/* With a timestamp, on which others than Linux may insist (RFC 7323 section 3.2). */
static void tell_again(struct waker *waker, const struct hf_conn *conn)
{
	const struct hf_segment ack = hf_kick_ack(conn);

	hf_raw_send(&waker->raw, &ack, NULL);
	if (needs_kick(waker, conn))
		kick(waker, conn);
}

/* Those that were sending come first. */
static int compare_later(const void *left, const void *right)
{
	const struct later *a = left, *b = right;

	if (a->conn->peer_silent != b->conn->peer_silent)
		return a->conn->peer_silent - b->conn->peer_silent;
	return (a->due_us > b->due_us) - (a->due_us < b->due_us);
}

static uint32_t list_later(const struct waker *waker, struct later *list)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < waker->wake->n; i++) {
		const struct hf_conn *conn = &waker->wake->conns[i];

		if (hf_kick_wanted(conn) && (needs_word(waker, conn) || needs_kick(waker, conn)))
			list[n++] = (struct later){conn, hf_kick_due_us(conn)};
	}
	if (n)
		qsort(list, n, sizeof(*list), compare_later);
	return n;
}

static void wait_until(const struct waker *waker, uint64_t when_us)
{
	uint64_t now_us = hf_now_us();

	if (now_us < when_us)
		pause_for(waker, when_us - now_us);
}

/* The next of the list whose time has come, and who have not been heard. Those that were sending
 * stay in it for another time, at *kept. Returns how many were asked about. */
static uint32_t see_to_some(
	struct waker *waker, int diag, const struct later *list, uint32_t n, struct later **kept)
{
	const struct hf_conn *conns[HF_HEARD_MAX];
	bool heard[HF_HEARD_MAX] = {false};
	uint64_t since_us = hf_now_us() - waker->start_us;
	uint32_t within_ms = waker->wake->rebuilt ? UINT32_MAX : (uint32_t)(since_us / 1000);
	uint32_t some = 0;

	while (some < n && some < HF_HEARD_MAX && list[some].due_us <= since_us) {
		conns[some] = list[some].conn;
		some++;
	}
	if (diag >= 0)
		hf_heard(diag, conns, some, within_ms, heard);
	for (uint32_t i = 0; i < some; i++) {
		if (heard[i])
			continue;
		tell_again(waker, conns[i]);
		if (!conns[i]->peer_silent)
			*(*kept)++ = (struct later){conns[i], THIRD_US};
	}
	return some;
}

/* Most of these need nothing. Returns how many are left for another time. */
static uint32_t see_to_all(struct waker *waker, int diag, struct later *list, uint32_t n)
{
	struct later *kept = list;

	for (uint32_t i = 0; i < n;) {
		uint64_t begin_us, rest_us;

		wait_until(waker, waker->start_us + list[i].due_us);
		begin_us = hf_now_us();
		i += see_to_some(waker, diag, list + i, n - i, &kept);
		rest_us = GENTLE * (hf_now_us() - begin_us);
		if (i < n)
			pause_for(waker, rest_us > PAUSE_US ? rest_us : PAUSE_US);
	}
	return (uint32_t)(kept - list);
}

static void see_to_others(struct waker *waker)
{
	hf_autofree struct later *list = calloc((size_t)waker->wake->n + 1, sizeof(*list));
	hf_autoclose int diag = hf_heard_open(waker->wake->netns, NULL);
	uint32_t n = list ? list_later(waker, list) : 0;

	n = see_to_all(waker, diag, list, n);
	see_to_all(waker, diag, list, n);
}

void hf_wake_peers(const struct hf_wake *wake)
{
	struct waker waker = {.wake = wake,
		.raw = HF_RAW_UNMARKED(wake->netns),
		.start_us = hf_now_us(),
		.errors = hf_kick_count(wake->outage_s)};

	for (uint32_t i = 0; i < wake->n; i++)
		waker.paused_known |= wake->conns[i].peer_paused;
	if (!wake->opened)
		open_all(&waker);
	if (wake->kick)
		kick_at_once(&waker);
	see_to_others(&waker);
	hf_raw_close(&waker.raw);
}
