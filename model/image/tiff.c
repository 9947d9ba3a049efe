/* tiff.c - TIFF by libtiff: the first page, of grey, palette, RGB, CMYK or YCbCr, in strips or tiles, with
 * alpha.
 *
 * Samples are brought to 8 bits each (16 bits: the high byte), then to RGB or RGBA, as Pillow does it.
 * libtiff's errors become ours, and so do its warnings from the first pixel on: what it warns of then is data
 * that ends early or is corrupt, in place of which it makes up pixels. No threads. */
#include "model/image/formats.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <tiffio.h>

#define SPARE ((tmsize_t)64 << 20) /* for libtiff's tables, beside a copy of the file's data */

/* Tiles may reach past the picture, but not so that they take many times its time: pixels. */
#define TILE_SPARE ((uint64_t)1 << 20)

/* Of a pixel in a part that is decoded: RGBA of 16 bits. */
#define MOST_BYTES 8u

/* Of the largest picture that is accepted: see check_memory. */
#define MOST_BYTES_PER_PIXEL 7u

struct job {
    const struct input *input;
    size_t at; /* where libtiff reads next */
    bool strict;
    TIFF *tiff;
    uint32_t width, height;
    uint16_t bits, in_file, samples; /* of a sample; samples of a pixel that there are, and that are wanted */
    uint16_t photometric, planes, compression;
    uint16_t alpha;  /* an EXTRASAMPLE_…; EXTRASAMPLE_UNSPECIFIED: none */
    uint8_t *pixels; /* [height, width, samples] */
    struct limoe_error *err;
    enum limoe_status status;
};

/* ---- what libtiff calls */

static tmsize_t on_read(thandle_t handle, void *to, tmsize_t n) {
    struct job *job = handle;
    size_t left = job->at < job->input->size ? job->input->size - job->at : 0;
    size_t taken = (size_t)n < left ? (size_t)n : left;
    memcpy(to, job->input->bytes + (left ? job->at : 0), taken);
    job->at += taken;
    return (tmsize_t)taken;
}

static tmsize_t on_write(thandle_t handle, void *from, tmsize_t n) {
    (void)handle;
    (void)from;
    (void)n;
    return 0;
}

static toff_t on_seek(thandle_t handle, toff_t offset, int whence) {
    struct job *job = handle;
    size_t base = whence == SEEK_CUR ? job->at : whence == SEEK_END ? job->input->size : 0;
    job->at = base + (size_t)offset;
    return job->at;
}

static int on_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t on_size(thandle_t handle) {
    const struct job *job = handle;
    return job->input->size;
}

/* The first error is the one that says why. */
static int on_error(TIFF *tiff, void *user, const char *where, const char *format, va_list values) {
    struct job *job = user;
    char message[256];
    (void)tiff;
    (void)where;
    vsnprintf(message, sizeof message, format, values);
    if (job->status == LIMOE_OK)
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: %s", message);
    return 1; /* nothing goes to stderr */
}

/* A fax line of the wrong length is mended by libtiff as everywhere, and it takes some good ones for such. */
static int on_warning(TIFF *tiff, void *user, const char *where, const char *format, va_list values) {
    const struct job *job = user;
    const bool fax = job->compression >= COMPRESSION_CCITTRLE && job->compression <= COMPRESSION_CCITTFAX4;
    const bool matters = job->strict && (!fax || strstr(format, "Premature EOF"));
    return matters ? on_error(tiff, user, where, format, values) : 1;
}

static enum limoe_status open_file(struct job *job) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (options) {
        TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)job->input->size + SPARE);
        TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, job);
        TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, job);
        job->tiff = TIFFClientOpenExt("TIFF", "rm", job, on_read, on_write, on_seek, on_close, on_size, NULL,
                                      NULL, options);
        TIFFOpenOptionsFree(options);
    }
    if (job->tiff)
        job->status = LIMOE_OK; /* what was wrong with a field did not keep it shut */
    else if (job->status == LIMOE_OK)
        job->status = limoe_fail(job->err, LIMOE_NO_MEMORY, "TIFF: no memory for the decoder");
    return job->status;
}

