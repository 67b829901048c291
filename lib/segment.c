// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/segment.h"

#include <string.h>

#include "lib/packet.h"

#define TCP_HEADER     20
#define PROTOCOL_TCP   6
#define OPT_NOP        1
#define OPT_TIMESTAMPS 8
#define TIMESTAMPS_LEN 10
/* With two NOP before them, which make them end at a word. */
#define OPT_TIMESTAMPS_SIZE (2 + TIMESTAMPS_LEN)

bool hf_segment_is_ipv4(const struct hf_segment *segment)
{
	return hf_endpoint_ipv4(segment->family, &segment->from) &&
	       hf_endpoint_ipv4(segment->family, &segment->to);
}

/* An endpoint whose address is that of the packets. */
static struct hf_endpoint on_wire(const struct hf_segment *segment, const struct hf_endpoint *from)
{
	struct hf_endpoint to = *from;

	if (hf_segment_is_ipv4(segment))
		memmove(to.ip, hf_endpoint_ipv4(segment->family, from), 4);
	return to;
}

static void put_timestamps(uint8_t *at, const struct hf_segment *segment)
{
	at[0] = at[1] = OPT_NOP;
	at[2] = OPT_TIMESTAMPS;
	at[3] = TIMESTAMPS_LEN;
	hf_put_be32(at + 4, segment->tsval);
	hf_put_be32(at + 8, segment->tsecr);
}

size_t hf_segment_build(uint8_t buf[HF_SEGMENT_SIZE], const struct hf_segment *segment)
{
	const struct hf_endpoint from = on_wire(segment, &segment->from);
	const struct hf_endpoint to = on_wire(segment, &segment->to);
	enum hf_family family = hf_segment_is_ipv4(segment) ? HF_FAMILY_IPV4 : HF_FAMILY_IPV6;
	size_t options = segment->has_timestamps ? OPT_TIMESTAMPS_SIZE : 0;
	size_t header = TCP_HEADER + options, tcp_len = header + segment->len;
	uint8_t *tcp = buf + hf_packet_header(buf, family, &from, &to, PROTOCOL_TCP, tcp_len);
	uint32_t sum = hf_checksum_pseudo(buf, family, PROTOCOL_TCP, tcp_len);

	memset(tcp, 0, TCP_HEADER);
	if (options)
		put_timestamps(tcp + TCP_HEADER, segment);
	hf_put_be16(tcp, segment->from.port);
	hf_put_be16(tcp + 2, segment->to.port);
	hf_put_be32(tcp + 4, segment->seq);
	if (segment->flags & HF_SEGMENT_ACK)
		hf_put_be32(tcp + 8, segment->ack);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = segment->flags;
	hf_put_be16(tcp + 14, segment->window);
	if (segment->flags & HF_SEGMENT_URG)
		hf_put_be16(tcp + 18, segment->urgent);
	if (segment->len)
		tcp[header] = segment->data;
	hf_put_be16(tcp + 16, hf_checksum_fold(hf_checksum_add(sum, tcp, tcp_len)));
	return (size_t)(tcp - buf) + tcp_len;
}
