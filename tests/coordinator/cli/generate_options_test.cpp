#include "coordinator/cli/generate/generate_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

GenerateOptions parse(std::vector<const char*> words) {
  words.insert(words.begin(), "generate");
  std::ostringstream out;
  return parse_generate_options(static_cast<int>(words.size()), words.data(), out).value();
}

std::string refusal(const std::vector<const char*>& words) {
  try {
    parse(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "accepted";
}

TEST(GenerateOptionsTest, TakesAModelDirectoryAndAPrompt) {
  const GenerateOptions options = parse({"models/tiny", "How many?", "--", "--tp", "2"});
  EXPECT_EQ(options.model_dir, "models/tiny");
  EXPECT_EQ(options.prompt, "How many?");
  EXPECT_THAT(options.serve_flags, ElementsAre("--tp", "2"));
}

TEST(GenerateOptionsTest, TakesThePromptAloneWithAServer) {
  const GenerateOptions options = parse({"--server", "http://127.0.0.1:8080", "-"});
  EXPECT_EQ(options.server, "http://127.0.0.1:8080");
  EXPECT_EQ(options.prompt, "-");
  EXPECT_EQ(options.model_dir, "");
}

TEST(GenerateOptionsTest, SaysWhichArgumentsAreMissingOrTooMany) {
  EXPECT_THAT(refusal({"models/tiny"}), HasSubstr("a model directory and a prompt"));
  EXPECT_THAT(refusal({"models/tiny", "How", "many"}), HasSubstr("got 3 arguments"));
  EXPECT_THAT(refusal({"--server", "http://x", "dir", "prompt"}), HasSubstr("the prompt alone"));
  EXPECT_THAT(refusal({"--server", "http://x", "p", "--", "--tp", "2"}),
              HasSubstr("private server"));
  EXPECT_THAT(refusal({"dir", "p", "--raw", "--system", "s"}), HasSubstr("--raw"));
  EXPECT_THAT(refusal({"dir", "p", "--decoding", "x"}), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(refusal({"dir", "p", "--max-tokens", "many"}), HasSubstr("--max-tokens"));
  EXPECT_THAT(refusal({"dir", "p", "--tempurature", "1"}), HasSubstr("--tempurature"));
}

TEST(GenerateOptionsTest, HelpIsPrintedAndNothingElseIsAskedFor) {
  const char* words[] = {"generate", "--help"};
  std::ostringstream out;
  EXPECT_EQ(parse_generate_options(2, words, out), std::nullopt);
  EXPECT_THAT(out.str(), HasSubstr("Examples:"));
}

TEST(GenerateBodyTest, SendsOnlyWhatIsGiven) {
  const GenerateOptions options = parse({"dir", "p"});
  EXPECT_EQ(generate_target(options), "/v1/chat/completions");
  EXPECT_EQ(generate_body(options, "Hi", false), ordered_json::parse(R"({"model": "default",
                "messages": [{"role": "user", "content": "Hi"}],
                "stream": true, "stream_options": {"include_usage": true}})"));
}

TEST(GenerateBodyTest, SendsEveryOptionUnderItsName) {
  const GenerateOptions options = parse({"dir",           "p",
                                         "--system",      "Be brief",
                                         "--max-tokens",  "9",
                                         "--temperature", "0.5",
                                         "--top-p",       "0.9",
                                         "--top-k",       "3",
                                         "--seed",        "18446744073709551615",
                                         "--strategy",    "multi_bd",
                                         "--block-size",  "4",
                                         "--buffer-size", "2",
                                         "--max-nfe",     "7",
                                         "--decoding",    "accept_threshold=0.95",
                                         "--decoding",    "mode=fast",
                                         "--model",       "m"});
  EXPECT_EQ(generate_body(options, "Hi", true), ordered_json::parse(R"({"model": "m",
      "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}],
      "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 18446744073709551615,
      "stream": true, "stream_options": {"include_usage": true},
      "decoding": {"strategy": "multi_bd", "block_size": 4, "buffer_size": 2, "max_nfe": 7,
                   "accept_threshold": 0.95, "mode": "fast", "stream": "edits"}})"));
}

TEST(GenerateBodyTest, ARawPromptGoesToTheCompletionsRoute) {
  const GenerateOptions options = parse({"dir", "p", "--raw"});
  EXPECT_EQ(generate_target(options), "/v1/completions");
  EXPECT_EQ(generate_body(options, "Once", false).at("prompt"), "Once");
}

}  // namespace
}  // namespace tessera
