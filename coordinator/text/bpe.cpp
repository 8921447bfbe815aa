#include "coordinator/text/bpe.h"

#include <bit>
#include <cstring>
#include <limits>
#include <queue>

#include "common/base/error.h"

namespace tessera {
namespace {

// Up to here scanning all neighbours for the best merge beats a heap.
constexpr std::size_t kMaxShortWord = 32;
constexpr std::int32_t kNoRank = std::numeric_limits<std::int32_t>::max();

std::uint64_t pair_of(TokenId left, TokenId right) noexcept {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::size_t hash_of(std::uint64_t pair) noexcept {
  return static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15U) >> 32);
}

// Eight bytes at a time, multiply and fold. Only speed depends on its quality.
std::uint32_t hash_of(std::string_view word) noexcept {
  std::uint64_t h = word.size() * 0x9E3779B97F4A7C15U;
  const auto mix = [&h](std::uint64_t bytes) {
    h = (h ^ bytes) * 0xBF58476D1CE4E5B9U;
    h ^= h >> 29;
  };
  std::size_t i = 0;
  for (; i + 8 <= word.size(); i += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, word.data() + i, 8);
    mix(bytes);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, word.data() + i, word.size() - i);
  mix(rest);
  return static_cast<std::uint32_t>(h >> 16);
}

std::size_t capacity_for(std::size_t count) {
  return std::bit_ceil(2 * count + 2);
}

}  // namespace

Bpe::Bpe(const std::array<TokenId, 256>& byte_tokens,
         const std::vector<Merge>& merges,
         const std::vector<Word>& words,
         bool ignore_merges)
    : byte_tokens_(byte_tokens), merges_(capacity_for(merges.size())) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    insert_merge(merges[rank], static_cast<std::int32_t>(rank));
  }
  // The table must not answer before it is complete: a word may be another word's part.
  std::vector<const Word*> whole;
  std::vector<TokenId> ids;
  words_.resize(capacity_for(0));
  for (const Word& word : words) {
    if (word.bytes.empty()) continue;
    ids.clear();
    if (!ignore_merges) merge_word(word.bytes, ids);
    if (ignore_merges || (ids.size() == 1 && ids[0] == word.id)) whole.push_back(&word);
  }
  words_.assign(capacity_for(whole.size()), WordSlot{});
  for (const Word* word : whole) insert_word(*word);
}

void Bpe::insert_merge(const Merge& merge, std::int32_t rank) {
  const std::uint64_t pair = pair_of(merge.left, merge.right);
  const std::size_t mask = merges_.size() - 1;
  std::size_t i = hash_of(pair) & mask;
  while (merges_[i].pair != kNoPair && merges_[i].pair != pair) i = (i + 1) & mask;
  merges_[i] = {pair, rank, merge.merged};
}

const Bpe::MergeSlot* Bpe::find_merge(TokenId left, TokenId right) const noexcept {
  const std::uint64_t pair = pair_of(left, right);
  const std::size_t mask = merges_.size() - 1;
  for (std::size_t i = hash_of(pair) & mask; merges_[i].pair != kNoPair; i = (i + 1) & mask) {
    if (merges_[i].pair == pair) return &merges_[i];
  }
  return nullptr;
}

void Bpe::insert_word(const Word& word) {
  const std::uint32_t hash = hash_of(word.bytes);
  const std::size_t mask = words_.size() - 1;
  std::size_t i = hash & mask;
  while (words_[i].id >= 0) i = (i + 1) & mask;
  words_[i] = {hash, word.id, static_cast<std::uint32_t>(word_bytes_.size()),
               static_cast<std::uint32_t>(word.bytes.size())};
  word_bytes_ += word.bytes;
}

TokenId Bpe::find_word(std::string_view word) const noexcept {
  const std::uint32_t hash = hash_of(word);
  const std::size_t mask = words_.size() - 1;
  for (std::size_t i = hash & mask; words_[i].id >= 0; i = (i + 1) & mask) {
    const WordSlot& slot = words_[i];
    if (slot.hash == hash && slot.length == word.size() &&
        std::memcmp(word_bytes_.data() + slot.offset, word.data(), word.size()) == 0) {
      return slot.id;
    }
  }
  return -1;
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& ids) const {
  const TokenId id = find_word(word);
  if (id >= 0) {
    ids.push_back(id);
  } else {
    merge_word(word, ids);
  }
}

void Bpe::merge_word(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.size() <= kMaxShortWord) {
    merge_short(word, ids);
  } else {
    merge_long(word, ids);
  }
}

void Bpe::merge_short(std::string_view word, std::vector<TokenId>& ids) const {
  std::array<TokenId, kMaxShortWord> tokens;
  std::array<std::int32_t, kMaxShortWord> ranks;  // Of the merge of tokens i and i + 1.
  std::array<TokenId, kMaxShortWord> merged;      // What it gives.
  std::size_t count = word.size();
  for (std::size_t i = 0; i < count; ++i)
    tokens[i] = byte_tokens_[static_cast<unsigned char>(word[i])];
  const auto look_up = [&](std::size_t i) {
    const MergeSlot* merge = i + 1 < count ? find_merge(tokens[i], tokens[i + 1]) : nullptr;
    ranks[i] = merge == nullptr ? kNoRank : merge->rank;
    merged[i] = merge == nullptr ? -1 : merge->merged;
  };
  for (std::size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == kNoRank) break;
    tokens[best] = merged[best];
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      tokens[i] = tokens[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
}

void Bpe::merge_long(std::string_view word, std::vector<TokenId>& ids) const {
  struct Symbol {
    TokenId id;  // -1: merged into the one before it.
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;  // Index of the left symbol.
    std::uint64_t pair;
    TokenId merged;
    bool operator<(const Candidate& other) const noexcept {  // The heap's top is the largest.
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  TESSERA_REQUIRE(word.size() < static_cast<std::size_t>(kNoRank), "a word of ", word.size(),
                  " bytes is too long");
  const auto count = static_cast<std::int32_t>(word.size());
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    symbols.push_back({byte_tokens_[byte], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto symbol = [&](std::int32_t i) -> Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };

  std::vector<Candidate> storage;
  storage.reserve(word.size());
  std::priority_queue<Candidate> heap(std::less<Candidate>{}, std::move(storage));
  const auto offer = [&](std::int32_t left) {
    if (left < 0 || symbol(left).next < 0) return;
    const TokenId a = symbol(left).id;
    const TokenId b = symbol(symbol(left).next).id;
    const MergeSlot* merge = find_merge(a, b);
    if (merge != nullptr) heap.push({merge->rank, left, merge->pair, merge->merged});
  };
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = symbol(best.left);
    // Stale if either side was merged since it was offered.
    if (left.id < 0 || left.next < 0 || pair_of(left.id, symbol(left.next).id) != best.pair)
      continue;
    Symbol& right = symbol(left.next);
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbol(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (std::int32_t i = 0; i >= 0; i = symbol(i).next) ids.push_back(symbol(i).id);
}

}  // namespace tessera
