#include "strategies/strategy_options.h"

#include <gtest/gtest.h>

#include "strategies/strategy_registry.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

ModelFacts facts_for_all() {
  ModelFacts facts;
  facts.vocab_size = 64;
  facts.tokenizer_size = 60;
  facts.mask_id = 59;
  facts.canvas_length = 8;
  return facts;
}

std::string message_of(const OptionValues& given, std::string_view strategy) {
  try {
    create_strategy(strategy, facts_for_all(), given);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

class StrategyOptionsTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  const StrategyEntry& entry() const { return strategy_registry()[GetParam()]; }
};

TEST_P(StrategyOptionsTest, EveryDefaultIsValidAndDescribed) {
  EXPECT_FALSE(entry().summary.empty());
  const StrategyOptions options(entry().options, {});
  EXPECT_EQ(options.values().size(), entry().options.size());
  for (const OptionSpec& spec : entry().options) EXPECT_FALSE(spec.help.empty()) << spec.name;
}

TEST_P(StrategyOptionsTest, ValuesBeyondTheRangeAreRefusedByNameAndValue) {
  for (const OptionSpec& spec : entry().options) {
    if (spec.type != OptionType::kInteger && spec.type != OptionType::kNumber) continue;
    for (const double value : {spec.minimum - 1.0, spec.maximum + 1.0}) {
      OptionValues given;
      if (spec.type == OptionType::kInteger) {
        given[std::string(spec.name)] = static_cast<std::int64_t>(value);
      } else {
        given[std::string(spec.name)] = value;
      }
      const std::string message = message_of(given, entry().name);
      EXPECT_NE(message.find(spec.name), std::string::npos) << message;
    }
  }
}

TEST_P(StrategyOptionsTest, PresetsSetTheSameOptionsToValuesThatAreAllowed) {
  const auto names_of = [](const OptionValues& values) {
    std::vector<std::string> names;
    for (const auto& [name, value] : values) names.push_back(name);
    return names;
  };
  for (const OptionValues& preset : entry().presets) {
    EXPECT_NO_THROW(create_strategy(entry().name, facts_for_all(), preset));
    EXPECT_FALSE(preset.empty());
    EXPECT_EQ(names_of(preset), names_of(entry().presets.front())) << "one replaces another whole";
    EXPECT_FALSE(preset.contains("block_size")) << "that is the model's";
  }
  EXPECT_NE(entry().presets.front(), entry().presets[1]);
  EXPECT_NE(entry().presets[1], entry().presets.back());
}

TEST_P(StrategyOptionsTest, WrongTypesAreRefused) {
  for (const OptionSpec& spec : entry().options) {
    OptionValues given;
    if (spec.type == OptionType::kBool) {
      given[std::string(spec.name)] = std::string("maybe");
    } else {
      given[std::string(spec.name)] = true;
    }
    const std::string message = message_of(given, entry().name);
    EXPECT_NE(message.find(spec.name), std::string::npos) << message;
  }
}

TEST_P(StrategyOptionsTest, AnUnknownNameIsRefusedWithTheNearestKnownOne) {
  for (const OptionSpec& spec : entry().options) {
    const std::string misspelt = std::string(spec.name) + "x";
    const std::string message = message_of({{misspelt, std::int64_t{1}}}, entry().name);
    EXPECT_NE(message.find(misspelt), std::string::npos) << message;
    EXPECT_NE(message.find("'" + std::string(spec.name) + "'"), std::string::npos) << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry,
                         StrategyOptionsTest,
                         ::testing::Range<std::size_t>(0, strategy_registry().size()));

TEST(StrategyRegistryTest, AnUnknownStrategyIsRefusedWithTheKnownOnes) {
  EXPECT_ERROR(strategy_entry("autoregressive"), kInvalidArgument);
}

TEST(StrategyRegistryTest, AModelThatAStrategyCannotDecodeIsRefused) {
  ModelFacts facts = facts_for_all();
  facts.mask_id.reset();
  for (const char* name : {"multi_bd", "d2f", "edit", "dmax", "fast_dllm_v2"}) {
    EXPECT_ERROR(create_strategy(name, facts, {}), kInvalidArgument);
  }
  facts = facts_for_all();
  facts.shifted = true;
  for (const char* name : {"edit", "dmax"}) {
    EXPECT_ERROR(create_strategy(name, facts, {}), kInvalidArgument);
  }
  facts.canvas_length.reset();
  EXPECT_ERROR(create_strategy("diffusion_gemma", facts, {}), kInvalidArgument);
}

TEST(StrategyRegistryTest, OptionsThatContradictEachOtherAreRefused) {
  EXPECT_NE(message_of({{"t_min", 0.8}, {"t_max", 0.4}}, "diffusion_gemma")
                .find("t_min is 0.8; it must be at most t_max, which is 0.4"),
            std::string::npos);
}

// The first strategy of the registry that accepts a model is what its requests get by default.
TEST(StrategyRegistryTest, AModelIsDecodedAsItWasTrained) {
  const auto first_for = [](TrainedAttention attention) {
    ModelFacts facts = facts_for_all();
    facts.canvas_length.reset();
    facts.attention = attention;
    if (attention == TrainedAttention::kCanvas) {
      facts.canvas_length = 8;
      facts.mask_id.reset();
    }
    for (const StrategyEntry& entry : strategy_registry()) {
      if (entry.refusal(facts).empty()) return std::string(entry.name);
    }
    return std::string("none");
  };
  EXPECT_EQ(first_for(TrainedAttention::kBlockCausal), "multi_bd");
  EXPECT_EQ(first_for(TrainedAttention::kBidirectionalPrompt), "d2f");
  EXPECT_EQ(first_for(TrainedAttention::kSubBlocks), "fast_dllm_v2");
  EXPECT_EQ(first_for(TrainedAttention::kCanvas), "diffusion_gemma");
}

TEST(StrategyRegistryTest, ADualCacheIsAsWideAsTheModelsBlock) {
  ModelFacts facts = facts_for_all();
  facts.block_size = 32;
  EXPECT_NO_THROW(create_strategy("fast_dllm_v2", facts, {}));  // 4 sub-blocks of 8
  EXPECT_NO_THROW(create_strategy(
      "fast_dllm_v2", facts, {{"block_size", std::int64_t{16}}, {"buffer_size", std::int64_t{2}}}));
  EXPECT_ERROR(create_strategy("fast_dllm_v2", facts, {{"buffer_size", std::int64_t{2}}}),
               kInvalidArgument);
}

}  // namespace
}  // namespace tessera
