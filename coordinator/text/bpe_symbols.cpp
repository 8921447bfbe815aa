#include "coordinator/text/bpe_symbols.h"

#include "coordinator/text/utf8.h"

namespace tessera {

void ByteSymbols::append(std::string_view word, std::vector<TokenId>& ids) const {
  for (const char c : word) ids.push_back(tokens_[static_cast<unsigned char>(c)]);
}

CharacterSymbols::CharacterSymbols(std::span<const std::pair<char32_t, TokenId>> characters,
                                   const ByteTokens& bytes,
                                   std::optional<TokenId> unknown,
                                   bool fuse_unknown)
    : characters_(characters.size()),
      bytes_(bytes),
      unknown_(unknown),
      fuse_unknown_(fuse_unknown) {
  ascii_.fill(-1);
  for (const auto& [character, id] : characters) {
    if (character < ascii_.size()) {
      ascii_[character] = id;
    } else {
      characters_.set(character, id);
    }
  }
}

bool CharacterSymbols::append_bytes(std::string_view character, std::vector<TokenId>& ids) const {
  for (const char c : character) {
    if (bytes_[static_cast<unsigned char>(c)] < 0) return false;
  }
  for (const char c : character) ids.push_back(bytes_[static_cast<unsigned char>(c)]);
  return true;
}

void CharacterSymbols::append(std::string_view word, std::vector<TokenId>& ids) const {
  bool holds_unknown = false;
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t begin = i;
    const char32_t character = next_code_point(word, i);
    TokenId id = -1;
    if (character < ascii_.size()) {
      id = ascii_[character];
    } else if (const TokenId* found = characters_.find(character)) {
      id = *found;
    }
    if (id >= 0) {
      if (holds_unknown) ids.push_back(*unknown_);
      holds_unknown = false;
      ids.push_back(id);
    } else if (!append_bytes(word.substr(begin, i - begin), ids) && unknown_) {
      if (holds_unknown && !fuse_unknown_) ids.push_back(*unknown_);
      holds_unknown = true;
    }
  }
  if (holds_unknown) ids.push_back(*unknown_);
}

}  // namespace tessera
