/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_SOCKOPT_H
#define HF_LIB_SOCKOPT_H

/*
 * The table of socket options (lib/sockopt_table.h) and what follows from it alone.
 *
 * What the image holds of a socket's options: those rows with carrier HF_SOCKOPT_HOLDFAST whose
 * value is not the row's base. So an option that is not in the image has its base value, whatever
 * the sysctls of the two hosts or the defaults of their kernels say, and a kernel that does not
 * know an option is one where it has its base. sys/sock_options.h reads and sets them.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conn.h"
#include "lib/error.h"

/* Longest text of hf_option_format(): the longest name, '=', and HF_OPTION_SIZE bytes in hex. */
#define HF_OPTION_TEXT (40 + 2 * HF_OPTION_SIZE)

enum hf_sockopt_carrier {
	HF_SOCKOPT_HOLDFAST, /* read and set by holdfast */
	HF_SOCKOPT_CRIU,     /* read and set by CRIU, so not by holdfast as well */
	HF_SOCKOPT_STATE,    /* in another field of struct hf_conn */
	HF_SOCKOPT_NOBODY,   /* not carried; the note says why */
};

/* What a value is, and how long. Integers are in the byte order of the host. */
enum hf_sockopt_type {
	HF_SOCKOPT_INT,    /* int */
	HF_SOCKOPT_UINT,   /* unsigned int */
	HF_SOCKOPT_LONG,   /* unsigned long: 4 or 8 bytes */
	HF_SOCKOPT_WORDS,  /* one or two unsigned ints */
	HF_SOCKOPT_NAME,   /* 1 to 15 characters, without the NUL */
	HF_SOCKOPT_KEY,    /* one or two keys of 16 bytes */
	HF_SOCKOPT_IPOPTS, /* IPv4 header options, RFC 791 section 3.1: up to 40 bytes */
	HF_SOCKOPT_EXTHDR, /* an IPv6 extension header, RFC 8200 section 4: multiples of 8 bytes */
	HF_SOCKOPT_TYPES
};

/* The sockets on which an option is read and set. */
#define HF_SOCKOPT_ON_CONNECTION  1u
#define HF_SOCKOPT_ON_LISTENER    2u
#define HF_SOCKOPT_ON_CLOSED      4u /* never connected, or disconnected */
#define HF_SOCKOPT_ON_UNCONNECTED (HF_SOCKOPT_ON_LISTENER | HF_SOCKOPT_ON_CLOSED)
#define HF_SOCKOPT_ON_ANY         (HF_SOCKOPT_ON_CONNECTION | HF_SOCKOPT_ON_UNCONNECTED)

/* When, in the restore of a connection, an option is set. */
#define HF_SOCKOPT_BEFORE 1u /* between connect(AF_UNSPEC), which resets some, and bind() */
#define HF_SOCKOPT_AFTER  2u /* after connect() in repair mode */
#define HF_SOCKOPT_LAST   4u /* after the queues and the window, still in repair mode */
/* Listeners and closed sockets, and connections that CRIU itself restored: all at once. */
#define HF_SOCKOPT_ALL_PHASES (HF_SOCKOPT_BEFORE | HF_SOCKOPT_AFTER | HF_SOCKOPT_LAST)

/* What is special about an option. */
#define HF_SOCKOPT_PEER      0x01u /* the peer or the network sees it: restore must not lose it */
#define HF_SOCKOPT_CRIU_IPV4 0x02u /* on IPv4 sockets CRIU carries it */
#define HF_SOCKOPT_ECN       0x04u /* its lowest two bits are not part of it */
#define HF_SOCKOPT_PRIORITY  0x08u /* setting it sets SO_PRIORITY too */
#define HF_SOCKOPT_SECRET    0x10u /* its value is not printed */
#define HF_SOCKOPT_LEFT_ON   0x20u /* CRIU leaves it set, so it is always set at restore */
#define HF_SOCKOPT_FOLLOWS   0x40u /* can have a value only if the row before has one */
#define HF_SOCKOPT_ZERO_IPV6 0x80u /* its base is 0 on IPv6 sockets */

struct hf_sockopt {
	const char *name; /* "TCP_USER_TIMEOUT" */
	uint16_t level;
	uint16_t number;
	uint8_t carrier; /* enum hf_sockopt_carrier; what follows is for HF_SOCKOPT_HOLDFAST only */
	uint8_t type;    /* enum hf_sockopt_type */
	uint8_t on;      /* HF_SOCKOPT_ON_* */
	uint8_t phase;   /* one of HF_SOCKOPT_BEFORE, _AFTER, _LAST */
	uint8_t flags;
	/*
	 * The value that a socket has if nobody ever set it and no sysctl was changed. 0 for bytes:
	 * none, or only zeros; HF_SOCKOPT_BASE_CONGESTION for a name.
	 */
	int64_t base;
	const char *note; /* for a person, perhaps empty */
};
#define HF_SOCKOPT_BASE_CONGESTION "cubic"
#define HF_SOCKOPT_NAME_SIZE       16 /* kernel TCP_CA_NAME_MAX, which counts a NUL */

