#include "coordinator/frontend/openai/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace tessera {
namespace {

struct Result {
  std::string text;
  std::optional<std::string> matched;
  bool operator==(const Result&) const = default;
};

// The definition: the first end of a match; of several that end there, the longest.
Result by_definition(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > longest.size()) longest = stop;
    }
    if (!longest.empty()) return {text.substr(0, end - longest.size()), longest};
  }
  return {text, std::nullopt};
}

std::string random_text(std::mt19937& random, std::size_t max_size) {
  std::string text(random() % (max_size + 1), 'a');
  for (char& c : text) c = static_cast<char>('a' + random() % 2);
  return text;
}

TEST(StopMatcherTest, AgreesWithItsDefinitionForEveryCutOfRandomTexts) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_text(random, 24);
    std::vector<std::string> stops;
    for (unsigned i = 0; i < random() % 4; ++i) stops.push_back("a" + random_text(random, 4));
    StopMatcher matcher(stops);
    Result result;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 4, text.size() - at);
      result.text += matcher.push(text.substr(at, size));
      at += size;
    }
    result.text += matcher.finish();
    result.matched = matcher.matched();
    EXPECT_EQ(result, by_definition(text, stops)) << "round " << round << ": " << text;
  }
}

TEST(StopMatcherTest, HoldsBackOnlyWhatMayBecomeAStopString) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("one E"), "one ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("x"), "ENx");
  EXPECT_EQ(matcher.push("END tail"), "");
  EXPECT_EQ(matcher.matched(), "END");
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace tessera
