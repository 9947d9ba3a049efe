/* setting.c - options to numbers, and the device they name opened. No state. */
#include "bench/gpu/setting.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/arguments.h"
#include "kernels/kernels.h"

static const char usage[] =
    "  --device cuda|cuda:N|cpu   default cuda\n"
    "  --model DIR                a model directory, for forward\n"
    "  --seed N                   of the random data; default: a new one each time\n"
    "  --quick                    fewer shapes, shorter samples\n"
    "  --tiny                     shapes for an emulated device\n"
    "  --probe                    only says whether there is such a device (check)\n"
    "  --report FILE              appends a JSON object a line\n"
    "  --bandwidth GB/S           of the card, as gpu-card measures it\n"
    "  --rate TFLOP/S             of its dense bfloat16 products, as gpu-card measures it\n";

static uint64_t fresh_seed(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) % 1000000007u;
}

static int refuse(const char *program) {
    fprintf(stderr, "usage: %s [options]\n%s", program, usage);
    return 2;
}

int setting_read(int argc, char **argv, struct setting *s) {
    static const struct option known[] = {{"device", required_argument, NULL, 'd'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"tiny", no_argument, NULL, 't'},
                                          {"probe", no_argument, NULL, 'p'},
                                          {"report", required_argument, NULL, 'r'},
                                          {"bandwidth", required_argument, NULL, 'b'},
                                          {"rate", required_argument, NULL, 'o'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;
    double number;
    *s = (struct setting){.device = "cuda", .seed = fresh_seed()};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'd':
            s->device = optarg;
            break;
        case 'm':
            s->model = optarg;
            break;
        case 's':
            if (!arguments_number(optarg, 0, 1e15, &number))
                return refuse(argv[0]);
            s->seed = (uint64_t)number;
            break;
        case 'q':
            s->quick = true;
            break;
        case 't':
            s->tiny = true;
            break;
        case 'p':
            s->probe = true;
            break;
        case 'r':
            s->report = optarg;
            break;
        case 'b':
            if (!arguments_number(optarg, 0, 1e6, &number))
                return refuse(argv[0]);
            s->bandwidth = number * 1e9;
            break;
        case 'o':
            if (!arguments_number(optarg, 0, 1e6, &number))
                return refuse(argv[0]);
            s->rate = number * 1e12;
            break;
        case 'h':
            printf("usage: %s [options]\n%s", argv[0], usage);
            exit(0);
        default:
            return refuse(argv[0]);
        }
    }
    return optind == argc ? 0 : refuse(argv[0]);
}

struct kernels *setting_open(const struct setting *s, enum limoe_dtype dtype, int *exit_status) {
    struct kernels *k = NULL;
    struct limoe_error err;
    char why[512];
    *exit_status = 0;
    if (strncmp(s->device, "cuda", 4) == 0 && limoe_gpus(why, sizeof why) == 0) {
        fprintf(stderr, "no GPU was found: %s\n", why);
        *exit_status = 2;
        return NULL;
    }
    if (kernels_create(s->device, dtype, 0, &k, &err)) {
        fprintf(stderr, "%s\n", err.message);
        *exit_status = 1;
    }
    return k;
}
