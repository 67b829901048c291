// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugin/unreachable.h"

#include <errno.h>

#include "lib/tcp_state.h"

bool hf_unreachable(int ret)
{
	switch (ret) {
	case -EADDRNOTAVAIL:
	case -EADDRINUSE:
	case -ENETUNREACH:
	case -EHOSTUNREACH:
	case -ENODEV: /* the device of a link-local address */
		return true;
	default:
		return false;
	}
}

void hf_unreachable_tell(struct hf_raw *raw, const struct hf_conn *conn)
{
	const struct hf_tcp_row *row = hf_tcp_row(conn->state, conn->closed);
	struct hf_segment segment = {.family = conn->family,
		.from = conn->local,
		.to = conn->peer,
		.flags = HF_SEGMENT_RST};
	uint32_t sent = conn->send.seq - conn->unsent;

	if (!row->connected || !row->stream)
		return;
	segment.seq = sent;
	hf_raw_send(raw, &segment, NULL);
	if (conn->send.len > conn->unsent) {
		segment.seq = conn->send.seq - conn->send.len;
		hf_raw_send(raw, &segment, NULL);
	}
	if (row->our_fin && !conn->fin_unsent) {
		segment.seq = sent + 1;
		hf_raw_send(raw, &segment, NULL);
	}
}
