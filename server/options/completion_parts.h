/* completion_parts.h - what the shells' scripts share: what is to be completed where. */
#ifndef LIMOE_SERVER_OPTIONS_COMPLETION_PARTS_H
#define LIMOE_SERVER_OPTIONS_COMPLETION_PARTS_H

#include "server/options/options.h"

/* What a value is, by its row, or an operand by its metavar. COMPLETE_WORDS: completion_words has them. */
enum completion { COMPLETE_NOTHING, COMPLETE_FILE, COMPLETE_DIRECTORY, COMPLETE_WORDS };
enum completion completion_of(const struct option_row *option);
enum completion completion_of_operand(const struct option_command *command);

/* Appends the words, with blanks between them. */
void completion_words(const struct option_row *option, struct buffer *out);
void completion_operand_words(const struct option_program *program, const struct option_command *command,
                              struct buffer *out);

/* Appends text with a backslash before each of the characters in `special`, and with 'in '\''single'\'' quotes' right. */
void completion_escape(const char *text, const char *special, struct buffer *out);

void completion_bash(const struct option_program *program, struct buffer *out);
void completion_zsh(const struct option_program *program, struct buffer *out);
void completion_fish(const struct option_program *program, struct buffer *out);

#endif