/* ---- what the page is */

static uint16_t field16(const struct job *job, uint32_t tag, uint16_t absent) {
    uint16_t value = absent;
    return TIFFGetFieldDefaulted(job->tiff, tag, &value) ? value : absent;
}

/* Codecs that are common; what the others would cost in time and memory has not been bounded. */
static bool is_known_compression(uint16_t compression) {
    switch (compression) {
    case COMPRESSION_NONE:
    case COMPRESSION_CCITTRLE:
    case COMPRESSION_CCITTFAX3:
    case COMPRESSION_CCITTFAX4:
    case COMPRESSION_LZW:
    case COMPRESSION_JPEG:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_PACKBITS:
    case COMPRESSION_ZSTD:
        return TIFFIsCODECConfigured(compression);
    default:
        return false;
    }
}

/* Samples that make the colour; 0: not one that is read. */
static uint16_t colours_of(uint16_t photometric) {
    switch (photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
        return 1;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
        return 3;
    case PHOTOMETRIC_SEPARATED:
        return 4;
    default:
        return 0;
    }
}

static bool is_known_depth(uint16_t bits, uint16_t photometric) {
    bool small = bits == 1 || bits == 2 || bits == 4;
    return bits == 8 ||
           (bits == 16 && photometric != PHOTOMETRIC_PALETTE && photometric != PHOTOMETRIC_YCBCR) ||
           (small && colours_of(photometric) == 1);
}

static enum limoe_status read_size(struct job *job) {
    if (!TIFFGetField(job->tiff, TIFFTAG_IMAGEWIDTH, &job->width) ||
        !TIFFGetField(job->tiff, TIFFTAG_IMAGELENGTH, &job->height))
        return limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: the first page does not say its size");
    return image_check("TIFF", job->input, job->width, job->height, job->err);
}

