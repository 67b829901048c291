/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_PLUGIN_LOG_H
#define HF_PLUGIN_LOG_H

/*
 * CRIU's log. CRIU exports this function to its plugins, but its installed criu-log.h cannot be
 * compiled outside its own tree. The levels are those of CRIU's -v option.
 */
extern void print_on_level(unsigned int level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define hf_log_error(format, ...) print_on_level(1, "Error (holdfast): " format "\n", ##__VA_ARGS__)
#define hf_log_warn(format, ...)  print_on_level(2, "Warn  (holdfast): " format "\n", ##__VA_ARGS__)
#define hf_log_info(format, ...)  print_on_level(3, "holdfast: " format "\n", ##__VA_ARGS__)

#endif
