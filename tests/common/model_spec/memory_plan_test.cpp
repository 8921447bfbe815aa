#include "common/model_spec/memory_plan.h"

#include <gtest/gtest.h>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

// SDAR-8B: 8 190 735 360 parameters as published.
ModelSpec sdar_8b() {
  ModelSpec spec;
  spec.hidden_size = 4096;
  spec.num_layers = 36;
  spec.num_q_heads = 32;
  spec.attention_kinds = {{.num_kv_heads = 8, .head_dim = 128, .rope = {1e6, 128}}};
  spec.intermediate_size = 12288;
  spec.vocab_size = 151936;
  spec.qk_norm = true;
  return spec;
}

TEST(MemoryPlanTest, CountsEveryParameterOfAPublishedModel) {
  const MemoryPlan plan = plan_memory(sdar_8b(), {});
  EXPECT_EQ(plan.weights, std::int64_t{2} * 8'190'735'360);
  EXPECT_EQ(plan.kv_per_token, 36 * 2 * 1024 * 2);
  EXPECT_EQ(plan.kv_copies, 1);
}

TEST(MemoryPlanTest, ReplicatedHeadsAreCounted) {
  ModelSpec spec = sdar_8b();
  spec.attention_kinds.front().num_kv_heads = 2;
  MemoryPlanInput input;
  input.tp = 8;
  const MemoryPlan plan = plan_memory(spec, input);
  EXPECT_EQ(plan.kv_copies, 4);
  EXPECT_EQ(plan.kv_per_token, 36 * 2 * 128 * 2) << "one head on every rank";
}

// Hidden rows grow with the step; queries, gates and logits are made in groups of rows.
TEST(MemoryPlanTest, WideRowsAreCountedInGroups) {
  MemoryPlanInput input;
  EXPECT_EQ(plan_memory(sdar_8b(), input).workspace, 0);
  input.max_step_rows = 1024;
  const std::int64_t small = plan_memory(sdar_8b(), input).workspace;
  input.max_step_rows = 2048;
  const std::int64_t row = 4096 * (4 + 4 + 2) + (2 * 4096 + 2 * 1024) * 2;
  EXPECT_EQ(plan_memory(sdar_8b(), input).workspace - small, 1024 * row);
  input.max_model_len = 4096;
  const std::int64_t rope = std::int64_t{4096} * 128 * 4;
  EXPECT_EQ(plan_memory(sdar_8b(), input).workspace - small, 1024 * row + rope);
}

TEST(MemoryPlanTest, CanvasesAreCountedBySequence) {
  ModelSpec spec = sdar_8b();
  spec.canvas_length = 256;
  MemoryPlanInput input;
  input.max_step_rows = 512;
  const std::int64_t none = plan_memory(spec, input).workspace;
  input.max_sequences = 3;
  EXPECT_EQ(plan_memory(spec, input).workspace - none, std::int64_t{3} * 256 * 4096 * 4);
}

TEST(MemoryPlanTest, WholeExpertsTakeAsMuchAsPartsOfAll) {
  ModelSpec spec = sdar_8b();
  spec.moe.layers.assign(36, true);
  spec.moe.num_experts = 128;
  spec.moe.experts_per_token = 8;
  spec.moe.intermediate_size = 768;
  MemoryPlanInput input;
  input.tp = 4;
  const std::int64_t by_width = plan_memory(spec, input).weights;
  input.experts = ExpertSharding::kByExpert;
  EXPECT_EQ(plan_memory(spec, input).weights, by_width);
  spec.moe.num_experts = 126;
  EXPECT_ERROR(plan_memory(spec, input), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