static enum limoe_status read_page(struct job *job) {
    job->compression = field16(job, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    job->photometric = field16(job, TIFFTAG_PHOTOMETRIC, UINT16_MAX);
    job->bits = field16(job, TIFFTAG_BITSPERSAMPLE, 1);
    job->in_file = field16(job, TIFFTAG_SAMPLESPERPIXEL, 1);
    job->planes = field16(job, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    uint16_t format = field16(job, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
    if (!is_known_compression(job->compression)) {
        return limoe_fail(job->err, LIMOE_UNSUPPORTED,
                          "TIFF: compression %u; accepted are none, CCITT, LZW, JPEG, Deflate, PackBits and "
                          "Zstandard",
                          job->compression);
    }
    uint16_t colours = colours_of(job->photometric);
    if (colours == 0) {
        return limoe_fail(job->err, LIMOE_UNSUPPORTED,
                          "TIFF: colours of kind %u; accepted are grey, palette, RGB, CMYK and YCbCr",
                          job->photometric);
    }
    if (!is_known_depth(job->bits, job->photometric) || format != SAMPLEFORMAT_UINT) {
        return limoe_fail(
            job->err, LIMOE_UNSUPPORTED,
            "TIFF: samples of %u bits in format %u; accepted are unsigned integers of 8 and 16 bits, of "
            "grey and palettes also of 1, 2 and 4",
            job->bits, format);
    }
    if (job->in_file < colours) {
        return limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: %u samples a pixel; its colours need %u",
                          job->in_file, colours);
    }
    uint16_t extra_count = 0, *extras = NULL;
    TIFFGetFieldDefaulted(job->tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extras);
    bool opaque = job->photometric == PHOTOMETRIC_SEPARATED || job->photometric == PHOTOMETRIC_PALETTE;
    if (extra_count > 0 && job->in_file > colours && !opaque)
        job->alpha = extras[0];
    job->samples = (uint16_t)(colours + (job->alpha != EXTRASAMPLE_UNSPECIFIED));
    return LIMOE_OK;
}

/* ---- samples to 8 bits */

/* Sample i of a row. Indices of a palette stay as they are. */
static uint8_t sample_at(const struct job *job, const uint8_t *row, size_t i) {
    if (job->bits == 8)
        return row[i];
    if (job->bits == 16) {
        uint16_t value;
        memcpy(&value, row + 2 * i, 2); /* in the processor's order */
        return (uint8_t)(value >> 8);
    }
    uint32_t most = (1u << job->bits) - 1, bit = (uint32_t)(i * job->bits % 8);
    uint32_t value = (uint32_t)row[i * job->bits / 8] >> (8 - job->bits - bit) & most;
    return (uint8_t)(job->photometric == PHOTOMETRIC_PALETTE ? value : value * (255 / most));
}

/* One row of a strip or tile to n pixels: all samples, or those of one plane. */
static void put_row(const struct job *job, const uint8_t *row, uint16_t plane, uint8_t *to, uint32_t n) {
    const bool together = job->planes == PLANARCONFIG_CONTIG;
    const size_t step = together ? job->in_file : 1;
    const uint16_t count = together ? job->samples : 1, first = together ? 0 : plane;
    for (size_t x = 0; x < n; x++)
        for (uint16_t s = 0; s < count; s++)
            to[x * job->samples + first + s] = sample_at(job, row, x * step + s);
}

static uint8_t *pixel_at(const struct job *job, uint32_t x, uint32_t y) {
    return job->pixels + ((size_t)y * job->width + x) * job->samples;
}

/* How a plane is cut: into strips, which are tiles as wide as the picture, or tiles. */
struct grid {
    bool tiled;
    uint32_t width, height, across, down; /* of a part, in pixels; parts */
    size_t size, stride;                  /* bytes of a part and of its row */
};

static enum limoe_status read_grid(const struct job *job, struct grid *grid) {
    grid->tiled = TIFFIsTiled(job->tiff);
    if (grid->tiled) {
        TIFFGetField(job->tiff, TIFFTAG_TILEWIDTH, &grid->width);
        TIFFGetField(job->tiff, TIFFTAG_TILELENGTH, &grid->height);
    } else {
        TIFFGetFieldDefaulted(job->tiff, TIFFTAG_ROWSPERSTRIP, &grid->height);
        grid->width = job->width;
        grid->height = grid->height < job->height ? grid->height : job->height;
    }
    const uint64_t area = (uint64_t)grid->width * grid->height, pixels = (uint64_t)job->width * job->height;
    const uint64_t most = 4 * pixels + TILE_SPARE;
    if (area == 0 || area > most) {
        return limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: parts of %u x %u pixels in a picture of %u x %u",
                          grid->width, grid->height, job->width, job->height);
    }
    grid->across = (uint32_t)((job->width + (uint64_t)grid->width - 1) / grid->width);
    grid->down = (uint32_t)((job->height + (uint64_t)grid->height - 1) / grid->height);
    if (area > most / ((uint64_t)grid->across * grid->down)) {
        return limoe_fail(job->err, LIMOE_BAD_IMAGE,
                          "TIFF: %u x %u tiles of %u x %u pixels in a picture of %u x %u", grid->across,
                          grid->down, grid->width, grid->height, job->width, job->height);
    }
    const uint64_t in_row = job->planes == PLANARCONFIG_CONTIG ? job->in_file : 1;
    grid->stride = (size_t)(((uint64_t)grid->width * job->bits * in_row + 7) / 8);
    grid->size = grid->stride * grid->height;
    if (grid->size > (pixels > TILE_SPARE ? pixels : TILE_SPARE) * MOST_BYTES) {
        return limoe_fail(job->err, LIMOE_UNSUPPORTED, "TIFF: %u samples a pixel, %zu bytes in one part",
                          job->in_file, grid->size);
    }
    return LIMOE_OK;
}

/* Fills part[grid->size] with a tile or a strip, of which the last one has fewer rows. */
static enum limoe_status read_part(struct job *job, const struct grid *grid, uint32_t x, uint32_t y,
                                   uint16_t plane, uint8_t *part) {
    tmsize_t wanted, had;
    if (grid->tiled) {
        wanted = TIFFTileSize(job->tiff);
        had = (size_t)wanted == grid->size
                  ? TIFFReadEncodedTile(job->tiff, TIFFComputeTile(job->tiff, x, y, 0, plane), part, wanted)
                  : -1;
    } else {
        const uint32_t rows = job->height - y < grid->height ? job->height - y : grid->height;
        wanted = TIFFVStripSize(job->tiff, rows);
        had = (size_t)wanted == grid->stride * rows
                  ? TIFFReadEncodedStrip(job->tiff, TIFFComputeStrip(job->tiff, y, plane), part, wanted)
                  : -1;
    }
    if (had != wanted && job->status == LIMOE_OK)
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: the part at %u, %u does not decode", x, y);
    return job->status;
}

static enum limoe_status read_plane(struct job *job, const struct grid *grid, uint16_t plane, uint8_t *part) {
    for (uint64_t i = 0; i < (uint64_t)grid->across * grid->down; i++) {
        const uint32_t x = (uint32_t)(i % grid->across) * grid->width;
        const uint32_t y = (uint32_t)(i / grid->across) * grid->height;
        if (read_part(job, grid, x, y, plane, part) != LIMOE_OK)
            break;
        const uint32_t columns = job->width - x < grid->width ? job->width - x : grid->width;
        for (uint32_t r = 0; r < grid->height && r < job->height - y; r++)
            put_row(job, part + r * grid->stride, plane, pixel_at(job, x, y + r), columns);
    }
    return job->status;
}

/* What is held at one time beside the samples: a part of the file, or the colours. One picture's two may be
 * as many bytes as most formats take for the largest; deep ones in one strip and those with alpha are more.
 */
static enum limoe_status check_memory(const struct job *job, uint64_t beside) {
    const uint64_t bytes = (uint64_t)job->width * job->height * job->samples + beside;
    const uint64_t most = job->input->max_pixels * MOST_BYTES_PER_PIXEL;
    if (bytes / MOST_BYTES_PER_PIXEL <= job->input->max_pixels)
        return LIMOE_OK;
    return limoe_fail(
        job->err, LIMOE_TOO_LARGE,
        "TIFF: %u x %u pixels of %u samples take %llu bytes to unpack; at most %llu are accepted", job->width,
        job->height, job->samples, (unsigned long long)bytes, (unsigned long long)most);
}

/* Every sample that is wanted. */
static enum limoe_status read_samples(struct job *job) {
    const uint16_t planes = job->planes == PLANARCONFIG_CONTIG ? 1 : job->samples;
    struct grid grid = {0};
    enum limoe_status status = read_grid(job, &grid);
    if (status == LIMOE_OK)
        status = check_memory(job, grid.size);
    if (status != LIMOE_OK)
        return status;
    uint8_t *part = calloc(1, grid.size);
    if (!part)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "TIFF: no memory for %zu bytes", grid.size);
    for (uint16_t plane = 0; plane < planes && status == LIMOE_OK; plane++)
        status = read_plane(job, &grid, plane, part);
    free(part);
    return status;
}

