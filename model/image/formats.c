/* formats.c - which format a file has, and who reads it.
 *
 * Formats are told apart by their first bytes alone: names and Content-Type headers lie. No state, no
 * threads. */
#include "model/image/formats.h"

struct signature {
    size_t offset;
    const char *magic;
    size_t length;
    struct image_format format;
};

#define MAGIC(text) text, sizeof(text) - 1

/* To add one: its reader or streamer, and measurer (formats.h), rows here, what the sandbox must permit, tests/preprocess,
 * the fuzzers' corpus, docs/api.md (docs/development.md#a-picture-format). */
static const struct signature signatures[] = {
    {0, MAGIC("\xFF\xD8\xFF"), {"JPEG", NULL, image_measure_jpeg, image_stream_jpeg}},
    {0, MAGIC("\x89PNG\r\n\x1A\n"), {"PNG", NULL, image_measure_png, image_stream_png}},
    {8, MAGIC("WEBP"), {"WebP", image_read_webp, image_measure_webp, NULL}},
    {0, MAGIC("GIF87a"), {"GIF", image_read_gif, image_measure_gif, NULL}},
    {0, MAGIC("GIF89a"), {"GIF", image_read_gif, image_measure_gif, NULL}},
    {0, MAGIC("BM"), {"BMP", image_read_bmp, image_measure_bmp, NULL}},
    {0, MAGIC("P1"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("P2"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("P3"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("P4"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("P5"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("P6"), {"PNM", image_read_pnm, image_measure_pnm, NULL}},
    {0, MAGIC("8BPS"), {"PSD", image_read_psd, image_measure_psd, NULL}},
    {0, MAGIC("II*\0"), {"TIFF", image_read_tiff, image_measure_tiff, NULL}},
    {0, MAGIC("MM\0*"), {"TIFF", image_read_tiff, image_measure_tiff, NULL}},
    {0, MAGIC("II+\0"), {"TIFF", image_read_tiff, image_measure_tiff, NULL}}, /* of 64 bits */
    {0, MAGIC("MM\0+"), {"TIFF", image_read_tiff, image_measure_tiff, NULL}},
    {4, MAGIC("ftypavif"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypavis"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypheic"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypheix"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftyphevc"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftyphevx"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypheim"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypheis"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypmif1"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftypmsf1"), {"HEIF", image_read_heif, image_measure_heif, NULL}},
    {4, MAGIC("ftyp"), {"ISO media", NULL, NULL, NULL}},
    {0, MAGIC("\xFF\x0A"), {"JPEG XL", NULL, NULL, NULL}},
    {0, MAGIC("\0\0\0\x0CJXL "), {"JPEG XL", NULL, NULL, NULL}},
    {0, MAGIC("\0\0\0\x0CjP  "), {"JPEG 2000", NULL, NULL, NULL}},
    {0, MAGIC("\0\0\1\0"), {"ICO", NULL, NULL, NULL}},
    {0, MAGIC("%PDF"), {"PDF", NULL, NULL, NULL}},
    {0, MAGIC("<svg"), {"SVG", NULL, NULL, NULL}},
    {0, MAGIC("<?xml"), {"XML", NULL, NULL, NULL}},
};

static const struct image_format tga = {"TGA", image_read_tga, image_measure_tga, NULL};

const struct image_format *image_find_format(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *s = &signatures[i];
        if (size >= s->offset + s->length && memcmp(bytes + s->offset, s->magic, s->length) == 0)
            return &s->format;
    }
    return image_looks_like_tga(bytes, size) ? &tga : NULL;
}
