#include "coordinator/frontend/openai/response_json.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using nlohmann::ordered_json;

const ResponseIdentity kChat{
    .id = "chatcmpl-1", .model = "tiny", .created = 5, .is_chat = true, .return_token_ids = false};

// Compared as text: the order of members is part of what clients see.
TEST(ResponseJsonTest, ErrorsHaveTheShapeThatClientsRead) {
  EXPECT_EQ(dump(to_json(invalid_value("n", "n is wrong"))),
            R"({"error":{"message":"n is wrong","type":"invalid_request_error",)"
            R"("param":"n","code":"invalid_value"}})");
  EXPECT_EQ(to_json(unavailable("loading", "wait")).at("error").at("param"), nullptr);
}

TEST(ResponseJsonTest, EveryFailureOfASequenceHasItsStatus) {
  const auto status = [](FailureReason reason) { return error_of({reason, "why"}).status; };
  EXPECT_EQ(status(FailureReason::kInvalid), 400);
  EXPECT_EQ(status(FailureReason::kQueueFull), 429);
  EXPECT_EQ(status(FailureReason::kDraining), 503);
  EXPECT_EQ(status(FailureReason::kRankLost), 503);
  EXPECT_EQ(status(FailureReason::kDeadlineExceeded), 408);
  EXPECT_EQ(status(FailureReason::kCancelled), 503);
  EXPECT_TRUE(error_of({FailureReason::kQueueFull, ""}).retry_after_seconds);
}

TEST(ResponseJsonTest, AWholeAnswerHoldsItsChoicesAndUsage) {
  const ChoiceEnd end{.finish_reason = "stop", .detail = "stop_string", .stop_string = "X"};
  const auto body = whole_response(
      kChat, {{"hello", {1, 2}, end}},
      {.prompt_tokens = 3, .cached_tokens = 1, .completion_tokens = 2, .nfe = 4, .seed = 9});
  EXPECT_EQ(body, ordered_json::parse(R"({"id":"chatcmpl-1","object":"chat.completion","created":5,
      "model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},
      "logprobs":null,"finish_reason":"stop",
      "stop_details":{"type":"stop_string","matched":"X"}}],
      "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,
      "prompt_tokens_details":{"cached_tokens":1},"tessera":{"nfe":4,"seed":9}}})"));
}

TEST(ResponseJsonTest, ChunksCarryTheRoleOnceAndTheEndLast) {
  const auto first = choice_chunk(kChat, 1, {"he", {7}}, /*is_first=*/true, std::nullopt);
  EXPECT_EQ(first.at("choices"),
            ordered_json::parse(R"([{"index":1,"delta":{"role":"assistant","content":"he"},
                                     "logprobs":null,"finish_reason":null}])"));
  const ChoiceEnd end{.finish_reason = "length", .detail = "max_tokens", .stop_string = {}};
  const auto last = choice_chunk(kChat, 1, {}, /*is_first=*/false, end);
  EXPECT_EQ(last.at("choices"), ordered_json::parse(R"([{"index":1,"delta":{},"logprobs":null,
                       "finish_reason":"length","stop_details":{"type":"max_tokens"}}])"));
  EXPECT_EQ(usage_chunk(kChat, {}).at("choices"), ordered_json::array());
  const auto event = diffusion_chunk(kChat, {{"type", "commit"}, {"upto", 3}});
  EXPECT_EQ(event.at("choices"), ordered_json::array());
  EXPECT_EQ(event.at("diffusion"), ordered_json::parse(R"({"type":"commit","upto":3})"));
}

TEST(ResponseJsonTest, ChunksHaveANullUsageWhereTheLastOneWillHaveTotals) {
  ResponseIdentity identity = kChat;
  const auto chunks = [&] {
    return std::vector{choice_chunk(identity, 0, {"he", {7}}, /*is_first=*/true, std::nullopt),
                       diffusion_chunk(identity, {{"type", "commit"}, {"upto", 3}})};
  };
  for (const auto& chunk : chunks()) EXPECT_FALSE(chunk.contains("usage")) << chunk;
  identity.include_usage = true;
  for (const auto& chunk : chunks()) EXPECT_EQ(chunk.at("usage"), nullptr) << chunk;
  EXPECT_TRUE(usage_chunk(identity, {}).at("usage").is_object());
  EXPECT_TRUE(whole_response(identity, {}, {}).at("usage").is_object());
}

}  // namespace
}  // namespace tessera
