#include "coordinator/text/added_tokens.h"

#include <algorithm>

#include "coordinator/text/utf8.h"
#include "coordinator/text/white_space.h"

namespace tessera {
namespace {

// \w of the Rust regex crate.
constexpr std::string_view kWord = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}]";

// No character is longer; a few bytes around a match decide whether it is a single word.
constexpr std::size_t kMaxCharBytes = 4;

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)),
      nodes_(1),
      ends_with_word_(std::string(kWord) + "\\z", "word end"),
      starts_with_word_("\\A" + std::string(kWord), "word start") {
  for (std::size_t i = 0; i < tokens_.size(); ++i) insert(static_cast<std::int32_t>(i));
}

void AddedTokenFinder::insert(std::int32_t token) {
  const std::string& content = tokens_[static_cast<std::size_t>(token)].content;
  if (content.empty()) return;
  first_bytes_.set(static_cast<unsigned char>(content[0]));
  std::size_t node = 0;
  for (const char c : content) {
    const unsigned byte = static_cast<unsigned char>(c);
    for (const unsigned half : {byte >> 4U, byte & 0xFU}) {
      if (nodes_[node].child[half] == 0) {
        nodes_[node].child[half] = static_cast<std::int32_t>(nodes_.size());
        nodes_.emplace_back();
      }
      node = static_cast<std::size_t>(nodes_[node].child[half]);
    }
  }
  nodes_[node].token = token;
}

std::int32_t AddedTokenFinder::longest_match_at(std::string_view text,
                                                std::size_t begin) const noexcept {
  std::int32_t longest = -1;
  std::size_t node = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node = static_cast<std::size_t>(nodes_[node].child[byte >> 4U]);
    if (node == 0) break;
    node = static_cast<std::size_t>(nodes_[node].child[byte & 0xFU]);
    if (node == 0) break;
    if (nodes_[node].token >= 0) longest = nodes_[node].token;
  }
  return longest;
}

bool AddedTokenFinder::is_single_word(std::string_view text, TextRange match) const {
  // Cut at a character boundary: the byte before is at most three continuation bytes in.
  std::size_t begin = match.begin - std::min(match.begin, kMaxCharBytes);
  while (begin < match.begin && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) ++begin;
  if (ends_with_word_.found_in(text.substr(begin, match.begin - begin))) return false;
  std::size_t end = match.end;
  if (end < text.size()) next_code_point(text, end);
  return !starts_with_word_.found_in(text.substr(match.end, end - match.end));
}

void AddedTokenFinder::split(std::string_view text,
                             bool parse_special,
                             std::vector<TextPiece>& pieces) const {
  std::size_t done = 0;  // Everything before is in a piece.
  for (std::size_t i = 0; i < text.size();) {
    if (!first_bytes_[static_cast<unsigned char>(text[i])]) {
      ++i;
      continue;
    }
    const std::int32_t found = longest_match_at(text, i);
    if (found < 0) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(found)];
    TextRange match{i, i + token.content.size()};
    i = match.end;
    if (token.special && !parse_special) continue;
    if (token.single_word && !is_single_word(text, match)) continue;
    if (token.lstrip) {
      match.begin = std::max(end_without_white_space(text.substr(0, match.begin)), done);
    }
    if (token.rstrip) match.end += leading_white_space(text.substr(match.end));
    // The token before may have swallowed all of it.
    if (match.begin >= match.end) continue;
    if (done < match.begin) pieces.push_back({{}, text.substr(done, match.begin - done)});
    pieces.push_back({token.id, {}});
    done = match.end;
  }
  if (done < text.size()) pieces.push_back({{}, text.substr(done)});
}

}  // namespace tessera
