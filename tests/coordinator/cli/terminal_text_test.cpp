#include "coordinator/cli/generate/terminal_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace tessera {
namespace {

using ::testing::ElementsAre;

std::vector<StyledRun> frozen_runs(const std::string& text) {
  return {{TextState::kFrozen, text}};
}

std::string plain(const TextLine& line) {
  std::string text;
  for (const StyledRun& run : line.runs) text += run.text;
  return text;
}

std::vector<std::string> rows(const std::vector<StyledRun>& text, int columns) {
  std::vector<std::string> result;
  for (const TextLine& line : wrap_text(text, columns)) result.push_back(plain(line));
  return result;
}

TEST(WrapTextTest, BreaksAtBlanksAndNewlinesAndWithinLongWords) {
  EXPECT_THAT(rows(frozen_runs("the quick fox"), 9), ElementsAre("the quick", "fox"));
  EXPECT_THAT(rows(frozen_runs("the quick fox"), 8), ElementsAre("the", "quick", "fox"));
  EXPECT_THAT(rows(frozen_runs("a\n\nb\n"), 8), ElementsAre("a", "", "b", ""));
  EXPECT_THAT(rows(frozen_runs("abcdefgh"), 3), ElementsAre("abc", "def", "gh"));
  EXPECT_THAT(rows(frozen_runs(""), 3), ElementsAre(""));
}

TEST(WrapTextTest, WideCharactersTakeTwoColumnsAndMarksNone) {
  EXPECT_THAT(rows(frozen_runs("日本語"), 4), ElementsAre("日本", "語"));
  EXPECT_THAT(rows(frozen_runs("日本語"), 5), ElementsAre("日本", "語"));
  EXPECT_THAT(rows(frozen_runs("e\u0301e\u0301e\u0301"), 2),
              ElementsAre("e\u0301e\u0301", "e\u0301"));
  EXPECT_EQ(wrap_text(frozen_runs("日e\u0301"), 9).at(0).width, 3);
}

TEST(WrapTextTest, ControlCharactersCannotReachTheTerminal) {
  EXPECT_THAT(rows(frozen_runs("a\x1b[2Jb\rc\a"), 20), ElementsAre("a[2Jbc"));
  EXPECT_THAT(rows(frozen_runs("a\tb"), 20), ElementsAre("a    b"));
}

TEST(WrapTextTest, ALineIsFinalOnceWhatEndsItIsFrozen) {
  const auto lines = wrap_text(
      std::vector<StyledRun>{{TextState::kFrozen, "one\ntwo"}, {TextState::kMasked, "...."}}, 4);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(lines[0].is_final);
  EXPECT_EQ(lines[0].end, 4U);
  EXPECT_FALSE(lines[1].is_final) << "a mask may become a blank";
  EXPECT_FALSE(lines[2].is_final);
}

TEST(WrapTextTest, ALineKeepsTheStatesApart) {
  const auto lines = wrap_text(
      std::vector<StyledRun>{
          {TextState::kFrozen, "ab"}, {TextState::kProvisional, "c"}, {TextState::kMasked, "d"}},
      9);
  EXPECT_THAT(lines.at(0).runs, ElementsAre(StyledRun{TextState::kFrozen, "ab"},
                                            StyledRun{TextState::kProvisional, "c"},
                                            StyledRun{TextState::kMasked, "d"}));
}

std::string random_text(std::mt19937& rng) {
  const std::vector<std::string> pieces = {"a", "bc", " ", " ", "\n", "日", "e\u0301", "word"};
  std::string text;
  for (int i = 0; i < 60; ++i) text += pieces[rng() % pieces.size()];
  return text;
}

// What the screen does: it leaves final lines alone and wraps the rest anew.
TEST(WrapTextTest, GoingOnBehindAFinalLineMakesNoDifference) {
  std::mt19937 rng(5);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random_text(rng);
    const int columns = 2 + static_cast<int>(rng() % 12);
    const auto whole = rows(frozen_runs(text), columns);
    std::vector<std::string> piecewise;
    std::size_t start = 0;
    while (true) {
      const auto lines = wrap_text(frozen_runs(text.substr(start)), columns);
      piecewise.push_back(plain(lines[0]));
      if (lines.size() == 1) break;
      ASSERT_TRUE(lines[0].is_final);
      start += lines[0].end;
    }
    EXPECT_EQ(piecewise, whole) << columns << " columns: " << text;
  }
}

// Final means final: however the text goes on, the line is the same.
TEST(WrapTextTest, FinalLinesDoNotChangeAsTextFreezes) {
  std::mt19937 rng(6);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random_text(rng);
    const int columns = 2 + static_cast<int>(rng() % 12);
    const auto whole = wrap_text(frozen_runs(text), columns);
    std::size_t cut = rng() % text.size();
    while ((text[cut] & 0xC0) == 0x80) --cut;  // at a character
    const auto early = wrap_text(std::vector<StyledRun>{{TextState::kFrozen, text.substr(0, cut)},
                                                        {TextState::kMasked, "----------"}},
                                 columns);
    for (std::size_t i = 0; i < early.size() && early[i].is_final; ++i) {
      EXPECT_EQ(plain(early[i]), plain(whole.at(i)));
      EXPECT_LE(whole[i].width, columns);
    }
  }
}

}  // namespace
}  // namespace tessera
