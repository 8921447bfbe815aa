#include "common/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "common/config/config_key.h"
#include "common/config/config_reference.h"
#include "common/config/config_value.h"
#include "common/config/flag_reader.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

std::optional<ServerConfig> read(Program program,
                                 std::vector<std::string> arguments,
                                 std::ostream& out) {
  std::vector<const char*> argv = {"tessera"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return read_config(program, static_cast<int>(argv.size()), argv.data(), out);
}

ServerConfig read(Program program, std::vector<std::string> arguments) {
  std::ostringstream out;
  return read(program, std::move(arguments), out).value();
}

std::string refusal(Program program, std::vector<std::string> arguments) {
  try {
    read(program, std::move(arguments));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

class ConfigTest : public ::testing::Test {
 protected:
  std::string file(const std::string& text) {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = ::testing::TempDir() + "tessera_" + info->name() + ".toml";
    std::ofstream(path_) << text;
    return path_;
  }
  void TearDown() override {
    if (!path_.empty()) std::filesystem::remove(path_);
  }

 private:
  std::string path_;
};

/// A valid configuration with many keys moved off their defaults.
ServerConfig random_config(std::mt19937& rng) {
  ServerConfig config;
  for (const ConfigKey& key : config_keys()) {
    if (rng() % 2 == 0) continue;
    if (!key.choices.empty()) {
      set_from_text(config, key, std::string(key.choices[rng() % key.choices.size()]));
    } else if (std::holds_alternative<bool ServerConfig::*>(key.field)) {
      set_from_text(config, key, rng() % 2 == 0 ? "true" : "false");
    } else if (key.maximum > key.minimum) {
      std::uniform_int_distribution<std::int64_t> value(key.minimum, key.maximum);
      const bool time =
          std::holds_alternative<std::chrono::milliseconds ServerConfig::*>(key.field);
      set_from_text(config, key, std::to_string(value(rng)) + (time ? "ms" : ""));
    } else if (!key.name.ends_with("endpoint") && key.name != "coordinator") {
      set_from_text(config, key, "a \"quoted\\ text " + std::to_string(rng()));
    }
  }
  config.model = "models/tiny";
  config.coordinator = "tcp://127.0.0.1:9000";
  config.tp = 1 << (rng() % 4);
  config.page_size = config.block_size.value_or(1);
  config.heartbeat_timeout = 2 * config.heartbeat_interval;
  config.strategy_options = {{"accept_threshold", 0.1 * static_cast<double>(rng() % 10)},
                             {"force_rule", "gated"},
                             {"max_steps", static_cast<std::int64_t>(rng() % 100)},
                             {"fast", rng() % 2 == 0}};
  return config;
}

TEST_F(ConfigTest, WhatIsPrintedIsReadBack) {
  std::mt19937 rng(/*seed=*/20240611);
  for (int round = 0; round < 100; ++round) {
    const ServerConfig config = random_config(rng);
    const std::string path = file(to_toml(config));
    EXPECT_EQ(read(Program::kServe, {"--config", path}), config) << to_toml(config);
  }
}

TEST_F(ConfigTest, FlagsForAChildProgramCarryEverythingItReads) {
  std::mt19937 rng(/*seed=*/20240612);
  for (int round = 0; round < 100; ++round) {
    const ServerConfig config = random_config(rng);
    for (const Program program : {Program::kServe, Program::kCoordinator, Program::kWorker}) {
      const ServerConfig child = read(program, config_flags(config, program));
      for (const ConfigKey& key : config_keys()) {
        if ((key.programs & program_bit(program)) == 0) continue;
        EXPECT_EQ(value_text(child, key), value_text(config, key)) << key.name;
      }
      if (program == Program::kWorker) continue;
      EXPECT_EQ(child.strategy_options, config.strategy_options);
    }
  }
}

TEST_F(ConfigTest, FlagsWinOverTheFile) {
  const std::string path = file("port = 1\ntp = 2\n[strategy_options]\na = 1\nb = 2\n");
  const ServerConfig config =
      read(Program::kServe, {"m", "--config", path, "--port", "3", "--strategy-option", "a=0.5"});
  EXPECT_EQ(config.model, "m");
  EXPECT_EQ(config.port, 3);
  EXPECT_EQ(config.tp, 2);
  EXPECT_EQ(config.strategy_options.at("a"), ConfigValue(0.5));
  EXPECT_EQ(config.strategy_options.at("b"), ConfigValue(std::int64_t{2}));
}

TEST_F(ConfigTest, ASwitchNeedsNoValue) {
  EXPECT_TRUE(read(Program::kServe, {"--expert-parallel", "m"}).expert_parallel);
  EXPECT_TRUE(read(Program::kServe, {"m", "--expert-parallel=true"}).expert_parallel);
  EXPECT_FALSE(read(Program::kServe, {"m", "--prefix-cache=false"}).prefix_cache);
  EXPECT_FALSE(read(Program::kServe, {"m"}).expert_parallel);
  EXPECT_THAT(refusal(Program::kServe, {"m", "--expert-parallel=maybe"}),
              HasSubstr("expert_parallel is \"maybe\"; allowed: true or false"));
}

TEST_F(ConfigTest, AMisspeltKeyIsRefusedWithTheNearestOne) {
  for (const ConfigKey& key : config_keys()) {
    const std::string misspelt = std::string(key.name) + "q";
    const std::string in_file =
        refusal(Program::kServe, {"m", "--config", file(misspelt + " = 1")});
    EXPECT_THAT(in_file,
                HasSubstr("\"" + misspelt + "\"; did you mean \"" + std::string(key.name) + "\"?"));
    if ((key.programs & program_bit(Program::kCoordinator)) == 0) continue;
    const std::string flag = flag_name(key.name);
    EXPECT_THAT(refusal(Program::kCoordinator, {"m", flag + "q", "1"}),
                HasSubstr("unknown flag " + flag + "q; did you mean " + flag + "?"));
    EXPECT_THAT(refusal(Program::kCoordinator, {"m", flag + "q=1"}), HasSubstr(flag + "?"));
  }
}

TEST_F(ConfigTest, AProgramRefusesFlagsItDoesNotReadButSharesTheFile) {
  EXPECT_THAT(refusal(Program::kWorker, {"m", "--port", "1", "--coordinator", "tcp://h:1"}),
              HasSubstr("--port"));
  const ServerConfig config =
      read(Program::kWorker, {"m", "--coordinator", "tcp://h:1", "--config", file("port = 99\n")});
  EXPECT_EQ(config.port, 99);
}

TEST_F(ConfigTest, RefusesWhatDoesNotFitTogether) {
  EXPECT_THAT(refusal(Program::kServe, {}), HasSubstr("no model"));
  EXPECT_THAT(refusal(Program::kServe, {"a", "b"}), HasSubstr("\"b\""));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--tp", "3"}), HasSubstr("1, 2, 4, 8"));
  EXPECT_THAT(
      refusal(Program::kServe, {"m", "--block-size", "8", "--strategy-option", "block_size=16"}),
      HasSubstr("block_size is 8 and strategy_options holds it, too"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--heartbeat-timeout", "210ms"}),
              HasSubstr("heartbeat_interval"));
  EXPECT_THAT(refusal(Program::kWorker, {"m", "--coordinator", "h:1"}), HasSubstr("coordinator"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--strategy-option", "x"}), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--port"}), HasSubstr("--port"));
}

TEST_F(ConfigTest, RefusesFilesItCannotUse) {
  EXPECT_THAT(refusal(Program::kServe, {"m", "--config", "/nowhere.toml"}),
              HasSubstr("/nowhere.toml"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--config", file("port = 1\ntp = = 2\n")}),
              HasSubstr(".toml:2:"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--config", file("port = [1]\n")}), HasSubstr("port"));
  EXPECT_THAT(refusal(Program::kServe, {"m", "--config", file("strategy_options = 1\n")}),
              HasSubstr("strategy_options"));
}

TEST_F(ConfigTest, HelpNamesEveryFlagOfTheProgramAndNoOther) {
  for (const Program program : {Program::kServe, Program::kCoordinator, Program::kWorker}) {
    std::ostringstream out;
    EXPECT_EQ(read(program, {"--help"}, out), std::nullopt);
    for (const ConfigKey& key : config_keys()) {
      const bool reads = (key.programs & program_bit(program)) != 0;
      EXPECT_EQ(out.str().find("\n  " + flag_name(key.name) + " ") != std::string::npos, reads)
          << key.name;
    }
  }
}

TEST_F(ConfigTest, ServedNameIsTheLastComponentOfThePath) {
  ServerConfig config;
  for (const char* model : {"models/tiny", "models/tiny/", "tiny", "/a/b/../tiny//", "./tiny/."}) {
    config.model = model;
    EXPECT_EQ(served_name(config), "tiny") << model;
  }
  config.served_model_name = "other";
  EXPECT_EQ(served_name(config), "other");
}

TEST(ConfigReferenceTest, TheDocumentIsWhatTheProgramPrints) {
  std::ifstream file(std::string(TESSERA_SOURCE_DIR) + "/docs/configuration.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), config_reference())
      << "print it again: tessera check-config --reference > docs/configuration.md";
}

}  // namespace
}  // namespace tessera
