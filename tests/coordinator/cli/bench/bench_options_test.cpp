#include "coordinator/cli/bench/bench_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::optional<BenchOptions> read(std::vector<const char*> flags, std::string* printed = nullptr) {
  flags.insert(flags.begin(), "bench");
  std::ostringstream out;
  auto options = read_bench_options(static_cast<int>(flags.size()), flags.data(), out);
  if (printed != nullptr) *printed = out.str();
  return options;
}

std::string error_of(const std::vector<const char*>& flags) {
  try {
    read(flags);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(BenchOptionsTest, ReadsASweepAgainstAServer) {
  const auto options =
      read({"--server", "http://x:1", "--dataset", "d.jsonl", "--concurrency", "1,4,16", "--rate",
            "2.5", "--decoding", "block_size=8", "--decoding", "accept_threshold=0.9", "--decoding",
            "strategy=some", "--temperature", "0.7", "--seed", "7"});
  ASSERT_TRUE(options.has_value());
  ASSERT_EQ(options->levels.size(), 4u);
  EXPECT_EQ(options->levels[2].concurrency, 16);
  EXPECT_EQ(options->levels[3].rate, 2.5);
  EXPECT_EQ(
      options->request.decoding,
      nlohmann::json::parse(R"({"block_size": 8, "accept_threshold": 0.9, "strategy": "some"})"));
  EXPECT_EQ(options->request.temperature, 0.7);
  EXPECT_EQ(options->request.seed, 7u);
  EXPECT_FALSE(options->request.ignore_eos);
}

TEST(BenchOptionsTest, WhatStandsBehindTheDashesIsForTheServer) {
  const auto options = read({"dir", "--random-prompts", "--output-len", "40", "--", "--tp", "2"});
  ASSERT_TRUE(options.has_value());
  EXPECT_THAT(options->serve_arguments, ElementsAre("dir", "--tp", "2"));
  EXPECT_EQ(options->levels.at(0).concurrency, 1);
  EXPECT_EQ(options->request.max_tokens, 40);
  EXPECT_TRUE(options->request.ignore_eos) << "random prompts have answers of a given length";
}

TEST(BenchOptionsTest, ErrorsSayWhatIsAllowed) {
  EXPECT_THAT(error_of({"--random-prompts"}), HasSubstr("--server URL or MODEL_DIR"));
  EXPECT_THAT(error_of({"dir", "--server", "http://x:1", "--random-prompts"}),
              HasSubstr("--server URL or MODEL_DIR"));
  EXPECT_THAT(error_of({"dir"}), HasSubstr("--dataset FILE or --random-prompts"));
  EXPECT_THAT(error_of({"--server", "http://x", "--random-prompts", "--", "--tp", "2"}),
              HasSubstr("behind \"--\""));
  EXPECT_THAT(error_of({"dir", "--random-prompts", "--concurrency", "0"}), HasSubstr("1"));
  EXPECT_THAT(error_of({"dir", "--random-prompts", "--decoding", "x"}), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(error_of({"dir", "--random-prompts", "--slo", "x=1"}), HasSubstr("icl_p95"));
  EXPECT_THAT(error_of({"dir", "--random-prompts", "--min-goodput", "1"}), HasSubstr("--slo"));
  EXPECT_THAT(error_of({"dir", "--random-prompts", "--concurency", "1"}),
              HasSubstr("--concurency"));
}

TEST(BenchOptionsTest, HelpShowsExamplesAndTheWordsOfTheReport) {
  std::string help;
  EXPECT_FALSE(read({"--help"}, &help).has_value());
  for (const char* text :
       {"Examples:", "--concurrency 1,4,16", "time to first commit", "--slo", "Exit codes"}) {
    EXPECT_THAT(help, HasSubstr(text));
  }
}

}  // namespace
}  // namespace tessera
