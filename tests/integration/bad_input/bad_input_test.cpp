#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

struct Outcome {
  int exit_code = 0;
  std::string text;
};

Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> bytes;
  while (const std::size_t n = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
    outcome.text.append(bytes.data(), n);
  }
  outcome.exit_code = WEXITSTATUS(pclose(pipe));
  return outcome;
}

/// What is wrong, and what the answer says about it.
struct BadInput {
  std::string name;
  json config;        ///< Members of config.json that are other than in the good one.
  std::string flags;  ///< Of check-config and of the coordinator.
  std::vector<std::string> said;
};

/// The bundled model without its weights: whoever reads them fails in another way.
class BadInputTest : public ::testing::TestWithParam<BadInput> {
 protected:
  void SetUp() override {
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    dir_ = fs::path(::testing::TempDir()) / ("bad_input_" + fs::path(test).filename().string());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    for (const auto& file : fs::directory_iterator(TESSERA_TINY_SDAR)) {
      if (file.path().extension() != ".safetensors") fs::copy(file, dir_);
    }
  }
  void TearDown() override { fs::remove_all(dir_); }

  void change(const json& members) const {
    json config = json::parse(std::ifstream(dir_ / "config.json"));
    config.update(members);
    std::ofstream(dir_ / "config.json") << config;
  }

  std::string check(const std::string& flags) const {
    return std::string(TESSERA_PROGRAM) + " check-config " + dir_.string() + " " + flags;
  }

  fs::path dir_;
};

TEST_F(BadInputTest, TheGoodOnePasses) {
  const Outcome outcome = run(check("--preset fast"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("#   fast (used): accept_threshold = "));
}

TEST_P(BadInputTest, IsRefusedByCheckConfigAndByTheCoordinatorInTheSameWords) {
  change(GetParam().config);
  const Outcome checked = run(check(GetParam().flags));
  EXPECT_EQ(checked.exit_code, 64);
  for (const std::string& part : GetParam().said) EXPECT_THAT(checked.text, HasSubstr(part));

  const Outcome started = run("timeout 20 " + std::string(TESSERA_COORDINATOR) + " " +
                              dir_.string() + " --port 0 " + GetParam().flags);
  EXPECT_EQ(started.exit_code, 64);
  const std::string words = checked.text.substr(checked.text.find(": "));
  EXPECT_EQ(started.text.substr(started.text.find(": ")), words);
}

INSTANTIATE_TEST_SUITE_P(
    Input,
    BadInputTest,
    ::testing::Values(
        BadInput{
            "unknown_family",
            {{"architectures", {"GPT2LMHeadModel"}}, {"model_type", "gpt2"}, {"auto_map", nullptr}},
            "",
            {"architectures [GPT2LMHeadModel], model_type \"gpt2\" name no known family",
             "llada2 (LLaDA2MoeModelLM, model_type llada2_moe)"}},
        BadInput{"contradictory_family",
                 {{"model_type", "llada"}},
                 "",
                 {"architectures [SDARForCausalLM], model_type \"llada\" contradict each other"}},
        BadInput{"unknown_strategy", json::object(), "--strategy d2", {"d2f, fast_dllm_v2"}},
        BadInput{"strategy_of_another_model",
                 json::object(),
                 "--strategy d2f",
                 {"trained with block-causal attention, not with a bidirectional prompt",
                  "these can: multi_bd edit dmax"}},
        BadInput{"option_out_of_range",
                 json::object(),
                 "--strategy-option accept_threshold=1.5",
                 {"option 'accept_threshold' is 1.5; it must lie in [0, 1]"}},
        BadInput{"option_of_another_strategy",
                 json::object(),
                 "--strategy-option edit_threshold=0.5",
                 {"unknown option 'edit_threshold'", "Known options: block_size"}},
        BadInput{"contradictory_options",
                 json::object(),
                 "--block-size 8 --strategy-option block_size=16",
                 {"block_size is 8 and strategy_options holds it, too"}},
        BadInput{"unknown_preset",
                 json::object(),
                 "--preset slow",
                 {"slow", "quality", "balanced", "fast"}},
        BadInput{"mask_id_beyond_the_vocabulary",
                 {{"mask_token_id", 5000}},
                 "",
                 {"mask_token_id = 5000 is not below vocab_size = 2048"}},
        BadInput{"block_size_that_does_not_divide_the_page",
                 json::object(),
                 "--block-size 24",
                 {"24 does not divide the server's page size 32", "1, 2, 4, 8, 16, 32"}},
        BadInput{"models_block_that_does_not_divide_the_page",
                 {{"block_size", 24}},
                 "",
                 {"24 does not divide the server's page size 32", "1, 2, 4, 8, 16, 32"}},
        BadInput{"buffer_wider_than_a_step",
                 json::object(),
                 "--buffer-size 64",
                 {"takes 2048 rows at a time", "512 (max_step_rows)"}}),
    [](const auto& param) { return param.param.name; });

// No id anywhere, and the family's own is beyond a small vocabulary: there is no mask token.
TEST_F(BadInputTest, AMissingMaskIdIsRefusedByBoth) {
  change({{"mask_token_id", nullptr}});
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    json fields = json::parse(std::ifstream(dir_ / file));
    fields.erase("mask_token");
    std::ofstream(dir_ / file) << fields;
  }
  const Outcome checked = run(check(""));
  EXPECT_EQ(checked.exit_code, 64);
  EXPECT_THAT(checked.text, HasSubstr("multi_bd: it has no mask token (mask_token_id in "
                                      "config.json)"));
  const Outcome started =
      run("timeout 20 " + std::string(TESSERA_COORDINATOR) + " " + dir_.string() + " --port 0");
  EXPECT_EQ(started.exit_code, 64);
  EXPECT_EQ(started.text.substr(started.text.find(": ")),
            checked.text.substr(checked.text.find(": ")));
}

}  // namespace
}  // namespace tessera
