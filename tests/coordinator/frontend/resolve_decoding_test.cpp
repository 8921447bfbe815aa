#include <gtest/gtest.h>

#include "coordinator/frontend/openai/resolve_request.h"
#include "tests/coordinator/frontend/text_fixture.h"

namespace tessera {
namespace {

using testing::tiny_model;

ResolvedDecoding resolved(const OptionValues& options, const ServedModel& model = tiny_model()) {
  auto resolved = resolve_decoding({.strategy = {}, .options = options}, model);
  if (const auto* error = std::get_if<ApiError>(&resolved)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  return std::get<ResolvedDecoding>(std::move(resolved));
}

ApiError refusal_of(const DecodingFields& fields) {
  auto resolved = resolve_decoding(fields, tiny_model());
  if (const auto* error = std::get_if<ApiError>(&resolved)) return *error;
  ADD_FAILURE() << "accepted";
  return {};
}

TEST(ResolveDecodingTest, TheRequestWinsOverTheServerAndTheServerOverTheModel) {
  EXPECT_EQ(resolved({}).strategy->traits().block_size, 4);
  ServedModel model = tiny_model();
  model.strategy_options["block_size"] = std::int64_t{8};
  EXPECT_EQ(resolved({}, model).strategy->traits().block_size, 8);
  EXPECT_EQ(resolved({{"block_size", std::int64_t{16}}}, model).strategy->traits().block_size, 16);
}

TEST(ResolveDecodingTest, EveryBlockSizeThatDividesThePageSizeIsAllowedAndNoOther) {
  for (std::int64_t size = 1; size <= 32; ++size) {
    const OptionValues options{{"block_size", size}};
    if (32 % size == 0) {
      EXPECT_EQ(resolved(options).strategy->traits().block_size, size);
    } else {
      const ApiError error = refusal_of({.strategy = {}, .options = options});
      EXPECT_EQ(error.status, 400);
      EXPECT_EQ(error.param, "decoding.block_size") << size;
      EXPECT_NE(error.message.find("1, 2, 4, 8, 16, 32"), std::string::npos) << error.message;
    }
  }
}

TEST(ResolveDecodingTest, LimitsAndStreamKindAreRead) {
  const ResolvedDecoding decoding = resolved({{"max_nfe", std::int64_t{7}},
                                              {"max_repetition_run", std::int64_t{3}},
                                              {"stream", std::string("edits")}});
  EXPECT_EQ(decoding.max_nfe, 7);
  EXPECT_EQ(decoding.max_repetition_run, 3);
  EXPECT_TRUE(decoding.wants_edits);
  EXPECT_FALSE(resolved({{"stream", std::string("commits")}}).wants_edits);
  EXPECT_FALSE(resolved({}).max_nfe);
}

// Blocks of 4: a buffer of one block is 4 rows, of four blocks 16.
TEST(ResolveDecodingTest, APresetLiesBetweenTheDefaultsAndWhatIsNamed) {
  const auto rows = [](const OptionValues& options, const ServedModel& model) {
    return resolved(options, model).strategy->traits().max_buffer_rows;
  };
  const OptionValues quality{{"preset", std::string("quality")}};
  const OptionValues fast{{"preset", std::string("fast")}};
  ServedModel model = tiny_model();
  EXPECT_EQ(rows({}, model), 16);
  EXPECT_EQ(rows(quality, model), 4);
  EXPECT_EQ(rows({{"preset", std::string("quality")}, {"buffer_size", std::int64_t{2}}}, model), 8);

  model.checkpoint_options["buffer_size"] = std::int64_t{2};
  EXPECT_EQ(rows({}, model), 8) << "over the strategy's defaults";
  model.preset = Preset::kQuality;
  EXPECT_EQ(rows({}, model), 4) << "the server's, for requests that name none";
  EXPECT_EQ(rows(fast, model), 16);
  model.strategy_options["buffer_size"] = std::int64_t{3};
  EXPECT_EQ(rows({}, model), 12) << "over the server's preset";
  EXPECT_EQ(rows(fast, model), 16) << "a request's preset is the request's word";
}

TEST(ResolveDecodingTest, AnUnknownPresetIsRefusedWithTheThree) {
  const ApiError error = refusal_of({.strategy = {}, .options = {{"preset", std::string("slow")}}});
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.param, "decoding.preset");
  EXPECT_NE(error.message.find("quality balanced fast"), std::string::npos) << error.message;
}

// Ranks have room for max_step_rows rows; a longer buffer could never run.
TEST(ResolveDecodingTest, ABufferBeyondTheRowsOfAStepIsRefused) {
  ServedModel model = tiny_model();
  model.max_step_rows = 64;
  EXPECT_EQ(resolved({{"buffer_size", std::int64_t{16}}}, model).strategy->traits().max_buffer_rows,
            64);
  const auto refusal =
      resolve_decoding({.strategy = {}, .options = {{"buffer_size", std::int64_t{17}}}}, model);
  const auto& error = std::get<ApiError>(refusal);
  EXPECT_EQ(error.param, "decoding.buffer_size");
  EXPECT_NE(error.message.find("68 rows"), std::string::npos) << error.message;
}

TEST(ResolveDecodingTest, AStrategyTheModelWasNotMadeForIsRefusedWithThoseThatFit) {
  ServedModel model = tiny_model();
  model.facts.attention = TrainedAttention::kBlockCausal;
  const auto refusal = resolve_decoding({.strategy = "d2f", .options = {}}, model);
  const auto& error = std::get<ApiError>(refusal);
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.param, "decoding.strategy");
  EXPECT_NE(error.message.find("these can: multi_bd"), std::string::npos) << error.message;
}

TEST(ResolveDecodingTest, WhatIsWrongIsNamed) {
  EXPECT_EQ(refusal_of({.strategy = "nonsense", .options = {}}).param, "decoding.strategy");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{"blok_size", std::int64_t{4}}}}).param,
            "decoding.blok_size");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{"block_size", std::string("4")}}}).param,
            "decoding.block_size");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{"accept_threshold", 1.5}}}).param,
            "decoding.accept_threshold");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{"max_nfe", std::int64_t{0}}}}).param,
            "decoding.max_nfe");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{"stream", std::string("words")}}}).param,
            "decoding.stream");
  EXPECT_EQ(refusal_of({.strategy = {}, .options = {{std::string(1000, 'x'), true}}}).param,
            "decoding");
}

}  // namespace
}  // namespace tessera