/* YCbCr that is not JPEG's: libtiff makes RGB of it. */
static enum limoe_status read_as_rgb(struct job *job) {
    const size_t n = (size_t)job->width * job->height;
    uint32_t *raster = calloc(n, sizeof *raster);
    if (!raster) {
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "TIFF: no memory for %u x %u pixels", job->width,
                          job->height);
    }
    TIFFSetField(job->tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT); /* it is turned later */
    if (!TIFFReadRGBAImageOriented(job->tiff, job->width, job->height, raster, ORIENTATION_TOPLEFT, 1) &&
        job->status == LIMOE_OK)
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: the picture does not decode");
    for (size_t i = 0; i < n; i++) {
        job->pixels[3 * i] = (uint8_t)TIFFGetR(raster[i]);
        job->pixels[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
        job->pixels[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return job->status;
}

/* ---- samples to colours */

static enum limoe_status put_colours(const struct job *job, struct image *out) {
    uint16_t *red = NULL, *green = NULL, *blue = NULL;
    if (job->photometric == PHOTOMETRIC_PALETTE &&
        !TIFFGetField(job->tiff, TIFFTAG_COLORMAP, &red, &green, &blue))
        return limoe_fail(job->err, LIMOE_BAD_IMAGE, "TIFF: a palette picture without palette");
    const size_t n = (size_t)job->width * job->height;
    const uint8_t *from = job->pixels;
    for (size_t i = 0; i < n; i++, from += job->samples) {
        uint8_t *to = out->pixels + i * out->channels;
        switch (job->photometric) {
        case PHOTOMETRIC_PALETTE:
            to[0] = (uint8_t)(red[from[0]] >> 8);
            to[1] = (uint8_t)(green[from[0]] >> 8);
            to[2] = (uint8_t)(blue[from[0]] >> 8);
            break;
        case PHOTOMETRIC_SEPARATED:
            for (int c = 0; c < 3; c++) {
                const uint32_t white = 255u - from[3];
                to[c] = (uint8_t)(white - divide255(from[c] * white));
            }
            break;
        case PHOTOMETRIC_MINISWHITE:
            memset(to, 255 - from[0], 3);
            break;
        case PHOTOMETRIC_MINISBLACK:
            memset(to, from[0], 3);
            break;
        default:
            memcpy(to, from, 3);
        }
        if (out->channels == 4) {
            to[3] = from[job->samples - 1];
            if (job->alpha == EXTRASAMPLE_ASSOCALPHA)
                image_divide_alpha(to);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status decode(struct job *job, struct image *out) {
    bool jpeg = job->compression == COMPRESSION_JPEG;
    bool by_libtiff = job->photometric == PHOTOMETRIC_YCBCR && !(jpeg && job->planes == PLANARCONFIG_CONTIG);
    if (by_libtiff) {
        job->alpha = EXTRASAMPLE_UNSPECIFIED;
        job->samples = 3;
    } else if (job->photometric == PHOTOMETRIC_YCBCR) {
        TIFFSetField(job->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    const uint32_t channels = job->alpha == EXTRASAMPLE_UNSPECIFIED ? 3 : 4;
    job->status = check_memory(job, (uint64_t)job->width * job->height * (by_libtiff ? 4 : channels));
    if (job->status != LIMOE_OK)
        return job->status;
    job->pixels = calloc((size_t)job->width * job->height, job->samples);
    if (!job->pixels) {
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "TIFF: no memory for %u x %u pixels", job->width,
                          job->height);
    }
    job->strict = true;
    job->status = by_libtiff ? read_as_rgb(job) : read_samples(job);
    if (job->status == LIMOE_OK)
        job->status = image_allocate("TIFF", job->input, job->width, job->height, channels, out, job->err);
    return job->status == LIMOE_OK ? put_colours(job, out) : job->status;
}

enum limoe_status image_read_tiff(const struct input *input, struct image *out, unsigned *orientation,
                                  struct limoe_error *err) {
    struct job job = {.input = input, .err = err};
    if (open_file(&job) != LIMOE_OK)
        return job.status;
    enum limoe_status status = read_size(&job);
    if (status == LIMOE_OK)
        status = read_page(&job);
    if (status == LIMOE_OK) {
        uint16_t turned = field16(&job, TIFFTAG_ORIENTATION, 1);
        *orientation = turned >= 1 && turned <= 8 ? turned : 1;
        status = decode(&job, out);
    }
    free(job.pixels);
    TIFFClose(job.tiff);
    return status;
}

void image_prepare_tiff(void) {
    static const uint8_t dot[] = /* a directory of five fields, one white pixel */
        "II*\0\10\0\0\0\5\0"
        "\0\1\3\0\1\0\0\0\1\0\0\0"   /* width */
        "\1\1\3\0\1\0\0\0\1\0\0\0"   /* height */
        "\6\1\3\0\1\0\0\0\1\0\0\0"   /* grey */
        "\21\1\3\0\1\0\0\0\10\0\0\0" /* where the strip lies: anywhere */
        "\27\1\3\0\1\0\0\0\1\0\0\0"  /* its bytes */
        "\0\0\0";
    const struct input input = {.bytes = dot, .size = sizeof dot, .max_pixels = 1};
    struct image image = {0};
    unsigned orientation;
    image_read_tiff(&input, &image, &orientation, NULL);
    image_free(&image);
}
