#include "common/model_spec/memory_plan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/worker/support/fixture.h"
#include "tests/worker/support/recording_backend.h"
#include "tests/worker/support/thread_communicator.h"
#include "worker/runtime/loaded_model.h"
#include "worker/runtime/model_runner.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct MemorySetup {
  std::string model;
  std::string backend;
};

class RankMemoryTest : public ::testing::TestWithParam<MemorySetup> {
 protected:
  // The fixture's configuration, wide enough for small things not to count.
  void SetUp() override {
    dir_ =
        fs::path(::testing::TempDir()) / ("rank_memory_" + GetParam().model + GetParam().backend);
    fs::create_directories(dir_);
    const fs::path fixture = fixtures_dir() / GetParam().model / "bf16";
    nlohmann::json config = nlohmann::json::parse(std::ifstream(fixture / "config.json"));
    nlohmann::json& text = config.contains("text_config") ? config["text_config"] : config;
    text["hidden_size"] = 2048;
    text["intermediate_size"] = 1408;
    text["vocab_size"] = 20000;
    if (text.contains("moe_intermediate_size")) text["moe_intermediate_size"] = 256;
    std::ofstream(dir_ / "config.json") << config.dump();
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path dir_;
};

INSTANTIATE_TEST_SUITE_P(Models,
                         RankMemoryTest,
                         ::testing::Values(MemorySetup{"sdar", "cpu"},
                                           MemorySetup{"sdar_moe", "cpu"},
                                           MemorySetup{"diffusion_gemma", "cpu"},
                                           MemorySetup{"diffusion_gemma", "reference"}),
                         [](const auto& tested) {
                           return tested.param.model + "_" + tested.param.backend;
                         });

std::int64_t packed_bytes(const ModelWeights& weights) {
  std::int64_t bytes = weights.embedding_memory.num_bytes();
  const auto add = [&](const auto& matrix) { bytes += matrix ? matrix->num_bytes() : 0; };
  add(weights.lm_head);
  add(weights.conditioning.gate_up);
  add(weights.conditioning.down);
  for (const LayerWeights& layer : weights.layers) {
    add(layer.qkv);
    add(layer.o);
    add(layer.mlp.gate_up);
    add(layer.mlp.down);
    add(layer.router);
    add(layer.experts.gate_up);
    add(layer.experts.down);
  }
  return bytes;
}

// What the first of two ranks holds before its first step, to within some percent: packed matrices
// fill up their last panels, and what a measurement works in is not planned for.
TEST_P(RankMemoryTest, APlanIsWhatARankAllocates) {
  ModelExecutorOptions options;
  options.model_dir = dir_;
  options.load_format = LoadFormat::kDummy;
  options.backend = GetParam().backend;
  const RankConfig config{.page_size = 16,
                          .num_pages = 50,
                          .max_step_rows = 700,
                          .max_model_len = 800,
                          .max_sequences = 9};
  const auto communicators = thread_communicators(2);
  const auto model = load_model(options, /*rank=*/0, /*tp=*/2);
  RecordingBackend backend(*model->backend);
  const ModelRunner runner(model->spec, model->shard, model->weights, backend, *communicators[0],
                           config);
  MemoryPlanInput input;
  input.tp = 2;
  input.element_bytes = GetParam().backend == "cpu" ? 2 : 4;
  input.max_step_rows = config.max_step_rows;
  input.max_sequences = config.max_sequences;
  input.max_model_len = config.max_model_len;
  const MemoryPlan plan = plan_memory(model->spec, input);
  EXPECT_EQ(plan.kv_per_token, kv_shape(model->spec, model->shard, backend).bytes_per_token());
  const std::int64_t pages = plan.kv_per_token * config.page_size * config.num_pages;
  const auto workspace = static_cast<double>(backend.allocated_bytes() - pages);
  EXPECT_NEAR(workspace, static_cast<double>(plan.workspace), 0.06 * workspace);
  const auto packed = static_cast<double>(packed_bytes(model->weights));
  EXPECT_NEAR(packed, static_cast<double>(plan.weights), 0.06 * packed);
}

}  // namespace
}  // namespace tessera
