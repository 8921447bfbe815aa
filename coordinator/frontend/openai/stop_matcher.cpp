#include "coordinator/frontend/openai/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

// Knuth, Morris, Pratt: borders[k] is for the prefix of k + 1 bytes.
std::vector<std::size_t> borders_of(const std::string& text) {
  std::vector<std::size_t> borders(text.size(), 0);
  for (std::size_t i = 1, length = 0; i < text.size(); ++i) {
    while (length > 0 && text[i] != text[length]) length = borders[length - 1];
    if (text[i] == text[length]) ++length;
    borders[i] = length;
  }
  return borders;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    auto borders = borders_of(stop);
    patterns_.push_back({.text = std::move(stop), .borders = std::move(borders)});
  }
}

void StopMatcher::advance(Pattern& pattern, char c) {
  while (pattern.state > 0 && pattern.text[pattern.state] != c) {
    pattern.state = pattern.borders[pattern.state - 1];
  }
  if (pattern.text[pattern.state] == c) ++pattern.state;
}

std::string StopMatcher::push(std::string_view text) {
  if (matched_) return "";
  for (const char c : text) {
    held_ += c;
    const Pattern* found = nullptr;
    for (Pattern& pattern : patterns_) {
      advance(pattern, c);
      const bool is_whole = pattern.state == pattern.text.size();
      if (is_whole && (found == nullptr || pattern.text.size() > found->text.size())) {
        found = &pattern;
      }
    }
    if (found != nullptr) {
      matched_ = found->text;
      held_.resize(held_.size() - found->text.size());
      return std::exchange(held_, {});
    }
  }
  std::size_t possible = 0;
  for (const Pattern& pattern : patterns_) possible = std::max(possible, pattern.state);
  std::string certain = held_.substr(0, held_.size() - possible);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace tessera
