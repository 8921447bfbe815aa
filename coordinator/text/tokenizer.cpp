#include "coordinator/text/tokenizer.h"

#include "common/base/error.h"
#include "coordinator/text/read_file.h"
#include "coordinator/text/tokenizer_data.h"
#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

// One encode() call: the stages of the pipeline and their working memory.
class Encoder {
 public:
  Encoder(const TokenizerData& data, bool parse_special)
      : data_(data), parse_special_(parse_special) {}

  void run(std::string_view text, std::vector<TokenId>& ids) {
    std::vector<TextPiece> pieces;
    data_.raw_added.split(text, parse_special_, pieces);
    for (const TextPiece& piece : pieces) {
      if (piece.id) {
        ids.push_back(*piece.id);
      } else {
        encode_normalized(data_.normalizer.apply(piece.text, normalizer_work_), ids);
      }
    }
  }

 private:
  void encode_normalized(std::string_view text, std::vector<TokenId>& ids) {
    pieces_.clear();
    data_.normalized_added.split(text, parse_special_, pieces_);
    for (const TextPiece& piece : pieces_) {
      if (piece.id) {
        ids.push_back(*piece.id);
        continue;
      }
      data_.pre_tokenizer.split(piece.text, work_);
      for (const std::string_view word : work_.words) data_.bpe.encode(word, ids);
    }
  }

  const TokenizerData& data_;
  bool parse_special_;
  std::vector<TextPiece> pieces_;
  Normalizer::Workspace normalizer_work_;
  PreTokenizer::Workspace work_;
};

}  // namespace

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  return Tokenizer(std::make_shared<const TokenizerData>(read_tokenizer_data(json, name)));
}

Tokenizer Tokenizer::load(const std::filesystem::path& tokenizer_json) {
  return from_json(read_file(tokenizer_json), tokenizer_json.string());
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const auto invalid = find_invalid_utf8(text);
  TESSERA_REQUIRE(!invalid, "text is not valid UTF-8 at byte ", *invalid, " of ", text.size());
  std::vector<TokenId> ids;
  ids.reserve(text.size() / 3 + 8);
  if (options.add_special) ids = data_->prefix_ids;
  Encoder(*data_, options.parse_special).run(text, ids);
  if (options.add_special) {
    ids.insert(ids.end(), data_->suffix_ids.begin(), data_->suffix_ids.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string text;
  TokenDecoder decoder = make_decoder();
  decode_part(ids, skip_special, decoder, text);
  decoder.finish(text);
  return text;
}

TokenDecoder Tokenizer::make_decoder() const {
  return TokenDecoder(data_->decoder);
}

void Tokenizer::decode_part(std::span<const TokenId> ids,
                            bool skip_special,
                            TokenDecoder& decoder,
                            std::string& out) const {
  for (const TokenId id : ids) {
    if (!contains(id)) continue;
    const TokenEntry& token = data_->tokens[static_cast<std::size_t>(id)];
    if (skip_special && token.skipped) continue;
    decoder.push(token.text.bytes, token.text.is_byte, out);
  }
}

std::int32_t Tokenizer::vocab_size() const noexcept {
  return static_cast<std::int32_t>(data_->tokens.size());
}

bool Tokenizer::contains(TokenId id) const noexcept {
  return id >= 0 && id < vocab_size() && !data_->tokens[static_cast<std::size_t>(id)].piece.empty();
}

bool Tokenizer::is_special(TokenId id) const noexcept {
  return contains(id) && data_->tokens[static_cast<std::size_t>(id)].special;
}

std::string_view Tokenizer::id_to_piece(TokenId id) const {
  TESSERA_REQUIRE(contains(id), "token id ", id, " is not in the vocabulary of ", vocab_size());
  return data_->tokens[static_cast<std::size_t>(id)].piece;
}

std::optional<TokenId> Tokenizer::token_to_id(std::string_view piece) const {
  const auto it = data_->id_of_piece.find(std::string(piece));
  if (it == data_->id_of_piece.end()) return std::nullopt;
  return it->second;
}

std::span<const TokenId> Tokenizer::special_ids() const noexcept {
  return data_->special_ids;
}

}  // namespace tessera
