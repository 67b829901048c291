// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/resume.h"

#include "lib/kick.h"
#include "plugin/kick.h"
#include "plugin/resend.h"
#include "plugin/unreachable.h"
#include "sys/clock.h"
#include "sys/parallel.h"
#include "sys/tcp_repair.h"
#include "sys/tuples.h"

#define SHARE 256 /* connections, at least, for a thread of its own */

/*
 * The client of a connection that nobody had accepted is waiting for an answer that never comes. A
 * segment that cannot be right makes it say where it stands (RFC 9293 section 3.10.7.4: an
 * acknowledgement), and the kernel answers that with an RST, since there is no such connection
 * here. So its sequence numbers need not be known.
 */
static void reset_pending(const struct hf_resume *target, struct hf_raw *raw)
{
	const struct hf_image *image = &target->restore->image;

	for (uint32_t i = 0; i < image->n_pending; i++) {
		const struct hf_pending *pending = &image->pending[i];
		const struct hf_segment segment = {.family = pending->family,
			.from = pending->local,
			.to = pending->peer,
			.flags = HF_SEGMENT_ACK};

		hf_raw_send(raw, &segment, NULL);
	}
}

/* Not in the name of an original that runs on: it would be reset. */
static void tell_unreachable(const struct hf_resume *target, struct hf_raw *raw)
{
	struct hf_restore *restore = target->restore;
	const struct hf_image *image = &restore->image;

	if (restore->n_closed == 0)
		return;
	restore->is_copy = hf_tuples_live_elsewhere(restore->netns_inode, image, NULL) > 0;
	if (restore->is_copy)
		return;
	for (uint32_t i = 0; i < image->n_conns; i++)
		if (target->closed[i])
			hf_unreachable_tell(raw, &image->conns[i]);
}

static bool is_told(const struct hf_resume *target, const struct hf_conn *conn)
{
	return (target->restore->config.kick || target->restore->image.peers_paused) &&
	       hf_kick_wanted(conn);
}

/*
 * The peer is told at once that we are there: the guardian follows up. What it may have to tell us
 * is asked for where there is something of ours that it may have, unless that goes out again at
 * once. It does so first: until then the kernel drops whatever comes with an acknowledgement of it.
 */
static int resume_one(
	const struct hf_resume *target, uint32_t i, struct hf_raw *raw, struct hf_error *err)
{
	const struct hf_restore *restore = target->restore;
	const struct hf_conn *conn = &restore->image.conns[i];
	bool told = is_told(target, conn);
	bool asked = !told || conn->send.len > 0 || conn->shutdown;
	int sock = target->socks[i];
	int ret = hf_tcp_resume(
		sock, conn->reuseaddr, asked && target->resend[i] != HF_RESEND_HELD, err);

	if (ret == 0 && target->resend[i] != HF_RESEND_BY_TIMER)
		hf_resend(sock, conn, target->resend[i], raw, restore->file);
	if (ret == 0 && told)
		hf_wake_open(raw, conn, restore->image.n_conns);
	return ret;
}

/* An error here concerns one connection, and the others go on. */
static int resume_some(void *context, uint32_t from, uint32_t to, struct hf_error *err)
{
	const struct hf_resume *target = *(const struct hf_resume **)context;
	struct hf_raw raw = HF_RAW_UNMARKED(target->netns);
	int first = 0;

	hf_guardian_in_thread(target->guardian);
	for (uint32_t i = from; i < to; i++) {
		int ret;

		if (target->socks[i] < 0)
			continue;
		ret = resume_one(target, i, &raw, first ? NULL : err);
		if (ret < 0 && !first) {
			char text[HF_CONN_TEXT];

			first = hf_error_context(err, ret, "connection %s",
				hf_conn_format(text, &target->restore->image.conns[i]));
		}
	}
	hf_raw_close(&raw);
	return first;
}

static int resume_all(const struct hf_resume *target, struct hf_error *err)
{
	uint64_t start = hf_now_us();
	const struct hf_image *image = &target->restore->image;
	int ret = hf_parallel(image->n_conns, SHARE, resume_some, &target, err);

	hf_resend_finish(target->socks, image->conns, target->resend, image->n_conns);
	target->page->opened = true;
	target->restore->resume_us = hf_now_us() - start;
	return ret;
}

int hf_resume(const struct hf_resume *target, struct hf_error *err)
{
	struct hf_raw raw = HF_RAW_UNMARKED(target->netns);
	int ret = resume_all(target, err);

	reset_pending(target, &raw);
	tell_unreachable(target, &raw);
	hf_raw_close(&raw);
	return ret;
}
