#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "coordinator/text/token_decoder.h"

namespace tessera {

struct TokenizerData;  // Of tokenizer_data.h: what a file holds, ready for use.

struct EncodeOptions {
  /// Runs the file's post-processor, which may add tokens around the text (BOS of some families).
  /// Text rendered by a chat template already holds them.
  bool add_special = false;
  /// Finds special tokens written out in the text ("<|im_end|>") and gives their ids; false
  /// encodes them as ordinary characters. Added tokens that are not special are always found.
  bool parse_special = true;
};

/// Text to token ids and back, for BPE tokenizers in the `tokenizer.json` format: over bytes
/// (ByteLevel), or over characters with byte fallback.
///
///     text -> split at added tokens -> normalise -> pre-tokenise (regexes) -> BPE
///     ids  -> text of each token (special ones skipped on request) -> decoder
///
/// Token for token the same as the Hugging Face `tokenizers` library. `truncation` and `padding`
/// of the file are not applied: they belong to training code.
///
/// Immutable; every method may be called from any thread. Copies share the data.
class Tokenizer {
 public:
  /// @param json  Content of a tokenizer.json. @param name  What messages call it.
  /// @throws Error{kInvalidArgument} naming the field for malformed JSON, wrong types, ids that
  ///         collide or leave holes too large, merges of unknown tokens, and every component that
  ///         is not supported.
  static Tokenizer from_json(std::string_view json, const std::string& name = "tokenizer.json");

  /// Reads the file. @throws Error{kInvalidArgument} as from_json, the message starting with the
  /// path.
  static Tokenizer load(const std::filesystem::path& tokenizer_json);

  /// @param text  UTF-8; anything else is Error{kInvalidArgument} that names the byte offset.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  /// Text of `ids`. Bytes that are no UTF-8 become U+FFFD: in a byte-level vocabulary one per
  /// maximal ill-formed part (the rule of Unicode 3.9, Rust and WHATWG), with byte fallback one
  /// per byte (see DecoderRules). Ids that name no token contribute nothing.
  std::string decode(std::span<const TokenId> ids, bool skip_special = true) const;

  /// For text that arrives in parts: a decoder, which borrows any copy of the tokenizer, and what
  /// it makes of `ids`, appended to `out` as far as no later token can change it. The text ends
  /// with TokenDecoder::finish.
  TokenDecoder make_decoder() const;
  void decode_part(std::span<const TokenId> ids,
                   bool skip_special,
                   TokenDecoder& decoder,
                   std::string& out) const;

  /// Highest id + 1, added tokens included. A model's embedding may be larger than this.
  std::int32_t vocab_size() const noexcept;

  /// Whether `id` names a token: false outside [0, vocab_size()) and in holes.
  bool contains(TokenId id) const noexcept;

  /// Whether `id` is an added token marked special.
  bool is_special(TokenId id) const noexcept;

  /// The token as the file spells it (byte-level alphabet: a space is "Ġ").
  /// @throws Error{kInvalidArgument} unless contains(id).
  std::string_view id_to_piece(TokenId id) const;

  /// Id of a token given as the file spells it.
  std::optional<TokenId> token_to_id(std::string_view piece) const;

  /// Ids of all special tokens, ascending.
  std::span<const TokenId> special_ids() const noexcept;

 private:
  explicit Tokenizer(std::shared_ptr<const TokenizerData> data) : data_(std::move(data)) {}

  std::shared_ptr<const TokenizerData> data_;
};

}  // namespace tessera