/* Every row, in order. */
extern const struct hf_sockopt hf_sockopts[];
extern const unsigned int hf_n_sockopts;

/* A set of rows, by their index in hf_sockopts[]. */
#define HF_SOCKOPT_MAX 256
struct hf_sockopt_set {
	uint64_t bits[HF_SOCKOPT_MAX / 64];
};

static inline bool hf_sockopt_set_has(const struct hf_sockopt_set *set, unsigned int index)
{
	return set->bits[index / 64] >> (index % 64) & 1;
}

static inline void hf_sockopt_set_add(struct hf_sockopt_set *set, unsigned int index)
{
	set->bits[index / 64] |= UINT64_C(1) << (index % 64);
}

/* NULL if the table has no such row. */
const struct hf_sockopt *hf_sockopt_find(unsigned int level, unsigned int number);

static inline unsigned int hf_sockopt_index(const struct hf_sockopt *row)
{
	return (unsigned int)(row - hf_sockopts);
}

/* "TCP", "SOL_SOCKET", "IP", "IPv6". */
const char *hf_sockopt_level_name(unsigned int level);

/* The longest value of the row's type. */
unsigned int hf_sockopt_max_len(const struct hf_sockopt *row);

/* True if a value of the row may be that long. */
bool hf_sockopt_has_len(const struct hf_sockopt *row, unsigned int len);

/* HF_SOCKOPT_ON_* of a socket: one bit. */
unsigned int hf_sockopt_kind(const struct hf_conn *conn);

/* True if holdfast reads and sets this option on a socket of that kind and family. */
bool hf_sockopt_applies(const struct hf_sockopt *row, unsigned int kind, enum hf_family family);

/* True if this value of the row is its base on a socket of that family. */
bool hf_sockopt_is_base(
	const struct hf_sockopt *row, enum hf_family family, const struct hf_option *option);

/* The row's base as an option. False for a row whose base is "none". */
bool hf_sockopt_base(const struct hf_sockopt *row, enum hf_family family, struct hf_option *option);

/* The value of an INT, UINT or LONG, of 4 or 8 bytes, extended as its type says. */
int64_t hf_sockopt_integer(const struct hf_sockopt *row, const struct hf_option *option);

/*
 * Brings what getsockopt(2) gave into the form that the image has: a name without what follows
 * its NUL, a traffic class without ECN bits, and no length for a value that is not set.
 */
void hf_sockopt_normalize(const struct hf_sockopt *row, struct hf_option *option);

/*
 * Checks the options of a socket, whose state and family are already there: every one in the table,
 * holdfast's own, of the right kind of socket and length, and none twice. Returns 0, or -EBADMSG
 * with a text that names the option.
 */
int hf_sockopt_check(const struct hf_conn *conn, struct hf_error *err);

/* "TCP_USER_TIMEOUT=3000"; "option 6/99=0a0b" for one that is not in the table. Returns buf. */
char *hf_option_format(char buf[HF_OPTION_TEXT], const struct hf_option *option);

/*
 * What could not be set on any of the sockets of one restore; {0} is an empty one. A congestion
 * control that is missing counts once by its name.
 */
#define HF_SOCKOPT_MAX_MISSING 4
#define HF_SOCKOPT_REPORT_TEXT 1024
struct hf_sockopt_report {
	struct hf_sockopt_set unknown; /* this kernel does not know them */
	struct hf_sockopt_set refused; /* this kernel did not take the value */
	char missing[HF_SOCKOPT_MAX_MISSING][HF_SOCKOPT_NAME_SIZE]; /* congestion controls */
	unsigned int n_missing;
	char fallback[HF_SOCKOPT_NAME_SIZE]; /* the one used instead */
};

/* True if the report says that this congestion control is missing. */
bool hf_sockopt_report_misses(const struct hf_sockopt_report *report, const char *name);

/* Adds a missing congestion control. One too many is left out. */
void hf_sockopt_report_add_missing(
	struct hf_sockopt_report *report, const char *name, const char *fallback);

/* Adds what `from` says. */
void hf_sockopt_report_merge(
	struct hf_sockopt_report *report, const struct hf_sockopt_report *from);

/* One line for a person, "" if everything could be set. A long one is cut. Returns buf. */
char *hf_sockopt_report_format(
	char buf[HF_SOCKOPT_REPORT_TEXT], const struct hf_sockopt_report *report);

#endif
