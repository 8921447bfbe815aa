#include "tests/coordinator/text/string_generator.h"

#include <algorithm>
#include <utility>

#include "coordinator/text/python_text.h"
#include "coordinator/text/utf8.h"

namespace tessera::testing {

class StringGenerator::Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}

  std::uint64_t below(std::uint64_t limit) {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return ((z ^ (z >> 31)) >> 33) % limit;
  }

  template <typename Pool>
  const auto& choice(const Pool& pool) {
    return pool[below(pool.size())];
  }

 private:
  std::uint64_t state_;
};

namespace {

constexpr std::pair<const char*, std::uint64_t> kLimits[] = {
    {"words", 32},  {"contractions", 38}, {"scripts", 52}, {"emoji", 58},
    {"digits", 68}, {"code", 74},         {"odd", 84}};
constexpr std::uint64_t kSpecialLimit = 93;
constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 9> kRanges = {{{0x20, 0x7E},
                                                                             {0xA0, 0x24F},
                                                                             {0x400, 0x6FF},
                                                                             {0x900, 0xDFF},
                                                                             {0x1E00, 0x20CF},
                                                                             {0x3040, 0x30FF},
                                                                             {0x4E00, 0x9FA5},
                                                                             {0xF900, 0xFAFF},
                                                                             {0x1F300, 0x1F64F}}};

std::string in_some_case(const std::string& word, std::uint64_t kind) {
  if (kind == 0) return python::upper(word);
  if (kind == 1) return python::upper(word.substr(0, 1)) + word.substr(1);
  return word;
}

// Whole, doubled, or without its first or last character.
std::string in_some_form(const std::string& special, std::uint64_t kind) {
  if (kind == 2) return special + special;
  if (kind > 2) return special;
  const std::vector<std::string> characters = python::characters(special);
  std::string text;
  for (std::size_t i = 0; i < characters.size(); ++i) {
    if (i != (kind == 0 ? characters.size() - 1 : 0)) text += characters[i];
  }
  return text;
}

}  // namespace

std::string StringGenerator::piece(Draw& draw) const {
  const std::uint64_t kind = draw.below(100);
  for (const auto& [name, limit] : kLimits) {
    if (kind >= limit) continue;
    const auto text = draw.choice(pools_.at(name)).get<std::string>();
    return std::string_view(name) == "words" ? in_some_case(text, draw.below(6)) : text;
  }
  if (kind < kSpecialLimit) {
    const std::string& special = draw.choice(specials_);
    return in_some_form(special, draw.below(7));
  }
  std::string text;
  for (std::uint64_t n = 1 + draw.below(4); n > 0; --n) {
    const auto [low, high] = draw.choice(kRanges);
    append_utf8(text, static_cast<char32_t>(low + draw.below(high - low + 1)));
  }
  return text;
}

std::string StringGenerator::text(std::uint64_t index) const {
  Draw draw(index);
  std::string text;
  for (std::uint64_t parts = 1 + draw.below(9); parts > 0; --parts) {
    const std::uint64_t repeats = draw.below(200) == 0 ? 40 : 1;
    const std::string once = piece(draw);
    for (std::uint64_t i = 0; i < repeats; ++i) text += once;
    if (draw.below(5) != 0) text += draw.choice(pools_.at("spaces")).get<std::string>();
  }
  return text;
}

std::vector<TokenId> StringGenerator::ids(std::uint64_t index, std::int32_t vocab_size) {
  Draw draw(~index);
  const std::int32_t top = draw.below(2) != 0 ? std::min(270, vocab_size) : vocab_size + 2;
  std::vector<TokenId> ids(1 + draw.below(24));
  for (TokenId& id : ids) id = static_cast<TokenId>(draw.below(static_cast<std::uint64_t>(top)));
  return ids;
}

}  // namespace tessera::testing
