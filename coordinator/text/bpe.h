#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "coordinator/text/bpe_symbols.h"
#include "coordinator/text/flat_map.h"

namespace tessera {

/// Byte pair encoding of one word.
///
/// A word starts as the tokens of its bytes or characters. As long as two neighbours have a merge,
/// the one of the lowest rank (the leftmost of several) is applied. Words that are known to end as
/// one token are found in a table. Long words are cut where no merge reaches across, and what is
/// still long uses a heap, so that a hostile word of n bytes costs n log n.
///
/// Immutable, any thread. Source: Sennrich et al., arXiv:1508.07909.
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

  /// First and last character of a token as the file spells it; the spelling of a merged token is
  /// that of its parts.
  struct Edges {
    char32_t first = 0;
    char32_t last = 0;
  };

  /// What a tokenizer.json says about its model.
  struct Rules {
    BpeSymbols symbols;
    std::vector<Merge> merges;  ///< By rank. A pair named twice has its last rank.
    std::vector<Edges> edges;   ///< By id.
    /// Words to look up before anything is merged; those that merges do not lead to are dropped
    /// unless `ignore_merges`.
    std::vector<Word> words;
    bool ignore_merges = false;
  };

  explicit Bpe(Rules rules);

  /// Appends the tokens of `word` (well-formed UTF-8).
  void encode(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  struct Target {
    std::int32_t rank = 0;
    TokenId merged = 0;
  };
  struct WordSlot {
    std::uint32_t hash = 0;
    TokenId id = -1;
    std::uint32_t offset = 0;  // Of the bytes in word_bytes_.
    std::uint32_t length = 0;
  };

  const Target* find_merge(TokenId left, TokenId right) const noexcept;
  TokenId find_word(std::string_view word) const noexcept;
  void insert_word(const Word& word);
  bool may_merge_across(TokenId left, TokenId right) const noexcept;
  void merge_word(std::string_view word, std::vector<TokenId>& ids) const;
  void merge_pieces(std::vector<TokenId>& ids, std::size_t begin) const;
  // Both leave the tokens at the front of `symbols` and return how many they are.
  std::size_t merge_short(std::span<TokenId> symbols) const;
  std::size_t merge_long(std::span<TokenId> symbols) const;

  BpeSymbols symbols_;
  std::vector<Edges> edges_;
  FlatMap<Target> merges_;       // By the pair of ids.
  FlatMap<bool> joints_;         // Pairs of characters that some merge joins.
  std::vector<WordSlot> words_;  // Open addressing, power-of-two capacity, at most half full.
  std::string word_bytes_;
  std::size_t longest_word_ = 0;
};

}  // namespace tessera
