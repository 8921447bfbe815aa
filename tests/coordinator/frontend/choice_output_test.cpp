#include "coordinator/frontend/openai/choice_output.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/coordinator/frontend/text_fixture.h"

namespace tessera {
namespace {

using testing::tiny_tokenizer;

TEST(ChoiceOutputTest, AnyCutOfTheTokensGivesTheirTextAndEveryIdOnce) {
  const std::string text = "Anna has 3 äpples, 日本語 and 🍎🍏.";
  const auto ids = tiny_tokenizer().encode(text);
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    ChoiceOutput output(tiny_tokenizer(), {});
    ChoiceOutput::Delta all;
    const auto take = [&] {
      auto delta = output.take();
      all.text += delta.text;
      all.ids.insert(all.ids.end(), delta.ids.begin(), delta.ids.end());
    };
    for (std::size_t at = 0; at < ids.size();) {
      const std::size_t size = std::min<std::size_t>(random() % 5, ids.size() - at);
      output.push(std::span(ids).subspan(at, size));
      if (random() % 2 == 0) take();
      at += size;
    }
    output.finish(FinishReason::kMaxTokens);
    take();
    EXPECT_EQ(all.text, text);
    EXPECT_EQ(all.ids, ids);
    EXPECT_EQ(output.num_tokens(), std::ssize(ids));
    ASSERT_TRUE(output.end());
    EXPECT_EQ(output.end()->finish_reason, "length");
    EXPECT_EQ(output.end()->detail, "max_tokens");
  }
}

TEST(ChoiceOutputTest, AStopStringEndsTheTextBeforeItAndTheTokensWithIt) {
  const auto before = tiny_tokenizer().encode("one two");
  const auto all = tiny_tokenizer().encode("one two STOP three");
  ChoiceOutput output(tiny_tokenizer(), {" STOP"});
  output.push(all);
  ASSERT_TRUE(output.end());
  EXPECT_EQ(output.end()->finish_reason, "stop");
  EXPECT_EQ(output.end()->detail, "stop_string");
  EXPECT_EQ(output.end()->stop_string, " STOP");
  EXPECT_GT(output.num_tokens(), std::ssize(before));
  EXPECT_LT(output.num_tokens(), std::ssize(all));
  const auto delta = output.take();
  EXPECT_EQ(delta.text, "one two");
  EXPECT_EQ(std::ssize(delta.ids), output.num_tokens());

  output.finish(FinishReason::kEos);
  EXPECT_EQ(output.end()->detail, "stop_string") << "the stop string came first";
}

TEST(ChoiceOutputTest, ATextThatWasHeldBackForAStopStringIsGivenAtTheEnd) {
  ChoiceOutput output(tiny_tokenizer(), {"two four"});
  output.push(tiny_tokenizer().encode("one two"));
  EXPECT_EQ(output.take().text, "one ");
  output.finish(FinishReason::kEos);
  EXPECT_EQ(output.take().text, "two");
  EXPECT_EQ(output.end()->finish_reason, "stop");
  EXPECT_EQ(output.end()->detail, "eos");
}

}  // namespace
}  // namespace tessera
