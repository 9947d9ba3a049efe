/* pieces.cpp - text to piece ids, and back, by SentencePiece, the project's only C++.
 *
 * The processor is read-only once loaded, so that any number of threads may encode. No exception leaves this
 * file, and the model is checked (sentencepiece.c) before the library, which ends the process over some
 * corrupt ones, sees it. */
#include "model/text/pieces.h"

#include <sentencepiece_processor.h>

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/text/sentencepiece.h"

namespace sentencepiece::logging {
void SetMinLogLevel(int level); /* exported, but not in the header of the library's 0.1.97 */
}

namespace {
constexpr int only_fatal = 3;
}

struct pieces {
    sentencepiece::SentencePieceProcessor processor;
    const char *name;
};

/* What may throw is memory: the library returns its failures. */
static enum limoe_status caught(const char *name, struct limoe_error *err) {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory", name);
    } catch (const std::exception &e) {
        return limoe_fail(err, LIMOE_INTERNAL, "%s: %s", name, e.what());
    } catch (...) {
        return limoe_fail(err, LIMOE_INTERNAL, "%s: SentencePiece threw something unknown", name);
    }
}

static enum limoe_status load(const uint8_t *bytes, size_t size, const char *name, struct pieces **out,
                              struct limoe_error *err) {
    const enum limoe_status status = sentencepiece_check(bytes, size, name, err);
    if (status != LIMOE_OK)
        return status;
    sentencepiece::logging::SetMinLogLevel(only_fatal); /* what it logs, it also returns */
    auto pieces = std::make_unique<struct pieces>();
    pieces->name = name;
    const auto loaded =
        pieces->processor.LoadFromSerializedProto({reinterpret_cast<const char *>(bytes), size});
    if (!loaded.ok()) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: SentencePiece refuses it: %.300s", name,
                          loaded.error_message());
    }
    *out = pieces.release();
    return LIMOE_OK;
}

enum limoe_status pieces_open(const uint8_t *bytes, size_t size, const char *name, struct pieces **out,
                              struct limoe_error *err) {
    try {
        return load(bytes, size, name, out, err);
    } catch (...) {
        return caught(name, err);
    }
}

void pieces_close(struct pieces *pieces) {
    delete pieces;
}

uint32_t pieces_count(const struct pieces *pieces) {
    const int count = pieces->processor.GetPieceSize();
    return count < 0 ? 0 : static_cast<uint32_t>(count);
}

int32_t pieces_id(const struct pieces *pieces, const char *piece) {
    return pieces->processor.PieceToId(piece);
}

enum limoe_status pieces_encode(const struct pieces *pieces, const char *text, size_t size, uint32_t skip,
                                int32_t *ids, uint32_t capacity, uint32_t *count, struct limoe_error *err) {
    try {
        std::vector<int> encoded;
        const auto done = pieces->processor.Encode(std::string_view(text, size), &encoded);
        if (!done.ok()) {
            return limoe_fail(err, LIMOE_INTERNAL, "%s: SentencePiece cannot encode a text: %.300s",
                              pieces->name, done.error_message());
        }
        uint32_t n = 0;
        for (size_t i = skip <= encoded.size() ? skip : 0; i < encoded.size() && n < capacity; i++)
            ids[n++] = encoded[i];
        *count = n;
        return LIMOE_OK;
    } catch (...) {
        return caught(pieces->name, err);
    }
}

enum limoe_status pieces_decode(const struct pieces *pieces, const int32_t *ids, uint32_t count, char *text,
                                size_t size, struct limoe_error *err) {
    try {
        std::string decoded;
        const auto done = pieces->processor.Decode(std::vector<int>(ids, ids + count), &decoded);
        if (!done.ok()) {
            return limoe_fail(err, LIMOE_INTERNAL, "%s: SentencePiece cannot decode %u ids: %.300s",
                              pieces->name, count, done.error_message());
        }
        if (decoded.size() >= size) {
            return limoe_fail(err, LIMOE_TOO_LARGE, "a text of %zu bytes; there is room for %zu with its NUL",
                              decoded.size(), size);
        }
        std::memcpy(text, decoded.c_str(), decoded.size() + 1);
        return LIMOE_OK;
    } catch (...) {
        return caught(pieces->name, err);
    }
}
