/* tokenizer.cpp - text to piece ids by SentencePiece, the project's only C++.
 *
 * The processor is read-only once loaded, so that any number of threads may encode. No exception leaves this
 * file, and the file is checked (sentencepiece.c) before the library, which ends the process over some
 * corrupt ones, sees it. */
#include "model/text/tokenizer.h"

#include <sentencepiece_processor.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "model/checkpoint/file.h"
#include "model/text/sentencepiece.h"

namespace sentencepiece::logging {
void SetMinLogLevel(int level); /* exported, but not in the header of the library's 0.1.97 */
}

namespace {
constexpr char name[] = "tokenizer.model";
constexpr size_t max_file = size_t{64} << 20;
constexpr int only_fatal = 3;

struct free_deleter {
    void operator()(void *p) const {
        std::free(p);
    }
};
} // namespace

struct tokenizer {
    sentencepiece::SentencePieceProcessor processor;
};

/* What may throw is memory: the library returns its failures. */
static enum limoe_status caught(struct limoe_error *err) {
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

static enum limoe_status load(const char *dir, uint32_t vocab, struct fingerprint *fingerprint,
                              struct tokenizer **out, struct limoe_error *err) {
    uint8_t *read = nullptr;
    size_t size = 0;
    enum limoe_status status = file_read(dir, name, max_file, &read, &size, err);
    if (status != LIMOE_OK)
        return status;
    const std::unique_ptr<uint8_t, free_deleter> bytes(read);
    status = sentencepiece_check(bytes.get(), size, name, err);
    if (status != LIMOE_OK)
        return status;

    sentencepiece::logging::SetMinLogLevel(only_fatal); /* what it logs, it also returns */
    auto tokenizer = std::make_unique<struct tokenizer>();
    const auto loaded =
        tokenizer->processor.LoadFromSerializedProto({reinterpret_cast<const char *>(bytes.get()), size});
    if (!loaded.ok()) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: SentencePiece refuses it: %.300s", name,
                          loaded.error_message());
    }
    const int pieces = tokenizer->processor.GetPieceSize();
    if (pieces < 0 || static_cast<uint32_t>(pieces) != vocab) {
        return limoe_fail(err, LIMOE_CORRUPT, "%s: has %d pieces, but \"text.vocab\" in config.json is %u",
                          name, pieces, vocab);
    }
    if (fingerprint)
        fingerprint_add(fingerprint, name, bytes.get(), size);
    *out = tokenizer.release();
    return LIMOE_OK;
}

enum limoe_status tokenizer_open(const char *dir, uint32_t vocab, struct fingerprint *fingerprint,
                                 struct tokenizer **out, struct limoe_error *err) {
    try {
        return load(dir, vocab, fingerprint, out, err);
    } catch (...) {
        return caught(err);
    }
}

enum limoe_status tokenizer_fingerprint(const char *dir, struct fingerprint *fingerprint,
                                        struct limoe_error *err) {
    uint8_t *bytes = nullptr;
    size_t size = 0;
    if (file_exists(dir, name)) {
        enum limoe_status status = file_read(dir, name, max_file, &bytes, &size, err);
        if (status != LIMOE_OK)
            return status;
    }
    fingerprint_add(fingerprint, name, bytes, size);
    std::free(bytes);
    return LIMOE_OK;
}

void tokenizer_close(struct tokenizer *tokenizer) {
    delete tokenizer;
}

enum limoe_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                                   int32_t *ids, uint32_t capacity, uint32_t *count,
                                   struct limoe_error *err) {
    try {
        std::vector<int> pieces;
        const auto encoded = tokenizer->processor.Encode(std::string_view(text, size), &pieces);
        if (!encoded.ok()) {
            return limoe_fail(err, LIMOE_INTERNAL, "%s: SentencePiece cannot encode a text: %.300s", name,
                              encoded.error_message());
        }
        uint32_t n = 0;
        while (n < capacity && n < pieces.size()) {
            ids[n] = pieces[n];
            n++;
        }
        *count = n;
        return LIMOE_OK;
    } catch (...) {
        return caught(err);
    }
}
