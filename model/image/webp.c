/* webp.c - WebP by libwebp: lossy, lossless, alpha; of an animation the first frame, on its canvas. No
 * threads. */
#include "model/image/formats.h"

#include <webp/decode.h>
#include <webp/demux.h>

static const char *reason(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "a feature that libwebp does not read";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return "the picture's data ends early";
    default:
        return "the picture's data is corrupt";
    }
}

static unsigned read_orientation(const WebPDemuxer *demux) {
    WebPChunkIterator chunk;
    unsigned orientation = 1;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) {
        orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return orientation;
}

/* Decodes the frame into its place on the canvas, which is all zero: transparent where the frame is not. */
static enum limoe_status read_frame(const WebPIterator *frame, struct image *out, struct limoe_error *err) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return limoe_fail(err, LIMOE_INTERNAL, "WebP: libwebp is not the version this was built for");
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size, &config.input);
    if (code != VP8_STATUS_OK)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "WebP: %s", reason(code));
    /* The container says where the frame lies; the bitstream says how large it is.
     * Both must fit the canvas. */
    uint32_t x = (uint32_t)frame->x_offset, y = (uint32_t)frame->y_offset;
    uint32_t width = (uint32_t)config.input.width, height = (uint32_t)config.input.height;
    if (frame->x_offset < 0 || frame->y_offset < 0 || config.input.width <= 0 || config.input.height <= 0 ||
        (uint64_t)x + width > out->width || (uint64_t)y + height > out->height) {
        return limoe_fail(err, LIMOE_BAD_IMAGE,
                          "WebP: a frame of %u x %u pixels outside its canvas of %u x %u", width, height,
                          out->width, out->height);
    }
    size_t stride = (size_t)out->width * out->channels;
    size_t start = y * stride + (size_t)x * out->channels;
    config.output.colorspace = out->channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->pixels + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * out->height - start;
    code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return limoe_fail(err, LIMOE_NO_MEMORY, "WebP: no memory to decode");
    if (code != VP8_STATUS_OK)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "WebP: %s", reason(code));
    return LIMOE_OK;
}

enum limoe_status image_read_webp(const struct input *input, struct image *out, unsigned *orientation,
                                  struct limoe_error *err) {
    if (memcmp(input->bytes, "RIFF", 4) != 0)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "WebP: no RIFF header");
    if ((uint64_t)le32(input->bytes + 4) + 8 > input->size)
        return image_truncated("WebP", input, err);
    enum limoe_status status = LIMOE_OK;
    WebPData data = {input->bytes, input->size};
    WebPIterator frame = {0};
    WebPDemuxer *demux = WebPDemux(&data);
    if (!demux || !WebPDemuxGetFrame(demux, 1, &frame)) {
        status = limoe_fail(err, LIMOE_BAD_IMAGE, "WebP: the chunks are corrupt or hold no picture");
        goto out;
    }
    uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH);
    uint32_t height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    bool partial = (uint32_t)frame.width != width || (uint32_t)frame.height != height;
    status = image_allocate("WebP", input, width, height, frame.has_alpha || partial ? 4 : 3, out, err);
    if (status == LIMOE_OK) {
        *orientation = read_orientation(demux);
        status = read_frame(&frame, out, err);
    }
out:
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demux);
    return status;
}
