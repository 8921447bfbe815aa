#include "coordinator/text/bpe.h"

#include <algorithm>
#include <array>
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

std::uint64_t pair_of(std::uint32_t left, std::uint32_t right) noexcept {
  return static_cast<std::uint64_t>(left) << 32 | right;
}

std::uint64_t pair_of(TokenId left, TokenId right) noexcept {
  return pair_of(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right));
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

Bpe::Bpe(Rules rules)
    : symbols_(std::move(rules.symbols)),
      edges_(std::move(rules.edges)),
      merges_(rules.merges.size()),
      joints_(rules.merges.size()),
      words_(capacity_for(0)) {
  for (std::size_t rank = 0; rank < rules.merges.size(); ++rank) {
    const Merge& merge = rules.merges[rank];
    merges_.set(pair_of(merge.left, merge.right), {static_cast<std::int32_t>(rank), merge.merged});
    const char32_t last = edges_[static_cast<std::size_t>(merge.left)].last;
    const char32_t first = edges_[static_cast<std::size_t>(merge.right)].first;
    joints_.set(pair_of(last, first), true);
  }
  // The table must not answer before it is complete: a word may be another word's part.
  std::vector<const Word*> known;
  std::vector<TokenId> ids;
  for (const Word& word : rules.words) {
    if (word.bytes.empty()) continue;
    ids.clear();
    if (!rules.ignore_merges) merge_word(word.bytes, ids);
    if (rules.ignore_merges || (ids.size() == 1 && ids[0] == word.id)) known.push_back(&word);
  }
  words_.assign(capacity_for(known.size()), WordSlot{});
  for (const Word* word : known) insert_word(*word);
}

const Bpe::Target* Bpe::find_merge(TokenId left, TokenId right) const noexcept {
  return merges_.find(pair_of(left, right));
}

void Bpe::insert_word(const Word& word) {
  const std::uint32_t hash = hash_of(word.bytes);
  const std::size_t mask = words_.size() - 1;
  std::size_t i = hash & mask;
  while (words_[i].id >= 0) i = (i + 1) & mask;
  words_[i] = {hash, word.id, static_cast<std::uint32_t>(word_bytes_.size()),
               static_cast<std::uint32_t>(word.bytes.size())};
  word_bytes_ += word.bytes;
  longest_word_ = std::max(longest_word_, word.bytes.size());
}

TokenId Bpe::find_word(std::string_view word) const noexcept {
  if (word.size() > longest_word_) return -1;
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
  const std::size_t begin = ids.size();
  std::visit([&](const auto& symbols) { symbols.append(word, ids); }, symbols_);
  if (ids.size() - begin <= kMaxShortWord) {
    ids.resize(begin + merge_short(std::span(ids).subspan(begin)));
  } else {
    merge_pieces(ids, begin);
  }
}

// A merge joins a token that ends in `left` to one that begins with `right`, so their spellings
// begin and end alike.
bool Bpe::may_merge_across(TokenId left, TokenId right) const noexcept {
  const char32_t last = edges_[static_cast<std::size_t>(left)].last;
  const char32_t first = edges_[static_cast<std::size_t>(right)].first;
  return joints_.find(pair_of(last, first)) != nullptr;
}

// Merges ids[begin..] in pieces that no merge crosses: the same as merging the whole.
void Bpe::merge_pieces(std::vector<TokenId>& ids, std::size_t begin) const {
  std::size_t end = begin;  // Of what is merged already.
  while (begin < ids.size()) {
    std::size_t size = 1;
    while (begin + size < ids.size() && may_merge_across(ids[begin + size - 1], ids[begin + size]))
      ++size;
    const std::span<TokenId> piece = std::span(ids).subspan(begin, size);
    const std::size_t count = size <= kMaxShortWord ? merge_short(piece) : merge_long(piece);
    std::copy_n(piece.begin(), count, ids.begin() + static_cast<std::ptrdiff_t>(end));
    end += count;
    begin += size;
  }
  ids.resize(end);
}

std::size_t Bpe::merge_short(std::span<TokenId> symbols) const {
  std::array<std::int32_t, kMaxShortWord> ranks;  // Of the merge of symbols i and i + 1.
  std::array<TokenId, kMaxShortWord> merged;      // What it gives.
  std::size_t count = symbols.size();
  const auto look_up = [&](std::size_t i) {
    const Target* merge = i + 1 < count ? find_merge(symbols[i], symbols[i + 1]) : nullptr;
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
    symbols[best] = merged[best];
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  return count;
}

std::size_t Bpe::merge_long(std::span<TokenId> symbols) const {
  struct Link {
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
  TESSERA_REQUIRE(symbols.size() < static_cast<std::size_t>(kNoRank), "a word of ", symbols.size(),
                  " symbols is too long");
  const auto count = static_cast<std::int32_t>(symbols.size());
  std::vector<Link> links;
  links.reserve(symbols.size());
  for (std::int32_t i = 0; i < count; ++i) {
    links.push_back({symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto link = [&](std::int32_t i) -> Link& { return links[static_cast<std::size_t>(i)]; };

  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> heap(std::less<Candidate>{}, std::move(storage));
  const auto offer = [&](std::int32_t left) {
    if (left < 0 || link(left).next < 0) return;
    const TokenId a = link(left).id;
    const TokenId b = link(link(left).next).id;
    const Target* merge = find_merge(a, b);
    if (merge != nullptr) heap.push({merge->rank, left, pair_of(a, b), merge->merged});
  };
  for (std::int32_t i = 0; i < count; ++i) offer(i);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Link& left = link(best.left);
    // Stale if either side was merged since it was offered.
    if (left.id < 0 || left.next < 0 || pair_of(left.id, link(left.next).id) != best.pair) continue;
    Link& right = link(left.next);
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) link(left.next).previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  std::size_t end = 0;
  for (std::int32_t i = 0; i >= 0; i = link(i).next) symbols[end++] = link(i).id;
  return end;
}

}  // namespace tessera
