/* arguments.c - a command line to numbers; devices and models are judged by who opens them. No state. */
#include "bench/arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

bool arguments_number(const char *text, double min, double max, double *out) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && *out >= min && *out <= max;
}

static bool read_dtype(const char *text, enum limoe_dtype *out) {
    *out = strcmp(text, "float32") == 0 ? LIMOE_FLOAT32 : LIMOE_BFLOAT16;
    return strcmp(text, limoe_dtype_name(*out)) == 0;
}

bool arguments_read(int argc, char **argv, const char *flag, struct arguments *a) {
    const struct option known[] = {{"model", required_argument, NULL, 'm'},
                                   {"device", required_argument, NULL, 'D'},
                                   {"dtype", required_argument, NULL, 'd'},
                                   {"threads", required_argument, NULL, 't'},
                                   {"batch", required_argument, NULL, 'b'},
                                   {"seconds", required_argument, NULL, 's'},
                                   {"tokens", required_argument, NULL, 'T'},
                                   {"mixed", no_argument, NULL, 'x'},
                                   {"profile", required_argument, NULL, 'p'},
                                   {flag, no_argument, NULL, 'f'},
                                   {0}};
    int option;
    bool ok = true;
    while (ok && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        double number = 0;
        switch (option) {
        case 'm':
            a->model = optarg;
            break;
        case 'D':
            a->options.device = optarg;
            break;
        case 'd':
            ok = read_dtype(optarg, &a->options.dtype);
            break;
        case 't':
            ok = arguments_number(optarg, 1, 1024, &number);
            a->options.threads = (uint32_t)number;
            break;
        case 'b':
            ok = arguments_number(optarg, 1, 4096, &number);
            a->batch = (size_t)number;
            break;
        case 'T':
            ok = arguments_number(optarg, 1, 4096, &number);
            a->tokens = (uint32_t)number;
            break;
        case 's':
            ok = arguments_number(optarg, 0.1, 3600, &a->seconds);
            break;
        case 'p':
            a->profile = optarg;
            break;
        case 'x':
            a->mixed = true;
            break;
        case 'f':
            a->flag = true;
            break;
        default:
            ok = false;
        }
    }
    return ok && a->model && (a->tokens || !a->mixed) && optind == argc;
}
