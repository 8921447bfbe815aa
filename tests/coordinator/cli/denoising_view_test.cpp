#include "coordinator/cli/generate/denoising_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "coordinator/cli/generate/denoising_screen.h"

namespace tessera {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

const std::string kMask = DenoisingView::kMask;

StreamChunk event(json diffusion) {
  StreamChunk chunk;
  chunk.diffusion = std::move(diffusion);
  return chunk;
}

StreamChunk text(const std::string& text) {
  StreamChunk chunk;
  chunk.text = text;
  return chunk;
}

StreamChunk open(int start, int len) {
  return event({{"type", "open"}, {"start", start}, {"len", len}});
}

StreamChunk set(std::vector<int> positions, std::vector<std::string> texts) {
  return event({{"type", "set"}, {"pos", positions}, {"text", texts}});
}

StreamChunk commit(int upto) {
  return event({{"type", "commit"}, {"upto", upto}});
}

StyledRun masks(int count) {
  StyledRun run{TextState::kMasked, ""};
  for (int i = 0; i < count; ++i) run.text += kMask;
  return run;
}

StyledRun provisional(const std::string& text) {
  return {TextState::kProvisional, text};
}

StyledRun frozen(const std::string& text) {
  return {TextState::kFrozen, text};
}

TEST(DenoisingViewTest, OpenPositionsAreMaskedUntilTheyAreSet) {
  DenoisingView view;
  view.apply(open(0, 4));
  EXPECT_THAT(view.text_from(0), ElementsAre(frozen(""), masks(4)));
  view.apply(set({1, 2}, {"b", "c"}));
  EXPECT_THAT(view.text_from(0), ElementsAre(frozen(""), masks(1), provisional("bc"), masks(1)));
  view.apply(set({2}, {"C"}));
  EXPECT_THAT(view.text_from(0), ElementsAre(frozen(""), masks(1), provisional("bC"), masks(1)));
}

TEST(DenoisingViewTest, ACommitIsDrawnWithItsText) {
  DenoisingView view;
  view.apply(open(0, 3));
  view.apply(set({0, 1}, {"a", "b"}));
  EXPECT_FALSE(view.apply(commit(2)));
  EXPECT_TRUE(view.apply(text("ab")));
  EXPECT_THAT(view.text_from(0), ElementsAre(frozen("ab"), masks(1)));
  EXPECT_THAT(view.text_from(1), ElementsAre(frozen("b"), masks(1)));
}

TEST(DenoisingViewTest, ASnapshotReplacesEveryOpenPositionFromItsStart) {
  DenoisingView view;
  view.apply(open(0, 4));
  view.apply(set({0, 1, 3}, {"a", "b", "d"}));
  view.apply(event({{"type", "snapshot"}, {"from", 1}, {"text", {nullptr, "C", nullptr}}}));
  EXPECT_THAT(view.text_from(0),
              ElementsAre(frozen(""), provisional("a"), masks(1), provisional("C"), masks(1)));
}

TEST(DenoisingViewTest, AnEventWithoutItsFieldsIsAnError) {
  DenoisingView view;
  EXPECT_THROW(view.apply(event({{"type", "set"}})), Error);
  EXPECT_THROW(view.apply(event({{"type", "open"}, {"start", "x"}, {"len", 1}})), Error);
}

/// As much of a terminal as the screen uses: newline, carriage return, up, clear below, SGR.
class FakeTerminal {
 public:
  void write(const std::string& bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const char c = bytes[i];
      if (c == '\n') {
        next_row();
      } else if (c == '\r') {
        column_ = 0;
      } else if (c == '\x1b') {
        i = escape(bytes, i + 2);
      } else {
        std::string& row = rows_.at(row_);
        if (row.size() <= column_) row.resize(column_ + 1, ' ');
        row[column_++] = c;
      }
    }
  }

  const std::vector<std::string>& rows() const { return rows_; }

 private:
  void next_row() {
    column_ = 0;
    if (++row_ == rows_.size()) rows_.emplace_back();
  }

  std::size_t escape(const std::string& bytes, std::size_t at) {
    std::size_t end = at;
    while (bytes[end] < '@') ++end;
    if (bytes[end] == 'A') row_ -= std::stoul(bytes.substr(at, end - at));
    if (bytes[end] == 'J') {
      rows_.resize(row_ + 1);
      rows_[row_].resize(column_);
    }
    return end;
  }

  std::vector<std::string> rows_ = {""};
  std::size_t row_ = 0;
  std::size_t column_ = 0;
};

TEST(DenoisingScreenTest, LeavesTheFrozenTextAloneAtTheEnd) {
  const TerminalSize size{10, 5};
  FakeTerminal terminal;
  DenoisingView view;
  DenoisingScreen screen;
  const auto take = [&](const StreamChunk& chunk) {
    if (view.apply(chunk)) terminal.write(screen.draw(view, size));
  };
  // Ten blocks of three tokens; each is shown wrong before it is right.
  for (int block = 0; block < 10; ++block) {
    take(open(block * 3, 3));
    take(set({block * 3, block * 3 + 2}, {"wrong", "words that take rows"}));
    take(set({block * 3 + 1}, {"x\ny"}));
    take(commit(block * 3 + 3));
    take(text("word" + std::to_string(block) + " of\n"));
  }
  take(open(30, 8));
  terminal.write(screen.finish(view, size));
  std::vector<std::string> expected;
  for (int block = 0; block < 10; ++block)
    expected.push_back("word" + std::to_string(block) + " of");
  expected.insert(expected.end(), {"", ""});  // its last newline, and the one of finish
  EXPECT_EQ(terminal.rows(), expected);
}

TEST(DenoisingScreenTest, NeverDrawsMoreRowsThanItCanReplace) {
  const TerminalSize size{4, 3};
  DenoisingView view;
  DenoisingScreen screen;
  view.apply(open(0, 100));
  FakeTerminal terminal;
  terminal.write(screen.draw(view, size));
  EXPECT_EQ(terminal.rows().size(), 2U);
}

}  // namespace
}  // namespace tessera
