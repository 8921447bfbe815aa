#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// Byte pair encoding of one word.
///
/// A word starts as one token per byte. As long as two neighbours have a merge, the one of the
/// lowest rank (the leftmost of several) is applied. Words that merge into a single token anyway
/// are found in a table built at construction; long words use a heap, so that a hostile word of n
/// bytes costs n log n.
///
/// Immutable, any thread. Source: Sennrich et al., arXiv:1508.07909, over bytes as in GPT-2.
class Bpe {
 public:
  struct Merge {
    TokenId left;
    TokenId right;
    TokenId merged;
  };

  struct Word {
    std::string bytes;
    TokenId id;
  };

  /// @param byte_tokens  Id of each byte's own token, -1 for bytes that no UTF-8 contains.
  /// @param merges       By rank. A pair named twice has its last rank.
  /// @param words        Every token that BPE may give, with the bytes it stands for.
  /// @param ignore_merges  A word that is a token becomes that token even if no merges lead there.
  Bpe(const std::array<TokenId, 256>& byte_tokens,
      const std::vector<Merge>& merges,
      const std::vector<Word>& words,
      bool ignore_merges);

  /// Appends the tokens of `word` (bytes).
  void encode(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  struct MergeSlot {
    std::uint64_t pair = kNoPair;
    std::int32_t rank = 0;
    TokenId merged = 0;
  };
  struct WordSlot {
    std::uint32_t hash = 0;
    TokenId id = -1;
    std::uint32_t offset = 0;  // Of the bytes in word_bytes_.
    std::uint32_t length = 0;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};

  const MergeSlot* find_merge(TokenId left, TokenId right) const noexcept;
  TokenId find_word(std::string_view word) const noexcept;
  void insert_merge(const Merge& merge, std::int32_t rank);
  void insert_word(const Word& word);
  void merge_word(std::string_view word, std::vector<TokenId>& ids) const;
  void merge_short(std::string_view word, std::vector<TokenId>& ids) const;
  void merge_long(std::string_view word, std::vector<TokenId>& ids) const;

  std::array<TokenId, 256> byte_tokens_;
  std::vector<MergeSlot> merges_;  // Open addressing, power-of-two capacity, at most half full.
  std::vector<WordSlot> words_;    // The same.
  std::string word_bytes_;
};

}  // namespace tessera
