/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_IMAGE_H
#define HF_LIB_IMAGE_H

/*
 * The image file, holdfast.img: writing and strict reading. The format is in docs/image-format.md,
 * its messages in lib/image.proto.
 *
 * Nothing here knows files: bytes go out and come in through a function of the caller.
 *
 * Writing: hf_image_write_header(), then hf_image_write_conn() for as many sockets as the header
 * says, then hf_image_write_end(). The first error ends it; the output is then worthless. Where the
 * queues are not in memory: hf_image_write_record() and then their bytes, in any pieces, by
 * hf_image_write_bytes() or hf_image_count_bytes().
 *
 * Reading: hf_image_read() reads a whole image, checks everything and keeps all but the queues'
 * bytes, whose place is in each conn's data_offset. What it returns is safe to act on.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/conn.h"
#include "lib/error.h"

#define HF_IMAGE_NAME    "holdfast.img"
#define HF_IMAGE_VERSION 1u
#define HF_ID_SIZE       16 /* bytes of a checkpoint id */
#define HF_ID_TEXT       33 /* the same as hexadecimal text, with its end */

/* Limits of what a reader accepts and a writer writes. */
#define HF_MAX_CONNS     (1u << 20) /* sockets in any state */
#define HF_MAX_PENDING   65536u
#define HF_MAX_ADDRESSES 1024u
#define HF_MAX_ALIASES   (1u << 16)
#define HF_MAX_HOLDERS   65536u
#define HF_MAX_OPTIONS   128u       /* of one socket */
#define HF_MAX_RECORD    (4u << 20) /* bytes of one encoded message */
/* Bytes of one queue; the kernel's windows end there, RFC 7323 section 2.3. */
#define HF_MAX_QUEUE (1u << 30)

struct hf_image {
	uint32_t version;
	uint8_t id[HF_ID_SIZE];
	uint64_t created;           /* seconds since 1970, UTC */
	char writer[64];            /* program name and version */
	bool netns_shared;          /* CRIU ran in the tasks' own network namespace */
	bool peers_paused;          /* they were told a window of 0, lib/prelude.h */
	struct hf_pending *pending; /* owned */
	uint32_t n_pending;
	/* Of the network namespace, without loopback ones: where its listeners are reached. Owned.
	 */
	struct hf_address *addresses;
	uint32_t n_addresses;
	struct hf_alias *aliases; /* owned */
	uint32_t n_aliases;
	struct hf_conn *conns; /* sockets in any state; owned, with what they own */
	uint32_t n_conns;
	uint64_t queue_bytes; /* of all sockets together */
};

/* Where bytes go to. write() takes all of them and returns 0, or a negative errno. */
struct hf_output {
	int (*write)(void *context, const void *data, size_t len);
	void *context;
};

/* Where bytes come from. read() returns how many it gave, at most len, 0 at the end, or a negative
 * errno. */
struct hf_input {
	ssize_t (*read)(void *context, void *data, size_t len);
	void *context;
};

struct hf_image_writer {
	struct hf_output out;
	uint32_t crc;
	uint32_t announced; /* sockets, by the header */
	uint32_t written;
	uint64_t queue_bytes;
	uint64_t missing; /* bytes of the last socket's queues that did not come yet */
};

/*
 * Starts an image. Of `image` it uses id, created, writer, netns_shared, peers_paused, addresses,
 * aliases, the pending connections and n_conns; conns may be NULL. -EBADMSG for a header that a
 * reader would refuse, -ENOMEM, or what write() returned.
 */
int hf_image_write_header(struct hf_image_writer *writer, const struct hf_output *out,
	const struct hf_image *image, struct hf_error *err);

/*
 * Adds a socket: recv_data has conn->recv.len bytes, send_data conn->send.len. -EBADMSG for one
 * that a reader would refuse.
 */
int hf_image_write_conn(struct hf_image_writer *writer, const struct hf_conn *conn,
	const void *recv_data, const void *send_data, struct hf_error *err);

/* The same without the queues' bytes, which must be the next that come. */
int hf_image_write_record(
	struct hf_image_writer *writer, const struct hf_conn *conn, struct hf_error *err);

/* Of the queues, the next bytes. -EINVAL for more than the record says. */
int hf_image_write_bytes(
	struct hf_image_writer *writer, const void *data, size_t len, struct hf_error *err);

/* The next bytes of the queues, which are in the output already. */
int hf_image_count_bytes(
	struct hf_image_writer *writer, const void *data, size_t len, struct hf_error *err);

/* Ends the image. -EINVAL if fewer sockets were written than announced, or less of their queues. */
int hf_image_write_end(struct hf_image_writer *writer, struct hf_error *err);

/*
 * Reads and checks a whole image into *image, which must be zeroed and is the caller's to clear.
 * Nothing is kept on failure. -EBADMSG: the image is bad, and the text names record and field;
 * -EPROTONOSUPPORT: a version this reader does not know; -ENOMEM, or what read() returned.
 */
int hf_image_read(const struct hf_input *in, struct hf_image *image, struct hf_error *err);

/* Frees what the image owns and zeroes it. */
void hf_image_clear(struct hf_image *image);

/*
 * Checks one socket as the reader does: that it has the parts of its state (lib/tcp_state.h) and no
 * others, addresses that fit the family, lengths, windows. Returns 0 or -EBADMSG with the name of
 * the field. The dump uses it on what it is about to write.
 */
int hf_conn_check(const struct hf_conn *conn, struct hf_error *err);

/*
 * Checks the sockets against each other: no two connections with the same addresses on the wire, no
 * file descriptor twice. The reader does it; a writer should, since one record after another does
 * not show it. Returns 0, -EBADMSG or -ENOMEM.
 */
int hf_image_check_unique(const struct hf_image *image, struct hf_error *err);

/* How many of the sockets have a peer. */
uint32_t hf_image_count_connected(const struct hf_image *image);

/* The id as 32 hexadecimal digits. Returns buf. */
char *hf_id_format(char buf[HF_ID_TEXT], const uint8_t id[HF_ID_SIZE]);

#endif
