#include "common/wire/codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/common/wire/random_frames.h"
#include "tests/support/error_matchers.h"

namespace tessera::wire {
namespace {

using testing::kPlanShapes;
using testing::PlanShape;
using testing::random_plan;
using testing::random_result;

class PlanCodecTest : public ::testing::TestWithParam<PlanShape> {};

TEST_P(PlanCodecTest, ReadsBackEveryPlan) {
  std::mt19937_64 rng(/*seed=*/17);
  for (int i = 0; i < 200; ++i) {
    const StepPlan plan = random_plan(GetParam(), rng);
    const Frame frame = decode(encode(plan));
    EXPECT_EQ(frame.epoch, plan.epoch);
    EXPECT_EQ(frame.step, plan.step);
    ASSERT_TRUE(std::holds_alternative<StepPlan>(frame.message));
    ASSERT_EQ(std::get<StepPlan>(frame.message), plan) << "plan " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PlanCodecTest, ::testing::ValuesIn(kPlanShapes));

TEST(CodecTest, ReadsBackEveryResult) {
  std::mt19937_64 rng(/*seed=*/18);
  for (int i = 0; i < 200; ++i) {
    const StepResult result = random_result(rng);
    const Frame frame = decode(encode(result));
    ASSERT_EQ(std::get<StepResult>(frame.message), result) << "result " << i;
    EXPECT_EQ(frame.epoch, result.epoch);
  }
}

template <typename T>
void expect_round_trip(const T& value) {
  const Frame frame = decode(encode(/*epoch=*/7, value));
  EXPECT_EQ(frame.epoch, 7U);
  EXPECT_EQ(frame.step, 0U);
  ASSERT_TRUE(std::holds_alternative<T>(frame.message));
  EXPECT_EQ(std::get<T>(frame.message), value);
}

TEST(CodecTest, ReadsBackControlMessages) {
  expect_round_trip(
      Hello{"job", "secret", 3, 4, "host-a", "avx512_bf16", "digest", 4096, 1 << 30, true});
  expect_round_trip(Welcome{32, 100, 512, 4096, 64, std::chrono::milliseconds(200)});
  expect_round_trip(Ready{});
  expect_round_trip(Heartbeat{"job", "secret", 2});
  expect_round_trip(RankFailure{ErrorCode::kDevice, "out of memory"});
  expect_round_trip(Goodbye{GoodbyeKind::kLost, "rank 1 is gone"});
}

TEST(CodecTest, ReadsFramesAtAnyAlignment) {
  std::mt19937_64 rng(/*seed=*/19);
  const StepPlan plan = random_plan(PlanShape::kMultiBd, rng);
  const Bytes bytes = encode(plan);
  for (std::size_t shift = 0; shift < 8; ++shift) {
    Bytes moved(bytes.size() + shift);
    std::memcpy(moved.data() + shift, bytes.data(), bytes.size());
    EXPECT_EQ(std::get<StepPlan>(decode(std::span(moved).subspan(shift)).message), plan);
  }
}

TEST(CodecTest, IsCompact) {
  StepPlan plan;
  for (int i = 0; i < 32; ++i) {
    SequenceSpan sequence;
    sequence.request = static_cast<RequestId>(i);
    sequence.span.tokens.assign(32, 151669);
    for (int j = 0; j < 32; ++j) sequence.span.measures.push_back({.row = j, .position = j});
    plan.spans.push_back(sequence);
  }
  EXPECT_LT(encode(plan).size(), 32 * 32 * 64);
}

TEST(CodecTest, RefusesEveryTruncation) {
  std::mt19937_64 rng(/*seed=*/20);
  StepPlan plan = random_plan(PlanShape::kDmax, rng);
  while (plan.spans.empty()) plan = random_plan(PlanShape::kDmax, rng);
  plan.spans.resize(1);
  const Bytes bytes = encode(plan);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_ERROR(decode(std::span(bytes).first(size)), kTransport);
  }
}

TEST(CodecTest, RefusesForeignFrames) {
  const std::string http = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n    ";
  EXPECT_ERROR(decode(std::as_bytes(std::span(http)).first(40)), kTransport);
  EXPECT_ERROR(decode(Bytes(64)), kTransport);
  EXPECT_ERROR(decode(Bytes(64, std::byte{0xFF})), kTransport);
}

TEST(CodecTest, NamesTheVersionOfAForeignBuild) {
  Bytes bytes = encode(/*epoch=*/1, Ready{});
  // Segment table, root pointer, then the data section: magic (4 bytes), version (2 bytes).
  bytes.at(8 + 8 + 4) = std::byte{kSchemaVersion + 1};
  try {
    decode(bytes);
    FAIL() << "decoded a frame of another version";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kTransport);
    EXPECT_NE(std::string(error.what()).find("version 2"), std::string::npos) << error.what();
  }
}

TEST(CodecTest, RefusesValuesThatBreakTheirTypes) {
  const auto refused = [](auto change) {
    StepPlan plan;
    plan.spans.resize(1);
    Span& span = plan.spans[0].span;
    span.tokens = {1, 2, 3};
    span.measures.resize(1);
    span.recipes.resize(1);
    span.recipes[0].recipe.num_ids = 1;
    span.stores = {{0, 1}};
    EXPECT_NO_THROW(decode(encode(plan)));
    change(span);
    EXPECT_ERROR(decode(encode(plan)), kTransport);
  };
  refused([](Span& span) { span.mask = static_cast<MaskKind>(5); });
  refused([](Span& span) { span.first = -1; });
  refused([](Span& span) { span.first = std::numeric_limits<Position>::max() - 2; });
  refused([](Span& span) { span.cache_len = -1; });
  refused([](Span& span) { span.stores[0] = {2, 1}; });
  refused([](Span& span) { span.cache_hole = {-1, 1}; });
  refused([](Span& span) { span.measures[0].kind = static_cast<MeasureKind>(3); });
  refused([](Span& span) { span.measures[0].num_alternatives = 9; });
  refused([](Span& span) { span.measures[0].temperature = std::nanf(""); });
  refused([](Span& span) { span.recipes[0].recipe.kind = static_cast<RecipeKind>(2); });
  refused([](Span& span) { span.recipes[0].recipe.probabilities[0] = INFINITY; });
}

TEST(CodecTest, RefusesMeasurementsThatAreNoNumbers) {
  StepResult result;
  result.spans.resize(1);
  result.spans[0].measurements.resize(1);
  EXPECT_NO_THROW(decode(encode(result)));
  result.spans[0].measurements[0].confidence = std::nanf("");
  EXPECT_ERROR(decode(encode(result)), kTransport);
}

}  // namespace
}  // namespace tessera::wire
